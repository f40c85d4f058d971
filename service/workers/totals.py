"""The metrics of several processes as those of one service. Pure.

Counters and histograms are added up. A process that ends leaves what it counted by its last report, so that
no total ever falls. Gauges are those of the processes that run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Metric, generate_latest

# Gauges are added up, but for these: one figure for all, states, and bounds of a process.
_LARGEST = {
    "rotulo_latency_target_seconds",
    "rotulo_model_info",
    "rotulo_engine_busy_seconds",
    "rotulo_record_last_write_age_seconds",
    "process_open_fds",
}
_LEAST = {
    "rotulo_ready",
    "process_start_time_seconds",  # the parent's, which is the oldest: it changes when all begin anew
    "process_max_fds",
}

_Key = tuple[str, str, tuple[tuple[str, str], ...]]  # family, sample, labels
_Values = dict[_Key, float]


def report(registry: CollectorRegistry) -> list[Any]:
    """What a process counts, fit for JSON: of each family [name, documentation, type, samples]."""
    return [
        [
            family.name,
            family.documentation,
            family.type,
            [[sample.name, sample.labels, sample.value] for sample in family.samples],
        ]
        for family in registry.collect()
    ]


class Totals:
    """What each process reported last, and what those counted that have ended."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, str]] = {}  # documentation and type, by name
        self._latest: dict[int, _Values] = {}
        self._ended: _Values = {}

    def reported(self, process: int, families: Iterable[Any]) -> None:
        """A `report` of a process takes the place of the one before."""
        values: _Values = {}
        for family, documentation, kind, samples in families:
            self._families[family] = documentation, kind
            for sample, labels, value in samples:
                values[family, sample, tuple(sorted(labels.items()))] = value
        self._latest[process] = values

    def ended(self, process: int) -> None:
        """It reports no more; another of the same number begins at zero."""
        for key, value in self._latest.pop(process, {}).items():
            if self._families[key[0]][1] in ("counter", "histogram"):
                self._ended[key] = self._ended.get(key, 0.0) + value

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(_Collected(self._metrics()))

    def _metrics(self) -> Iterator[Metric]:
        metrics = {
            name: Metric(name, documentation, kind)
            for name, (documentation, kind) in sorted(self._families.items())
        }
        for (family, sample, labels), value in self._sums().items():
            metrics[family].add_sample(sample, dict(labels), value)
        yield from metrics.values()

    def _sums(self) -> _Values:
        sums = dict(self._ended)
        for values in self._latest.values():
            for key, value in values.items():
                sums[key] = _together(key[0], sums[key], value) if key in sums else value
        return sums


def _together(family: str, one: float, other: float) -> float:
    if family in _LARGEST:
        return max(one, other)
    return min(one, other) if family in _LEAST else one + other


class _Collected:
    """As much of a registry as `generate_latest` asks of it."""

    def __init__(self, metrics: Iterator[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics
