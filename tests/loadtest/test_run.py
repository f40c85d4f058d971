"""`python -m loadtest run`, whole: what it sends, writes, and exits with."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtest import traffic
from loadtest.__main__ import main
from loadtest.described import Described
from loadtest.measuring import Measurement, measure
from loadtest.run import default_rate
from loadtest.scenarios import SCENARIOS
from loadtest.serving import Served
from tests.loadtest.fakes import Behaviour, FakeServer, Received, Reply, fake_server
from tests.loadtest.rotulo import TOKEN, rotulo

OBJECTIVES = Path(__file__).parents[2] / "loadtest" / "objectives"
LISTENING = [name for name, scenario in SCENARIOS.items() if not scenario.stops_the_server]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "UPLOAD_SECONDS", 0.02)
    monkeypatch.setattr(traffic, "_enlarged", lambda image: image)


def run(server: FakeServer, tmp_path: Path, scenario: str, *options: str) -> int:
    """A few requests in a moment; in time however slow the machine of the tests is."""
    short = [
        "--rate",
        "50",
        "--seconds",
        "0.4",
        "--warmup",
        "0",
        "--target-ms",
        "60000",
        "--out",
        str(tmp_path),
    ]
    return main(["run", scenario, "--url", server.url, "--admin-token", TOKEN, *short, *options])


def result(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """The newest folder and its document."""
    path = max(tmp_path.glob("*/result.json"))
    return path.parent, json.loads(path.read_text())


@pytest.mark.parametrize("name", LISTENING)
def test_a_well_server_passes_every_scenario(tmp_path: Path, name: str) -> None:
    with fake_server(rotulo("cifar10", "bottle")) as server:
        assert run(server, tmp_path, name) == 0
    folder, document = result(tmp_path)
    assert sum(count for kinds in document["outcomes"].values() for count in kinds.values()) > 0
    assert "<h1>" in (folder / "report.html").read_text()


def test_mixed_models_asks_whatever_the_server_lists(tmp_path: Path) -> None:
    with fake_server(rotulo("cifar10", "other")) as server:
        assert run(server, tmp_path, "mixed") == 0
    assert set(result(tmp_path)[1]["outcomes"]) == {"cifar10", "other"}


def with_target(service: Behaviour, name: str, target_ms: float) -> Behaviour:
    """The same, but for the target of one model."""

    def behaviour(request: Received) -> Reply:
        reply = service(request)
        if request.path == f"/v1/models/{name}":
            reply.document["latency_target_ms"] = target_ms
        return reply

    return behaviour


@pytest.mark.parametrize(
    ("scenario", "kinds", "hurried"),
    [
        ("mixed", {"cifar10", "bottle"}, {"bottle"}),
        ("smoke", {"native", "several", "flask", "classificar"}, {"classificar"}),
    ],
)
def test_every_kind_is_judged_by_the_target_of_the_model_that_it_asks(
    tmp_path: Path, scenario: str, kinds: set[str], hurried: set[str]
) -> None:
    service = with_target(rotulo("cifar10", "bottle"), "cifar10", 60_000)
    short = ["--rate", "50", "--seconds", "1", "--warmup", "0", "--out", str(tmp_path)]
    with fake_server(with_target(service, "bottle", 0.001)) as server:
        assert main(["run", scenario, "--url", server.url, *short]) == 0
    folder, document = result(tmp_path)
    answered = {kind: outcomes["answered"] for kind, outcomes in document["outcomes"].items()}
    assert set(answered) == kinds
    in_time = sum(count for kind, count in answered.items() if kind not in hurried)
    assert document["summary"]["goodput_share"] == pytest.approx(in_time / sum(answered.values()))
    assert document["other_targets_ms"] == dict.fromkeys(hurried, 0.001)
    assert f"target 60,000 ms ({', '.join(hurried)}: 0.001)" in (folder / "report.html").read_text()


def test_a_target_that_is_given_is_that_of_every_kind(tmp_path: Path) -> None:
    with fake_server(with_target(rotulo("cifar10", "bottle"), "bottle", 0.001)) as server:
        assert run(server, tmp_path, "mixed") == 0
    document = result(tmp_path)[1]
    assert document["summary"]["goodput_share"] == 1
    assert document["other_targets_ms"] == {}


def test_a_server_without_the_bottle_model_is_told_plainly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_server(rotulo("cifar10")) as server:
        assert run(server, tmp_path, "classificar") == 2
    assert "serves no model named bottle" in capsys.readouterr().err


def test_a_server_that_cannot_reload_is_told_before_any_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_server(rotulo("cifar10", reloads=False)) as server:
        assert run(server, tmp_path, "reload") == 2
    assert "has no POST /admin/models/cifar10/activate" in capsys.readouterr().err
    assert not [each for each in server.received if each.path.endswith("/predict")]


def test_a_reload_that_fails_under_load_fails_the_run(tmp_path: Path) -> None:
    service = rotulo("cifar10")
    asked = []

    def fails_later(request: Received) -> Reply:
        if request.path.startswith("/admin/"):
            asked.append(request)
            return service(request) if len(asked) == 1 else Reply(500)
        return service(request)

    with fake_server(fails_later) as server:
        assert run(server, tmp_path, "reload", "--seconds", "1.2") == 1
    events = result(tmp_path)[1]["events"]
    assert events
    assert not events[0]["ok"]
    assert events[0]["what"].startswith("reload: 500 after ")


def test_an_error_in_the_first_of_three_repeats_fails_the_run(tmp_path: Path) -> None:
    with fake_server(failing_once(rotulo("cifar10"), "/predict")) as server:
        assert run(server, tmp_path, "steady", "--repeat", "3") == 1
    document = result(tmp_path)[1]
    assert [each["error_share"] > 0 for each in document["repeats"]] == [True, False, False]
    for figure in ("error_share", "lost_share"):
        assert document["summary"][figure] == document["repeats"][0][figure]
    assert list(document["faults"].values()) == [1]


def test_a_reload_that_fails_in_the_first_of_three_repeats_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_server(failing_once(rotulo("cifar10"), "/activate", after=1)) as server:
        assert run(server, tmp_path, "reload", "--seconds", "1.2", "--repeat", "3") == 1
    events = result(tmp_path)[1]["events"]
    assert {each["repeat"] for each in events} == {1, 2, 3}
    assert [each["repeat"] for each in events if not each["ok"]] == [1]
    assert " s of repeat 1: reload: 500 after " in capsys.readouterr().out


def failing_once(service: Behaviour, route: str, after: int = 0) -> Behaviour:
    """A 500 to the first request of this route, or to the one after so many."""
    turn = itertools.count()

    def behaviour(request: Received) -> Reply:
        fails = request.path.endswith(route) and next(turn) == after
        return Reply(500) if fails else service(request)

    return behaviour


def test_a_generator_that_was_late_in_the_first_of_three_repeats_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = itertools.count()

    def measured(*arguments: Any) -> Measurement:
        repeat = measure(*arguments)
        late = 1000.0 if next(turn) == 0 else 0.0
        return replace(repeat, summary={**repeat.summary, "lateness_ms_p99": late})

    monkeypatch.setattr("loadtest.run.measure", measured)
    with fake_server(rotulo("cifar10")) as server:
        run(server, tmp_path, "steady", "--repeat", "3")
    generator = result(tmp_path)[1]["generator"]
    assert generator["is_bottleneck"]
    assert generator["lateness_ms_p99"] == 1000


def test_a_server_that_is_not_ours_is_not_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_server(rotulo("cifar10")) as server:
        assert run(server, tmp_path, "shutdown") == 2
    assert "leave out --url" in capsys.readouterr().err


def test_what_stops_the_server_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "shutdown", "--repeat", "2", "--out", str(tmp_path)]) == 2
    assert "leave out --url and --repeat" in capsys.readouterr().err


@contextlib.contextmanager
def ending(url: str, on_sigterm: str) -> Iterator[Served]:
    """A process that does this when it is told to stop, while another answers in its place."""
    code = f"""
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: {on_sigterm})
print(flush=True)
while True:
    signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            if process.stdout:
                process.stdout.readline()
            yield Served(url, process)
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("on_sigterm", "patience_seconds", "shown", "verdict"),
    [("sys.exit(0)", 60, "0", 0), ("sys.exit(3)", 60, "3", 1), ("None", 0.1, "killed", 1)],
)
def test_a_server_that_is_told_to_stop_must_end_by_itself_and_well(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    on_sigterm: str,
    patience_seconds: float,
    shown: str,
    verdict: int,
) -> None:
    monkeypatch.setattr("loadtest.serving.STOP_TIMEOUT_SECONDS", patience_seconds)
    short = ["--rate", "50", "--seconds", "1.2", "--warmup", "0", "--out", str(tmp_path)]
    with fake_server(rotulo("cifar10")) as server:
        monkeypatch.setattr("loadtest.serving.serving", lambda *_: ending(server.url, on_sigterm))
        assert main(["run", "shutdown", *short]) == verdict
    assert f"{'exit code of the server':26}{shown}\n" in capsys.readouterr().out


