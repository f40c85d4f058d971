"""The decisions, in numbers: who makes up a batch, and what a newcomer is promised."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batching.latency import LatencyModel, LatencyPoint
from batching.policy import Ahead, BatchPolicy
from tests.batching.world import affine, learnt

SMALL_FIXED_COST = learnt(affine(0.010, 0.005))  # 32 in 170 ms, 1 in 15 ms
LARGE_FIXED_COST = learnt(affine(0.100, 0.001))  # 32 in 132 ms, 1 in 101 ms
POLICY = BatchPolicy(latency_target_seconds=0.5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("latency_target_seconds", 0.0),
        ("latency_target_seconds", -1.0),
        ("latency_target_seconds", inf),
        ("latency_target_seconds", float("nan")),
        ("max_batch_size", 0),
        ("max_waiting", 0),
    ],
)
def test_a_wrong_setting_is_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        BatchPolicy(**{"latency_target_seconds": 1.0, field: value})  # type: ignore[arg-type]


def test_a_caller_may_ask_for_less_time_than_the_target_but_not_for_more() -> None:
    assert POLICY.deadline(arrived=10.0) == 10.5
    assert POLICY.deadline(arrived=10.0, timeout_seconds=0.1) == 10.1
    assert POLICY.deadline(arrived=10.0, timeout_seconds=60.0) == 10.5


class TestTheNextBatch:
    def test_takes_everybody_who_can_be_on_time(self) -> None:
        assert POLICY.next_batch([0.5] * 32, 100, SMALL_FIXED_COST, now=0.0) == (0, 32)

    def test_takes_a_single_request_at_once(self) -> None:
        assert POLICY.next_batch([0.5], 1, SMALL_FIXED_COST, now=0.0) == (0, 1)

    def test_is_the_largest_that_meets_its_earliest_deadline(self) -> None:
        deadlines = [0.111] + [0.5] * 31
        assert POLICY.next_batch(deadlines, 32, SMALL_FIXED_COST, now=0.0) == (0, 20)

    def test_is_small_for_an_urgent_head_if_the_others_have_time(self) -> None:
        deadlines = [0.016] + [0.5] * 31
        assert POLICY.next_batch(deadlines, 32, SMALL_FIXED_COST, now=0.0) == (0, 1)

    def test_gives_up_a_head_that_would_make_those_behind_late(self) -> None:
        deadlines = [0.105] * 3 + [0.140] * 29
        assert POLICY.next_batch(deadlines, 200, LARGE_FIXED_COST, now=0.0) == (3, 29)

    def test_gives_up_a_head_that_cannot_be_met_if_others_can(self) -> None:
        assert POLICY.next_batch([0.001, 0.5, 0.5], 3, SMALL_FIXED_COST, now=0.0) == (1, 2)

    def test_shrinks_a_little_rather_than_give_anybody_up(self) -> None:
        deadlines = [0.160] * 32
        assert POLICY.next_batch(deadlines, 200, SMALL_FIXED_COST, now=0.0) == (0, 30)

    def test_serves_somebody_even_when_nobody_can_be_on_time(self) -> None:
        start, size = POLICY.next_batch([0.001] * 10, 10, SMALL_FIXED_COST, now=0.0)
        assert (start, size) == (9, 1)

    def test_relies_on_the_typical_time_when_no_promise_can_be_kept(self) -> None:
        latency = LatencyModel.from_curve(LatencyPoint(size, 0.01 + 0.005 * size, 0.1) for size in (1, 2, 4))
        deadlines = [0.026] * 3  # enough for 3 typically, but not for the p99 of 1
        assert POLICY.next_batch(deadlines, 3, latency, now=0.0) == (0, 3)

    @given(
        slacks=st.lists(st.floats(1e-3, 2.0), min_size=1, max_size=32),
        behind=st.integers(0, 100),
        fixed=st.floats(0, 1),
        each=st.floats(0, 0.1),
    )
    def test_always_serves_somebody_and_nobody_who_was_not_there(
        self, slacks: list[float], behind: int, fixed: float, each: float
    ) -> None:
        start, size = POLICY.next_batch(
            sorted(slacks), len(slacks) + behind, learnt(affine(fixed, each)), now=0.0
        )
        assert 0 <= start < len(slacks)
        assert 1 <= size <= len(slacks) - start


class TestThePromise:
    def test_is_one_batch_when_nothing_is_ahead(self) -> None:
        assert POLICY.done_after(Ahead(0, 0.0), SMALL_FIXED_COST) == pytest.approx(0.015)

    def test_counts_the_running_batch_the_full_ones_and_the_own(self) -> None:
        done = POLICY.done_after(Ahead(requests=70, device_seconds=0.1), SMALL_FIXED_COST)
        assert done == pytest.approx(0.1 + 3 * 0.170)

    def test_expects_the_own_batch_to_be_as_large_as_the_one_before(self) -> None:
        done = POLICY.done_after(Ahead(requests=0, device_seconds=0.1, last_size=20), SMALL_FIXED_COST)
        assert done == pytest.approx(0.1 + 0.110)

    def test_counts_a_turn_of_the_other_models_before_each_batch(self) -> None:
        done = POLICY.done_after(
            Ahead(requests=32, device_seconds=0.0, turn_seconds=1.0, first_turn_seconds=1.0), SMALL_FIXED_COST
        )
        assert done == pytest.approx(2 * (1.0 + 0.170))

    def test_knows_that_batches_beyond_the_target_are_not_formed(self) -> None:
        strict = BatchPolicy(latency_target_seconds=0.061)
        done = strict.done_after(Ahead(requests=10, device_seconds=0.0), SMALL_FIXED_COST)
        assert done == pytest.approx(2 * 0.060)  # ten in one batch, the newcomer in the next

    def test_grows_with_the_number_ahead(self) -> None:
        promises = [
            POLICY.done_after(Ahead(ahead, 0.1, last_size=32), SMALL_FIXED_COST) for ahead in range(99)
        ]
        assert promises == sorted(promises)

    def test_is_nothing_while_nothing_is_known(self) -> None:
        assert POLICY.done_after(Ahead(100, 0.0), LatencyModel()) == 0.0


def test_a_share_of_the_target_is_kept_for_the_answers_and_none_of_a_callers_own_time() -> None:
    policy = BatchPolicy(latency_target_seconds=0.5, for_answers=0.1)
    assert policy.deadline(arrived=10.0) == 10.45
    assert policy.deadline(arrived=10.0, timeout_seconds=0.4) == 10.4
    one_second = LatencyModel.from_curve([LatencyPoint(1, 0.4, 0.4), LatencyPoint(2, 0.5, 0.5)])
    assert policy.full_size(one_second) == 1
