"""`python -m train photographs`: the bottle model on photographs of one's own, measured and fine-tuned.

They come as folders (`open/ closed/ [unknown/]`, or the old service's `img_path_aberta/ img_path_fechada/`),
or as a CSV of `Image Name,Status` with the images beside it. They are gathered into one folder by class
first, so that every other command takes them too.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models import artifact
from models.artifact import Artifact
from models.catalog import SHIPPED_MODELS
from train import data, evaluate, initial, loop, run, splits
from train.bottles import sampling, textures
from train.bottles.parameters import LABELS
from train.bottles.photograph import develop
from train.data import Images
from train.distributed import join
from train.errors import DataError, RunError
from train.flags import RUNS, add_cache, add_models_dir
from train.publish import Publication
from train.recipe import PHOTOGRAPHS, Recipe, at_lr
from train.sources import open_source

# What people call the classes. 0 and 1 are not among them: the old service's labels read inverted, so only
# the owner of a CSV knows which is which (--status).
NAMES = {
    "open": "open", "aberta": "open", "aberto": "open", "img_path_aberta": "open",
    "closed": "closed", "fechada": "closed", "fechado": "closed", "img_path_fechada": "closed",
    "unknown": "unknown", "desconhecida": "unknown", "incerta": "unknown",
}  # fmt: skip
CLASSES = tuple(sorted(LABELS))  # as a folder by class gives them
COLLAGE_PX = 224


@dataclass(frozen=True)
class Photograph:
    """A file and its class."""

    path: Path
    label: str


def main(arguments: Sequence[str]) -> None:
    """Gather, measure, fine-tune unless told not to, measure again; raises TrainError."""
    given = _parser().parse_args(arguments)
    model = evaluate.find_artifact(given.init, given.init_models_dir)
    if model.manifest.classes != CLASSES:
        raise RunError(
            f"{given.init} is no bottle model: its classes are {', '.join(model.manifest.classes)}"
        )
    found = list(find(given.data, _names(given.status)))
    if given.measure:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "photographs"
            gather(found, folder)
            print(words("all photographs", model, _images(model, folder, given.cache)))
        if not _saw_renders_alone(model):
            evaluate.warn_of_flattery(model)
        return
    folder = given.output / "photographs"
    if any(photograph.path.resolve().is_relative_to(folder.resolve()) for photograph in found):
        raise RunError(
            f"{folder} is where photographs are gathered: keep your own elsewhere, or give --output"
        )
    run.check_directory(given.output, [(given.output / loop.CHECKPOINT).exists()], given.resume)
    gather(found, folder)
    if not (folder / "unknown").exists():
        count = Counter(photograph.label for photograph in found).most_common()[-1][1]
        print(
            f"no photographs of `unknown`: {count} collages stand in; mouths out of the frame would be better"
        )
        set_test_aside(folder, _images(model, folder, given.cache), given.seed)
        write_collages(folder / "train" / "unknown", count)
    _fine_tune(model, folder, given, run.as_typed(["photographs", *arguments]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train photographs",
        description="Fine-tune the bottle model on photographs of your own; reports before and after.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folders by class, or a CSV file")
    parser.add_argument("--status", nargs=2, action="append", default=[], metavar=("WORD", "CLASS"),
                        help="what a word of the CSV means: --status 0 open --status 1 closed")  # fmt: skip
    parser.add_argument("--measure", action="store_true", help="only measure, on every photograph")
    parser.add_argument("--init", default="bottle", help="the model to start from (default: the shipped one)")
    parser.add_argument("--init-models-dir", type=Path, default=SHIPPED_MODELS)
    parser.add_argument("--output", type=Path, default=RUNS / "photographs")
    add_models_dir(parser)
    parser.add_argument("--epochs", type=int, default=PHOTOGRAPHS.epochs)
    parser.add_argument("--lr", type=float, default=PHOTOGRAPHS.peak_lr, help="peak; Muon's is scaled alike")
    parser.add_argument("--per-class", type=int, help="train on this many of each class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="continue the run in --output")
    add_cache(parser)
    return parser


def _names(given: Iterable[tuple[str, str]]) -> dict[str, str]:
    for word, label in given:
        if label not in LABELS:
            raise DataError(f"--status {word}: {label!r} is not one of {', '.join(LABELS)}")
    return NAMES | {word.strip().casefold(): label for word, label in given}


def find(path: Path, names: dict[str, str]) -> Iterator[Photograph]:
    """Every photograph under a folder by class, or in a CSV; raises DataError in one line."""
    if path.is_file():
        return _listed(path, names)
    if path.is_dir():
        return _foldered(path, names)
    raise DataError(f"{path}: neither a folder nor a CSV file")


def _foldered(root: Path, names: dict[str, str]) -> Iterator[Photograph]:
    known = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and _class(folder.name, names)]
    if not known:
        raise DataError(f"{root}: no folder is named after a class, such as open/ or img_path_aberta/")
    for folder in known:
        label = names[folder.name.casefold()]
        files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name[0] != ".")
        yield from (Photograph(path, label) for path in files)


def _listed(path: Path, names: dict[str, str]) -> Iterator[Photograph]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            lines = list(csv.DictReader(file, skipinitialspace=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not a CSV file in UTF-8") from error
    for number, line in enumerate(lines, start=2):
        name, status = line.get("Image Name"), line.get("Status")
        if not name or status is None:
            raise DataError(f"{path}, line {number}: needs the columns Image Name and Status")
        label = _class(status, names)
        if label is None:
            raise DataError(
                f"{path}, line {number}: the status {status!r} could mean either; "
                f"say which with --status {status.strip() or 'WORD'} open (or closed, unknown)"
            )
        if not (photograph := path.parent / name.strip()).is_file():
            raise DataError(f"{path}, line {number}: there is no file {name.strip()}")
        yield Photograph(photograph, label)


def _class(word: str, names: dict[str, str]) -> str | None:
    return names.get(word.strip().casefold())


def gather(photographs: Sequence[Photograph], folder: Path) -> None:
    """Link (or copy) them to `folder/CLASS/`, each file once, under names that tell them apart; starts that
    folder anew.

    Raises DataError unless there are open and closed ones.
    """
    for label in ("open", "closed"):
        if not any(photograph.label == label for photograph in photographs):
            raise DataError(f"no photograph is of the class {label}")
    for name in (*LABELS, "train", "test"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for photograph in photographs:
        source = photograph.path.resolve()
        mark = hashlib.sha256(str(source).encode()).hexdigest()[:8]
        target = folder / photograph.label / f"{source.stem}-{mark}{source.suffix}"
        if target.exists():  # listed twice, or a link beside it
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without links
            shutil.copy2(source, target)


def set_test_aside(folder: Path, images: Images, seed: int) -> None:
    """Move what was gathered, `images`, to `train/` and `test/`: what joins `train/` later is not tested on.

    Raises DataError for too few of a class.
    """
    test = splits.split(images, PHOTOGRAPHS.validation_fraction, PHOTOGRAPHS.test_fraction, seed).test
    for label in images.classes:
        (folder / "test" / label).mkdir(parents=True)
        (folder / "train").mkdir(exist_ok=True)
        (folder / label).rename(folder / "train" / label)
    for path in images.take(test).paths:
        (folder / "train" / path).rename(folder / "test" / path)


def write_collages(folder: Path, count: int) -> None:
    """Pictures of nothing, so that a model that learns from two classes alone does not forget the third."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        rng = np.random.default_rng([5, index])
        photo = sampling.scene("train", 5, index).photo
        picture = develop(textures.collage(rng, COLLAGE_PX, COLLAGE_PX), photo, (5, index))
        (folder / f"collage-{index:05}.jpg").write_bytes(picture)


