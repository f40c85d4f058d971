"""A service with keys: every command sends the one in ROTULO_API_KEY, and says so where it is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.__main__ import main
from loadtest.api_key import API_KEY, key_headers
from loadtest.errors import BadOptions
from models.predictor import Predictor
from tests.live import LiveService, serve
from tests.loadtest.test_locust import locust, requests_by_name

KEY = "a-key-of-sixteen-or-more"
SHORT = ("--rate", "20", "--seconds", "0.4", "--warmup", "0", "--target-ms", "60000")


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(f"loadtest:{KEY}\n")
    return path


@pytest.fixture
def url(keys_file: Path, predictor: Predictor) -> Iterator[str]:
    """A service that asks for the key, of its metrics too."""
    with serve([predictor], api_keys_file=keys_file, metrics_need_key=True) as running:
        yield address(running)


def address(running: LiveService) -> str:
    return f"http://127.0.0.1:{running.port}"


def command(name: str, url: str, tmp_path: Path) -> int:
    if name == "plan":
        return main(
            ["plan", "--url", url, "--rate", "50", "--seconds", "1", "--html", str(tmp_path / "plan.html")]
        )
    return main(["run", "steady", "--url", url, *SHORT, "--out", str(tmp_path)])


@pytest.mark.parametrize("name", ["plan", "run"])
def test_with_the_key_a_command_works(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(API_KEY, f"{KEY}\n")
    assert command(name, url, tmp_path) == 0


@pytest.mark.parametrize("name", ["plan", "run"])
@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("", "it asks for a key: set ROTULO_API_KEY"),
        ("not-the-key", "the key in ROTULO_API_KEY is not taken"),
    ],
)
def test_without_it_a_command_ends_with_a_line_that_says_so(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    key: str,
    line: str,
) -> None:
    monkeypatch.setenv(API_KEY, key)
    assert command(name, url, tmp_path) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"loadtest: {url}/v1/models")
    assert error.endswith(f": {line}\n")
    assert error.count("\n") == 1


def test_the_metrics_of_a_service_with_keys_are_read_too(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY, KEY)
    assert command("run", url, tmp_path) == 0
    (result,) = tmp_path.glob("*/result.json")
    assert json.loads(result.read_text())["server"]["memory_mb_last"] > 0


def test_locust_sends_the_key(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY, KEY)
    run = locust(tmp_path, "--host", url)
    assert run.returncode == 0, run.stderr
    assert {"native", "flask"} <= set(requests_by_name(run))


def test_a_service_that_is_started_has_the_keys_and_is_sent_the_key(keys_file: Path, tmp_path: Path) -> None:
    started = ["run", "steady", *SHORT, "--service", "--max-batch-size 1", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest", *started],
        cwd=Path(__file__).parents[2],
        env=os.environ | {API_KEY: KEY, "ROTULO_API_KEYS_FILE": str(keys_file)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_cannot_stand_in_a_header_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY, "ségredo")
    with pytest.raises(BadOptions, match=API_KEY):
        key_headers()
