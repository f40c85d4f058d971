"""What `/metrics` shows. Names follow Prometheus: base units (seconds, bytes), counters end in `_total`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from batching import Observer
from service.targets import LatencyTargets

disable_created_metrics()  # a timestamp beside every counter would double the page

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256)

# What alerts count is shown from the start, at 0: of a series born at 1 Prometheus sees no increase.
_ACTIVATIONS = ("activated", "unfit", "unknown", "abandoned")
_FAILURES = ("BadOutput", "BatchFailed", "OutOfMemory", "WrongResultCount")
_RECORDED = ("written", "dropped")


class Metrics(Observer):
    """One registry per service; it listens to the batchers of all models."""

    def __init__(self, targets: LatencyTargets, *, caches: bool = False) -> None:
        """Answers within the model's target are counted apart: they are the goodput.

        `caches`: whether answers are kept; only then are there metrics about it.
        """
        self._targets = targets
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = self._counter("http_requests", "HTTP requests answered", "route", "method", "status")
        self._http_seconds = self._histogram("http_request_seconds", "head read, answer sent", "route")
        self._in_time = self._counter(
            "http_answers_in_time", "answers 2xx within the latency target", "route", "model"
        )
        self._cut = self._counter("connections_refused", "requests refused before they were read", "reason")
        self._batch_size = self._histogram("batch_size", "images in a batch", "model", buckets=_SIZES)
        self._closed = self._counter("batches_closed", "batches by why they closed", "model", "reason")
        self._queue_seconds = self._histogram("queue_wait_seconds", "an image's wait in the line", "model")
        self._batch_seconds = self._histogram("batch_seconds", "time of a batch", "model")
        self._predicted = self._counter("batch_predicted_seconds", "batch time as predicted", "model")
        self._waiting = self._gauge("waiting", "images in the line", "model")
        self._refused = self._counter(
            "refused", "refusals, of a request or of an image in it", "model", "reason"
        )
        self._abandoned = self._counter("abandoned", "images accepted and not answered", "model", "stage")
        self._failed = self._counter("failed", "images that the engine failed", "model", "kind")
        self._info = self._gauge("model_info", "1 for the version that answers", "model", "version", "engine")
        self._activations = self._counter("activations", "switches to another version", "model", "outcome")
        self._recorded = self._counter(
            "record_rows", "predictions by whether they are in the record", "outcome"
        )
        self._target = self._gauge("latency_target_seconds", "answers later than this are late", "model")
        self._caches = caches
        if caches:
            self._hits = self._counter("cache_hits", "images answered without work", "model", "kind")
            self._misses = self._counter("cache_misses", "images that had to be worked out", "model")
            self._entries = self._gauge("cache_entries", "answers kept", "model")
        self._answering: dict[str, tuple[str, ...]] = {}  # the labels of each model in _info
        # To look three of them up by their labels took longer than to count.
        self._of_answers = cache(self._labelled_by_answer)

    def watch(self, name: str, *, waiting: Callable[[], float], answers_kept: Callable[[], float]) -> None:
        """Show a model's target; its line and cache, read at every scrape; and, at 0, what may befall it."""
        self._target.labels(name).set(self._targets.seconds(name))
        self._waiting.labels(name).set_function(waiting)
        for outcome in _ACTIVATIONS:
            self._activations.labels(name, outcome)
        for kind in _FAILURES:
            self._failed.labels(name, kind)
        if self._caches:
            self._entries.labels(name).set_function(answers_kept)

    def cache_looked_up(self, name: str, outcome: str) -> None:
        """An image was asked for: hit, coalesced or miss."""
        if outcome == "miss":
            self._misses.labels(name).inc()
        else:
            self._hits.labels(name, outcome).inc()

    def watch_service(
        self,
        *,
        ready: Callable[[], float],
        engine_busy_seconds: Callable[[], float],
        bodies_held_bytes: Callable[[], float],
        decodes_in_progress: Callable[[], float],
    ) -> None:
        """Show the state of the whole service, read whenever the metrics are scraped."""
        self._gauge("ready", "1 while requests are welcome, as /readyz").set_function(ready)
        busy = self._gauge("engine_busy_seconds", "how long the engine's current call has taken")
        busy.set_function(engine_busy_seconds)
        held = self._gauge("bodies_held_bytes", "request bodies in memory")
        held.set_function(bodies_held_bytes)
        decodes = self._gauge("decodes_in_progress", "images that are decoded, or wait for it, in threads")
        decodes.set_function(decodes_in_progress)

    def active(self, name: str, version: str, engine: str) -> None:
        """This version answers from now on."""
        if name in self._answering:
            self._info.remove(*self._answering[name])
        self._answering[name] = (name, version, engine)
        self._info.labels(name, version, engine).set(1)

    def activation(self, name: str, outcome: str) -> None:
        """An attempt to switch ended: activated, unfit, unknown or abandoned."""
        self._activations.labels(name, outcome).inc()

    def answered(self, route: str, method: str, status: int, seconds: float, model: str = "") -> None:
        """One HTTP request is done; `model`: which one it asked, if any."""
        requests, http_seconds, in_time = self._of_answers(route, method, status, model)
        requests.inc()
        http_seconds.observe(seconds)
        on_time = 200 <= status < 300 and seconds <= self._targets.seconds(model)
        in_time.inc(on_time)  # a series from the first answer, though late

    def _labelled_by_answer(
        self, route: str, method: str, status: int, model: str
    ) -> tuple[Counter, Histogram, Counter]:
        return (
            self._requests.labels(route, method, status),
            self._http_seconds.labels(route),
            self._in_time.labels(route, model),
        )

    def connection_refused(self, reason: str) -> None:
        """A connection ended below the application: slow, oversized or malformed."""
        self._cut.labels(reason).inc()

    def recorded(self, outcome: str, rows: int) -> None:
        """So many predictions were written or dropped."""
        self._recorded.labels(outcome).inc(rows)

    def watch_record(self, waiting: Callable[[], float], age_seconds: Callable[[], float]) -> None:
        """Show the record's line and the time since its last write, read at every scrape; its rows, at 0."""
        for outcome in _RECORDED:
            self._recorded.labels(outcome)
        self._gauge("record_waiting", "predictions not yet in the record").set_function(waiting)
        self._gauge("record_last_write_age_seconds", "since the last write").set_function(age_seconds)

    def batch_formed(self, name: str, size: int, reason: str, queue_seconds: Sequence[float]) -> None:
        self._batch_size.labels(name).observe(size)
        self._closed.labels(name, reason).inc()
        observe = self._queue_seconds.labels(name).observe
        for seconds in queue_seconds:
            observe(seconds)

    def batch_done(self, name: str, size: int, predicted_seconds: float, actual_seconds: float) -> None:  # noqa: ARG002
        self._batch_seconds.labels(name).observe(actual_seconds)
        self._predicted.labels(name).inc(predicted_seconds)

    def refused(self, name: str, reason: str) -> None:
        self._refused.labels(name, reason).inc()

    def abandoned(self, name: str, stage: str) -> None:
        self._abandoned.labels(name, stage).inc()

    def failed(self, name: str, kind: str) -> None:
        self._failed.labels(name, kind).inc()

    @property
    def registry(self) -> CollectorRegistry:
        """To be read."""
        return self._registry

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self._registry)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"rotulo_{name}", documentation, labels, registry=self._registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(f"rotulo_{name}", documentation, labels, registry=self._registry)

    def _histogram(
        self, name: str, documentation: str, *labels: str, buckets: Sequence[float] = _SECONDS
    ) -> Histogram:
        return Histogram(f"rotulo_{name}", documentation, labels, buckets=buckets, registry=self._registry)


class WorkerMetrics:
    """What only the supervisor of several workers knows."""

    def __init__(self, ready: Callable[[], float]) -> None:
        """`ready`: how many workers are, read at every scrape."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        Gauge("rotulo_workers", "workers that are ready", registry=self.registry).set_function(ready)
        self._restarts = Counter("rotulo_worker_restarts", "workers replaced", registry=self.registry)

    def restarted(self) -> None:
        """A worker ended and another takes its place."""
        self._restarts.inc()
