"""Flags that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.catalog import SHIPPED_MODELS
from train.data import CACHE

RUNS = Path("runs")


def add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"decoded images (default {CACHE})")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model: `evaluate.find_artifact` takes both."""
    parser.add_argument("--model", required=True, help="a model's name, or its version's directory")
    parser.add_argument("--models-dir", type=Path, default=SHIPPED_MODELS, help="where a name is looked for")


def add_models_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models-dir", type=Path, default=RUNS / "models", help="where the model goes")
