"""What an engine is to the rest of the project."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.images import Pixels

Logits = NDArray[np.float32]


class Engine(Protocol):
    """Runs one network on batches of pixels; called from one thread at a time, but see `pipelined_from`."""

    @property
    def pipelined_from(self) -> float:
        """The size of a batch behind which the next may be handed over: while a call of `logits` with so many
        runs, another may come from a second thread, and begins as this one ends. inf where none may.
        """
        return inf

    def batch_sizes(self, most: int) -> Sequence[int]:  # noqa: ARG002
        """The sizes, ascending up to `most`, to the next of which a batch is filled up; none where each size
        is run as it is.
        """
        return ()

    @property
    def name(self) -> str:
        """What runs where and how, for people: `torch cpu fp32`."""

    def logits(self, pixels: Pixels) -> Logits:
        """uint8 RGB (n, size, size, 3) -> float32 (n, classes). Normalisation is the engine's work.

        Raises MemoryError where a smaller batch may succeed.
        """
