"""The metrics of several processes, added up."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from service.metrics import Metrics
from service.targets import LatencyTargets
from service.workers.totals import Totals, report


def value(totals: Totals, sample: str) -> float:
    """Of one line of the text."""
    (line,) = [line for line in totals.text().decode().splitlines() if line.startswith(f"{sample} ")]
    return float(line.rpartition(" ")[2])


def worker(waiting: int = 0, *, ready: bool = True, version: str = "1") -> Metrics:
    metrics = Metrics(LatencyTargets.parse("1000"))
    metrics.watch("cifar10", waiting=lambda: waiting, answers_kept=lambda: 0)
    metrics.watch_service(
        ready=lambda: ready,
        engine_busy_seconds=lambda: float(waiting),
        bodies_held_bytes=lambda: 0,
        decodes_in_progress=lambda: 0,
    )
    metrics.active("cifar10", version, "torch")
    return metrics


def test_counters_and_histograms_are_added_and_gauges_mean_something() -> None:
    totals = Totals()
    for number, metrics in enumerate([worker(2), worker(3, ready=False)], start=1):
        metrics.answered("/predict", "POST", 200, 0.02, "cifar10")
        metrics.batch_formed("cifar10", number, "full", [0.1])
        totals.reported(number, report(metrics.registry))
    answered = 'rotulo_http_requests_total{method="POST",route="/predict",status="200"}'
    assert value(totals, answered) == 2
    assert value(totals, 'rotulo_http_answers_in_time_total{model="cifar10",route="/predict"}') == 2
    assert value(totals, 'rotulo_batch_size_sum{model="cifar10"}') == 3
    assert value(totals, 'rotulo_batch_size_bucket{le="1.0",model="cifar10"}') == 1
    assert value(totals, 'rotulo_batch_size_bucket{le="2.0",model="cifar10"}') == 2
    assert value(totals, 'rotulo_waiting{model="cifar10"}') == 5
    assert value(totals, "rotulo_engine_busy_seconds") == 3
    assert value(totals, "rotulo_ready") == 0
    assert value(totals, 'rotulo_latency_target_seconds{model="cifar10"}') == 1
    assert value(totals, 'rotulo_model_info{engine="torch",model="cifar10",version="1"}') == 1


def test_of_one_process_the_text_is_what_it_would_say_itself() -> None:
    metrics = worker()
    metrics.batch_formed("cifar10", 7, "full", [0.1, 0.2])
    totals = Totals()
    totals.reported(1, report(metrics.registry))
    own = {line for line in metrics.text().decode().splitlines() if "process_" not in line}
    assert {line for line in totals.text().decode().splitlines() if "process_" not in line} == own


def test_a_process_that_ended_leaves_its_counts_and_none_of_its_gauges() -> None:
    totals = Totals()
    killed = worker(4, version="old")
    killed.batch_formed("cifar10", 5, "full", [0.1])
    totals.reported(1, report(killed.registry))
    totals.ended(1)
    totals.reported(2, report(worker().registry))
    text = totals.text().decode()
    assert value(totals, 'rotulo_batch_size_sum{model="cifar10"}') == 5
    assert value(totals, 'rotulo_waiting{model="cifar10"}') == 0
    assert 'version="old"' not in text


def test_the_start_is_the_parent_s_whichever_worker_is_replaced() -> None:
    totals = Totals()
    for number, second in [(0, 1000.0), (1, 1001.0), (2, 1001.0), (1, 2000.0), (2, 3000.0)]:
        totals.ended(number)
        started = ["process_start_time_seconds", {}, second]
        totals.reported(number, [["process_start_time_seconds", "", "gauge", [started]]])
        assert value(totals, "process_start_time_seconds") == 1000


@given(st.lists(st.tuples(st.sampled_from(["count", "kill"]), st.integers(0, 2), st.integers(0, 9))))
def test_no_total_ever_falls_whoever_is_killed(steps: list[tuple[str, int, int]]) -> None:
    totals = Totals()
    counts = [0, 0, 0]
    seen = [0.0]
    for step, number, more in steps:
        counts[number] = counts[number] + more if step == "count" else 0
        if step == "kill":
            totals.ended(number)
        samples = [["a_total", {}, float(counts[number])]]
        totals.reported(number, [["a", "", "counter", samples]])
        seen.append(value(totals, "a_total"))
    assert all(before <= after for before, after in pairwise(seen))
    assert seen[-1] == sum(more for step, _, more in steps if step == "count")
