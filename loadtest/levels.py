"""One level of load, a share of the capacity: calm before, the load, calm after; and the figures of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from loadtest import analysis, loads, plan, scrape
from loadtest.analysis import Rows
from loadtest.answers import Outcome
from loadtest.described import Described
from loadtest.measuring import Repeat, measure
from loadtest.messages import Message
from loadtest.recovery import recovery_seconds
from loadtest.schedules import Arrivals, Phase

CALM_SHARE = 0.5  # of the capacity
CALM_SECONDS = 5.0

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bench:
    """What stays the same over the levels. ``target_seconds``: what is in time."""

    url: str
    messages: Sequence[Message]
    arrivals: Arrivals
    capacity: float
    seconds: float
    target_seconds: float

    @property
    def calm_seconds(self) -> float:
        return min(CALM_SECONDS, self.seconds)

    @property
    def late_seconds(self) -> float:
        """Near the end of the level, even for who looks once a second."""
        return self.calm_seconds + self.seconds - 1.5

    def phases(self, level: float) -> list[Phase]:
        """Calm, the level, calm."""
        calm = self.capacity * CALM_SHARE
        return [
            Phase("before", calm, self.calm_seconds),
            Phase("level", self.capacity * level, self.seconds),
            Phase("after", calm, self.calm_seconds),
        ]

    def measure(self, level: float, seed: int, also: Callable[[float], object] | None = None) -> Repeat:
        """Raises NoServer; ``also`` as for `measuring.measure`."""
        load = loads.of_phases(self.messages, self.phases(level), self.arrivals, seed=seed)
        return measure(self.url, load, self.target_seconds, also)

    def loaded(self, rows: Rows) -> Rows:
        """Those scheduled while the level lasted."""
        return rows.between(self.calm_seconds, self.calm_seconds + self.seconds)


def figures(bench: Bench, level: float, repeat: Repeat) -> Figures:
    """Of one repeat; latencies are those of answers, memory and counts of the calm seconds too."""
    loaded = bench.loaded(repeat.rows)
    summary = analysis.summarise(loaded, bench.seconds, bench.target_seconds)
    refused = loaded.where(loaded.of(Outcome.REFUSED))
    return {
        "level": level,
        **summary,
        "goodput_of_capacity": summary["goodput_per_second"] / bench.capacity,
        "refusal_ms_p50": analysis.percentile_ms(refused.service, 50.0),
        "refusal_ms_p99": analysis.percentile_ms(refused.service, 99.0),
        "recovery_seconds": _recovery(bench, repeat.rows),
        **_watched(repeat, bench.calm_seconds, bench.calm_seconds + bench.seconds),
    }


def _recovery(bench: Bench, rows: Rows) -> float:
    before = rows.between(0.0, bench.calm_seconds)
    normal = analysis.percentile_ms(before.response[before.of(Outcome.ANSWERED)], 99.0) / 1000
    end = bench.calm_seconds + bench.seconds
    return recovery_seconds(rows, end, end + bench.calm_seconds, normal)


def forecast(bench: Bench, model: Described, repeat: Repeat, outside_seconds: float) -> Figures:
    """The policy that serves, simulated with these very arrivals and the curve that has been learnt.

    outside_seconds: what an answer takes outside the line and its batch, as measured in calm.
    """
    times = (bench.loaded(repeat.rows).scheduled - bench.calm_seconds).tolist()
    expected = plan.forecast(plan.question(model, outside_seconds=outside_seconds), times)
    return plan.figures(expected, bench.seconds, bench.target_seconds)


def _watched(repeat: Repeat, start: float, end: float) -> Figures:
    """What the server said of itself; nothing if it has no metrics."""
    samples, at = repeat.watched.samples(), repeat.watched.at
    if len(samples) < 2:
        return {}
    memory = [scrape.total(each, "process_resident_memory_bytes") / 1e6 for each in samples]
    return {
        "memory_mb_first": memory[0],
        "memory_mb_max": max(memory),
        "memory_mb_last": memory[-1],
        "cpu_cores": cores(repeat, start, end),
        "generator_cores": _rate(at, repeat.watched.own_cpu_seconds, start, end),
        "refused": _counted(samples, "rotulo_refused_total", "reason"),
        "abandoned": _counted(samples, "rotulo_abandoned_total", "stage"),
    }


def cores(repeat: Repeat, start: float, end: float) -> float:
    """CPU seconds of the server a second, between two moments; NaN where it does not say."""
    used = [scrape.total(each, "process_cpu_seconds_total") for each in repeat.watched.samples()]
    return _rate(repeat.watched.at, used, start, end)


def _rate(at: Sequence[float], values: Sequence[float], start: float, end: float) -> float:
    inside = [index for index, second in enumerate(at) if start <= second <= end]
    if len(inside) < 2:
        return math.nan
    first, last = inside[0], inside[-1]
    return (values[last] - values[first]) / (at[last] - at[first])


def _counted(samples: Sequence[scrape.Samples], name: str, label: str) -> dict[str, float]:
    return scrape.grown(*(scrape.by_label(each, name, label) for each in (samples[0], samples[-1])))


def middle(repeats: Sequence[Mapping[str, Any]]) -> Figures:
    """The median of every number that is known; of counts by name, the medians by name."""
    return {key: _middle([each[key] for each in repeats if key in each]) for key in repeats[0]}


def _middle(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Mapping):
        names = sorted({name for each in values for name in each})
        return {name: median(each.get(name, 0.0) for each in values) for name in names}
    known = [value for value in values if not math.isnan(value)]
    return median(known) if known else math.nan
