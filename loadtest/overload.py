"""`python -m loadtest overload`: what a server holds, what becomes of more than that, and the forecast.

In this order: answers in calm, the capacity, what a refusal costs, rounds of all levels of load, callers in a
hurry among the others, a flood on another model; then the same levels on another server beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from loadtest import analysis, capacity, levels, loads, overload_tables, plan, sideshows, traffic
from loadtest.described import Described, describe
from loadtest.errors import BadOptions, NoServer
from loadtest.images import load_images
from loadtest.levels import Bench, Figures
from loadtest.measuring import Measurement, address, measure
from loadtest.progress import say
from loadtest.results import without_nan
from loadtest.schedules import Arrivals, Phase, positive, whole
from loadtest.serving import reached
from loadtest.traffic import Target

TARGET_MS = 100.0  # of a service that is started
PROBE_SECONDS = 10.0
LEVELS = (0.5, 0.9, 1.2, 2.0, 5.0)
TIGHT_LEVELS = (0.9, 1.2)


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """`overload` and its options."""
    parser = commands.add_parser(
        "overload",
        help="find the capacity, go beyond it, compare with the forecast",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", help="a running service; one is started, and stopped, if left out")
    parser.add_argument("--service", default="", help="flags for the service that is started, in one string")
    parser.add_argument("--model", default="cifar10", help="one of its models")
    parser.add_argument("--images", type=Path, help="folder or zip; the bundled samples if left out")
    parser.add_argument(
        "--target-ms",
        type=positive,
        help=f"what is in time; {TARGET_MS:g} if left out, and that of the service at --url",
    )
    parser.add_argument("--levels", type=shares, default=LEVELS, help="shares of the capacity, by comma")
    parser.add_argument("--seconds", type=positive, default=60.0, help="of each level")
    parser.add_argument("--repeats", type=whole, default=3, help="of each level")
    parser.add_argument("--capacity", type=positive, help="requests/s; searched for if left out")
    parser.add_argument("--arrivals", type=Arrivals, choices=list(Arrivals), default=Arrivals.POISSON)
    parser.add_argument(
        "--tight", action="store_true", help="also one caller in a hundred who asks for 10 ms"
    )
    parser.add_argument("--flood", metavar="MODEL", help="also a flood on this other model of the service")
    parser.add_argument("--beside", metavar="COMMAND", help="starts another server to take the same levels")
    parser.add_argument("--out", type=Path, default=Path("loadtest-results"), help="where reports go")
    parser.set_defaults(run=_run)


def shares(text: str) -> tuple[float, ...]:
    """`0.5,0.9,1.2`; raises ArgumentTypeError."""
    return tuple(positive(part) for part in text.split(","))


def _run(options: argparse.Namespace) -> int:
    if options.tight and not set(TIGHT_LEVELS) & set(options.levels):
        raise BadOptions(f"--tight needs a level of {' or '.join(map(str, TIGHT_LEVELS))} to compare with")
    folder = options.out / f"overload-{options.model}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    flags = _flags(options, options.target_ms or TARGET_MS)
    with reached(options.url, folder / "service.log", flags) as served:
        target_ms = options.target_ms or describe(served.url, options.model).latency_target_seconds * 1000
        for document in Overload(options, served.url, target_ms).measure():
            markdown = _write(folder, document)
    if options.beside:
        flags, command = _flags(options, target_ms), shlex.split(options.beside)
        with reached(None, folder / "beside.log", flags, command) as served:
            overload = Overload(options, served.url, target_ms)
            other = overload.beside(document["capacity"]["goodput_per_second"])
        markdown = _write(folder, {**document, "beside": {"command": options.beside, "levels": other}})
    print(markdown, end="")
    say(f"report: {folder / 'overload.md'}")
    return 0


def _write(folder: Path, document: Mapping[str, Any]) -> str:
    """What there is so far: a run takes long, and may be stopped."""
    clean = without_nan(document)
    (folder / "overload.json").write_text(json.dumps(clean, indent=1), encoding="utf-8")
    markdown = overload_tables.markdown(clean)
    (folder / "overload.md").write_text(markdown, encoding="utf-8")
    return markdown


def _flags(options: argparse.Namespace, target_ms: float) -> list[str]:
    return ["--latency-target-ms", f"{target_ms:g}", *shlex.split(options.service)]


@dataclass(frozen=True, slots=True)
class Overload:
    """All of it, against one server."""

    options: argparse.Namespace
    url: str
    target_ms: float

    @property
    def target(self) -> Target:
        return Target(*address(self.url), self.options.model, load_images(self.options.images))

    def measure(self) -> Iterator[dict[str, Any]]:
        """The document, after each round and each part that follows; raises NoServer, NothingHeld."""
        idle = sideshows.idle(self._bench(0.0))
        probes = self._probes(describe(self.url, self.options.model))
        goodput = self.options.capacity or capacity.best(probes)
        bench = self._bench(goodput)
        say(f"{capacity.described(goodput, probes)}; about {self._minutes():.0f} minutes to go")
        document = {
            **self._head(),
            "idle": idle,
            "capacity": {"goodput_per_second": goodput, "probes": probes},
            "refusal": sideshows.refusal(bench, self.target),
            "levels": [],
            "tight": [],
            "flood": {},
        }
        for rows in self._levels(bench, idle):
            document |= {"levels": rows, "repeats": len(rows[0]["repeats"])}
            yield document
        if self.options.tight:
            document["tight"] = self._tight(bench, document["levels"])
            yield document
        if self.options.flood:
            document["flood"] = self._flood(bench)
        yield document

    def _head(self) -> dict[str, Any]:
        """What was measured, and how. The learnt curve is that of the beginning."""
        options = self.options
        return {
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "model": asdict(describe(self.url, options.model)),
            "target_ms": self.target_ms,
            "cpus": os.cpu_count(),
            "seconds": options.seconds,
            "repeats": options.repeats,
            "arrivals": str(options.arrivals),
        }

    def beside(self, goodput: float) -> list[Figures]:
        """Only the levels, at the rates of a capacity found before."""
        *_, rows = self._levels(self._bench(goodput), None)
        return rows

    def _bench(self, goodput: float) -> Bench:
        options = self.options
        messages = traffic.native(self.target)
        return Bench(self.url, messages, options.arrivals, goodput, options.seconds, self.target_ms / 1000)

    def _probes(self, model: Described) -> list[analysis.Summary]:
        if self.options.capacity:
            return []
        seconds = min(PROBE_SECONDS, self.options.seconds)
        bench = self._bench(0.0)

        def probe(rate: float) -> analysis.Summary:
            load = loads.of_phases(bench.messages, [Phase("probe", rate, seconds)], bench.arrivals)
            summary = measure(self.url, load, bench.target_seconds).summary
            say(f"probe: of {rate:.4g}/s {summary['goodput_share']:.1%} answered in time")
            return summary

        return capacity.search(probe, 0.5 * plan.capacity(plan.question(model)))

    def _levels(self, bench: Bench, calm: Figures | None) -> Iterator[list[Figures]]:
        """In rounds, so that a machine which slows down does so for all levels; after each, what there is."""
        runs: dict[float, list[tuple[Figures, Figures]]] = {level: [] for level in self.options.levels}
        for seed in range(self.options.repeats):
            for level, those in runs.items():
                those.append(self._level(bench, level, seed, calm))
            yield [_row(those) for those in runs.values()]

    def _level(self, bench: Bench, level: float, seed: int, calm: Figures | None) -> tuple[Figures, Figures]:
        """What was measured, and the forecast of it, if there is to be one."""
        rate = level * bench.capacity
        say(f"level {level:g}, {seed + 1} of {self.options.repeats}: {rate:.4g}/s for {bench.seconds:g} s")
        if calm is None:
            return levels.figures(bench, level, bench.measure(level, seed)), {}
        repeat, model = self._described(bench, level, seed)
        expected = levels.forecast(bench, model, repeat, calm)
        return levels.figures(bench, level, repeat), expected

    def _described(self, bench: Bench, level: float, seed: int) -> tuple[Measurement, Described]:
        """The model as it is described near the end of the level: in the calm after it, it learns anew."""
        asked: list[Future[Described]] = []
        with ThreadPoolExecutor(1) as beside:  # the sender has no time to wait

            def ask(elapsed: float) -> None:
                if not asked and elapsed >= bench.late_seconds:
                    asked.append(beside.submit(describe, self.url, self.options.model))

            repeat = bench.measure(level, seed, ask)
            ask(math.inf)
        try:
            return repeat, asked[0].result()
        except NoServer:  # too busy to say
            return repeat, describe(self.url, self.options.model)

    def _tight(self, bench: Bench, rows: Sequence[Figures]) -> list[Figures]:
        """At the levels that were measured without them."""
        hurried = replace(bench, messages=traffic.tight(self.target))
        without = {row["level"]: row for row in rows if row["level"] in TIGHT_LEVELS}
        return [sideshows.tight(hurried, level, row, self.options.repeats) for level, row in without.items()]

    def _flood(self, bench: Bench) -> Figures:
        flooded = describe(self.url, self.options.flood)
        return sideshows.flood(bench, self.target, flooded, self.options.repeats)

    def _minutes(self) -> float:
        """Of the levels and what follows, on this server and the other."""
        options = self.options
        each = options.seconds + 2 * min(levels.CALM_SECONDS, options.seconds)
        tight = len(set(TIGHT_LEVELS) & set(options.levels)) if options.tight else 0
        runs = len(options.levels) * (2 if options.beside else 1) + tight + (2 if options.flood else 0)
        return float(runs * options.repeats * each / 60)


def _row(runs: Sequence[tuple[Figures, Figures]]) -> Figures:
    """One level: the middle of its runs."""
    measured, expected = zip(*runs, strict=True)
    figures = {**levels.middle(measured), "repeats": list(measured)}
    return {**figures, "forecast": levels.middle(expected)} if expected[0] else figures