def _images(model: Artifact, folder: Path, cache: Path) -> Images:
    images, rejected = data.load(open_source(folder), model.manifest.preprocessing, cache)
    data.warn_of(rejected)
    return images


def words(what: str, model: Artifact, images: Images) -> str:
    """The figures of a model on some images, for people."""
    calibration = model.manifest.calibration
    answers = evaluate.answer(model, evaluate.in_classes_of(model, images))
    figures = evaluate.summary(answers, calibration) | evaluate.separation(answers, calibration)
    each = ", ".join(f"{name} {100 * share:.1f} %" for name, share in figures["per_class_accuracy"].items())
    return (
        f"{model.manifest.name}/{model.manifest.version} on {what}: {100 * figures['accuracy']:.2f} % of "
        f"{figures['images']} right ({each}); ECE {figures['ece']:.4f}; "
        f"sure of {100 * figures['coverage']:.1f} %, of which {100 * figures['precision']:.2f} % right"
    )


def _saw_renders_alone(model: Artifact) -> bool:
    """The shipped one did: it cannot know a photograph."""
    return model.directory.resolve().is_relative_to(SHIPPED_MODELS.resolve())


def _target(model: Artifact) -> float:
    return float(model.manifest.metrics.get("target_precision", 0.98))


def _recipe(given: argparse.Namespace) -> Recipe:
    return at_lr(PHOTOGRAPHS, given.lr).but(epochs=given.epochs, per_class=given.per_class, seed=given.seed)


def _fine_tune(model: Artifact, folder: Path, given: argparse.Namespace, command: str) -> None:
    start = initial.load(str(model.directory), given.init_models_dir)
    if _saw_renders_alone(model):
        start = replace(start, recorded_test=None)
    recipe = start.adapt(_recipe(given))
    options = run.Options(command, folder, given.output, given.cache, "skip", given.resume, "auto", 120.0)
    wanted = Publication(model.manifest.name, given.models_dir, _target(model))
    images = _images(model, folder, given.cache)
    test = images.take(
        splits.split(images, recipe.validation_fraction, recipe.test_fraction, recipe.seed).test
    )
    with join() as world:
        directory = run.train(recipe, start, options, wanted, world)
    if directory is not None:
        print(words("the test photographs, before", model, test))
        print(words("the test photographs, after", artifact.load(directory), test))
