"""The process as an operator sees it: flags, signals, exit codes."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.conftest import ImageMaker

ROOT = Path(__file__).parent.parent.parent
PREDICT = "/v1/models/cifar10/predict"


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "service", *flags]


@contextmanager
def started(
    *flags: str, code: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """A service process that listens, its port, and what it printed before; `code` runs in it first."""
    asked = (
        [sys.executable, "-c", code + RUN, "--port", "0", *flags] if code else command("--port", "0", *flags)
    )
    process = subprocess.Popen(
        asked,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # the tests may run under nohup
    )
    assert process.stdout is not None
    printed = ""
    try:
        while (found := re.search(r"http://127.0.0.1:(\d+)/docs", printed)) is None:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        yield process, int(found[1]), printed
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def post(port: int, image: bytes) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", PREDICT, image)
        return connection.getresponse().status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_answers_what_was_accepted_and_exits_with_0(
    models_dir: Path, make_image: ImageMaker, number: signal.Signals
) -> None:
    with started("--models-dir", str(models_dir), "--drain-grace-seconds", "0.2") as (process, port, _):
        with ThreadPoolExecutor(16) as pool:
            accepted = [pool.submit(post, port, make_image(seed)) for seed in range(16)]
            statuses = [accepted[0].result()]
            process.send_signal(number)
            statuses += [future.result() for future in accepted[1:]]
        assert process.wait(30) == 0
    assert statuses == [200] * 16


def test_the_generated_admin_token_is_printed_once_and_stops_the_service(models_dir: Path) -> None:
    with started("--models-dir", str(models_dir), "--drain-grace-seconds", "0") as (process, port, printed):
        (token,) = re.findall(r"admin token, for this run: (\S+)", printed)
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("POST", "/shutdown", headers={"Authorization": f"Bearer {token}"})
            assert connection.getresponse().status == 202
        assert process.wait(30) == 0


@pytest.mark.parametrize("flags", [(), ("--workers", "2")])
def test_the_interpreter_is_not_taken_down_under_a_thread_that_may_be_in_an_engine(
    models_dir: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import atexit, os; atexit.register(os.abort)")
    asked = ("--models-dir", str(models_dir), "--drain-grace-seconds", "0", *flags)
    with started(*asked, environment={"PYTHONPATH": str(tmp_path)}) as (process, _, __):
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_signal_after_shutdown_does_not_cut_the_drain_short(
    models_dir: Path, make_image: ImageMaker
) -> None:
    token = "a-token-for-the-tests"
    flags = ("--models-dir", str(models_dir), "--drain-grace-seconds", "1", "--admin-token", token)
    with started(*flags) as (process, port, _):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("POST", "/shutdown", headers={"Authorization": f"Bearer {token}"})
            assert connection.getresponse().status == 202
        process.send_signal(signal.SIGTERM)
        assert post(port, make_image()) == 200  # the grace that a second signal would end
        assert process.wait(30) == 0


def test_a_terminal_of_another_kind_and_an_ascii_locale_change_nothing(
    models_dir: Path, make_image: ImageMaker
) -> None:
    ascii_only = {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    with started("--models-dir", str(models_dir), environment=ascii_only) as (_, port, printed):
        assert post(port, make_image()) == 200
        assert "\x1b" not in printed


def test_a_configured_admin_token_is_never_printed(models_dir: Path) -> None:
    token = "configured-and-secret"
    with started("--models-dir", str(models_dir), "--admin-token", token) as (_, __, printed):
        assert token not in printed


@pytest.mark.parametrize(
    ("flags", "environment", "named"),
    [
        (["--port", "99999"], {}, "--port"),
        (["--prot", "1"], {}, "--prot"),
        (["--max-waiting", "0"], {}, "--max-waiting"),
        (["--admin-token", "short"], {}, "--admin-token"),
        ([], {"ROTULO_PORT": "x"}, "ROTULO_PORT"),
        ([], {"ROTULO_PRT": "1"}, "ROTULO_PRT"),
        (["--models-dir", "/nowhere", "--port", "0"], {}, "/nowhere"),
        (["--max-bytes-held", "2000"], {}, "--max-bytes-held"),
        (["--max-waiting", "63"], {}, "--max-images"),
        (["--latency-target-ms", "100,lrage=5", "--port", "0"], {}, "lrage"),
        (["--rate-limit", "many"], {}, "--rate-limit"),
        (["--ssl-keyfile", "/nowhere"], {}, "--ssl-keyfile"),
        (["--trusted-proxies", "*"], {}, "--trusted-proxies"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line_that_names_it(
    flags: list[str], environment: dict[str, str], named: str
) -> None:
    result = subprocess.run(
        command(*flags), cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert named in result.stderr
    assert "Traceback" not in result.stderr


def test_a_device_that_is_not_there_stops_the_start_with_one_line(models_dir: Path) -> None:
    result = subprocess.run(
        command("--models-dir", str(models_dir), "--device", "cuda:7", "--port", "0"),
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr.splitlines() == ["rotulo: the device cuda:7 is not available to torch"]


def test_a_model_that_was_altered_stops_the_start_with_one_line(models_dir: Path, tmp_path: Path) -> None:
    version = tmp_path / "cifar10" / "1"
    version.mkdir(parents=True)
    for file in (models_dir / "cifar10" / "1").iterdir():
        (version / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((version / "model.json").read_text())
    (version / "model.json").write_text(json.dumps({**manifest, "classes": manifest["classes"][:-1]}))
    asked = command("--models-dir", str(tmp_path), "--port", "0")
    result = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    weights = version / "weights.safetensors"
    assert result.stderr.splitlines() == [f"rotulo: {weights}: the weights do not fit the network"]


HOLDING_LOAD = """
import time
from models import loader

