"""Two readings of `/metrics` -> what happened in between. Pure; the caller brings the clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from ui.client import Unexpected

# The routes that classify; the page's own questions for models and metrics are not load.
CLASSIFYING = ("/predict", "/classificar", "/infer")

SHORTEST_SECONDS = 0.5
LONGEST_SECONDS = 5.0  # nobody looked in between: a mean over it is not what happens now

_COUNTED = ("_total", "_count", "_sum", "_bucket")
_STARTED = ("process_start_time_seconds", frozenset[tuple[str, str]]())

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
Buckets = Sequence[tuple[float, float]]  # (upper edge, how many up to it), by edge


@dataclass(frozen=True, slots=True)
class Reading:
    """The page of metrics at `at` seconds of some clock."""

    at: float
    samples: Samples


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened between two readings, of all models and all callers.

    Rates are per second, latencies in seconds; None where nothing was answered.
    """

    ended_at: float
    requests_per_second: float
    images_per_second: float
    failures_per_second: float  # answers 5xx
    p50_seconds: float | None
    p99_seconds: float | None
    mean_batch_size: float | None
    batch_sizes: tuple[tuple[str, float], ...]  # ("1", batches of one), ("2", ...), ("3–4", ...)
    waiting: float


class History:
    """The intervals of the last readings, at most `shown` of them."""

    def __init__(self, shown: int) -> None:
        self.intervals: deque[Interval] = deque(maxlen=shown)
        self._last: Reading | None = None

    def add(self, reading: Reading) -> None:
        """The page may be drawn several times a second, or not for an hour: what is too close to the last
        reading is left out, and what is too far from it begins anew.
        """
        since = reading.at - self._last.at if self._last else 0.0
        if self._last and since < SHORTEST_SECONDS:
            return
        interval = between(self._last, reading) if self._last and since <= LONGEST_SECONDS else None
        if interval is not None:
            self.intervals.append(interval)
        self._last = reading

    def forget_last(self) -> None:
        """The service was away: what comes next is not to be compared with what was before."""
        self._last = None


def read(page: str, at: float) -> Reading:
    """Raises Unexpected where the page is not in Prometheus' text format."""
    try:
        families = list(text_string_to_metric_families(page))
    except ValueError as error:
        raise Unexpected("/metrics") from error
    return Reading(
        at,
        {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        },
    )


def between(before: Reading, after: Reading) -> Interval | None:
    """None where they are of two processes: it was started again, or a balancer led to another one.

    Where a service does not say when it started (off Linux), counters that fell tell of it.
    """
    seconds = after.at - before.at
    growth = {key: value - before.samples.get(key, 0.0) for key, value in after.samples.items()}
    counts = {
        (name, labels): value
        for (name, labels), value in growth.items()
        if name.startswith("rotulo_") and name.endswith(_COUNTED)
    }
    if seconds <= 0 or growth.get(_STARTED) or any(value < 0 for value in counts.values()):
        return None
    latency = _buckets(counts, "rotulo_http_request_seconds_bucket")
    batches = _total(counts, "rotulo_batch_size_count")
    images = _total(counts, "rotulo_batch_size_sum")
    return Interval(
        ended_at=after.at,
        requests_per_second=_total(counts, "rotulo_http_requests_total") / seconds,
        images_per_second=images / seconds,
        failures_per_second=_failures(counts) / seconds,
        p50_seconds=quantile(0.5, latency),
        p99_seconds=quantile(0.99, latency),
        mean_batch_size=images / batches if batches else None,
        batch_sizes=_bars(_buckets(counts, "rotulo_batch_size_bucket")),
        waiting=_total(after.samples, "rotulo_waiting"),
    )


def quantile(share: float, buckets: Buckets) -> float | None:
    """Prometheus' histogram_quantile: linear within the bucket; None of no observations.

    In the last bucket, which has no end, its lower edge: the least that it can be.
    """
    if not buckets or not buckets[-1][1]:
        return None
    wanted = share * buckets[-1][1]
    below_edge, below_count = 0.0, 0.0
    for edge, count in buckets:
        if count >= wanted and count > below_count:
            if math.isinf(edge):
                return below_edge
            return below_edge + (edge - below_edge) * (wanted - below_count) / (count - below_count)
        below_edge, below_count = edge, count
    return below_edge


def summed(intervals: Sequence[Interval]) -> list[tuple[str, float]]:
    """How many batches of which sizes, over all of them; up to the largest that occurred."""
    totals: dict[str, float] = {}
    for interval in intervals:
        for sizes, batches in interval.batch_sizes:
            totals[sizes] = totals.get(sizes, 0.0) + batches
    bars = list(totals.items())
    while bars and not bars[-1][1]:
        bars.pop()
    return bars


def _classifies(labels: Mapping[str, str]) -> bool:
    return labels.get("route", CLASSIFYING[0]).endswith(CLASSIFYING)


def _total(samples: Samples, name: str) -> float:
    return sum(
        value for (each, labels), value in samples.items() if each == name and _classifies(dict(labels))
    )


def _failures(samples: Samples) -> float:
    return sum(
        value
        for (each, labels), value in samples.items()
        if each == "rotulo_http_requests_total"
        and _classifies(dict(labels))
        and dict(labels)["status"].startswith("5")
    )


def _buckets(samples: Samples, name: str) -> list[tuple[float, float]]:
    counts: dict[float, float] = {}
    for (each, labels), value in samples.items():
        if each == name and _classifies(dict(labels)):
            edge = float(dict(labels)["le"])
            counts[edge] = counts.get(edge, 0.0) + value
    return sorted(counts.items())


def _bars(buckets: Buckets) -> tuple[tuple[str, float], ...]:
    bars = []
    below_edge, below_count = 0.0, 0.0
    for edge, count in buckets:
        bars.append((_sizes(below_edge, edge), count - below_count))
        below_edge, below_count = edge, count
    return tuple(bars)


def _sizes(below: float, edge: float) -> str:
    if math.isinf(edge):
        return f"> {below:.0f}"
    return f"{edge:.0f}" if edge == below + 1 else f"{below + 1:.0f}–{edge:.0f}"
