"""What the server says of itself, read once for every command."""

from __future__ import annotations

import math

import pytest

from loadtest.scrape import Watched


def page(turn: int) -> bytes:
    """By its n-th second the server has used n * n / 10 of processor time and refused 5 * n."""
    lines = (
        f"process_cpu_seconds_total {turn * turn / 10}",
        f"process_resident_memory_bytes {[100e6, 300e6, 200e6, 150e6][turn]}",
        f'rotulo_refused_total{{model="cifar10",reason="full"}} {5 * turn}',
        'rotulo_refused_total{model="cifar10",reason="deadline"} 7',
        f"rotulo_waiting {turn}",
    )
    return "\n".join(lines).encode() + b"\n"


def watched(seconds: int) -> Watched:
    return Watched(
        [float(second) for second in range(seconds)],
        [page(second) for second in range(seconds)],
        [0.5 * second for second in range(seconds)],
    )


def test_counts_are_those_of_the_time_between_and_memory_has_its_first_last_and_most() -> None:
    said = watched(4).figures()
    assert said["refused"] == {"full": 15}
    assert [said[f"memory_mb_{which}"] for which in ("first", "max", "last")] == [100, 300, 150]


def test_cores_are_a_mean_over_all_of_it_between_two_moments_and_from_second_to_second() -> None:
    said = watched(4).figures()
    assert said["cpu_cores_mean"] == pytest.approx(0.3)
    assert watched(4).cores(0.5, 3.5) == pytest.approx(0.4)
    assert watched(4).own_cores(0.5, 3.5) == pytest.approx(0.5)
    assert [each["cpu_cores"] for each in said["series"]] == pytest.approx([0.1, 0.3, 0.5])
    assert [each["second"] for each in said["series"]] == [1, 2, 3]


def test_a_server_that_spoke_once_has_said_nothing_of_the_time_between() -> None:
    assert watched(1).figures() == {}
    assert math.isnan(watched(1).cores(0, 9))
