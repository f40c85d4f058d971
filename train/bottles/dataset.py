"""A folder of renders by class, made by several processes; a second call goes on where the first stopped."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from train.bottles import manifest, rendering, sampling
from train.bottles.manifest import Job
from train.bottles.parameters import LABELS
from train.errors import RunError


def make(job: Job, directory: Path, count: int, processes: int, say: Callable[[str], None]) -> None:
    """`directory/CLASS/000000.jpg` for the first `count` scenes of `job`, and the manifest.

    Raises RunError without Mitsuba, DataError where the folder holds other renders.
    """
    rendering.require_mitsuba()
    directory.mkdir(parents=True, exist_ok=True)
    done = manifest.done(directory, job)
    missing = [index for index in range(count) if index not in done]
    say(f"{len(done)} of {count} are there already")
    if job.which not in ("bottle-free", "mouth-out"):
        for label in LABELS:
            (directory / label).mkdir(exist_ok=True)
    for finished, line in enumerate(_rendered(job, directory, missing, processes), start=1):
        manifest.append(directory, line)
        if finished % 100 == 0 or finished == len(missing):
            say(f"{len(done) + finished} of {count}")


def render_one(job: Job, directory: Path, index: int) -> dict[str, Any]:
    """Render one scene to its file, whole or not at all; returns its line of the manifest."""
    scene = sampling.scene(job.which, job.seed, index, job.short_side_px)
    file = f"{scene.label}/{index:06}.jpg"
    target = directory / file
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_suffix(".new")
    scratch.write_bytes(rendering.picture(scene, job.samples))
    scratch.replace(target)
    return manifest.row(job, index, file, scene)


def _rendered(job: Job, directory: Path, missing: list[int], processes: int) -> Iterator[dict[str, Any]]:
    """As they are finished. Processes are started anew: a fork would share Mitsuba's state."""
    if processes == 1:
        yield from (render_one(job, directory, index) for index in missing)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _ignore_interrupts) as pool:
        futures: list[Future[dict[str, Any]]] = [
            pool.submit(render_one, job, directory, index) for index in missing
        ]
        try:
            yield from (future.result() for future in as_completed(futures))
        except BrokenProcessPool as error:
            raise RunError("a rendering process was killed; the same command goes on") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal: the first one decides."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
