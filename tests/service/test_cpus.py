"""The CPUs that a process may use."""

from __future__ import annotations

import os

import pytest

from service.cpus import available_cpus, cgroup_quota


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("max 100000\n", None),
        ("200000 100000\n", 2),
        ("150000 100000\n", 1),
        ("50000 100000\n", 1),
        ("-1 100000", None),
        ("100000 0", None),
        ("", None),
        (" ", None),
        ("nonsense", None),
    ],
)
def test_a_cgroup_quota_is_read_as_whole_cpus(text: str, cpus: int | None) -> None:
    assert cgroup_quota(text) == cpus


def test_affinity_bounds_the_cpus() -> None:
    assert 1 <= available_cpus() <= len(os.sched_getaffinity(0))
