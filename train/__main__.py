"""`python -m train`: train, fine-tune, evaluate, export, recalibrate, add a golden sample, import.

Exit codes: 0, 1 (one line of why), 2 usage or a missing package, 130 after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from models.artifact import one_line
from models.catalog import SHIPPED_MODELS
from models.errors import RotuloModelError
from models.manifest import NAME_PATTERN

try:
    from train import (
        evaluate,
        export,
        golden,
        import_weights,
        initial,
        photographs,
        process,
        recalibrate,
        run,
    )
    from train.bottles import command as bottles
    from train.distributed import join
    from train.errors import RunError, TrainError
    from train.flags import RUNS, add_cache, add_models_dir
    from train.interrupt import Interrupted
    from train.publish import Publication
    from train.recipe import RECIPES, Recipe, at_lr, at_size
except ModuleNotFoundError as missing:  # serving does without most of these, and so does `make serve`
    if __name__ != "__main__" or (missing.name or "").partition(".")[0] in ("models", "train"):
        raise
    print(f"error: {missing.name} is not installed: pip install -e '.[train]'", file=sys.stderr)
    sys.exit(2)


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    commands = {
        "evaluate": evaluate.main,
        "export": export.main,
        "golden": golden.main,
        "recalibrate": recalibrate.main,
        "import": import_weights.main,
        "bottles": bottles.main,
        "photographs": photographs.main,
    }
    command = commands.get(arguments[0], _train) if arguments else _train
    try:
        command(arguments if command is _train else arguments[1:])
    except (TrainError, RotuloModelError, OSError) as error:
        return _fail(str(error))
    except ValidationError as error:
        return _fail(one_line(error))
    except KeyboardInterrupt as stop:
        print("; ".join(["stopped", *getattr(stop, "__notes__", ())]), file=sys.stderr)
        return 128 + (stop.signum if isinstance(stop, Interrupted) else signal.SIGINT)
    return 0


def _fail(why: str) -> int:
    print(f"error: {why}", file=sys.stderr)
    return 1


def _train(arguments: Sequence[str]) -> None:
    given = _train_parser().parse_args(arguments)
    start = initial.load(given.init, given.init_models_dir) if given.init else None
    recipe = _recipe(given, start)
    name = given.name or (recipe.name if given.recipe else given.data.stem.lower())
    if not re.fullmatch(NAME_PATTERN, name):
        raise RunError(f"--name: {name!r} must be small letters, digits, '-' and '_', at most 64")
    options = run.Options(
        command=run.as_typed(arguments),
        data=given.data,
        directory=given.output or RUNS / name,
        cache=given.cache,
        bad_files=given.bad_files,
        resume=given.resume,
        dtype=given.dtype,
        save_every_s=given.save_every_s,
    )
    wanted = Publication(name, given.models_dir, given.target_precision)
    with join() as world:
        run.train(recipe, start, options, wanted, world)


def _recipe(given: argparse.Namespace, start: initial.Initial | None) -> Recipe:
    """The named recipe, fitted to the weights it starts from, with what the flags change."""
    recipe = RECIPES[given.recipe or ("finetune" if start else "scratch")]
    if start is None and any(phase.frozen_body for phase in recipe.phases):
        raise RunError(f"the recipe {recipe.name} starts from weights: give --init")
    recipe = start.adapt(recipe) if start else recipe
    recipe = at_lr(recipe, given.lr) if given.lr is not None else recipe
    changes = {
        "epochs": given.epochs,
        "batch_size": given.batch_size,
        "seed": given.seed,
        "network": {"stem": given.stem} if given.stem else None,
        "per_class": given.per_class,
        "resize": given.resize,
        "early_stop_epochs": given.early_stop,
        "flip": given.flip,
    }
    recipe = recipe.but(**{key: value for key, value in changes.items() if value is not None})
    return at_size(recipe, given.size) if given.size is not None else recipe


def _train_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m train",
        description="Train a ResNet-18 on a folder or zip of images by class. "
        "Also: `python -m train evaluate`, `export`, `recalibrate`, `golden`, `import`, `bottles` and "
        "`photographs`, each with `--help`.",
    )
    parser.add_argument("recipe", nargs="?", choices=sorted(RECIPES), help="default: finetune, or scratch")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder or zip by class, with or without train, val and test above; or a CIFAR-10 download",
    )
    parser.add_argument("--init", help="start from a model: its name, its directory, a .pth, or `imagenet`")
    parser.add_argument("--init-models-dir", type=Path, default=SHIPPED_MODELS, help="where --init NAME is")
    parser.add_argument("--name", help="of the model; default: the recipe's or the data's")
    parser.add_argument("--output", type=Path, help="checkpoint, logs, report (default: runs/NAME)")
    add_models_dir(parser)
    parser.add_argument("--resume", action="store_true", help="continue the run in --output")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--lr", type=float, help="peak learning rate; Muon's is scaled alike")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--size", type=int, help="side of the network's input in pixels")
    parser.add_argument("--stem", choices=("3x3", "stock"))
    parser.add_argument("--per-class", type=int, help="train on this many images of each class")
    parser.add_argument("--resize", choices=("stretch", "crop"))
    parser.add_argument("--no-flip", dest="flip", action="store_const", const=False,
                        help="mirror no image: where mirrored ones are of another class")  # fmt: skip
    parser.add_argument(
        "--early-stop", type=int, metavar="EPOCHS", help="end after so many without a better one"
    )
    parser.add_argument("--bad-files", choices=("skip", "fail"), default="skip")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--save-every-s", type=float, default=120.0, help="between checkpoints in an epoch")
    parser.add_argument(
        "--target-precision", type=_share, default=0.98, help="of answers not marked uncertain"
    )
    add_cache(parser)
    return parser


def _share(text: str) -> float:
    if not 0 < (value := float(text)) < 1:
        raise argparse.ArgumentTypeError("a share, such as 0.98")
    return value


if __name__ == "__main__":
    process.prepare()
    sys.exit(main(sys.argv[1:]))
