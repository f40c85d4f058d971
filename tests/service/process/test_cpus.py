"""The CPUs that a process may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.process import cpus
from service.process.cpus import available_cpus, cgroup_quota


@pytest.mark.parametrize(
    ("text", "expected"),
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
def test_a_cgroup_quota_is_read_as_whole_cpus(text: str, expected: int | None) -> None:
    assert cgroup_quota(text) == expected


@pytest.fixture
def sixteen_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "_affinity", lambda: 16)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.usefixtures("sixteen_cpus")
def test_the_least_quota_between_the_process_and_the_root_counts(tmp_path: Path) -> None:
    process = write(tmp_path / "self", "0::/slice/service\n")
    write(tmp_path / "fs/slice/service/cpu.max", "800000 100000")
    write(tmp_path / "fs/slice/cpu.max", "400000 100000")
    assert available_cpus(process, tmp_path / "fs") == 4
    write(tmp_path / "fs/cpu.max", "200000 100000")
    assert available_cpus(process, tmp_path / "fs") == 2


@pytest.mark.usefixtures("sixteen_cpus")
def test_the_older_cgroups_are_read_too(tmp_path: Path) -> None:
    process = write(tmp_path / "self", "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n")
    write(tmp_path / "fs/cpu/cpu.cfs_quota_us", "300000")
    write(tmp_path / "fs/cpu/cpu.cfs_period_us", "100000")
    assert available_cpus(process, tmp_path / "fs") == 3


@pytest.mark.usefixtures("sixteen_cpus")
def test_without_a_quota_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cpus(tmp_path / "nothing", tmp_path) == 16
    assert available_cpus(write(tmp_path / "self", "0::/\n"), tmp_path) == 16


def test_this_process_has_at_least_one_and_no_more_than_its_affinity() -> None:
    assert 1 <= available_cpus() <= len(os.sched_getaffinity(0))
