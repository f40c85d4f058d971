"""How many CPUs this process really has: its affinity and its cgroup's quota, not the host's count."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")


def available_cpus() -> int:
    """CPUs usable by this process, at least 1."""
    quota = cgroup_quota(_read(_CGROUP_V2) or " ".join(_read(path) for path in _CGROUP_V1))
    return max(1, min(_affinity(), quota or _affinity()))


def cgroup_quota(text: str) -> int | None:
    """CPUs granted by `"QUOTA PERIOD"` in microseconds (cgroup v2 `cpu.max`); None if unlimited.

    Rounded down, since a thread too many spends the quota early and then stalls for the rest of the period.
    """
    try:
        quota, period = (int(part) for part in text.split())
    except ValueError:  # "max 100000", an empty file, or no cgroup at all
        return None
    return max(1, quota // period) if quota > 0 and period > 0 else None


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
