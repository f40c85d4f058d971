"""Figures as text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.formats import duration, exact_percent, named, number, percent, seconds
from ui.words import LANGUAGES

EN, PT = LANGUAGES["en"], LANGUAGES["pt"]


def spaced(text: str) -> str:
    return text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.97, "97 %"),
        (1.0, "100 %"),
        (0.9996, "> 99.9 %"),
        (0.999999, "> 99.9 %"),
        (0.9989, "99.8 %"),
        (0.996, "99.6 %"),
        (0.41688, "42 %"),
        (0.0051, "0.5 %"),
        (0.0004, "< 0.1 %"),
        (0.0, "0 %"),
    ],
)
def test_a_confidence_as_a_person_reads_it(share: float, text: str) -> None:
    assert spaced(percent(share, EN)) == text


def test_portuguese_has_its_own_marks() -> None:
    assert spaced(percent(0.996, PT)) == "99,6 %"
    assert number(10_000, PT) == "10.000"
    assert number(10_000, EN) == "10,000"


@given(st.floats(0, 1))
def test_certainty_is_claimed_only_where_it_is_exact(share: float) -> None:
    text = spaced(percent(share, EN))
    assert (text == "100 %") == (share == 1)
    assert (text == "0 %") == (share == 0)


@given(st.floats(0, 1))
def test_what_is_shown_is_within_half_a_point_of_the_truth(share: float) -> None:
    (figure,) = re.findall(r"[\d.]+", percent(share, EN))
    assert abs(float(figure) - share * 100) <= 0.5 + 1e-9


@given(st.floats(0.99, 1))
def test_near_certainty_nothing_is_rounded_up(share: float) -> None:
    (figure,) = re.findall(r"[\d.]+", percent(share, EN))
    assert float(figure) <= share * 100 + 1e-9


def test_measured_shares_have_one_digit() -> None:
    assert spaced(exact_percent(0.8968, EN)) == "89.7 %"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0.04, "0.0 ms"), (3.56, "3.6 ms"), (9.96, "10 ms"), (16, "16 ms"), (1234, "1.2 s")],
)
def test_a_duration_has_about_two_digits(milliseconds: float, text: str) -> None:
    assert spaced(duration(milliseconds, EN)) == text


def test_of_very_many_classes_the_first_are_named_and_all_are_counted() -> None:
    assert named(["cat", "plum"], PT) == named(["cat", "plum"], PT, 2) == "gato, plum"
    assert named(["cat"] * 1000, EN, 2) == "cat, cat, … (1,000)"


def test_nobody_is_told_to_come_back_too_early() -> None:
    assert spaced(seconds(0.12, EN)) == "1 s"
    assert spaced(seconds(2.0, EN)) == "2 s"
