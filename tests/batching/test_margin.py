"""What is kept free before a deadline."""

from batching.margin import Margin


def learnt(*seconds: float) -> Margin:
    margin = Margin()
    for each in seconds:
        margin.observe(each)
    return margin


def test_nothing_is_kept_free_before_anything_was_seen() -> None:
    assert learnt().seconds == 0.0


def test_a_pause_is_not_a_habit() -> None:
    assert learnt(*[0.001] * 40, 0.04).seconds == 0.001


def test_what_happens_twice_is() -> None:
    assert learnt(*[0.001] * 40, 0.03, 0.04).seconds == 0.03


def test_what_is_long_past_is_forgotten() -> None:
    assert learnt(0.03, 0.03, *[0.001] * 64).seconds == 0.001
