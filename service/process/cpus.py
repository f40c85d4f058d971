"""How many CPUs this process really has: its affinity and its cgroups' quotas, not the host's count."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_PROCESS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


def available_cpus(process: Path = _PROCESS, mount: Path = _MOUNT) -> int:
    """CPUs usable by this process, at least 1: the least of its affinity and every quota above it."""
    return max(1, min([_affinity(), *_quotas(process, mount)]))


def share(cpus: int, workers: int, number: int) -> int:
    """What worker `number`, from 1, gets of so many CPUs: an even share, the rest to the first ones."""
    even, rest = divmod(cpus, workers)
    return max(1, even + (number <= rest))


def cgroup_quota(text: str) -> int | None:
    """CPUs granted by `"QUOTA PERIOD"` in microseconds; None if unlimited.

    Rounded down, since a thread too many spends the quota early and then stalls for the rest of the period.
    """
    try:
        quota, period = (int(part) for part in text.split())
    except ValueError:  # "max 100000", an empty file, or no such file
        return None
    return max(1, quota // period) if quota > 0 and period > 0 else None


def _quotas(process: Path, mount: Path) -> Iterator[int]:
    """Of the process's own cgroup and of each above it; in a container the topmost may be its own."""
    for line in _read(process).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            base, files = mount, ["cpu.max"]
        elif "cpu" in controllers.split(","):
            base, files = mount / "cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        else:
            continue
        own = PurePosixPath(path.lstrip("/"))
        for group in (own, *own.parents):
            quota = cgroup_quota(" ".join(_read(base / group / file) for file in files))
            if quota is not None:
                yield quota


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
