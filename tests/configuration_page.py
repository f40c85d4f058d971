"""The table of docs/configuration.md: `python -m tests.configuration_page` writes it from the settings."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from models.catalog import SHIPPED_MODELS
from service.process.cpus import available_cpus
from service.settings import PREFIX, Settings, flag
from tests.markdown import ROOT

PAGE = ROOT / "docs" / "configuration.md"
COLUMNS = ("setting", "flag", "environment variable", "default", "may be", "meaning")
TABLE = re.compile(rf"^\| {COLUMNS[0]} \|.*?\n(?!\|)", re.MULTILINE | re.DOTALL)
DEFAULTS: dict[Any, str] = {None: "none", "": "none", SHIPPED_MODELS: "the shipped models"}
FACTORIES: dict[Any, str] = {available_cpus: "the processors it may use"}
BOUNDS = {"ge": "from", "gt": "above", "le": "to", "lt": "below", "min_length": "characters, at least"}


def table() -> str:
    """One row for every setting, in the order of the class."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS)]
    rows += [row(name, field) for name, field in Settings.model_fields.items()]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def row(name: str, field: FieldInfo) -> tuple[str, ...]:
    """The cells of one setting."""
    is_switch = field.annotation is bool
    flags = f"`{flag(name)}`" + (f", `{flag('no_' + name)}`" if is_switch else "")
    values = "`true`, `false`" if is_switch else choices(field) or bounds(field)
    return f"`{name}`", flags, f"`{PREFIX}{name.upper()}`", default(field), values, field.description or ""


def default(field: FieldInfo) -> str:
    """What holds where nothing is set."""
    if field.default_factory is not None:
        return FACTORIES[field.default_factory]
    if isinstance(field.default, bool):
        return f"`{str(field.default).lower()}`"
    if isinstance(field.default, str | Path) or field.default is None:
        return DEFAULTS.get(field.default, f"`{field.default}`")
    return f"`{str(field.default).removesuffix('.0')}`"


def choices(field: FieldInfo) -> str:
    """The words that are allowed, of a setting that is one of a few."""
    is_choice = get_origin(field.annotation) is Literal
    return ", ".join(f"`{word}`" for word in get_args(field.annotation)) if is_choice else ""


def bounds(field: FieldInfo) -> str:
    """The range of a number, or how short a text may be."""
    inner = [
        getattr(part, "__metadata__", ()) for part in get_args(field.annotation)
    ]  # of `Annotated | None`
    rules = [*field.metadata, *(rule for given in chain(*inner) for rule in given.metadata)]
    found = [(word, getattr(rule, name, None)) for name, word in BOUNDS.items() for rule in rules]
    return " ".join(f"{word} {value}" for word, value in found if value is not None)


if __name__ == "__main__":
    PAGE.write_text(TABLE.sub(lambda _: table(), PAGE.read_text() + "\n").rstrip("\n") + "\n")
