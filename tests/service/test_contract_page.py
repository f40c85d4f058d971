"""docs/contract.md says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

from service.contract import ERRORS
from service.errors import PROBLEMS
from service.v2.responses import input_descriptions, output_descriptions

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "contract.md").read_text()


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every line of every table, without code marks."""
    lines = [line for line in text.splitlines() if line.startswith("| `") or re.match(r"\| \d", line)]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_statuses_are_those_of_the_one_table() -> None:
    written = [(int(status), kind, title) for status, kind, title, _ in rows(section("Statuses"))]
    assert set(written) == {(problem.status, problem.kind, problem.title) for problem in PROBLEMS.values()}
    assert len(written) == len(set(written))


def test_the_routes_are_those_that_are_served() -> None:
    written = [route.split()[1] for cells in rows(section("Routes")) for route in cells[0].split(", ")]
    assert sorted(written) == sorted(ERRORS)


def test_the_tensors_are_those_of_the_metadata() -> None:
    described = [*input_descriptions(32), *output_descriptions(10)]
    assert [cells[:2] for cells in rows(section("Open Inference Protocol"))] == [
        [tensor["name"], tensor["datatype"]] for tensor in described
    ]
