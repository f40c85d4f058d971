"""What a serving process tells its allocator at the start: for all of it, so by the command line alone."""

from __future__ import annotations

import ctypes
import sys

_M_MMAP_THRESHOLD = -3  # from glibc's malloc.h
_THRESHOLD_BYTES = 4 * 2**20  # above the activations of a batch, below the pixels of a large image


def give_back_large_blocks() -> None:
    """Make every large block go back to the kernel when it is freed.

    glibc raises the threshold by itself to what was freed last, up to 32 MB. Pillow's blocks of 16 MB then
    come from the heaps of the decoding threads, and stay: 104 MB after six images of 9 million pixels.
    Elsewhere than on glibc, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
