"""A figure reads the same in every table."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from loadtest.charts import ms, number, share


@pytest.mark.parametrize("form", [number, ms, share])
@pytest.mark.parametrize("unknown", [None, math.nan, math.inf])
def test_what_is_not_known_is_a_dash(form: Callable[[float | None], str], unknown: float | None) -> None:
    assert form(unknown) == "–"


def test_figures_have_as_many_digits_as_tell_them() -> None:
    assert [number(value) for value in (0.05, 1.5, 230.4, 12_000)] == ["0.05", "1.5", "230", "12,000"]
    assert [ms(value) for value in (0.254, 9.5, 81.34, 1234.5)] == ["0.25", "9.50", "81.3", "1,234.5"]
    assert [share(value) for value in (0.0004, 0.5, 1.0)] == ["0.04%", "50.00%", "100.00%"]
