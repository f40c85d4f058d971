"""Stopping, without a clock."""

from service.drain import Drain


def test_a_drain_begins_at_once_and_is_over_after_its_grace() -> None:
    drain = Drain(grace_seconds=5)
    assert not drain.begun
    assert not drain.over(1e9)
    drain.begin(100)
    assert drain.begun
    assert not drain.over(104.9)
    assert drain.over(105)


def test_beginning_again_does_not_start_the_grace_anew() -> None:
    drain = Drain(grace_seconds=5)
    drain.begin(100)
    drain.begin(104)
    assert drain.over(105)
