"""`python -m loadtest run SCENARIO`: a server, the load, what came of it, and a verdict."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loadtest import analysis, plan, results, schedules, traffic, verdict
from loadtest.analysis import Summary
from loadtest.answers import Outcome
from loadtest.described import Described, describe
from loadtest.errors import NoServer
from loadtest.images import load_images
from loadtest.measured import Measured
from loadtest.open_loop import OnSecond, send
from loadtest.results import Repeat, Run
from loadtest.scenarios import SCENARIOS, Scenario
from loadtest.schedules import Arrivals, Phase
from loadtest.scrape import watching
from loadtest.serving import Served, serving
from loadtest.traffic import Target


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """`run` and its options."""
    listed = "\n".join(f"  {each.name:14}{each.question}" for each in SCENARIOS.values())
    parser = commands.add_parser(
        "run",
        help="send load by schedule, measure, report, judge",
        description=f"{__doc__}\n\nscenarios:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", choices=SCENARIOS, metavar="SCENARIO")
    parser.add_argument("--url", help="a running service; one is started, and stopped, if left out")
    parser.add_argument("--service", default="", help="flags for the service that is started, in one string")
    parser.add_argument("--model", default="cifar10", help="one of its models")
    parser.add_argument("--images", type=Path, help="folder or zip; the bundled samples if left out")
    parser.add_argument("--rate", type=float, help="requests/s; from the server's learnt curve if left out")
    parser.add_argument("--seconds", type=float, help="length of the load; the scenario's own if left out")
    parser.add_argument("--warmup", type=float, default=2.0, help="seconds of load before, not measured")
    parser.add_argument("--arrivals", type=Arrivals, choices=list(Arrivals), default=Arrivals.POISSON)
    parser.add_argument("--target-ms", type=float, help="what is in time; the service's target if left out")
    parser.add_argument("--repeat", type=int, default=1, help="times; three tell the noise to compare with")
    parser.add_argument("--seed", type=int, default=0, help="of the schedule")
    parser.add_argument("--objectives", type=Path, help="TOML that decides the exit code; else: no errors")
    parser.add_argument("--baseline", type=Path, help="result.json of an earlier run, to compare with")
    parser.add_argument("--out", type=Path, default=Path("loadtest-results"), help="where reports go")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    scenario = SCENARIOS[options.scenario]
    objectives = _objectives(scenario, options.objectives)
    baseline = results.read(options.baseline) if options.baseline else None
    folder = options.out / f"{scenario.name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    with _server(options, folder) as served:
        run = _measure(scenario, served, options)
    document = results.document(run, objectives, baseline)
    results.write(folder, document)
    print(results.text(document))
    print(f"report: {folder / 'report.html'}")
    return 0 if all(each["met"] for each in document["objectives"]) else 1


def _objectives(scenario: Scenario, path: Path | None) -> list[verdict.Objective]:
    if path:
        return verdict.read_objectives(path, results.FIGURES)
    # After a stop nobody takes a connection, and that is as it should be.
    figure = "lost_share" if scenario.stops_the_server else "error_share"
    return [verdict.Objective(figure, 0.0, at_most=True)]


@contextlib.contextmanager
def _server(options: argparse.Namespace, folder: Path) -> Iterator[Served]:
    if options.url and SCENARIOS[options.scenario].stops_the_server:
        raise NoServer(f"{options.scenario} stops the server: leave out --url, and it starts its own")
    if options.url:
        yield Served(options.url.rstrip("/"))
        return
    say("starting the service")
    with serving(folder / "service.log", options.service.split()) as served:
        yield served


def _measure(scenario: Scenario, served: Served, options: argparse.Namespace) -> Run:
    model = describe(served.url, options.model)
    rate = options.rate or default_rate(scenario, model)
    phases = scenario.phases(rate, options.seconds or scenario.seconds)
    target_seconds = options.target_ms / 1000 if options.target_ms else model.latency_target_seconds
    sender = Sender(scenario, served, phases, options.arrivals, _target(served.url, options))
    if options.warmup > 0:
        say(f"warming up for {options.warmup:g} s")
        sender.warm_up(options.warmup)
    repeats = [sender.repeat(options.seed + index, target_seconds) for index in range(options.repeat)]
    with contextlib.suppress(NoServer):  # it may have been stopped
        model = describe(served.url, options.model)
    exit_code = served.exit_code() if scenario.stops_the_server else None
    return Run(scenario, served.url, model, options.arrivals, phases, target_seconds, repeats, exit_code)


def default_rate(scenario: Scenario, model: Described) -> float:
    """The scenario's share of what the learnt curve says one server holds."""
    asked = plan.question(model, lambda _: [])
    return float(f"{max(1.0, scenario.load * plan.capacity(asked)):.2g}")


def _target(url: str, options: argparse.Namespace) -> Target:
    parts = urlsplit(url)
    return Target(parts.hostname or "", parts.port or 80, options.model, load_images(options.images))


@dataclass(frozen=True, slots=True)
class Sender:
    """One scenario against one server; may be repeated."""

    scenario: Scenario
    served: Served
    phases: Sequence[Phase]
    arrivals: Arrivals
    target: Target

    def warm_up(self, seconds: float) -> None:
        """Load at the first phase's rate that nobody looks at."""
        self._send([Phase("warm-up", self.phases[0].rate, seconds)], seed=1_000_000)

    def repeat(self, seed: int, target_seconds: float) -> Repeat:
        """All phases, watched."""
        seconds = sum(phase.seconds for phase in self.phases)
        progress = Progress(seconds, target_seconds)
        with watching(self.served.url) as watched:
            measured = self._send(self.phases, seed, self._on_second(progress, seconds))
        progress.end()
        rows = analysis.rows(measured)
        return Repeat(rows, dict(measured.faults), watched, summary_of(rows, seconds, target_seconds))

    def _send(self, phases: Sequence[Phase], seed: int, on_second: OnSecond | None = None) -> Measured:
        schedule = schedules.of_phases(phases, self.arrivals, seed=seed)
        messages = self.scenario.traffic(self.target)
        pick = traffic.chooser(messages, len(schedule), seed=seed)
        try:
            return send(self.target.host, self.target.port, schedule.tolist(), pick, on_second=on_second)
        except OSError as error:
            raise NoServer(f"{self.served.url}: {error}") from error

    def _on_second(self, progress: Progress, seconds: float) -> OnSecond:
        stopped = False

        def on_second(elapsed: float, measured: Measured) -> None:
            nonlocal stopped
            progress(elapsed, measured)
            if self.scenario.stops_the_server and not stopped and elapsed >= seconds / 2:
                stopped = True
                self.served.begin_stop()

        return on_second


def summary_of(rows: analysis.Rows, seconds: float, target_seconds: float) -> Summary:
    """Over the whole run."""
    return analysis.summarise(rows, seconds, target_seconds)


class Progress:
    """A line that tells how it goes, once a second; on a terminal it overwrites itself."""

    def __init__(self, seconds: float, target_seconds: float) -> None:
        self._seconds = seconds
        self._target_seconds = target_seconds
        self._seen = 0
        self._at = 0.0

    def __call__(self, elapsed: float, measured: Measured) -> None:
        new = range(self._seen, len(measured))
        on_time = sum(self._on_time(measured, index) for index in new)
        errors = sum(measured.faults.values())
        line = (
            f"{elapsed:5.0f} of {self._seconds:.0f} s   {len(measured):,} done   "
            f"{on_time / max(elapsed - self._at, 1e-9):,.0f}/s in time   {errors:,} errors"
        )
        self._seen, self._at = len(measured), elapsed
        if sys.stderr.isatty():
            print(f"\r{line:79}", end="", file=sys.stderr, flush=True)
        elif round(elapsed) % 10 == 0:
            say(line)

    def end(self) -> None:
        """Leave the line."""
        if sys.stderr.isatty():
            print(file=sys.stderr)

    def _on_time(self, measured: Measured, index: int) -> bool:
        response = measured.ended[index] - measured.scheduled[index]
        return measured.outcomes[index] == Outcome.ANSWERED and response <= self._target_seconds


def say(line: str) -> None:
    """To whoever watches; results go to stdout."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)