def test_flags_for_the_service_are_read_as_a_shell_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def serving(_log: Path, flags: list[str], _command: tuple[str, ...]) -> contextlib.nullcontext[Served]:
        started.append(flags)
        return contextlib.nullcontext(Served(server.url))

    monkeypatch.setattr("loadtest.serving.serving", serving)
    short = ["--rate", "50", "--seconds", "0.4", "--warmup", "0", "--out", str(tmp_path)]
    with fake_server(rotulo("cifar10")) as server:
        main(["run", "steady", "--service", "--models-dir 'my models'", *short])
    assert started == [["--models-dir", "my models"]]


def refuses_half(service: Behaviour) -> Behaviour:
    """Every second prediction."""
    turn = iter(range(1_000_000))

    def behaviour(request: Received) -> Reply:
        if request.path.endswith("/predict") and next(turn) % 2:
            return Reply(503, headers={"Retry-After": "1"})
        return service(request)

    return behaviour


def test_objectives_that_are_met_exit_with_0_and_one_that_is_missed_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patient = tmp_path / "slo.toml"
    patient.write_text((OBJECTIVES / "ci.toml").read_text().replace("at_most = 1000", "at_most = 60000"))
    asked = ("--objectives", str(patient))
    with fake_server(rotulo("cifar10")) as server:
        assert run(server, tmp_path, "steady", *asked) == 0
    assert "MISSED" not in capsys.readouterr().out
    with fake_server(refuses_half(rotulo("cifar10"))) as server:
        assert run(server, tmp_path, "steady", *asked) == 1
    assert "MISSED  goodput_share at least 0.95: 0.5" in capsys.readouterr().out


def test_the_impossible_objectives_fail_whatever_the_server_does(tmp_path: Path) -> None:
    with fake_server(rotulo("cifar10")) as server:
        asked = ("--objectives", str(OBJECTIVES / "impossible.toml"))
        assert run(server, tmp_path, "steady", *asked) == 1


def test_an_earlier_run_is_compared_with_figure_by_figure(tmp_path: Path) -> None:
    with fake_server(rotulo("cifar10")) as server:
        run(server, tmp_path / "then", "steady", "--repeat", "3")
        earlier = result(tmp_path / "then")[0] / "result.json"
    with fake_server(refuses_half(rotulo("cifar10"))) as server:
        run(server, tmp_path / "now", "steady", "--repeat", "3", "--baseline", str(earlier))
    verdicts = {each["figure"]: each["verdict"] for each in result(tmp_path / "now")[1]["comparison"]}
    assert verdicts["goodput_share"] == "worse"
    assert verdicts["refused_share"] == "worse"
    assert verdicts["error_share"] == "same"


@pytest.mark.parametrize(
    ("scenario", "other", "said"),
    [
        ("soak", (), "give the same scenario: steady then, soak now"),
        ("steady", ("--model", "bottle"), "give the same --model: cifar10 then, bottle now"),
        ("steady", ("--arrivals", "uniform"), "give the same --arrivals: poisson then, uniform now"),
        ("steady", ("--target-ms", "50"), "give the same --target-ms: 60000 then, 50 now"),
        ("steady", ("--rate", "60"), "--rate and --seconds: 50/s for 0.4 s then, 60/s for 0.4 s now"),
    ],
)
def test_an_earlier_run_of_another_load_is_refused_before_any_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scenario: str, other: tuple[str, ...], said: str
) -> None:
    with fake_server(rotulo("cifar10", "bottle")) as server:
        run(server, tmp_path, "steady")
        earlier = result(tmp_path)[0] / "result.json"
        server.received.clear()
        assert run(server, tmp_path, scenario, "--baseline", str(earlier), *other) == 2
        assert said in capsys.readouterr().err
        assert not [each for each in server.received if each.path.endswith("/predict")]


