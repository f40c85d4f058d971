"""Locust, typed as its users type it. In processes of its own: importing it patches the standard library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.loadtest.fakes import Received, Reply, answers, fake_server, holding_until

ROOT = Path(__file__).parents[2]
LOCUSTFILE = ROOT / "loadtest" / "locustfile.py"
ENOUGH = Path(__file__).with_name("enough.py")


def test_no_command_that_is_shown_opens_locust_s_page_to_other_machines() -> None:
    pages = ("Makefile", "docs/loadtest.md")
    lines = [
        line for page in pages for line in (ROOT / page).read_text().splitlines() if "locust -f " in line
    ]
    assert lines
    for line in lines:
        assert any(flag in line for flag in ("--headless", "--worker", "--web-host 127.0.0.1")), line


def locust(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Headless for a hundred requests of two users, the statistics on stdout."""
    options = ["--headless", "--users", "2", "--spawn-rate", "10", "--json", "--run-time", "30s"]
    command = [sys.executable, "-m", "locust", "-f", f"{LOCUSTFILE},{ENOUGH}", *options, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def requests_by_name(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    return {row["name"]: row["num_requests"] for row in json.loads(run.stdout)}


def test_locust_posts_real_images_to_both_routes(tmp_path: Path) -> None:
    with fake_server() as server:
        run = locust(tmp_path, "--host", server.url)
    assert run.returncode == 0, run.stderr
    counted = requests_by_name(run)
    assert counted["native"] > 0
    assert counted["flask"] > 0
    assert set(counted) == {"native", "flask"}  # those who keep a schedule come only by name
    native = [each for each in server.received if each.path == "/v1/models/cifar10/predict"]
    assert {each.headers["content-type"] for each in native} <= {"image/jpeg", "image/png", "image/webp"}
    flask = [each for each in server.received if each.path == "/predict"]
    assert all(b'name="file"; filename="' in each.body for each in flask)


def test_refusals_are_counted_apart_and_do_not_fail_the_run(tmp_path: Path) -> None:
    def refuses(_: Received) -> Reply:
        return Reply(503, headers={"Retry-After": "1"})

    with fake_server(refuses) as server:
        run = locust(tmp_path, "NativeUser", "--host", server.url)
    assert run.returncode == 0, run.stderr
    assert set(requests_by_name(run)) == {"native (refused)"}


def test_a_wrong_answer_fails_the_run(tmp_path: Path) -> None:
    def mistakes(request: Received) -> Reply:
        return answers(request) if request.path == "/predict" else Reply(document={"label": None})

    with fake_server(mistakes) as server:
        run = locust(tmp_path, "--host", server.url)
    assert run.returncode == 1
    assert "no label in the answer" in run.stderr


def test_a_folder_without_images_stops_the_start_in_one_line(tmp_path: Path) -> None:
    run = locust(tmp_path, "--host", "http://127.0.0.1:9", "--images", str(tmp_path))
    assert run.returncode == 1
    assert f"--images: {tmp_path}: no .jpg, .png or .webp files in it" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_scheduled_user_asks_whatever_became_of_the_requests_before(tmp_path: Path) -> None:
    """One user, and nobody is answered before twenty have asked: a closed loop would wait for ever."""

    def timed(request: Received) -> Reply:
        return Reply(document=answers(request).document, headers={"Server-Timing": "queue;dur=1.5"})

    with fake_server(holding_until(20, timed)) as server:
        run = locust(tmp_path, "ScheduledNativeUser", "--users", "1", "--rate", "100", "--host", server.url)
    assert run.returncode == 0, run.stderr
    rows = {(row["method"], row["name"]): row for row in json.loads(run.stdout)}
    assert set(rows) == {("POST", "native"), ("SENT", "native"), ("SERVER", "native queue")}
    assert rows["POST", "native"]["num_requests"] >= 100
    assert rows["POST", "native"]["total_response_time"] >= rows["SENT", "native"]["total_response_time"]
    assert rows["SERVER", "native queue"]["max_response_time"] == 1.5
    assert "SERVER  native queue" in run.stderr  # and its percentiles to 0.1 ms


def test_a_rate_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    run = locust(tmp_path, "ScheduledNativeUser", "--rate", "0", "--host", "http://127.0.0.1:9")
    assert run.returncode != 0
    assert "'0' is not a number above 0" in run.stderr
    assert "Traceback" not in run.stderr
