"""The table of faults names tests and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.torture.__main__ import GROUPS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "faults.md").read_text()
SOURCES = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]


def test_the_faults_are_numbered_without_a_gap() -> None:
    numbers = {int(row.split("|")[1]) for row in ROWS}
    assert numbers == set(range(1, max(numbers) + 1))
    assert len(numbers) >= 67


def test_every_row_has_its_five_cells() -> None:
    for row in ROWS:
        assert row.count("|") == 6, row


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", PAGE))))
def test_every_test_in_the_table_exists(name: str) -> None:
    assert re.search(rf"def {name}\(", SOURCES)


def test_every_torture_group_in_the_table_exists_and_none_is_missing() -> None:
    held_by = [row.split("|")[5].partition("torture ")[2] for row in ROWS if "torture " in row]
    named = {group for cell in held_by for group in re.findall(r"`([a-z]+)`", cell)}
    assert named == set(GROUPS)
