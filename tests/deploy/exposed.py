"""What `/metrics` can expose, with every label; and the names in a PromQL expression."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics, WorkerMetrics
from service.targets import LatencyTargets

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"


class Exposed(NamedTuple):
    """One metric as it is documented: a counter by the name that is scraped."""

    kind: str
    labels: frozenset[str]


def everything() -> str:
    """The text of registries in which everything has happened once, with the supervisor's of workers."""
    metrics = Metrics(LatencyTargets.parse("1000"), caches=True)
    metrics.watch("cifar10", waiting=lambda: 0, answers_kept=lambda: 0)
    metrics.cache_looked_up("cifar10", "hit")
    metrics.cache_looked_up("cifar10", "miss")
    metrics.watch_service(
        ready=lambda: 1,
        engine_busy_seconds=lambda: 0,
        bodies_held_bytes=lambda: 0,
        decodes_in_progress=lambda: 0,
    )
    metrics.watch_record(lambda: 0, lambda: 0)
    metrics.recorded("written", 1)
    metrics.active("cifar10", "1", "openvino")
    metrics.activation("cifar10", "activated")
    metrics.answered("/predict", "POST", 200, 0.1, "cifar10")
    metrics.connection_refused("slow-client")
    metrics.batch_formed("cifar10", 1, "full", [0.1])
    metrics.batch_done("cifar10", 1, 0.1, 0.1)
    metrics.refused("cifar10", "full")
    metrics.abandoned("cifar10", "left")
    metrics.failed("cifar10", "BatchFailed")
    return (metrics.text() + generate_latest(WorkerMetrics(lambda: 2).registry)).decode()


def exposed(text: str) -> dict[str, Exposed]:
    """Every metric of a scrape; `le` belongs to histograms and is left out."""
    found = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = frozenset(label for sample in family.samples for label in sample.labels)
        found[name] = Exposed(family.type, labels - {"le"})
    return found


def series(metrics: dict[str, Exposed]) -> dict[str, frozenset[str]]:
    """The names that a query may use, with their labels."""
    found = {}
    for name, (kind, labels) in metrics.items():
        if kind == "histogram":
            found[f"{name}_bucket"] = labels | {"le"}
            found[f"{name}_sum"] = found[f"{name}_count"] = labels
        else:
            found[name] = labels
    return found


class Queried(NamedTuple):
    """What an expression reads: metrics, and labels by matching or by grouping."""

    names: set[str]
    labels: set[str]


_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_MATCHERS = re.compile(r"\{([^}]*)\}")
_WORDS = re.compile(r"(?<![\w$.])([a-zA-Z_:][\w:]*)\b(?!\s*\()")
_NO_NAMES = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring"}


def queried(expression: str) -> Queried:
    """Metric names and label names of a PromQL expression, Grafana's variables allowed."""
    labels = {label.strip() for group in _GROUPING.findall(expression) for label in group.split(",")}
    rest = _GROUPING.sub(" ", expression)
    for matchers in _MATCHERS.findall(rest):
        labels |= set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
    rest = re.sub(r"\[[^\]]*\]", " ", _MATCHERS.sub(" ", rest))
    rest = re.sub(r'"[^"]*"', " ", rest)
    return Queried(set(_WORDS.findall(rest)) - _NO_NAMES, labels - {""})


def unknown(expressions: Iterable[str], also: dict[str, frozenset[str]]) -> list[str]:
    """What the expressions read and nobody exposes; `also` are names that others than the service give.

    `job` and `instance` are what Prometheus adds to everything it scrapes.
    """
    known = {**series(exposed(everything())), **also}
    faults = []
    for expression in expressions:
        names, labels = queried(expression)
        faults += [f"{name} in {expression}" for name in names - known.keys()]
        given = frozenset({"job", "instance"}).union(*(known.get(name, frozenset()) for name in names))
        faults += [f"label {label} in {expression}" for label in labels - given]
    return faults


def promtool() -> str:
    """Where it is; skips the test where it is not."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    return found
