"""The service as its callers see it, beside a server that does nothing."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from loadtest import bodies
from loadtest.bodies import Body
from loadtest.described import describe, get
from loadtest.scrape import parse, total
from loadtest.serving import serving
from service.flask_app.routes import MODEL_OF
from tests.bench import closed_loop
from tests.bench.subjects import Subject

CONNECTIONS = (1, 64)
# A closed loop asks what the service can do at most. Whom it refuses when is for the open loop of `loadtest`.
PATIENT = ("--latency-target-ms", "30000")
FLOOR = "/"
_COLUMNS = ("requests/s", "p50 ms", "p99 ms", "not 200", "mean batch", "CPU ms/request", "memory MB")


@dataclass(frozen=True)
class Target:
    """A path of a running server, what is posted to it, and the process that answers."""

    title: str
    url: str
    path: str
    sent: Sequence[Body]
    process: psutil.Process

    def batches(self) -> tuple[float, float]:
        """Images and batches so far."""
        if self.path == FLOOR:
            return 0, 0
        samples = parse(get(f"{self.url}/metrics"))
        return total(samples, "rotulo_batch_size_sum"), total(samples, "rotulo_batch_size_count")

    def cpu_seconds(self) -> float:
        """User and system, of all threads."""
        return float(sum(self.process.cpu_times()[:2]))


def table(subjects: Sequence[Subject], seconds: int, log: Path) -> Iterator[str]:
    """Lines of Markdown; `log` takes what the service prints."""
    yield f"\n| model, engine | route | connections |{''.join(f' {name} |' for name in _COLUMNS)}"
    yield "|---|---|" + "---:|" * (1 + len(_COLUMNS))
    for subject in subjects:
        raw = [bodies.raw(image) for image in subject.images]
        with floor() as (url, process):
            yield from _lines(Target(f"{subject.title}, none", url, FLOOR, raw, process), seconds)
        with serving(log, ["--models-dir", str(subject.models_dir), *PATIENT]) as served:
            process = psutil.Process(served.process.pid if served.process else None)
            title = f"{subject.title}, {describe(served.url, subject.model).engine}"
            for path, sent in _routes(subject, raw):
                yield from _lines(Target(title, served.url, path, sent, process), seconds)


def _routes(subject: Subject, raw: Sequence[Body]) -> Iterator[tuple[str, Sequence[Body]]]:
    """The native route, and the Flask one where the model has one."""
    yield f"/v1/models/{subject.model}/predict", raw
    for path, model in MODEL_OF.items():
        if model == subject.model:
            yield path, [bodies.multipart([image], "image") for image in subject.images]


def _lines(target: Target, seconds: int) -> Iterator[str]:
    for connections in CONNECTIONS:
        closed_loop.run(target.url + target.path, target.sent, connections, 1)
        yield f"| {target.title} | {target.path} | {connections} |{_measured(target, connections, seconds)}"


def _measured(target: Target, connections: int, seconds: int) -> str:
    images, batches = target.batches()
    cpu_seconds = target.cpu_seconds()
    answers = closed_loop.run(target.url + target.path, target.sent, connections, seconds)
    cpu_ms = 1000 * (target.cpu_seconds() - cpu_seconds) / max(1, answers.answered + answers.failed)
    images, batches = (
        after - before for after, before in zip(target.batches(), (images, batches), strict=True)
    )
    memory_mb = target.process.memory_info().rss / 1e6
    return cells(answers, images, batches) + f" {cpu_ms:.3f} | {memory_mb:.0f} |"


def cells(answers: closed_loop.Answers, images: float, batches: float) -> str:
    """Requests/s, p50 and p99 in ms, how many were not 200, and the mean batch, as cells of Markdown."""
    figures = (
        f"{answers.answered / answers.seconds:,.0f}",
        f"{answers.p50_ms:.2f}",
        f"{answers.p99_ms:.2f}",
        f"{answers.failed}",
        f"{images / batches:.1f}" if batches else "",
    )
    return "".join(f" {figure} |" for figure in figures)


@contextlib.contextmanager
def floor() -> Iterator[tuple[str, psutil.Process]]:
    """URL and process of the server that does nothing; it listens when its port is known."""
    command = [sys.executable, "-m", "tests.bench.floor"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}", psutil.Process(server.pid)
        finally:
            server.terminate()
