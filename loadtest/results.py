"""A run as one JSON document: everything that the report shows and a later run is compared with."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from loadtest import analysis, plan, report, scrape, traffic
from loadtest.described import Described
from loadtest.errors import BadObjectives
from loadtest.measuring import Measurement
from loadtest.request_log import RequestLog
from loadtest.scenarios import Scenario
from loadtest.schedules import Arrivals, Phase, drawn
from loadtest.verdict import Objective, compare

FORMAT = 1
FIGURES = tuple(analysis.summarise(analysis.rows(RequestLog()), 1.0, 1.0))

BUSY_CORES = 0.8  # of one core: beyond it the generator's own waits are in the figures
LATE_MS, LATE_SHARE = 2.0, 0.1  # late by more than both: 2 ms, and a tenth of the p99 measured


@dataclass(frozen=True, slots=True)
class Run:
    """All repeats of a scenario. ``target_seconds`` is of the model, ``in_time`` of each kind of callers."""

    scenario: Scenario
    url: str
    model: Described
    arrivals: Arrivals
    phases: Sequence[Phase]
    target_seconds: float
    in_time: Mapping[str, float]
    repeats: Sequence[Measurement] = ()
    exit_code: int | None = None  # where the scenario stops the server

    @property
    def seconds(self) -> float:
        return sum(phase.seconds for phase in self.phases)


def document(
    run: Run, objectives: Sequence[Objective], baseline: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Details are those of the last repeat; summary, faults, events and the generator are of all."""
    last = run.repeats[-1]
    summaries = [each.summary for each in run.repeats]
    summary = {name: analysis.over_repeats(name, [each[name] for each in summaries]) for name in FIGURES}
    steps = analysis.by_phase(last.rows, run.phases, run.in_time)
    compared = compare(summaries, baseline["repeats"]) if baseline else []
    return {
        "format": FORMAT,
        "scenario": run.scenario.name,
        "question": run.scenario.question,
        "finished": datetime.now().astimezone().isoformat(timespec="seconds"),
        "url": run.url,
        "model": asdict(run.model),
        "arrivals": str(run.arrivals),
        "target_ms": run.target_seconds * 1000,
        "other_targets_ms": _other_targets(run),
        "phases": [asdict(phase) for phase in run.phases],
        "summary": summary,
        "repeats": summaries,
        "steps": steps,
        "knee": analysis.knee(steps) if len(steps) > 3 else None,
        "seconds": analysis.over_time(last.rows, run.seconds, run.in_time),
        "outcomes": analysis.outcomes_by_kind(last.rows),
        "faults": sum((Counter(each.faults) for each in run.repeats), Counter()),
        "forecast": _forecast(run),
        "server": last.watched.figures(),
        "generator": _generator(run.repeats),
        "events": [
            {"repeat": number, **asdict(event)}
            for number, each in enumerate(run.repeats, 1)
            for event in each.events
        ],
        "exit_code": run.exit_code,
        "objectives": [
            {"text": str(each), "value": summary[each.figure], "met": each.met(summary[each.figure])}
            for each in objectives
        ],
        "comparison": [asdict(each) for each in compared],
    }


def _other_targets(run: Run) -> dict[str, float]:
    """By kind, where not that of the model."""
    return {kind: each * 1000 for kind, each in run.in_time.items() if each != run.target_seconds}


def _forecast(run: Run) -> list[analysis.Summary]:
    """Of the same policy and schedule, for traffic of one image a request; empty for any other."""
    one_image = run.scenario.traffic in {traffic.native, traffic.flask, traffic.classificar}
    if not one_image or run.scenario.stops_the_server:
        return []
    asked, forecasts = plan.question(run.model), []
    for index, phase in enumerate(run.phases):
        times = drawn(run.arrivals, phase.rate, phase.seconds, seed=index).tolist()
        expected = plan.forecast(asked, times)
        forecasts.append(plan.figures(expected, phase.seconds, run.target_seconds))
    return forecasts


def _generator(repeats: Sequence[Measurement]) -> dict[str, Any]:
    """The worst of all repeats."""
    each = [_generator_of(repeat) for repeat in repeats]
    return {name: max(one[name] for one in each) for name in each[0]}


def _generator_of(repeat: Measurement) -> dict[str, Any]:
    cores = max(scrape.rates(repeat.watched.at, repeat.watched.own_cpu_seconds), default=math.nan)
    late = repeat.summary["lateness_ms_p99"]
    too_late = late > max(LATE_MS, LATE_SHARE * repeat.summary["response_ms_p99"])
    return {
        "cpu_cores_max": cores,
        "lateness_ms_p99": late,
        "is_bottleneck": bool(cores > BUSY_CORES or too_late),
    }


def write(folder: Path, described: Mapping[str, Any]) -> None:
    """`result.json`, `seconds.csv`, `steps.csv` and `report.html`."""
    clean = without_nan(described)
    (folder / "result.json").write_text(json.dumps(clean, indent=1), encoding="utf-8")
    (folder / "report.html").write_text(report.report(clean), encoding="utf-8")
    _write_csv(folder / "seconds.csv", clean["seconds"])
    steps = [{**phase, **step} for phase, step in zip(clean["phases"], clean["steps"], strict=True)]
    _write_csv(folder / "steps.csv", steps)


def read(path: Path) -> dict[str, Any]:
    """A result.json; raises BadObjectives."""
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadObjectives(f"{path}: {error}") from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise BadObjectives(f"{path}: not the result.json of a run")
    return described


def require_same_load(baseline: Mapping[str, Any], run: Run) -> None:
    """Raises BadObjectives where the earlier run was of another, and no comparison tells of the server."""
    asked = (
        ("scenario", baseline["scenario"], run.scenario.name),
        ("--model", baseline["model"]["name"], run.model.name),
        ("--arrivals", baseline["arrivals"], str(run.arrivals)),
        ("--target-ms", f"{baseline['target_ms']:g}", f"{run.target_seconds * 1000:g}"),
        ("targets", baseline.get("other_targets_ms", {}), _other_targets(run)),
        ("--rate and --seconds", _load([Phase(**each) for each in baseline["phases"]]), _load(run.phases)),
    )
    for what, then, now in asked:
        if then != now:
            raise BadObjectives(f"--baseline: give the same {what}: {then} then, {now} now")


def _load(phases: Sequence[Phase]) -> str:
    return ", ".join(f"{phase.rate:g}/s for {phase.seconds:g} s" for phase in phases)


def text(described: Mapping[str, Any]) -> str:
    """What a terminal shows in the end."""
    lines = [f"{name:26}{value}" for value, name in report.headline(without_nan(described))]
    lines += [_judged(each) for each in described["objectives"]]
    lines += [
        f"{each['verdict']:8}{each['figure']}: {each['now']:.4g}, "
        f"was {each['then']:.4g} (noise {each['noise']:.2g})"
        for each in described["comparison"]
    ]
    lines += [f"warning: {each}" for each in report.warnings(described)]
    return "\n".join(lines)


def _judged(objective: Mapping[str, Any]) -> str:
    return f"{'met' if objective['met'] else 'MISSED':8}{objective['text']}: {objective['value']:.4g}"


def _write_csv(path: Path, table: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]) if table else [])
        writer.writeheader()
        writer.writerows(table)


def without_nan(value: Any) -> Any:
    """JSON has no NaN: null."""
    if isinstance(value, Mapping):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
