"""Objectives are read strictly; a difference within the noise is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.errors import BadObjectives
from loadtest.results import FIGURES
from loadtest.verdict import Objective, compare, read_objectives


def test_the_examples_are_understood() -> None:
    examples = sorted((Path(__file__).parents[2] / "loadtest" / "objectives").glob("*.toml"))
    assert [path.stem for path in examples] == ["ci", "impossible"]
    for path in examples:
        assert read_objectives(path, FIGURES)


def test_a_bound_is_met_on_its_line_and_a_figure_that_is_not_known_meets_nothing() -> None:
    at_most = Objective("response_ms_p99", 100, at_most=True)
    assert at_most.met(100)
    assert not at_most.met(100.1)
    assert not at_most.met(float("nan"))
    assert Objective("goodput_share", 0.9, at_most=False).met(0.9)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[objectives]",
        "[objectives]\nspeed = { at_most = 1 }",
        "[objectives]\nerror_share = 0",
        "[objectives]\nerror_share = { at_most = 0, at_least = 0 }",
        "[objectives]\nerror_share = { at_most = '0' }",
        "[other]\nerror_share = { at_most = 0 }",
        "not toml",
    ],
)
def test_what_is_not_understood_is_refused_and_the_file_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "slo.toml"
    path.write_text(text)
    with pytest.raises(BadObjectives, match=r"slo\.toml"):
        read_objectives(path, FIGURES)


def verdict(now: list[float], then: list[float]) -> str:
    [compared] = compare(*([{"response_ms_p99": value} for value in values] for values in (now, then)))
    return compared.verdict


def test_a_difference_smaller_than_that_between_repeats_is_none() -> None:
    assert verdict([100, 110, 120], [90, 100, 115]) == "same"
    assert verdict([150, 151, 152], [90, 100, 115]) == "worse"
    assert verdict([60, 61, 62], [90, 100, 115]) == "better"


def test_one_run_alone_is_trusted_to_a_tenth() -> None:
    assert verdict([108], [100]) == "same"
    assert verdict([112], [100]) == "worse"
