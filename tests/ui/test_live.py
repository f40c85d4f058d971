"""What two readings of the metrics say of the time between them."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.metrics import Metrics
from service.targets import LatencyTargets
from ui import live
from ui.client import Unexpected
from ui.live import History, Interval, between, quantile, read, summed

ROUTE = "/v1/models/{model}/predict"


def metrics() -> Metrics:
    """The service's own registry, which writes the page that is read here."""
    return Metrics(LatencyTargets.parse("1000"))


def page(source: Metrics) -> str:
    return source.text().decode()


def answer(source: Metrics, seconds: float, status: int = 200, route: str = ROUTE) -> None:
    source.answered(route, "POST", status, seconds)


def interval(before: Metrics | str, after: Metrics | str, seconds: float = 2.0) -> Interval | None:
    first, second = (each if isinstance(each, str) else page(each) for each in (before, after))
    return between(read(first, 10.0), read(second, 10.0 + seconds))


def test_rates_latencies_and_batches_are_those_of_the_time_between() -> None:
    source = metrics()
    answer(source, 9.0)
    source.batch_formed("cifar10", 32, "full", [0.0] * 32)
    before = page(source)
    for _ in range(8):
        answer(source, 0.03)
    answer(source, 0.001, 503)
    source.batch_formed("cifar10", 2, "device_free", [0.0] * 2)
    source.batch_formed("cifar10", 6, "device_free", [0.0] * 6)
    found = interval(before, source)
    assert found is not None
    assert found.requests_per_second == 4.5
    assert found.images_per_second == 4
    assert found.failures_per_second == 0.5
    assert found.mean_batch_size == 4
    assert found.p50_seconds is not None
    assert 0.02 < found.p50_seconds < 0.05
    assert summed([found]) == [("1", 0), ("2", 1), ("3–4", 0), ("5–8", 1)]


def test_what_callers_did_wrong_is_no_failure() -> None:
    source = metrics()
    before = page(source)
    for status in (200, 415, 422, 499, 500, 503):
        answer(source, 0.01, status)
    found = interval(before, source)
    assert found is not None
    assert (found.requests_per_second, found.failures_per_second) == (3, 1)


def test_the_page_s_own_questions_are_not_load() -> None:
    source = metrics()
    before = page(source)
    for route in ("/metrics", "/v1/models", "/v1/models/{model}", "unmatched"):
        answer(source, 0.01, route=route)
    found = interval(before, source)
    assert found is not None
    assert (found.requests_per_second, found.p99_seconds) == (0, None)


def test_the_routes_of_every_kind_of_client_count() -> None:
    source = metrics()
    before = page(source)
    for route in ("/predict", "/classificar", ROUTE, "/v2/models/{model}/infer"):
        answer(source, 0.01, route=route)
    found = interval(before, source)
    assert found is not None
    assert found.requests_per_second == 2


def test_models_are_summed() -> None:
    source = metrics()
    before = page(source)
    source.batch_formed("cifar10", 1, "device_free", [0.0])
    source.batch_formed("bottle", 3, "device_free", [0.0] * 3)
    source.watch("cifar10", waiting=lambda: 5, answers_kept=lambda: 0)
    source.watch("bottle", waiting=lambda: 2, answers_kept=lambda: 0)
    found = interval(before, source)
    assert found is not None
    assert (found.images_per_second, found.mean_batch_size, found.waiting) == (2, 2, 7)


def test_without_traffic_there_is_no_latency_and_no_batch_size() -> None:
    source = metrics()
    found = interval(source, source)
    assert found is not None
    assert (found.p50_seconds, found.p99_seconds, found.mean_batch_size) == (None, None, None)
    assert found.images_per_second == 0


def test_two_processes_are_not_compared_whichever_has_counted_more() -> None:
    idle, busy = page(metrics()), metrics()
    answer(busy, 0.01)
    other, starts = re.subn(r"(?m)^(process_start_time_seconds) .*", r"\1 1000.0", page(busy))
    assert starts == 1
    assert interval(idle, other) is None
    assert interval(other, idle) is None
    assert interval(idle, busy) is not None


def test_where_the_start_is_not_told_counters_that_fell_are_another_process_s() -> None:
    old, new = metrics(), metrics()
    for source in (old, old, new):
        answer(source, 0.01)
    first, second = (re.sub(r"(?m)^process_.*\n", "", page(source)) for source in (old, new))
    assert interval(first, second) is None
    assert interval(second, first) is not None


def test_no_time_between_is_no_interval() -> None:
    source = metrics()
    assert interval(source, source, seconds=0) is None


@pytest.mark.parametrize("text", ["<html>", "rotulo_x{le=} y", "a b c d"])
def test_a_page_that_is_not_of_metrics_is_unexpected(text: str) -> None:
    with pytest.raises(Unexpected):
        read(text, 0.0)


def test_the_history_leaves_out_what_is_too_close_and_forgets_what_is_too_old() -> None:
    text = page(metrics())
    history = History(shown=3)
    for at in (0.0, 0.1, 2.0, 4.0, 6.0, 8.0):
        history.add(read(text, at))
    assert [each.ended_at for each in history.intervals] == [4.0, 6.0, 8.0]


def test_a_pause_of_the_service_is_no_interval() -> None:
    text = page(metrics())
    history = History(shown=3)
    history.add(read(text, 0.0))
    history.forget_last()
    history.add(read(text, 60.0))
    assert not history.intervals
    history.add(read(text, 62.0))
    assert [each.ended_at for each in history.intervals] == [62.0]


def test_a_time_in_which_nobody_looked_is_no_interval() -> None:
    text = page(metrics())
    history = History(shown=3)
    for at in (0.0, 2.0, 602.0, 604.0):
        history.add(read(text, at))
    assert [each.ended_at for each in history.intervals] == [2.0, 604.0]


def test_a_quantile_is_linear_within_its_bucket() -> None:
    buckets = [(1.0, 0.0), (2.0, 10.0), (math.inf, 10.0)]
    assert quantile(0.5, buckets) == 1.5
    assert quantile(0.99, buckets) == pytest.approx(1.99)


def test_beyond_the_last_edge_a_quantile_is_the_least_that_it_can_be() -> None:
    assert quantile(0.99, [(10.0, 0.0), (math.inf, 4.0)]) == 10.0
    assert quantile(0.99, []) is None


@given(
    st.lists(st.sampled_from([0.0004, 0.003, 0.03, 0.3, 3.0]), min_size=1, max_size=40), st.floats(0.01, 1)
)
def test_a_quantile_lies_in_the_bucket_of_the_observation_that_it_stands_for(
    observed: list[float], share: float
) -> None:
    source = metrics()
    before = page(source)
    for value in observed:
        answer(source, value)
    first, second = read(before, 0), read(page(source), 1)
    grown = {key: value - first.samples.get(key, 0) for key, value in second.samples.items()}
    buckets = live._buckets(grown, "rotulo_http_request_seconds_bucket")
    truth = sorted(observed)[math.ceil(share * len(observed) - 1e-9) - 1]
    estimate = quantile(share, buckets)
    edges = [0.0, *(edge for edge, _ in buckets)]
    upper = next(index for index, edge in enumerate(edges) if edge >= truth)
    assert estimate is not None
    assert edges[upper - 1] <= estimate <= edges[upper] + 1e-9
