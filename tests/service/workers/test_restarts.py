"""When a worker is started again, under a clock of its own."""

from __future__ import annotations

import math

from service.workers.restarts import LONGEST_SECONDS, STEADY_SECONDS, Restarts


def test_the_first_that_ends_is_replaced_at_once() -> None:
    assert Restarts().ended(ready_at=10.0, now=11.0) == 0.0


def test_one_that_cannot_start_waits_longer_each_time_up_to_a_bound() -> None:
    restarts = Restarts()
    waits = [restarts.ended(ready_at=math.inf, now=float(attempt)) for attempt in range(100)]
    assert waits[:7] == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert set(waits[7:]) == {LONGEST_SECONDS}


def test_one_that_served_for_long_starts_with_a_clean_record() -> None:
    restarts = Restarts()
    for _ in range(5):
        restarts.ended(ready_at=math.inf, now=0.0)
    assert restarts.ended(ready_at=0.0, now=STEADY_SECONDS) == 0.0
    assert restarts.ended(ready_at=STEADY_SECONDS, now=2 * STEADY_SECONDS - 1) == 1.0
