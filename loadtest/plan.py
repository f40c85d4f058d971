"""The forecast: the policy that serves, under a simulated clock, with the curve the server has learnt.

Times run from arrival to the answer. 2 ms for decoding, HTTP and transfer are included; large photographs
take more.
"""

from __future__ import annotations

import argparse
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from batching.latency import LatencyModel, LatencyPoint
from batching.policy import FOR_ANSWERS, BatchPolicy
from batching.simulate import Costs, Forecast, Routing, simulate
from loadtest import page
from loadtest.analysis import Summary, percentile_ms
from loadtest.charts import Axis, Series, line_chart, ms, number, share
from loadtest.described import Described, describe
from loadtest.errors import BadArrivals, BadOptions
from loadtest.page import Chart
from loadtest.schedules import Arrivals, drawn, positive, whole

ON_TIME_SHARE = 0.99  # of all requests, for a number of replicas to be enough
# What a service says nothing of, as it was measured on two cores.
OUTSIDE_SECONDS = 0.002  # of an answer: transfer, decoding, HTTP
REFUSAL_SECONDS = 0.00012  # of the device: 0.25 ms on one of two cores, which it needs itself


@dataclass(frozen=True, slots=True)
class Planned:
    """What is expected at one rate: `figures` of one replica, and of so many that nearly all are on time."""

    rate: float
    one: Summary
    replicas: int | None  # None: more than were asked about
    enough: Summary | None


@dataclass(frozen=True, slots=True)
class Question:
    """One server's policy and curve, and the replicas to think of."""

    policy: BatchPolicy
    latency: LatencyModel
    costs: Costs
    routing: Routing
    replicas: tuple[int, int]


def question(
    model: Described,
    *,
    target_seconds: float | None = None,
    outside_seconds: float = OUTSIDE_SECONDS,
    refusal_seconds: float = REFUSAL_SECONDS,
    decode_seconds: float = 0.0,
    routing: Routing = Routing.RANDOM,
    replicas: tuple[int, int] = (1, 1000),
) -> Question:
    """About the model that a service described.

    ``outside_seconds``: what an answer takes besides line and batch.
    ``refusal_seconds``: of the device, to turn one away.
    ``decode_seconds``: that an image is decoded beside a batch, which waits for it; for a curve that was
    learnt beside such decoding.
    """
    policy = BatchPolicy(
        latency_target_seconds=target_seconds or model.latency_target_seconds,
        max_batch_size=model.max_batch_size,
        max_waiting=model.max_waiting,
        for_answers=FOR_ANSWERS,
    )
    latency = LatencyModel.from_curve(LatencyPoint(*point) for point in model.latency)
    costs = Costs(outside_seconds, refusal_seconds, decode_seconds)
    return Question(policy, latency, costs, routing, replicas)


def forecast(asked: Question, times: Sequence[float], replicas: int = 1) -> Forecast:
    """What becomes of requests at these ascending seconds."""
    return simulate(
        times,
        asked.policy,
        asked.latency,
        costs=asked.costs,
        replicas=replicas,
        routing=asked.routing,
    )


def plan(asked: Question, rate: float, times: Sequence[float], seconds: float) -> Planned:
    """One replica, and the fewest that serve `ON_TIME_SHARE` within the target.

    The load: requests at ``times``, about ``rate`` a second for so many ``seconds``.
    """

    @cache
    def by(replicas: int) -> Forecast:
        return forecast(asked, times, replicas)

    def enough(replicas: int) -> bool:
        return by(replicas).on_time >= ON_TIME_SHARE * len(times)

    def summary(replicas: int) -> Summary:
        return figures(by(replicas), seconds, target)

    target = asked.policy.latency_target_seconds
    most_on_time = capacity(asked) * (seconds + target)  # of one: the last who come may wait
    least, most = asked.replicas
    replicas = fewest(enough, max(least, math.ceil(ON_TIME_SHARE * len(times) / most_on_time)), most)
    return Planned(rate, summary(1), replicas, summary(replicas) if replicas else None)


