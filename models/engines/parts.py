"""How a batch is cut up, so that no thread of an engine waits for another at every layer.

Threads that share the layers of one batch meet some fifty times in it. Where the event loop, a decoder or
another process takes one of the processors for a moment, all of them wait, and most of it spinning. So a
large batch is cut into parts, and each part runs on a thread of its own: they meet once. On two cores,
batches of 32 in int8, beside a process that takes half of one core: 1.2 to 1.6 times the images a second, and
1.0 to 1.3 times where nothing else runs. A batch of a few images is quicker with all threads on each layer.

OpenVINO prepares a plan for every batch size when it first comes: 10 to 30 ms, and up to 4 MB that stay.
Parts have one size, so there are few plans, all of them made before the first caller.
"""

from __future__ import annotations

import numpy as np

from models.images import Pixels

PART = 4  # images; with 2 or 8 a batch of 32 took longer
LARGEST_WHOLE = 2 * PART - 1


def batch_sizes(most: int) -> list[int]:
    """Ascending: 1 to 7, which run whole, then 8, 12, 16, ..., whole parts; the last one is `most` itself."""
    return [*range(1, min(most, 2 * PART)), *range(2 * PART, most, PART), most]


def cut(pixels: Pixels) -> list[Pixels]:
    """uint8 (n, size, size, 3) -> views of `PART` images each, in order; the last is filled up with zeros."""
    parts = [pixels[start : start + PART] for start in range(0, len(pixels), PART)]
    if missing := PART - len(parts[-1]):
        nothing = np.zeros((missing, *pixels.shape[1:]), pixels.dtype)
        parts[-1] = np.concatenate((parts[-1], nothing))
    return parts
