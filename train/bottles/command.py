"""`python -m train bottles`: render a set, or lay some of a set's pictures out on one page."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from train.bottles import dataset, manifest
from train.bottles.manifest import Job
from train.bottles.sampling import SETS
from train.errors import DataError
from train.sheet import Tile, contact_sheet


def main(arguments: Sequence[str]) -> None:
    """`sheet ...`, or a set to render; raises TrainError."""
    if arguments[:1] == ["sheet"]:
        _sheet(arguments[1:])
    else:
        _render(arguments)


def _render(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m train bottles",
        description="Render bottles into folders by class; run again, it goes on. See docs/bottle.md. "
        "Also: `python -m train bottles sheet --help`.",
    )
    parser.add_argument("--out", type=Path, required=True, help="open/, closed/, unknown/ and manifest.jsonl")
    parser.add_argument("--count", type=_positive, required=True, help="pictures in all")
    parser.add_argument("--seed", type=_natural, default=0)
    parser.add_argument("--set", dest="which", choices=tuple(SETS), default="train")
    parser.add_argument("--processes", type=_positive, default=os.cpu_count() or 1)
    parser.add_argument("--short-side", type=_positive, default=144, help="pixels (default 144)")
    parser.add_argument(
        "--samples",
        type=_positive,
        default=16,
        help="paths a pixel, rounded up to a grid of them (default 16)",
    )
    given = parser.parse_args(arguments)
    job = Job(given.which, given.seed, given.short_side, given.samples)
    try:
        dataset.make(job, given.out, given.count, given.processes, print)
    except KeyboardInterrupt as stop:
        stop.add_note("the same command continues")
        raise


def _sheet(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m train bottles sheet")
    parser.add_argument("--renders", type=Path, required=True, help="a folder that `bottles` has filled")
    parser.add_argument("--out", type=Path, required=True, help="the page, .png or .jpg")
    parser.add_argument("--count", type=_positive, default=64)
    parser.add_argument("--seed", type=_natural, default=0, help="which pictures")
    given = parser.parse_args(arguments)
    lines = manifest.read(given.renders)
    if not lines:
        raise DataError(f"{given.renders}: no renders here")
    chosen = np.sort(np.random.default_rng(given.seed).permutation(len(lines))[: given.count])
    tiles = []
    for line in (lines[i] for i in chosen):
        with Image.open(given.renders / line["file"]) as picture:
            scene = line["scene"]
            tiles.append(Tile(picture.convert("RGB"), f"{line['index']} {scene['label']}\n{scene['reason']}"))
    contact_sheet(tiles).save(given.out)


def _positive(text: str) -> int:
    return _at_least(1, text)


def _natural(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    number = int(text)
    if number < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}")
    return number