def test_a_spike_has_no_knee(tmp_path: Path) -> None:
    with fake_server(rotulo("cifar10")) as server:
        run(server, tmp_path, "spike")
    assert result(tmp_path)[1]["knee"] is None


def test_a_forecast_that_nobody_is_answered_leaves_the_page_whole(tmp_path: Path) -> None:
    service = rotulo("cifar10")

    def hopeless(request: Received) -> Reply:
        reply = service(request)
        if request.path == "/v1/models/cifar10":
            reply.document["latency_target_ms"] = 1.0  # less than an answer takes besides
        return reply

    with fake_server(hopeless) as server:
        run(server, tmp_path, "step", "--seconds", "1.6")
    folder, document = result(tmp_path)
    assert {each["response_ms_p99"] for each in document["forecast"]} == {None}
    assert {each["unserved_share"] for each in document["forecast"]} == {1.0}
    assert "Forecast against" in (folder / "report.html").read_text()


def test_what_the_server_said_stands_beside_what_was_measured(tmp_path: Path) -> None:
    with fake_server(rotulo("cifar10")) as server:
        run(server, tmp_path, "steady")
    folder, document = result(tmp_path)
    assert document["summary"]["server_infer_ms_p50"] == pytest.approx(5)
    assert document["summary"]["batch_size_mean"] == 2
    assert set(document["server"]["refused"]) == {"full"}
    assert document["server"]["memory_mb_last"] == pytest.approx(100, rel=0.01)
    with (folder / "seconds.csv").open() as file:
        assert float(next(csv.DictReader(file))["offered_per_second"]) > 0


def test_the_report_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    with fake_server(rotulo("cifar10")) as server:
        run(server, tmp_path, "step", "--seconds", "1.6")
    page = (result(tmp_path)[0] / "report.html").read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org/", "")
    for title in ("Response time against load", "Batch sizes", "Refused and given up", "Forecast against"):
        assert title in page
    assert "2 ms for decoding, HTTP and transfer are included" in page


def test_the_page_lists_every_scenario_with_its_question() -> None:
    page = (Path(__file__).parents[2] / "docs" / "loadtest.md").read_text()
    for scenario in SCENARIOS.values():
        assert f"| `{scenario.name}` | {scenario.question} |" in page


def test_the_default_rate_leaves_room_for_what_surrounds_the_batches() -> None:
    curve = ((1, 0.001, 0.001), (32, 0.032, 0.032))  # a thousand images a second, and HTTP as much again
    model = Described("cifar10", "1", "engine", 1.0, 32, 1000, curve)
    assert default_rate(SCENARIOS["steady"], model) == 350
