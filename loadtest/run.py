"""`python -m loadtest run SCENARIO`: a server, the load, what came of it, and a verdict."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from loadtest import loads, plan, results, traffic, verdict
from loadtest.analysis import InTime
from loadtest.described import Described, describe, served_models
from loadtest.disturbances import Timetable, reload, require_reload
from loadtest.errors import BadOptions, NoServer, NotOffered
from loadtest.images import load_images
from loadtest.loads import Load
from loadtest.measuring import Measurement, address, measure, sent
from loadtest.messages import Message
from loadtest.progress import say
from loadtest.results import Run
from loadtest.scenarios import SCENARIOS, Scenario
from loadtest.schedules import Arrivals, Phase, not_negative, positive, whole
from loadtest.serving import ADMIN_TOKEN, Served, reached
from loadtest.traffic import Target

# Beside an image's share of its batch: HTTP, decoding, and a sender on the same machine. Measured on two
# cores, whose batches take both: 0.6 ms for small images to the native route, 1.5 for photographs in forms.
HTTP_SECONDS = 0.001


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
    parser.add_argument(
        "--admin-token",
        default=os.environ.get(ADMIN_TOKEN, ""),
        help=f"of the service at --url, for reload; {ADMIN_TOKEN} if left out",
    )
    parser.add_argument("--model", help="one of its models; the scenario's own if left out")
    parser.add_argument("--images", type=Path, help="folder or zip; the bundled samples if left out")
    parser.add_argument(
        "--rate", type=positive, help="requests/s; from the server's learnt curve if left out"
    )
    parser.add_argument("--seconds", type=positive, help="length of the load; the scenario's own if left out")
    parser.add_argument(
        "--warmup", type=not_negative, default=2.0, help="seconds of load before, not measured"
    )
    parser.add_argument("--arrivals", type=Arrivals, choices=list(Arrivals), default=Arrivals.POISSON)
    parser.add_argument(
        "--target-ms", type=positive, help="what is in time; the service's target if left out"
    )
    parser.add_argument("--repeat", type=whole, default=1, help="times; three tell the noise to compare with")
    parser.add_argument("--seed", type=partial(whole, least=0), default=0, help="of the schedule")
    parser.add_argument("--objectives", type=Path, help="TOML that decides the exit code; else: no errors")
    parser.add_argument("--baseline", type=Path, help="result.json of an earlier run, to compare with")
    parser.add_argument("--out", type=Path, default=Path("loadtest-results"), help="where reports go")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    scenario = SCENARIOS[options.scenario]
    if scenario.stops_the_server and (options.url or options.repeat > 1):
        raise BadOptions(f"{scenario.name} stops the server: leave out --url and --repeat, it starts its own")
    objectives = _objectives(scenario, options.objectives)
    baseline = results.read(options.baseline) if options.baseline else None
    folder = options.out / f"{scenario.name}-{datetime.now().astimezone():%Y%m%d-%H%M%S-%f}"
    folder.mkdir(parents=True)
    flags, token = shlex.split(options.service), options.admin_token
    with reached(options.url, folder / "service.log", flags, admin_token=token) as served:
        run = _measure(scenario, served, options, baseline)
    document = results.document(run, objectives, baseline)
    results.write(folder, document)
    print(results.text(document))
    print(f"report: {folder / 'report.html'}")
    ended_well = run.exit_code == 0 or not scenario.stops_the_server
    fine = (*(each["met"] for each in document["objectives"]), *(each["ok"] for each in document["events"]))
    return 0 if all(fine) and ended_well else 1


def _objectives(scenario: Scenario, path: Path | None) -> list[verdict.Objective]:
    if path:
        return verdict.read_objectives(path, results.FIGURES)
    # After a stop nobody takes a connection, and that is as it should be.
    figure = "lost_share" if scenario.stops_the_server else "error_share"
    return [verdict.Objective(figure, 0.0, at_most=True)]


def _measure(
    scenario: Scenario, served: Served, options: argparse.Namespace, baseline: Mapping[str, Any] | None
) -> Run:
    """Raises BadObjectives, before any load, where the earlier run was of another."""
    target = _target(scenario, served.url, options)
    model = describe(served.url, target.model)
    if scenario.does(reload):
        require_reload(served, target.model)
    rate = options.rate or default_rate(scenario, model)
    phases = scenario.phases(rate, options.seconds or scenario.seconds)
    messages = scenario.traffic(target)
    in_time = _in_time(target, messages, served.url, options)
    target_seconds = options.target_ms / 1000 if options.target_ms else model.latency_target_seconds
    run = Run(scenario, served.url, model, options.arrivals, phases, target_seconds, in_time)
    if baseline:
        results.require_same_load(baseline, run)
    if options.warmup > 0:
        say(f"warming up for {options.warmup:g} s")
        warm_up = [Phase("warm-up", phases[0].rate, options.warmup)]
        sent(served.url, loads.of_phases(messages, warm_up, options.arrivals, seed=1_000_000))
    repeats = []
    for seed in range(options.seed, options.seed + options.repeat):
        load = loads.of_phases(messages, phases, options.arrivals, seed=seed)
        repeats.append(_repeat(scenario, served, target.model, load, in_time))
    with contextlib.suppress(NoServer):  # it may have been stopped
        model = describe(served.url, target.model)
    exit_code = served.exit_code() if scenario.stops_the_server else None
    return replace(run, model=model, repeats=repeats, exit_code=exit_code)


def _in_time(
    target: Target, messages: Sequence[Message], url: str, options: argparse.Namespace
) -> dict[str, float]:
    """What an answer may take, by kind of message: the target of the model that it asks."""
    asked = {each.kind: traffic.asked(each.kind, target) for each in messages}
    if options.target_ms:
        return dict.fromkeys(asked, options.target_ms / 1000)
    targets = {name: describe(url, name).latency_target_seconds for name in set(asked.values())}
    return {kind: targets[name] for kind, name in asked.items()}


def _repeat(scenario: Scenario, served: Served, model: str, load: Load, in_time: InTime) -> Measurement:
    due = [(share * load.seconds, disturbance) for share, disturbance in scenario.disturbances]
    timetable = Timetable(served, model, due)
    repeat = measure(served.url, load, in_time, timetable)
    return replace(repeat, events=timetable.join())


def default_rate(scenario: Scenario, model: Described) -> float:
    """The scenario's share of what one server is expected to hold, by its learnt curve and its HTTP."""
    images = 1 / (1 / plan.capacity(plan.question(model)) + HTTP_SECONDS)
    return float(f"{max(1.0, scenario.load * images):.2g}")


def _target(scenario: Scenario, url: str, options: argparse.Namespace) -> Target:
    """Raises NotOffered where the server lacks a model that the scenario is about."""
    listed = served_models(url)
    for name in scenario.needs:
        if name not in listed:
            raise NotOffered(f"{url} serves no model named {name}, which {scenario.name} asks: {listed}")
    if scenario.traffic is traffic.mixed_models:
        say(f"the server lists {len(listed)} model{'s' if len(listed) > 1 else ''}: {', '.join(listed)}")
    return Target(*address(url), options.model or scenario.model, load_images(options.images), listed)
