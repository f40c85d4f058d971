"""What the server says of itself in `/metrics`: before, during and after a run."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from loadtest.described import get
from loadtest.errors import NoServer

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass(slots=True)
class Watched:
    """Once a second: seconds since the start, the page of metrics, our own CPU seconds."""

    at: list[float] = field(default_factory=list)
    pages: list[bytes] = field(default_factory=list)
    own_cpu_seconds: list[float] = field(default_factory=list)

    def samples(self) -> list[Samples]:
        """The pages, read. Not while load is being sent: reading takes milliseconds."""
        return [parse(page) for page in self.pages]

    def figures(self) -> dict[str, Any]:
        """What the server said of itself, and counted meanwhile; empty where it did not say it twice."""
        samples = self.samples()
        if len(samples) < 2:
            return {}
        before, after = samples[0], samples[-1]

        def counted(name: str, label: str) -> dict[str, float]:
            return grown(*(by_label(each, name, label) for each in (before, after)))

        memory, cpu, waiting = (
            [total(each, name) for each in samples]
            for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "rotulo_waiting")
        )
        memory = [each / 1e6 for each in memory]
        series = {
            "second": self.at[1:],
            "cpu_cores": rates(self.at, cpu),
            "generator_cores": rates(self.at, self.own_cpu_seconds),
            "memory_mb": memory[1:],
            "waiting": waiting[1:],
        }
        return {
            "batch_sizes": batch_sizes(before, after),
            "closed": counted("rotulo_batches_closed_total", "reason"),
            "refused": counted("rotulo_refused_total", "reason"),
            "abandoned": counted("rotulo_abandoned_total", "stage"),
            "cpu_cores_mean": _rate(self.at, cpu),
            "memory_mb_first": memory[0],
            "memory_mb_last": memory[-1],
            "memory_mb_max": max(memory),
            "series": [dict(zip(series, row, strict=True)) for row in zip(*series.values(), strict=True)],
        }

    def cores(self, start: float, end: float) -> float:
        """CPU seconds of the server a second, between two moments; NaN where it does not say."""
        cpu = [total(each, "process_cpu_seconds_total") for each in self.samples()]
        return _rate(self.at, cpu, start, end)

    def own_cores(self, start: float, end: float) -> float:
        """As `cores`, of this process."""
        return _rate(self.at, self.own_cpu_seconds, start, end)


@contextlib.contextmanager
def watching(url: str, every_seconds: float = 1.0) -> Iterator[Watched]:
    """Fetch `/metrics` in a thread until the context ends, and once more then."""
    watched = Watched()
    over = threading.Event()
    started = time.monotonic()

    def look() -> None:
        with contextlib.suppress(NoServer):  # it may be stopping, or have no metrics
            page = get(f"{url}/metrics")
            watched.at.append(time.monotonic() - started)
            watched.pages.append(page)
            watched.own_cpu_seconds.append(time.process_time())

    def keep_looking() -> None:
        look()
        while not over.wait(every_seconds):
            look()

    thread = threading.Thread(target=keep_looking, name="watch-metrics")
    thread.start()
    try:
        yield watched
    finally:
        over.set()
        thread.join()
        look()


def parse(page: bytes) -> Samples:
    """(name, sorted labels) -> value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def total(samples: Samples, name: str) -> float:
    """The sum over all labels; NaN where there is no such metric."""
    values = [value for (each, _), value in samples.items() if each == name]
    return sum(values) if values else math.nan


def by_label(samples: Samples, name: str, label: str) -> dict[str, float]:
    """The values of a metric, summed by one of its labels."""
    summed: dict[str, float] = {}
    for (each, labels), value in samples.items():
        if each == name:
            key = dict(labels).get(label, "")
            summed[key] = summed.get(key, 0.0) + value
    return summed


def rates(at: Sequence[float], values: Sequence[float]) -> list[float]:
    """What was added a second, from each moment to the next."""
    moments = zip(at, values, strict=True)
    return [(b - a) / max(later - earlier, 1e-9) for (earlier, a), (later, b) in pairwise(moments)]


def _rate(
    at: Sequence[float], values: Sequence[float], start: float = -math.inf, end: float = math.inf
) -> float:
    inside = [pair for pair in zip(at, values, strict=True) if start <= pair[0] <= end]
    if len(inside) < 2:
        return math.nan
    (earlier, a), (later, b) = inside[0], inside[-1]
    return (b - a) / (later - earlier)


def grown(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was counted in between; what did not grow is left out."""
    growth = {key: value - before.get(key, 0.0) for key, value in after.items()}
    return {key: value for key, value in growth.items() if value > 0}


def batch_sizes(before: Samples, after: Samples) -> list[tuple[str, float]]:
    """(sizes, batches) between two pages, from the histogram: "1", "2", "3–4", "5–8", ..."""
    counts = [by_label(samples, "rotulo_batch_size_bucket", "le") for samples in (before, after)]
    edges = sorted(counts[1], key=float)
    bars = []
    below_edge, below_count = 0, 0.0
    for edge in edges:
        count = counts[1][edge] - counts[0].get(edge, 0.0)
        bars.append((_sizes(below_edge, float(edge)), count - below_count))
        below_edge, below_count = int(float(edge)) if float(edge) < math.inf else 0, count
    return _trimmed(bars)


def _sizes(below: int, edge: float) -> str:
    if math.isinf(edge):
        return f">{below}"
    return str(below + 1) if int(edge) == below + 1 else f"{below + 1}–{int(edge)}"


def _trimmed(bars: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    used = [index for index, (_, count) in enumerate(bars) if count]
    return list(bars[: used[-1] + 1]) if used else []
