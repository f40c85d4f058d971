"""Ctrl-C once: finish the step, save, leave. Twice: leave at once."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Self


class Interrupt:
    """Listens inside its `with` block; `asked` says whether somebody wants to leave."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002  the signature is signal's
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
