"""`python -m loadtest run`, whole: what it sends, writes, and exits with."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from loadtest import traffic
from loadtest.__main__ import main
from loadtest.described import Described
from loadtest.run import default_rate
from loadtest.scenarios import SCENARIOS
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


def test_a_server_that_is_not_ours_is_not_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_server(rotulo("cifar10")) as server:
        assert run(server, tmp_path, "shutdown") == 2
    assert "leave out --url" in capsys.readouterr().err


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
