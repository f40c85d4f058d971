"""The batch sizes that an engine which compiles for each of them is asked to run.

OpenVINO prepares a plan for every batch size when it first comes: 10 to 30 ms beside the few that the batch
itself takes, and up to 4 MB that stay (the shipped `cifar10` in int8, on a Xeon with AMX). Of all sizes up to
32 that is half a second of late answers and 130 MB, which a service collects in its first minutes under load.
So there are few sizes, all prepared before the first caller, and what is between two of them is filled up to
the larger one, as vLLM does with the sizes that it has CUDA graphs for.
"""

from __future__ import annotations


def batch_sizes(most: int) -> list[int]:
    """Ascending: 1 to 8, then 10, 12, 14, 16, 20, 24, 28, 32, 40, ...; the last one is `most` itself."""
    sizes = []
    size = 1
    while size < most:
        sizes.append(size)
        size = padded(size + 1)
    return [*sizes, most]


def padded(size: int) -> int:
    """The smallest of those, without bound, that is at least `size`.

    There are four for every doubling: less than a quarter is added, on average one image in twenty.
    """
    step = max(1, (1 << (size - 1).bit_length()) // 8)
    return -(-size // step) * step
