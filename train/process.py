"""What a process that trains is told once, at its start: for all of it, so by the command line alone."""

from __future__ import annotations

import ctypes
import sys

import torch

# From glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def prepare() -> None:
    """Make the most of the processor; called where a process begins, since it cannot be undone."""
    torch.set_flush_denormal(True)  # small activations otherwise cost a hundred times the time
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let freed activations be used again instead of going back to the kernel.

    glibc maps every block above 32 MB anew and unmaps it when freed, so that each step takes page faults
    for all of its activations: a third of a step at batch 512 (`train/LOG.md`). Elsewhere than on glibc,
    nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
