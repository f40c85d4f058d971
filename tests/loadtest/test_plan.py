"""The forecast for a server whose curve is known."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batching.simulate import Forecast
from loadtest import levels
from loadtest.__main__ import main
from loadtest.analysis import Rows
from loadtest.described import Described, describe
from loadtest.errors import BadArrivals, BadOptions, NoServer
from loadtest.levels import Bench
from loadtest.measuring import Measurement
from loadtest.plan import (
    Planned,
    Question,
    between,
    capacity,
    fewest,
    figures,
    forecast,
    plan,
    question,
    rates_between,
    recorded,
    report,
    row,
)
from loadtest.schedules import Arrivals, poisson
from tests.loadtest.fakes import Received, Reply, fake_server

# 4 ms and 1 ms an image: at most 32 / 36 ms = 889 images/s.
CURVE = tuple((size, 0.004 + 0.001 * size, 0.004 + 0.001 * size) for size in (1, 2, 4, 8, 16, 32))
MODEL = Described("cifar10", "7", "torch cpu fp32", 0.1, 32, 1024, CURVE)
DOCUMENT = {
    "name": "cifar10",
    "version": "7",
    "engine": "torch cpu fp32",
    "latency_target_ms": 100.0,
    "max_batch_size": 32,
    "max_waiting": 1024,
    "latency": [{"size": n, "typical_seconds": t, "p99_seconds": p} for n, t, p in CURVE],
}


SECONDS = 5.0


def asked(replicas: tuple[int, int] = (1, 1000)) -> Question:
    return question(MODEL, refusal_seconds=0.0, replicas=replicas)


def times(rate: float) -> list[float]:
    return list(poisson(rate, SECONDS))


def goodput(one: Forecast) -> float:
    return one.on_time / SECONDS


def planned(asked: Question, rate: float) -> Planned:
    return plan(asked, rate, times(rate), SECONDS)


def test_capacity_is_that_of_the_largest_batch_within_the_target() -> None:
    assert capacity(asked()) == pytest.approx(32 / 0.036, rel=0.01)


def test_below_capacity_everybody_is_served_in_time() -> None:
    one = forecast(asked(), times(400))
    assert one.on_time == one.offered == len(times(400))


def test_above_capacity_the_rest_is_refused_and_who_is_answered_is_in_time() -> None:
    one = forecast(asked(), times(2000))
    assert goodput(one) == pytest.approx(889, rel=0.1)
    assert one.refused > 0
    assert figures(one, SECONDS, 0.1)["response_ms_p99"] <= 101


def test_what_an_answer_takes_besides_is_kept_free_and_counted() -> None:
    busy = question(MODEL, outside_seconds=0.02, refusal_seconds=0.0)
    one = forecast(busy, times(2000))
    assert goodput(one) == pytest.approx(889, rel=0.1)
    assert min(one.latencies) > 0.02
    assert figures(one, SECONDS, 0.1)["response_ms_p99"] <= 101


def test_refusing_costs_the_device_time() -> None:
    dear = question(MODEL, outside_seconds=0.0, refusal_seconds=0.0002)
    expected = (889 - 0.4 * 889) / (1 - 0.0002 * 889)  # of 2,000, the rest is refused for 0.2 ms each
    assert goodput(forecast(dear, times(2000))) == pytest.approx(expected, rel=0.1)


def level_forecast(rate: float, calm: dict[str, float]) -> levels.Figures:
    """Of a level whose requests came at such a rate."""
    bench = Bench("", [], Arrivals.POISSON, 889.0, SECONDS, 0.1)
    scheduled = np.array(times(rate)) + bench.calm_seconds
    empty = np.zeros(len(scheduled))
    rows = Rows(scheduled, empty, empty, empty, empty.astype(np.int8), empty.astype(np.str_), {})
    watched: Any = None
    return levels.forecast(bench, MODEL, Measurement(rows, {}, watched, {}), calm)


def test_a_level_is_forecast_by_a_curve_that_has_its_refusals_in_it_already() -> None:
    expected = level_forecast(2000, {"outside_ms_p50": 2.0, "decode_ms_p50": 0.0})
    assert expected["goodput_per_second"] == pytest.approx(32 / 0.036, rel=0.1)


def test_a_level_is_forecast_with_what_its_images_took_to_decode_in_calm() -> None:
    cheap, dear = (level_forecast(400, {"outside_ms_p50": 5.0, "decode_ms_p50": ms}) for ms in (0.0, 4.0))
    assert cheap["response_ms_p99"] < 0.9 * dear["response_ms_p99"]


def test_a_forecast_is_summed_up_by_the_rules_of_what_is_measured() -> None:
    expected = Forecast(0.1, offered=16, refused=6, expired=4, dropped=2)
    expected.latencies.extend([0.2, 0.01, 0.04, 0.03])
    expected.batch_sizes.extend([1, 3])
    assert figures(expected, seconds=2.0, target_seconds=0.1) == {
        "goodput_per_second": 1.5,
        "response_ms_p50": pytest.approx(40),  # the upper of the middle two: one that was observed
        "response_ms_p99": pytest.approx(200),
        "batch_size_mean": 2.5,  # that an answer says it was in: 1, 3, 3 and 3
        "unserved_share": 0.75,
    }


def test_the_table_says_what_the_report_of_a_run_would_say_of_the_same_answers() -> None:
    four = Forecast(0.1)
    four.latencies.extend([0.2, 0.01, 0.04, 0.03])
    four.batch_sizes.extend([1, 3])
    cells = row(Planned(2.0, figures(four, 2.0, 0.1), 1, None))
    assert cells[1:5] == ["1.5", "40.0", "200.0", "2.5"]


def test_of_a_forecast_without_answers_no_latency_is_known_and_no_batch() -> None:
    expected = figures(Forecast(0.1, offered=1, refused=1), 2.0, 0.1)
    assert math.isnan(expected["response_ms_p50"])
    assert math.isnan(expected["batch_size_mean"])


ONE_BY_ONE = replace(MODEL, max_batch_size=1)  # 200 images/s, so that a few requests take many replicas


@pytest.mark.parametrize("most", [1000, 42])
@pytest.mark.parametrize(("model", "rate", "fewest"), [(MODEL, 2000, 3), (ONE_BY_ONE, 8100, 42)])
def test_the_replicas_are_the_fewest_that_are_enough(
    model: Described, rate: float, fewest: int, most: int
) -> None:
    about, load = question(model, refusal_seconds=0.0, replicas=(1, most)), list(poisson(rate, 1.0))
    assert plan(about, rate, load, 1.0).replicas == fewest
    enough, fewer = (forecast(about, load, count) for count in (fewest, fewest - 1))
    assert enough.on_time >= 0.99 * enough.offered
    assert fewer.on_time < 0.99 * fewer.offered


def test_the_fewest_are_found_wherever_they_are() -> None:
    for wanted in (*range(1, 130), 999, 1000):
        enough = wanted.__le__
        assert [fewest(enough, 1, most) for most in (1000, wanted, wanted - 1)] == [wanted, wanted, None]
    assert fewest(lambda _: True, 7, 1000) == 7


def test_of_so_short_a_load_that_nobody_comes_nothing_is_known_but_that_one_replica_holds_it() -> None:
    assert row(plan(asked(), 1, [], 0.01)) == ["1", "0", "–", "–", "–", "0.00%", "1", "–"]


def test_more_replicas_than_were_asked_about_is_said_and_not_guessed() -> None:
    too_many = planned(asked((1, 2)), 5000)
    assert too_many.replicas is None
    assert too_many.enough is None
    assert row(too_many)[-2:] == ["more", ""]


def test_the_page_names_the_model_and_draws_every_chart() -> None:
    html = report(MODEL, asked(), [planned(asked(), 100), planned(asked(), 2000)])
    assert "cifar10/7 on torch cpu fp32" in html
    assert html.count("<svg") == 4


def test_ranges_are_read_as_low_to_high() -> None:
    assert between("50..2000") == (50, 2000)
    assert between("7") == (7, 7)
    for wrong in ("9..3", "0..4", "-1"):
        with pytest.raises((argparse.ArgumentTypeError, ValueError)):
            between(wrong)


def test_rates_are_equal_factors_apart_with_both_ends() -> None:
    assert rates_between(50, 800, 5) == [50, 100, 200, 400, 800]
    assert rates_between(50, 50, 1) == [50]
    with pytest.raises(BadOptions, match="two ends"):
        rates_between(50, 800, 1)


def test_recorded_arrivals_ascend_and_are_counted_from_the_first(tmp_path: Path) -> None:
    path = tmp_path / "arrivals.txt"
    for moments in ("0\n0.25\n1.5\n", "1700000000.5\n1700000000.75\n1700000002\n"):
        path.write_text(moments)
        assert recorded(path) == [0, 0.25, 1.5]
    for wrong in ("", "2\n1\n", "1\n", "a\n", "0\n0\n", "7\n7\n", "1\ninf\n", "1\nnan\n2\n"):
        path.write_text(wrong)
        with pytest.raises(BadArrivals, match=r"arrivals\.txt"):
            recorded(path)


def test_a_running_service_describes_its_model() -> None:
    with fake_server(lambda _: Reply(document=DOCUMENT)) as server:
        assert describe(server.url, "cifar10") == MODEL
    assert server.received[0].path == "/v1/models/cifar10"


def test_a_service_that_does_not_know_the_model_is_named() -> None:
    with fake_server(lambda _: Reply(404)) as server, pytest.raises(NoServer, match=server.url):
        describe(server.url, "nobody")


def test_the_command_prints_a_row_for_each_rate_and_writes_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    html = tmp_path / "plan.html"

    def describes(_: Received) -> Reply:
        return Reply(document=DOCUMENT)

    with fake_server(describes) as server:
        options = ["--rate", "50..200", "--points", "3", "--seconds", "2", "--html", str(html)]
        assert main(["plan", "--url", server.url, *options]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[2:-1]] == ["50", "100", "200"]
    assert "What would this load do?" in html.read_text()


def test_replicas_behind_a_balancer_that_knows_their_load_may_be_fewer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    html, replicas = tmp_path / "plan.html", {}
    with fake_server(lambda _: Reply(document={**DOCUMENT, "max_batch_size": 1})) as server:
        options = ["--url", server.url, "--rate", "2000", "--seconds", "1", "--html", str(html)]
        for routing in ("random", "least_loaded"):
            assert main(["plan", *options, "--routing", routing]) == 0
            replicas[routing] = int(capsys.readouterr().out.splitlines()[2].split()[-2])
            assert f"{routing} routing" in html.read_text()
    assert replicas["least_loaded"] < replicas["random"]


def test_the_command_says_in_one_line_that_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_server() as server:
        pass
    assert main(["plan", "--url", server.url]) == 2
    assert capsys.readouterr().err.startswith(f"loadtest: {server.url}/v1/models/cifar10: ")
