"""From rows to figures: exact percentiles, shares, and how they went over time. Pure."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from loadtest.answers import Outcome
from loadtest.request_log import RequestLog
from loadtest.schedules import Phase

Floats = NDArray[np.float64]
Summary = dict[str, float]
InTime = float | Mapping[str, float]  # seconds that an answer may take: any, or by kind

HELD_SHARE = 0.95  # of all requests answered in time: the server is not saturated
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
OF_ERRORS = frozenset({"error_share", "lost_share"})  # where good repeats do not excuse a bad one
_TIMING = re.compile(rb'(\w+);(?:dur|desc)="?([\d.]+)')


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns over all requests, in the order of their schedule. Times in seconds."""

    scheduled: Floats
    response: Floats  # scheduled to answer
    service: Floats  # sent to answer
    lateness: Floats  # scheduled to sent
    outcome: NDArray[np.int8]
    kind: NDArray[np.str_]
    server: Mapping[str, Floats]  # decode, queue, infer (seconds) and batch (images); NaN where not said

    def where(self, chosen: NDArray[np.bool_]) -> Rows:
        """Some of the requests."""
        return Rows(
            self.scheduled[chosen],
            self.response[chosen],
            self.service[chosen],
            self.lateness[chosen],
            self.outcome[chosen],
            self.kind[chosen],
            {name: values[chosen] for name, values in self.server.items()},
        )

    def between(self, start: float, end: float) -> Rows:
        """Those scheduled then."""
        return self.where((self.scheduled >= start) & (self.scheduled < end))

    def of(self, outcome: Outcome) -> NDArray[np.bool_]:
        """Which ended so."""
        return np.equal(self.outcome, outcome)


def rows(measured: RequestLog) -> Rows:
    """Sorted by schedule, with the `Server-Timing` headers read."""
    order = np.argsort(np.array(measured.scheduled), kind="stable")
    scheduled, sent, ended = (
        np.array(column)[order] for column in (measured.scheduled, measured.sent, measured.ended)
    )
    timings = [measured.timings[index] for index in order]
    return Rows(
        scheduled,
        ended - scheduled,
        ended - sent,
        sent - scheduled,
        np.array(measured.outcomes, np.int8)[order],
        np.array(measured.kinds, np.str_)[order],
        _server_columns(timings),
    )


def summarise(part: Rows, seconds: float, in_time: InTime) -> Summary:
    """Figures of some seconds of load; latencies are those of answers. Keys end in their unit."""
    offered = max(len(part.scheduled), 1)
    answered = part.where(part.of(Outcome.ANSWERED))
    limits = np.array([limit(in_time, kind) for kind in answered.kind.tolist()])
    on_time = np.count_nonzero(answered.response <= limits)
    errors = np.count_nonzero(part.of(Outcome.ERROR) | part.of(Outcome.UNREACHED))
    summary = {
        "offered_per_second": len(part.scheduled) / seconds,
        "answered_per_second": len(answered.scheduled) / seconds,
        "goodput_per_second": on_time / seconds,
        "goodput_share": on_time / offered,
        "error_share": errors / offered,
        "lost_share": np.count_nonzero(part.of(Outcome.ERROR)) / offered,
    }
    for outcome in (Outcome.REFUSED, Outcome.EXPIRED, Outcome.LEFT, Outcome.REJECTED):
        summary[f"{outcome.name.lower()}_share"] = np.count_nonzero(part.of(outcome)) / offered
    summary |= _percentiles("response", answered.response) | _percentiles("service", answered.service)
    summary |= {"lateness_ms_p99": percentile_ms(part.lateness, 99.0)}
    for name in ("decode", "queue", "infer"):
        summary[f"server_{name}_ms_p50"] = percentile_ms(answered.server[name], 50.0)
    summary["batch_size_mean"] = _mean(answered.server["batch"])
    return {key: float(value) for key, value in summary.items()}


def limit(in_time: InTime, kind: str) -> float:
    """Seconds, for this kind of caller."""
    return in_time if isinstance(in_time, float) else in_time[kind]


def by_phase(all_rows: Rows, phases: Sequence[Phase], in_time: InTime) -> list[Summary]:
    """One summary for each phase."""
    summaries = []
    start = 0.0
    for phase in phases:
        part = all_rows.between(start, start + phase.seconds)
        summaries.append(summarise(part, phase.seconds, in_time))
        start += phase.seconds
    return summaries


def over_time(all_rows: Rows, seconds: float, in_time: InTime) -> list[Summary]:
    """One summary for each second (of each stretch, if the run is longer than four minutes)."""
    width = max(1.0, seconds / 240)
    starts = np.arange(0, max(seconds - width / 2, width / 2), width)
    return [
        {"second": float(start), **summarise(all_rows.between(start, start + width), width, in_time)}
        for start in starts
    ]


def knee(summaries: Sequence[Summary]) -> int | None:
    """The last step, from below, that was held (`HELD_SHARE`); None if none was."""
    held = None
    for index, summary in enumerate(summaries):
        if summary["goodput_share"] < HELD_SHARE:
            break
        held = index
    return held


def outcomes_by_kind(all_rows: Rows) -> dict[str, dict[str, int]]:
    """kind -> outcome -> requests."""
    pairs = Counter(zip(all_rows.kind.tolist(), all_rows.outcome.tolist(), strict=True))
    table: dict[str, dict[str, int]] = {}
    for (kind, outcome), count in sorted(pairs.items()):
        table.setdefault(kind, {})[Outcome(outcome).name.lower()] = count
    return table


def _server_columns(timings: Sequence[bytes]) -> dict[str, Floats]:
    columns = {name: np.full(len(timings), np.nan) for name in ("decode", "queue", "infer", "batch")}
    for index, timing in enumerate(timings):
        for name, value in _TIMING.findall(timing):
            key = name.decode()
            if key in columns:
                columns[key][index] = float(value) / (1 if key == "batch" else 1000)
    return columns


def _percentiles(name: str, seconds: Floats) -> Summary:
    figures = {f"{name}_ms_p{percent:g}": percentile_ms(seconds, percent) for percent in PERCENTILES}
    return {**figures, f"{name}_ms_max": percentile_ms(seconds, 100.0)}


def percentile_ms(seconds: Floats, percent: float) -> float:
    """Of what is known; NaN where nothing is. An observed value, not one between two."""
    known = seconds[np.isfinite(seconds)]
    return float(np.percentile(known, percent, method="higher")) * 1000 if len(known) else np.nan


def known_median(values: Sequence[float]) -> float:
    """Of what is known, and what never happened (infinite) is; NaN where nothing is."""
    known = [value for value in values if not math.isnan(value)]
    return median(known) if known else math.nan


def over_repeats(figure: str, values: Sequence[float]) -> float:
    """The median of what is known; of errors the most."""
    return max(values) if figure in OF_ERRORS else known_median(values)


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan
