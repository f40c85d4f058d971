"""Ctrl-C or SIGTERM: finish the step, save, leave. Ctrl-C twice: leave at once."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """The run was left on purpose, with everything saved; `signum` is the signal that asked for it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


class Interrupt:
    """Listens inside its `with` block; `asked` is the signal by which somebody wants to leave, or 0."""

    def __init__(self) -> None:
        self.asked = 0

    def __enter__(self) -> Self:
        self._before = {signum: signal.signal(signum, self._ask) for signum in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002  the signature is signal's
        """A second SIGTERM changes nothing: Slurm and torchrun may each send one to the same process."""
        self.asked = signum
        if signum == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
