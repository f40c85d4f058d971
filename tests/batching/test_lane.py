"""What a lane refuses, with what it says about coming back."""

from batching.lane import Lane, Refusal
from batching.latency import LatencyModel
from batching.policy import BatchPolicy, CloseReason, RefusalReason
from batching.waiting import Ticket
from tests.batching.world import affine, learnt


def lane() -> Lane[Ticket]:
    """100 images a second, a target of 100 ms."""
    return Lane(BatchPolicy(0.1), learnt(affine(0.0, 0.01)))


def refusal(
    count: int,
    device_seconds: float = 0.0,
    *,
    coming: int = 0,
    of: Lane[Ticket] | None = None,
    now: float = 0.0,
) -> Refusal | None:
    """Of ``count`` images due in 100 ms, a moment after a batch of one."""
    asked = of or lane()
    asked.line.offer(Ticket(0.0, 10.0))
    asked.close_batch(0.0)
    return asked.refusal(
        now + 0.1,
        now=now,
        device_seconds=device_seconds,
        turn_seconds=0.0,
        first_turn_seconds=0.0,
        count=count,
        coming=coming,
    )


def test_as_many_as_can_be_answered_in_time_are_taken() -> None:
    assert refusal(count=8) is None


def test_too_many_behind_a_running_batch_are_told_when_to_come_back() -> None:
    refused = refusal(count=64, device_seconds=0.05)
    assert refused is not None
    assert refused.reason is RefusalReason.DEADLINE
    assert refused.retry_after_seconds > 0


def test_too_many_even_for_an_idle_device_are_not_told_to_come_back() -> None:
    assert refusal(count=64) == Refusal(RefusalReason.EXPIRED, 0.0)


def test_those_on_their_way_to_the_line_are_ahead() -> None:
    assert refusal(count=2, coming=6) is None
    for device_seconds in (0.0, 0.05):
        refused = refusal(count=2, coming=15, device_seconds=device_seconds)
        assert refused is not None
        assert refused.reason is RefusalReason.DEADLINE
        assert refused.retry_after_seconds > 0


def test_one_is_taken_by_an_idle_device_whoever_is_on_the_way() -> None:
    assert refusal(count=1, coming=15) is None
    assert refusal(count=1, coming=15, device_seconds=0.05) is not None


def test_who_is_on_the_way_takes_no_place_in_the_line() -> None:
    one: Lane[Ticket] = Lane(BatchPolicy(0.1, max_waiting=4), learnt(affine(0.0, 0.01)))
    assert refusal(count=4, coming=4, of=one) is None


def test_several_that_an_idle_device_typically_answers_in_time_are_taken() -> None:
    """8 in 80 ms, and in 120 one time in ten."""
    noisy = LatencyModel([(size, 0.01 * size) for size in (1, 2, 4, 8, 16, 32)])
    for number in range(120):
        noisy.observe(8, 0.12 if number % 10 == 0 else 0.08)
    assert noisy.p99(8) > 0.1
    assert refusal(count=8, of=Lane(BatchPolicy(0.1), noisy)) is None


def test_several_are_not_measured_by_the_large_batch_before_them() -> None:
    one = lane()
    one.last_size = 32
    assert refusal(count=9, of=one) is None


def test_what_comes_first_after_a_targets_time_is_tried_whatever_is_known() -> None:
    assert refusal(count=64, now=0.09) == Refusal(RefusalReason.EXPIRED, 0.0)
    assert refusal(count=64, now=0.1) is None
    assert refusal(count=1, device_seconds=0.095, now=0.09) is not None
    assert refusal(count=1, device_seconds=0.095, now=0.1) is None
    assert refusal(count=1, device_seconds=5.0, now=0.1) is not None  # it may hang


def test_one_with_nothing_ahead_of_it_is_taken_whatever_the_prediction() -> None:
    assert refusal(count=1, of=Lane(BatchPolicy(0.1), learnt(affine(5.0, 0.0)))) is None


def test_a_batch_keeps_the_device_no_longer_than_others_can_bear() -> None:
    one = lane()
    for _ in range(10):
        one.line.offer(Ticket(0.0, 10.0))
    closed = one.close_batch(0.0, most_seconds=0.04)
    assert (len(closed.tickets), len(one.line)) == (4, 6)
    assert closed.reason is CloseReason.FULL


def test_one_image_is_run_even_where_it_takes_longer_than_others_can_bear() -> None:
    one = lane()
    one.line.offer(Ticket(0.0, 10.0))
    assert len(one.close_batch(0.0, most_seconds=0.001).tickets) == 1


def test_half_the_throughput_is_kept_however_little_others_can_bear() -> None:
    """30 ms and 1 ms an image: 32 in 62 ms; half of that rate needs 11 in 41."""
    one: Lane[Ticket] = Lane(BatchPolicy(0.1), learnt(affine(0.030, 0.001)))
    for _ in range(32):
        one.line.offer(Ticket(0.0, 10.0))
    assert len(one.close_batch(0.0, most_seconds=0.001).tickets) == 11