def load(*_):
    print("waiting", flush=True)
    time.sleep(600)

loader.load = load
"""
HOLDING_ENGINE = """
import time
from models.engines.torch_engine import TorchEngine

calls = TorchEngine.logits

def logits(self, pixels):
    if len(pixels) == AT or AT == 0 and pixels.any():
        print("waiting", flush=True)
        time.sleep(600)
    return calls(self, pixels)

TorchEngine.logits = logits
"""
HOLDING_WARM_UP = HOLDING_ENGINE.replace("AT", "1")
HANGING_ENGINE = HOLDING_ENGINE.replace("AT", "0")
RUN = "import sys; from service.__main__ import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize("holding", [HOLDING_LOAD, HOLDING_WARM_UP])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_before_the_service_is_ready_ends_it_at_once_with_one_line(
    models_dir: Path, number: signal.Signals, holding: str
) -> None:
    flags = ["--models-dir", str(models_dir), "--engine", "torch", "--port", "0", "--log-level", "error"]
    process = subprocess.Popen(
        [sys.executable, "-c", holding + RUN, *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert errors.splitlines()[-1] == f"rotulo: stopped by {number.name} before it was ready"
    assert "Traceback" not in errors


def test_a_process_whose_engine_hangs_answers_its_callers_and_exits_with_70(
    models_dir: Path, make_image: ImageMaker
) -> None:
    flags = ("--models-dir", str(models_dir), "--engine", "torch", "--latency-target-ms", "600000")
    limits = ("--hang-seconds", "3", "--hang-exit-seconds", "1", "--max-batch-size", "1")
    with started(*flags, *limits, code=HANGING_ENGINE) as (process, port, _), ThreadPoolExecutor(2) as pool:
        callers = [pool.submit(post, port, make_image(seed)) for seed in range(2)]
        assert [caller.result() for caller in callers] == [504, 504]
        assert process.wait(60) == 70


def test_a_model_that_fails_its_warm_up_stops_the_start_with_one_line(models_dir: Path) -> None:
    code = HOLDING_WARM_UP.replace("time.sleep(600)", "raise RuntimeError('no kernel')")
    flags = ["--models-dir", str(models_dir), "--engine", "torch", "--port", "0", "--log-level", "error"]
    result = subprocess.run(
        [sys.executable, "-c", code + RUN, *flags], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == "rotulo: cifar10/1: fails as it warms up: no kernel"
    assert "Traceback" not in result.stderr


def test_a_port_in_use_stops_the_start_with_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = subprocess.run(command("--port", str(port)), cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    said = f"rotulo: --host, --port: cannot listen on 127.0.0.1:{port}: Address already in use"
    assert result.stderr.splitlines() == [said]


def test_with_json_logs_every_line_is_an_object_the_greeting_with_the_token_too_at_any_level(
    models_dir: Path,
) -> None:
    flags = ("--models-dir", str(models_dir), "--log-format", "json", "--log-level", "error")
    with started(*flags) as (_, port, printed):
        said = [json.loads(line) for line in printed.splitlines()]
    assert said[-1]["level"] == "info"
    assert f":{port}/docs" in said[-1]["message"]
    assert "admin token, for this run: " in said[-1]["message"]
