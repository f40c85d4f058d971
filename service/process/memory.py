"""What a process that serves tells its allocator and its garbage collector, once and for all of it."""

from __future__ import annotations

import ctypes
import gc
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
_LARGE_BYTES = 12 * 2**20  # above the activations of a batch of small images, below a large one's pixels
_KEPT_BYTES = 2 * _LARGE_BYTES  # free memory at a heap's end; as much as glibc would choose with it


def give_back_large_blocks() -> None:
    """Make every large block go back to the kernel when it is freed.

    glibc raises the threshold by itself to what was freed last, up to 32 MB. Pillow's blocks of 16 MB then
    come from the heaps of the decoding threads, and stay: 104 MB after six images of 9 million pixels.
    A threshold that is set stops glibc from raising the other one as well, 128 KB, above which it gives back
    the end of a heap: each batch then had its activations mapped anew, which cost the torch engine a third
    of its throughput (670 requests/s for 1,000).
    Elsewhere than on glibc, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def leave_out_of_collections() -> None:
    """Keep what there is now out of the collections of garbage to come: modules, routes, the first models.

    A full one looks at every object while all callers wait: 0.27 s with torch's 360,000, the time of four
    batches. Models go by their reference counts, so that one which is switched away is freed all the same.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # or the next full one would wait for a quarter as many new objects as are left out
