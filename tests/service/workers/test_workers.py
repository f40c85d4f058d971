"""Several workers as an operator and callers see them: real processes behind one real socket."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests.conftest import ImageMaker
from tests.live import TOKEN, Response, send
from tests.service.test_lifecycle import ROOT, command, post, started

PREDICT = "/v1/models/cifar10/predict"
ADMIN = "/admin/models/cifar10"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}
TWO = (
    "--workers",
    "2",
    "--admin-token",
    TOKEN,
    "--latency-target-ms",
    "60000",
    "--drain-grace-seconds",
    "0.2",
)


class Workers:
    """A running service of two, over a models directory of its own."""

    def __init__(self, process: subprocess.Popen[str], port: int, models: Path) -> None:
        self.process, self.port, self.models = process, port, models

    def pids(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.process.pid).children()]

    def request(self, method: str, path: str, body: str | bytes | None = None) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with closing(connection):
            return send(connection, method, path, body, AUTHORISED)

    def metrics(self) -> dict[str, float]:
        """All samples of a scrape, by name and labels."""
        lines = self.request("GET", "/metrics").body.decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def wait(self, holds: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        """Scrapes until something holds; each is an HTTP round trip, and they are bounded."""
        for _ in range(20_000):
            if holds(scraped := self.metrics()):
                return scraped
        raise AssertionError(f"never: {scraped}")

    def wait_for_line(self, pattern: str) -> str:
        """Reads what is printed up to a line with this in it."""
        assert self.process.stdout is not None
        return next(line for line in self.process.stdout if re.search(pattern, line))

    def versions(self) -> set[str]:
        """What answers in any worker, by the metrics, which ask all."""
        names = [name for name in self.metrics() if name.startswith("rotulo_model_info")]
        return set(re.findall(r'version="(\d+)"', "".join(names)))

    def replace(self, pid: int) -> None:
        """Kill one, and wait until another serves in its place."""
        restarts = self.metrics()["rotulo_worker_restarts_total"]
        kill(pid)
        self.wait(lambda now: now["rotulo_worker_restarts_total"] > restarts and now["rotulo_workers"] == 2)


def kill(pid: int) -> None:
    """Until it is gone, the kernel may still send it connections; those are reset."""
    process = psutil.Process(pid)
    process.kill()
    psutil.wait_procs([process], timeout=60)


@pytest.fixture(scope="module")
def shelf(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1, to which the tests add."""
    root = tmp_path_factory.mktemp("shelf")
    shutil.copytree(models_dir / "cifar10" / "1", root / "cifar10" / "1")
    return root


@pytest.fixture(scope="module")
def workers(shelf: Path) -> Iterator[Workers]:
    with started("--models-dir", str(shelf), *TWO) as (process, port, printed):
        assert len(re.findall("/docs", printed)) == 1
        yield Workers(process, port, shelf)


def add_version(root: Path, version: str) -> Path:
    """A copy of version 1 under another number."""
    directory = root / "cifar10" / version
    shutil.copytree(root / "cifar10" / "1", directory)
    manifest = json.loads((directory / "model.json").read_text())
    (directory / "model.json").write_text(json.dumps({**manifest, "version": version}))
    return directory


class Caller(threading.Thread):
    """Sends one image after another over a connection that it opens again when it is cut."""

    def __init__(self, port: int, image: bytes, until: threading.Event) -> None:
        super().__init__()
        self.answers: list[str] = []  # what was answered with 200; else the status
        self.cut = 0
        self._port, self._image, self._until = port, image, until
        self.start()

    def run(self) -> None:
        while not self._until.is_set():
            with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
                try:
                    while not self._until.is_set():
                        response = send(connection, "POST", PREDICT, self._image)
                        self.answers.append(
                            response.json()["label"] if response.status == 200 else str(response.status)
                        )
                except (ConnectionError, http.client.HTTPException):
                    self.cut += 1


def test_a_killed_worker_is_replaced_and_its_callers_see_a_reset_and_nothing_else(
    workers: Workers, make_image: ImageMaker
) -> None:
    expected = workers.request("POST", PREDICT, make_image(7)).json()["label"]
    answered = 'rotulo_http_requests_total{method="POST",route="/v1/models/{model}/predict",status="200"}'
    stop = threading.Event()
    callers = [Caller(workers.port, make_image(7), stop) for _ in range(8)]
    try:
        before = workers.wait(lambda now: now.get(answered, 0) >= 50)
        old = workers.pids()
        workers.replace(old[0])
        so_far = sum(len(caller.answers) for caller in callers)
        after = workers.metrics()
        workers.wait(lambda _: sum(len(caller.answers) for caller in callers) >= so_far + 100)
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert {answer for caller in callers for answer in caller.answers} == {expected}
    assert max(caller.cut for caller in callers) <= 2  # its connection, and one that came as it died
    assert len(set(workers.pids()) - set(old)) == 1
    counted = [name for name in before if re.search(r"_total|_count|_sum|_bucket", name)]
    assert not [name for name in counted if after[name] < before[name]]
    assert after[answered] > before[answered]
    assert after["rotulo_worker_restarts_total"] == before["rotulo_worker_restarts_total"] + 1
    assert after["process_start_time_seconds"] == before["process_start_time_seconds"]


