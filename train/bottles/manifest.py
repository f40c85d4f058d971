"""`manifest.jsonl` beside the pictures: a line for each, with everything that it was made from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from train.bottles import placing
from train.bottles.parameters import Scene
from train.bottles.sampling import Set
from train.bottles.scenes import SAMPLER
from train.errors import DataError

FILE = "manifest.jsonl"


@dataclass(frozen=True)
class Job:
    """What one folder of renders is; every picture in it belongs to the same."""

    which: Set
    seed: int
    short_side_px: int
    samples: int
    sampler: str = SAMPLER


def row(job: Job, index: int, file: str, scene: Scene) -> dict[str, Any]:
    """A line of the manifest as a dict; its `regions` are the mouths (`train/regions.py`)."""
    mouths = [[round(edge, 4) for edge in mouth] for mouth in placing.mouths(scene)]
    return {"file": file, "index": index, **asdict(job), "regions": mouths, "scene": asdict(scene)}


def append(directory: Path, line: dict[str, Any]) -> None:
    """Add a line; one cut short by a kill is left out when it is read."""
    with (directory / FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read(directory: Path) -> list[dict[str, Any]]:
    """Every whole line, in the order of the index; none where there is no manifest."""
    path = directory / FILE
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    try:
        lines: list[dict[str, Any]] = [json.loads(line) for line in whole.splitlines()]
        return sorted(lines, key=lambda line: int(line["index"]))
    except (ValueError, KeyError) as error:
        raise DataError(f"{path}: not a manifest of renders") from error


def done(directory: Path, job: Job) -> set[int]:
    """The indices that are rendered already; raises DataError where the folder holds another job's."""
    lines = read(directory)
    for line in lines:
        found = Job(**{key: line.get(key) for key in asdict(job)})  # type: ignore[arg-type]
        if found != job:
            raise DataError(f"{directory} holds renders of {found}, not of {job}")
    return {int(line["index"]) for line in lines}
