"""The batch sizes that an engine which compiles for each of them is asked to run.

OpenVINO prepares a plan for every batch size when it first comes: 10 to 30 ms beside the few that the batch
itself takes, and up to 4 MB that stay (the shipped `cifar10` in int8, on a Xeon with AMX). Of all sizes up to
32 that is half a second of late answers and 130 MB, which a service collects in its first minutes under load.
So there are few sizes, all prepared before the first caller, and what is between two of them is filled up to
the larger one, as vLLM does with the sizes that it has CUDA graphs for.
"""

from __future__ import annotations

_PER_DOUBLING = 4  # a batch is filled up by less than a quarter: on average, one image in twenty


def batch_sizes(most: int) -> list[int]:
    """Ascending: 1 to 8, then 10, 12, 14, 16, 20, 24, 28, 32, 40, ...; the last one is `most` itself."""
    sizes = []
    size = 1
    while size < most:
        sizes.append(size)
        size += _step(size + 1)
    return [*sizes, most]


def padded(size: int) -> int:
    """The smallest of those, without bound, that is at least `size`."""
    step = _step(size)
    return -(-size // step) * step


def _step(size: int) -> int:
    """Between the two that `size` is between, or up to which it is."""
    below = 1 << ((size - 1).bit_length() - 1) if size > 1 else 1
    return max(1, below // _PER_DOUBLING)
