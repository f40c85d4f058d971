"""The capacity that is found, how long a recovery took, and the command whole."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtest import capacity, loads
from loadtest.__main__ import main
from loadtest.analysis import Rows, Summary, rows
from loadtest.answers import Outcome
from loadtest.errors import NothingHeld
from loadtest.levels import middle, recovery_seconds
from loadtest.loads import Load
from loadtest.request_log import RequestLog
from loadtest.schedules import Arrivals, Phase
from loadtest.serving import Served
from tests.loadtest.fakes import fake_server
from tests.loadtest.rotulo import rotulo
from tests.loadtest.test_open_loop import message


def server_that_holds(most: float) -> list[Summary]:
    """The probes of a server that answers everybody up to ``most`` requests a second, and half beyond."""

    def probe(rate: float) -> Summary:
        share = 1.0 if rate <= most else 0.5
        return {"goodput_share": share, "goodput_per_second": rate * share}

    return capacity.search(probe, 100)


@pytest.mark.parametrize("most", [2, 20, 95, 100, 333, 420, 6000])
def test_the_capacity_is_found_from_below_and_from_above(most: float) -> None:
    probes = server_that_holds(most)
    found = capacity.best(probes)
    assert 0.9 * most <= found <= most
    assert capacity.described(found, probes).startswith("Capacity, the best goodput below saturation: ")


def test_a_server_that_holds_whatever_is_tried_is_said_to_hold_at_least_that() -> None:
    probes = server_that_holds(math.inf)
    assert [each["rate"] for each in probes] == [100, 200, 400, 800, 1600, 3200, 6400]
    said = capacity.described(capacity.best(probes), probes)
    assert said == "Capacity: at least 6,400/s, the most that was tried; saturation was not found"


def test_a_probe_that_did_not_hold_is_not_the_capacity_however_many_it_answered() -> None:
    probes = [
        {"rate": 100.0, "goodput_share": 1.0, "goodput_per_second": 100.0},
        {"rate": 200.0, "goodput_share": 0.9, "goodput_per_second": 180.0},
    ]
    assert capacity.best(probes) == 100.0


def test_a_server_that_holds_nothing_ends_the_search_and_is_said() -> None:
    probes = server_that_holds(0)
    assert min(each["rate"] for each in probes) == 100 / capacity.FARTHEST
    with pytest.raises(NothingHeld, match="not even"):
        capacity.best(probes)


def measured(responses: list[tuple[float, float]], refused: float = -1.0) -> Rows:
    """(scheduled, response seconds); the one scheduled at ``refused`` was."""
    columns = RequestLog()
    for scheduled, response in responses:
        outcome = Outcome.REFUSED if scheduled == refused else Outcome.ANSWERED
        columns.add("native", scheduled, scheduled, scheduled + response, outcome)
    return rows(columns)


def test_it_is_over_when_callers_are_served_as_before() -> None:
    slow_for_a_while = [(10 + index / 20, 0.5 if index < 7 else 0.01) for index in range(40)]
    assert recovery_seconds(measured(slow_for_a_while), 10.0, 12.0, 0.02) == pytest.approx(0.4)


def test_it_is_not_over_while_anybody_is_refused() -> None:
    quick = [(10 + index / 20, 0.01) for index in range(40)]
    assert recovery_seconds(measured(quick, refused=10.0), 10.0, 12.0, 0.02) == pytest.approx(0.1)


def test_it_is_never_over_if_nobody_is_served_as_before() -> None:
    assert recovery_seconds(measured([(10.0, 1.0)]), 10.0, 12.0, 0.02) == math.inf


def test_a_server_that_recovers_from_the_fewer_half_of_its_repeats_does_not_recover() -> None:
    assert middle([{"recovery_seconds": each} for each in (0.1, math.inf, math.inf)]) == {
        "recovery_seconds": math.inf
    }


def test_the_middle_of_repeats_leaves_out_what_is_not_known() -> None:
    repeats = [
        {"p99": 1.0, "why": {"full": 2}},
        {"p99": math.nan, "why": {}},
        {"p99": 3.0, "why": {"full": 4}},
    ]
    assert middle(repeats) == {"p99": 2.0, "why": {"full": 2}}


def test_two_repeats_without_errors_do_not_excuse_one_with_them() -> None:
    assert middle([{"error_share": each} for each in (0.86, 0.0, 0.0)]) == {"error_share": 0.86}


def test_two_loads_at_once_keep_their_times_and_their_messages() -> None:
    one, other = message(), message()
    both = loads.merged([Load([0.0, 2.0], lambda _: one, 3.0), Load([1.0], lambda _: other, 2.0)])
    assert list(both.schedule) == [0.0, 1.0, 2.0]
    assert [both.pick(index) for index in range(3)] == [one, other, one]
    assert both.seconds == 3.0


def test_a_load_draws_from_all_its_messages() -> None:
    messages = [message() for _ in range(3)]
    load = loads.of_phases(messages, [Phase("steady", 100, 1)], Arrivals.UNIFORM)
    assert {id(load.pick(index)) for index in range(100)} == {id(each) for each in messages}


def overload(tmp_path: Path, *options: str) -> dict[str, Any]:
    """The document of one short level."""
    short = ["--levels", "0.5", "--seconds", "1", "--repeats", "1", "--capacity", "40"]
    assert main(["overload", *short, "--out", str(tmp_path), *options]) == 0
    [path] = tmp_path.glob("*/overload.json")
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_a_running_service_is_judged_by_its_own_target(tmp_path: Path) -> None:
    with fake_server(rotulo("cifar10")) as server:
        assert overload(tmp_path, "--url", server.url)["target_ms"] == 1000


def test_the_forecast_knows_what_was_learnt_under_load_and_not_in_the_calm_after_it(tmp_path: Path) -> None:
    with fake_server(rotulo("cifar10")) as server:
        overload(tmp_path, "--url", server.url)
    paths = [each.path for each in server.received]
    described = [index for index, path in enumerate(paths) if path == "/v1/models/cifar10"]
    predicted = [index for index, path in enumerate(paths) if path.endswith("/predict")]
    assert described[-1] < predicted[-1]


def test_both_servers_that_are_started_get_the_flags_and_the_same_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    @contextlib.contextmanager
    def serving(log: Path, flags: list[str], command: list[str]) -> Iterator[Served]:  # noqa: ARG001
        started.append((command[-1], flags))
        yield Served(server.url)

    monkeypatch.setattr("loadtest.serving.serving", serving)
    with fake_server(rotulo("cifar10")) as server:
        overload(tmp_path, "--service", "--models-dir 'my models'", "--beside", "python -m other")
    flags = ["--models-dir", "my models"]
    assert started == [
        ("service", ["--latency-target-ms", "100", *flags]),
        ("other", ["--latency-target-ms", "1000", *flags]),  # which is what the first says it has
    ]


def test_callers_in_a_hurry_without_a_level_to_compare_with_are_refused_at_the_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["overload", "--tight", "--levels", "0.5,2"]) == 2
    assert "--tight needs a level of 0.9 or 1.2" in capsys.readouterr().err


def test_the_command_measures_every_part_and_writes_the_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_server(rotulo("cifar10", "slow")) as server:
        options = ["--levels", "0.5,0.9", "--seconds", "1", "--repeats", "1", "--capacity", "40"]
        more = ["--tight", "--flood", "slow", "--target-ms", "60000", "--out", str(tmp_path)]
        assert main(["overload", "--url", server.url, *options, *more]) == 0
    [path] = tmp_path.glob("*/overload.json")
    document = json.loads(path.read_text())
    assert document["target_ms"] == 60_000
    assert [row["level"] for row in document["levels"]] == [0.5, 0.9]
    assert document["levels"][0]["goodput_per_second"] == pytest.approx(20, rel=0.5)
    assert document["levels"][0]["forecast"]["goodput_per_second"] == pytest.approx(20, rel=0.5)
    assert document["idle"]["infer_ms_p50"] == pytest.approx(5)
    assert document["refusal"]["turned_down_share"] == 1
    assert [row["level"] for row in document["tight"]] == [0.9]
    assert document["flood"]["during"]["goodput_per_second"] > 0
    printed = capsys.readouterr().out
    assert "\n- Capacity, as given: 40/s.\n" in printed
    assert printed == path.with_name("overload.md").read_text()
    for title in ("Beyond capacity", "The forecast", "Refused and given up", "asks for 10 ms", "on slow"):
        assert title in printed
