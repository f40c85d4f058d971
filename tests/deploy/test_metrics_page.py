"""docs/metrics.md lists what is exposed, all of it and nothing else."""

from __future__ import annotations

import re

import pytest

from batching import BatchFailed, OutOfMemory, WrongResultCount
from models.errors import BadOutput
from service.metrics import Metrics
from service.targets import LatencyTargets
from tests.deploy.exposed import ROOT, Exposed, everything, exposed, queried
from tests.live import LiveService

ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| *([^|]*?) *\| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs" / "metrics.md").read_text())
WRITTEN = {name: Exposed(kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels, *_ in ROWS}

# Exposed with --cache-entries, --record-url or --workers alone.
OFF = {name for name in WRITTEN if name.startswith("rotulo_cache_")} | {
    "rotulo_record_waiting",
    "rotulo_record_last_write_age_seconds",
    "rotulo_workers",
    "rotulo_worker_restarts_total",
}


def test_the_page_lists_every_metric_with_its_type_and_labels_and_no_other() -> None:
    assert exposed(everything()) == WRITTEN
    assert len(ROWS) == len(WRITTEN)


def test_a_scrape_of_a_running_service_has_the_same_but_those_of_what_is_off(
    live: LiveService,
) -> None:
    scraped = exposed(live.request("GET", "/metrics").body.decode())
    assert {name: metric.kind for name, metric in scraped.items()} == {
        name: metric.kind for name, metric in WRITTEN.items() if name not in OFF
    }
    for name, (_, labels) in scraped.items():
        assert labels <= WRITTEN[name].labels


@pytest.mark.parametrize(("name", "kind", "unit"), [(name, kind, unit) for name, kind, _, unit, _ in ROWS])
def test_names_follow_prometheus(name: str, kind: str, unit: str) -> None:
    assert (kind == "counter") == name.endswith("_total")
    assert ("seconds" in unit) == ("_seconds" in name)
    assert (unit == "bytes") == name.endswith("_bytes")
    assert not re.search(r"_(ms|milliseconds|percent|kb|mb)(_|$)", name)


def test_what_is_measured_of_the_service_moves(live: LiveService) -> None:
    image = (ROOT / "loadtest" / "samples" / "cat-32.jpg").read_bytes()
    route = "/v1/models/{model}/predict"
    before = live.metric("rotulo_http_answers_in_time_total", route=route, model="cifar10")
    assert live.request("POST", "/v1/models/cifar10/predict", image).status == 200
    assert live.request("POST", "/v1/models/cifar10/predict", b"no image").status == 415
    assert live.metric("rotulo_http_answers_in_time_total", route=route, model="cifar10") == before + 1
    assert live.metric("rotulo_ready") == 1
    assert live.metric("rotulo_latency_target_seconds", model="cifar10") == 300
    assert live.metric("rotulo_engine_busy_seconds") == 0
    assert live.metric("rotulo_bodies_held_bytes") == 0


def test_what_alerts_count_is_there_before_it_happens_for_the_first_time() -> None:
    metrics = Metrics(LatencyTargets.parse("1000"))
    metrics.watch("cifar10", waiting=lambda: 0, answers_kept=lambda: 0)
    metrics.watch_record(lambda: 0, lambda: 0)
    shown = metrics.text().decode().splitlines()
    for outcome in ("activated", "unfit", "unknown", "abandoned"):
        assert f'rotulo_activations_total{{model="cifar10",outcome="{outcome}"}} 0.0' in shown
    for error in (BadOutput, BatchFailed, OutOfMemory, WrongResultCount):
        assert f'rotulo_failed_total{{kind="{error.__name__}",model="cifar10"}} 0.0' in shown
    for outcome in ("written", "dropped"):
        assert f'rotulo_record_rows_total{{outcome="{outcome}"}} 0.0' in shown


def test_the_reader_of_queries_finds_names_and_labels() -> None:
    expression = (
        'histogram_quantile(0.99, sum by (le, route) (rate(a_bucket{job="$job",route=~"/x|.*y"}[$range])))'
        " / on (instance) group_left () b > bool 1e3 unless count_over_time(c[5m:1m] offset 5m) > 1"
    )
    names, labels = queried(expression)
    assert names == {"a_bucket", "b", "c"}
    assert labels == {"le", "route", "job", "instance"}
