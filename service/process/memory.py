"""What a process that serves tells its allocator and its garbage collector, once and for all of it."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Callable
from threading import Thread

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h
_LARGE_BYTES = 12 * 2**20  # above the activations of a batch of small images, below a large one's pixels
_KEPT_BYTES = 2 * _LARGE_BYTES  # free memory at a heap's end; as much as glibc would choose with it
TRIM_SECONDS = 10.0


def give_memory_back() -> None:
    """Make what is freed go back to the kernel: a large block at once, all other within TRIM_SECONDS.

    glibc raises the threshold by itself to what was freed last, up to 32 MB. Pillow's blocks of 16 MB then
    come from the heaps of the decoding threads, and stay: 104 MB after six images of 9 million pixels.
    A threshold that is set stops glibc from raising the other one as well, 128 KB, above which it gives back
    the end of a heap: each batch then had its activations mapped anew, which cost the torch engine a third
    of its throughput (670 requests/s for 1,000).

    What is free between blocks in use, or at the end of one of several heaps, would stay after each burst: 31
    MB after twenty images of 24 million pixels, 60 after a hundred clients who read no answer. To trim takes
    0.2 to 2 ms, during which the interpreter runs.

    Elsewhere than on glibc, nothing changes.
    """
    libc = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        Thread(target=_trim, args=(libc.malloc_trim,), name="memory", daemon=True).start()


def _trim(malloc_trim: Callable[[int], int]) -> None:
    while True:
        time.sleep(TRIM_SECONDS)
        malloc_trim(0)


def leave_out_of_collections() -> None:
    """Keep what there is now out of the collections of garbage to come: modules, routes, the first models.

    A full one looks at every object while all callers wait: 0.27 s with torch's 360,000, the time of four
    batches. Models go by their reference counts, so that one which is switched away is freed all the same.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # or the next full one would wait for a quarter as many new objects as are left out
