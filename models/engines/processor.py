"""What this processor gains by a precision, where having instructions for it does not tell."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@cache
def bfloat16_is_slow(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether bfloat16 is slower here than float32, though there are instructions for it.

    It is on Intel's processors without the tiles of AMX, as many virtual machines show them: 0.65 of the
    images a second in OpenVINO, 0.7 in a training step of torch (`train/LOG.md`, entry 11). On AMD's it is
    faster. Where there is no /proc/cpuinfo: False.
    """
    try:
        words = frozenset(cpuinfo.read_text().split())
    except OSError:
        return False
    return "GenuineIntel" in words and "amx_bf16" not in words
