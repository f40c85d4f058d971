"""docs/configuration.md has every setting as it is."""

from __future__ import annotations

from service.settings import PREFIX, Settings
from tests.configuration_page import PAGE, TABLE, table


def test_the_page_is_what_the_settings_say() -> None:
    written = TABLE.findall(PAGE.read_text() + "\n")
    assert written == [table()], "python -m tests.configuration_page writes the table anew"


def test_every_setting_has_a_row_with_a_meaning() -> None:
    rows = table().splitlines()[2:]
    assert len(rows) == len(Settings.model_fields)
    for name, row in zip(Settings.model_fields, rows, strict=True):
        assert f"`{PREFIX}{name.upper()}`" in row
        assert len(row.split(" | ")[-1]) > len("x |")