def fewest(enough: Callable[[int], bool], least: int, most: int) -> int | None:
    """The first number from ``least`` to ``most`` that is enough, if more always are; None if none is."""
    if least > most:
        return None
    too_few, tried = least - 1, least
    while not enough(tried):
        if tried == most:
            return None
        too_few, tried = tried, min(tried + max(1, tried // 20), most)
    return too_few + 1 + bisect_left(range(too_few + 1, tried), True, key=enough)


def capacity(asked: Question) -> float:
    """Images a second of one replica whose batches are as large as the target allows."""
    seconds = asked.policy.latency_target_seconds - asked.costs.outside
    size = max(1, asked.latency.largest_within(seconds, asked.policy.max_batch_size))
    return size / asked.latency.typical(size)


# The command.


def add_command(commands: argparse._SubParsersAction[Any]) -> None:
    """`plan` and its options."""
    parser = commands.add_parser("plan", help="forecast goodput, latency and replicas", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a running service")
    parser.add_argument("--model", default="cifar10", help="one of its models")
    parser.add_argument("--target-ms", type=positive, help="latency target; the service's own if left out")
    parser.add_argument("--rate", type=between, default=(50, 2000), metavar="LOW..HIGH", help="requests/s")
    parser.add_argument("--points", type=whole, default=8, help="rates between LOW and HIGH")
    parser.add_argument("--replicas", type=between, default=(1, 1000), metavar="LOW..HIGH")
    parser.add_argument(
        "--arrivals",
        default=Arrivals.POISSON,
        help=f"{', '.join(Arrivals)}, or a file of ascending seconds",
    )
    parser.add_argument("--routing", type=Routing, choices=list(Routing), default=Routing.RANDOM)
    parser.add_argument("--seconds", type=positive, default=30, help="of simulated load at each rate")
    parser.add_argument("--html", type=Path, default=Path("plan.html"), help="where the charts go")
    parser.set_defaults(run=_run)


def between(text: str) -> tuple[int, int]:
    """`50..2000`, or one number for both ends."""
    low, _, high = text.partition("..")
    ends = int(low), int(high or low)
    if not 0 < ends[0] <= ends[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not LOW..HIGH")
    return ends


def rates_between(low: float, high: float, points: int) -> list[float]:
    """Equal factors apart, to two digits; raises BadOptions."""
    if low == high:
        return [low]
    if points < 2:
        raise BadOptions(f"--points {points}: a range of rates has two ends")
    values = [low * (high / low) ** (index / (points - 1)) for index in range(points)]
    return sorted({float(f"{value:.2g}") for value in values[1:-1]} | {low, high})


def recorded(path: Path) -> list[float]:
    """A file with one ascending number of seconds a line, from its first on; raises BadArrivals."""
    try:
        times = [float(line) for line in path.read_text().split()]
    except (OSError, ValueError) as error:
        raise BadArrivals(f"{path}: {error}") from error
    ascending = all(earlier <= later for earlier, later in pairwise(times))
    if len(times) < 2 or not ascending or not 0 < times[-1] - times[0] < math.inf:
        raise BadArrivals(f"{path}: not at least two ascending numbers of seconds")
    return [each - times[0] for each in times]


def _run(options: argparse.Namespace) -> int:
    model = describe(options.url, options.model)
    target = options.target_ms / 1000 if options.target_ms else None
    asked = question(model, target_seconds=target, routing=options.routing, replicas=options.replicas)
    print(f"{_title(model)}: about {number(capacity(asked))} images/s a replica")
    print("".join(f"{cell:>12}" for cell in HEADER))
    planned = []
    for load in _loads(options):
        planned.append(plan(asked, *load))
        print("".join(f"{cell:>12}" for cell in row(planned[-1])), flush=True)
    options.html.write_text(report(model, asked, planned), encoding="utf-8")
    print(f"charts: {options.html}")
    return 0


def _loads(options: argparse.Namespace) -> Iterator[tuple[float, list[float], float]]:
    """Requests a second, when they come, and for how many seconds."""
    seconds = options.seconds
    if options.arrivals in list(Arrivals):
        low, high = options.rate
        for rate in rates_between(low, high, options.points):
            yield rate, drawn(Arrivals(options.arrivals), rate, seconds).tolist(), seconds
    else:
        times = recorded(Path(options.arrivals))
        yield len(times) / times[-1], times, times[-1]


HEADER = ("offered/s", "goodput/s", "p50 ms", "p99 ms", "mean batch", "refused", "replicas", "p99 ms then")


def row(planned: Planned) -> list[str]:
    """The cells under `HEADER`."""
    one = planned.one
    return [
        number(planned.rate),
        number(one["goodput_per_second"]),
        ms(one["response_ms_p50"]),
        ms(one["response_ms_p99"]),
        number(one["batch_size_mean"]),
        share(one["unserved_share"]),
        str(planned.replicas or "more"),
        ms(planned.enough["response_ms_p99"]) if planned.enough else "",
    ]


def figures(one: Forecast, seconds: float, target_seconds: float) -> Summary:
    """What stands beside the measurements of as many seconds, by their rules and names.

    unserved: who got no answer: refused, expired in the line, or dropped from it.
    """
    unserved = one.refused + one.expired + one.dropped
    latencies, sizes = np.array(one.latencies), np.array(one.batch_sizes)
    return {
        "goodput_per_second": float(np.count_nonzero(latencies <= target_seconds)) / seconds,
        "response_ms_p50": percentile_ms(latencies, 50.0),
        "response_ms_p99": percentile_ms(latencies, 99.0),
        "batch_size_mean": float(sizes @ sizes / sizes.sum()) if len(sizes) else math.nan,  # over the answers
        "unserved_share": unserved / max(one.offered, 1),
    }


def report(model: Described, asked: Question, planned: Sequence[Planned]) -> str:
    """The page with charts and the table."""
    rate = Axis("offered, requests/s", log=True)

    def curve(label: str, value: Callable[[Planned], float], *, dashed: bool = False) -> Series:
        return Series(label, [(each.rate, value(each)) for each in planned], dashed, dots=not dashed)

    def of_one(label: str, figure: str) -> Series:
        return curve(label, lambda each: each.one[figure])

    target = asked.policy.latency_target_seconds * 1000
    charts = [
        Chart(
            "Goodput of one replica",
            line_chart(
                [
                    of_one("within the target", "goodput_per_second"),
                    curve("offered", lambda p: p.rate, dashed=True),
                ],
                rate,
                Axis("requests/s", log=True),
            ),
        ),
        Chart(
            "Latency of the answers given",
            line_chart(
                [
                    of_one("p50", "response_ms_p50"),
                    of_one("p99", "response_ms_p99"),
                    curve("target", lambda _: target, dashed=True),
                ],
                rate,
                Axis("ms"),
            ),
            "one replica, from arrival to answer",
        ),
        Chart(
            "Batch size",
            line_chart([of_one("mean batch", "batch_size_mean")], rate, Axis("images")),
            "that an answer was in",
        ),
        Chart(
            "Replicas needed",
            line_chart(
                [curve("replicas", lambda p: p.replicas or math.nan)], rate, Axis("replicas", log=True)
            ),
            f"for {ON_TIME_SHARE:.0%} of all requests within {number(target)} ms, {asked.routing} routing",
        ),
    ]
    lead = (
        f"{_title(model)}, target {number(target)} ms: the policy that serves, "
        "simulated with the latency curve that the running service has learnt."
    )
    rows = [row(each) for each in planned]
    return page.page(
        "What would this load do?", lead, [page.charts(charts), page.table("By rate", HEADER, rows)]
    )


def _title(model: Described) -> str:
    return f"{model.name}/{model.version} on {model.engine}"
