"""Ctrl-C once: finish the step, save, leave. Twice: leave at once."""

from __future__ import annotations

import signal
from types import FrameType


class Interrupt:
    """Listens from its creation on."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGINT, self._ask)

    def _ask(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002  the signature is signal's
        self.asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
