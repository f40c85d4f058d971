"""What the processor has and gains by, where OpenVINO's own list does not tell."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_INT8 = {"avx512_vnni", "avx_vnni", "asimddp", "i8mm"}  # x86; arm64


@cache
def bfloat16_is_slow(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether bfloat16 is slower here than float32, though there are instructions for it.

    It is on Intel's processors without the tiles of AMX, as many virtual machines show them: 0.65 of the
    images a second in OpenVINO, 0.7 in a training step of torch (`train/LOG.md`, entry 11). On AMD's it is
    faster. Where there is no /proc/cpuinfo: False.
    """
    words = _words(cpuinfo)
    return "GenuineIntel" in words and "amx_bf16" not in words


@cache
def has_int8_instructions(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether products of int8 are summed up in 32 bits by one instruction.

    OpenVINO lists int8 for every processor. Without these it does with several, which on x86 sum up in 16
    bits first, and saturate: slower, and not quite what was measured of an export. Where there is no
    /proc/cpuinfo: True, since most have them by now, and the golden sample is checked all the same.
    """
    words = _words(cpuinfo)
    return not words or not _INT8.isdisjoint(words)


def _words(cpuinfo: Path) -> frozenset[str]:
    """Empty where there is no such file."""
    try:
        return frozenset(cpuinfo.read_text().split())
    except OSError:
        return frozenset()