def test_a_version_is_activated_in_all_workers_and_in_those_that_come_after(workers: Workers) -> None:
    add_version(workers.models, "2")
    assert workers.request("POST", f"{ADMIN}/activate").json()["active"] == "2"
    assert workers.versions() == {"2"}
    workers.replace(workers.pids()[0])
    assert workers.versions() == {"2"}
    assert workers.request("POST", f"{ADMIN}/rollback").json()["active"] == "1"
    assert workers.versions() == {"1"}


def test_a_version_that_is_unfit_or_not_there_changes_nothing_in_any_worker(workers: Workers) -> None:
    weights = add_version(workers.models, "9") / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    before = workers.versions()
    unfit = workers.request("POST", f"{ADMIN}/activate", '{"version": "9"}')
    assert (unfit.status, unfit.json()["type"]) == (422, "urn:rotulo:problem:unfit-version")
    missing = workers.request("POST", f"{ADMIN}/activate", '{"version": "77"}')
    assert (missing.status, missing.json()["type"]) == (404, "urn:rotulo:problem:unknown-model")
    shutil.rmtree(weights.parent)
    assert workers.versions() == before


def test_a_port_that_workers_share_is_in_use_for_another_service(workers: Workers) -> None:
    asked = command("--workers", "2", "--port", str(workers.port), "--models-dir", str(workers.models))
    result = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    said = f"rotulo: --host, --port: cannot listen on 127.0.0.1:{workers.port}: Address already in use"
    assert result.stderr.splitlines() == [said]


def test_a_worker_that_cannot_start_is_tried_again_less_and_less_often_while_the_other_answers(
    workers: Workers, make_image: ImageMaker
) -> None:
    model, away = workers.models / "cifar10", workers.models.parent / "away"
    model.rename(away)
    kill(workers.pids()[0])
    said = workers.wait_for_line(r"cannot start: .*another starts in [1-9]\d* s")
    assert re.match(r"ERROR: worker [12] cannot start: no model named 'cifar10'", said)
    assert post(workers.port, make_image()) == 200
    away.rename(model)
    workers.wait(lambda now: now["rotulo_workers"] == 2)


def test_the_supervisor_gone_the_workers_finish_what_they_have_and_leave(
    workers: Workers, make_image: ImageMaker
) -> None:
    """The last that uses these workers."""
    left = [psutil.Process(pid) for pid in workers.pids()]
    with closing(http.client.HTTPConnection("127.0.0.1", workers.port, timeout=60)) as connection:
        connection.connect()
        workers.process.kill()
        assert send(connection, "POST", PREDICT, make_image()).status == 200
    _, alive = psutil.wait_procs(left, timeout=60)
    assert not alive


@pytest.mark.parametrize("how", ["SIGTERM", "/shutdown"])
def test_all_drain_answer_what_was_accepted_and_the_exit_code_is_0(
    models_dir: Path, make_image: ImageMaker, how: str
) -> None:
    with started("--models-dir", str(models_dir), *TWO) as (process, port, _):
        with ThreadPoolExecutor(16) as pool:
            accepted = [pool.submit(post, port, make_image(seed)) for seed in range(16)]
            statuses = [accepted[0].result()]
            if how == "/shutdown":
                statuses.append(Workers(process, port, models_dir).request("POST", how).status - 2)
            else:
                process.send_signal(signal.Signals[how])
            statuses += [future.result() for future in accepted[1:]]
        assert process.wait(60) == 0
    assert set(statuses) == {200}


def test_a_second_signal_ends_all_at_once_with_0(models_dir: Path) -> None:
    slow = (*TWO, "--drain-grace-seconds", "600")
    with started("--models-dir", str(models_dir), *slow) as (process, port, _):
        left = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGHUP)
        running = Workers(process, port, models_dir)
        while running.request("GET", "/readyz").status == 200:
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert not psutil.wait_procs(left, timeout=60)[1]


def test_a_worker_that_stands_still_is_killed_and_replaced(models_dir: Path) -> None:
    soon = (*TWO, "--hang-seconds", "3", "--hang-exit-seconds", "3")
    with started("--models-dir", str(models_dir), *soon) as (process, port, _):
        running = Workers(process, port, models_dir)
        still = psutil.Process(running.pids()[0])
        still.suspend()
        assert not psutil.wait_procs([still], timeout=120)[1]
        assert running.wait_for_line(r"stood still for 6 s and was killed; another starts now")
        running.wait(lambda now: now["rotulo_workers"] == 2)


ONE_DIES = """
import os, signal, sys
if "service.workers.worker" in sys.orig_argv:
    try:
        os.close(os.open(os.path.join(os.path.dirname(__file__), "taken"), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        pass
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_if_one_dies_as_they_start_the_whole_ends_with_2_and_says_so(
    models_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(ONE_DIES)
    result = subprocess.run(
        command("--models-dir", str(models_dir), "--workers", "2", "--port", "0", "--log-level", "error"),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert re.fullmatch(r"rotulo: worker [12] ended by SIGKILL before it was ready\n", result.stderr)
    assert result.stdout == ""


def test_a_model_that_is_unfit_stops_the_start_of_all_with_one_line(models_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(models_dir / "cifar10" / "1", tmp_path / "cifar10" / "1")
    weights = tmp_path / "cifar10" / "1" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    asked = command("--models-dir", str(tmp_path), "--workers", "2", "--port", "0", "--log-level", "error")
    result = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    (said,) = result.stderr.splitlines()
    assert said.startswith(f"rotulo: {weights}: ")
