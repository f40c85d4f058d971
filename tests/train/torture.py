"""Kill a training at random moments, resume it, and compare: `python -m tests.train.torture --data PATH`.

Ten SIGKILLs in one short run, each followed by `--resume`; the best weights and the whole last state must be
those of a run left alone, bit for bit. Minutes, so not in the suite.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.train.outcome import outcome, same
from train import checkpoint

KILLS = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder or zip of images by class")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        alone, seconds = left_alone(command(given.data, root, "alone"), root / "alone")
        killed = killed_often(command(given.data, root, "killed"), root / "killed", rng, seconds)
        alike = same(alone, killed)
    print("bit-identical" if alike else "DIFFERENT")
    return 0 if alike else 1


def command(data: str, root: Path, name: str) -> list[str]:
    places = ["--output", root / name, "--models-dir", root / name / "models", "--cache", root / "cache"]
    short = ["--stem", "stock", "--epochs", "4", "--save-every-s", "0", "--name", "torture"]
    return [sys.executable, "-m", "train", "scratch", "--data", data, *short, *map(str, places)]


def left_alone(arguments: list[str], directory: Path) -> tuple[dict[str, Any], float]:
    """Its outcome, and the seconds it trained."""
    subprocess.run(arguments, check=True, capture_output=True)
    return outcome(directory), checkpoint.load(directory / "checkpoint.pt")["seconds"]


def killed_often(arguments: list[str], directory: Path, rng: random.Random, seconds: float) -> dict[str, Any]:
    """The outcome after `KILLS` kills, each at a random moment of a share of the training time."""
    kills, resumed = 0, arguments
    while kills < KILLS:
        process = subprocess.Popen(resumed, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        if process.stderr is None:
            raise RuntimeError("stderr is piped")
        for line in process.stderr:  # the clock starts with the training, not with the imports
            if "images to train on" in line:
                break
        try:
            process.wait(rng.uniform(0, 1.5 * seconds / KILLS))
            raise SystemExit(f"the run ended by itself, after {kills} kills; {process.stderr.read()}")
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        kills += 1
        print(f"kill {kills}: at {step(directory)}")
        resumed = [*arguments, "--resume"] if (directory / "checkpoint.pt").exists() else arguments
    subprocess.run(resumed, check=True, capture_output=True)
    return outcome(directory)


def step(directory: Path) -> str:
    path = directory / "checkpoint.pt"
    return f"step {checkpoint.load(path)['step']}" if path.exists() else "no checkpoint yet"


if __name__ == "__main__":
    sys.exit(main())
