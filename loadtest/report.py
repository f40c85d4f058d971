"""The HTML report of a run, from its JSON document alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from signal import SIGKILL
from typing import Any

from loadtest import page
from loadtest.charts import Axis, Mark, Series, bar_chart, line_chart, ms, number, share
from loadtest.page import Chart
from loadtest.plan import OUTSIDE_SECONDS

Document = Mapping[str, Any]

SECOND = Axis("seconds")
RATE = Axis("requests/s")
MILLISECONDS = Axis("ms")
TARGET_IN_SIGHT = 3.0  # times the longest latency shown


def report(document: Document) -> str:
    """The whole page."""
    model = document["model"]
    title = f"{document['scenario']}: {document['question']}"
    lead = (
        f"{model['name']}/{model['version']} on {model['engine']}, "
        f"target {number(document['target_ms'])} ms{_other_targets(document)}, "
        f"{document['arrivals']} arrivals by schedule (open loop), finished {document['finished']}."
    )
    sections = [page.warning(text) for text in warnings(document)]
    sections += [
        page.tiles(headline(document)),
        _objectives(document),
        _comparison(document),
        page.charts([*_over_time(document), *_against_load(document), *_server(document)]),
        _percentiles(document),
        _phases(document),
        _forecast(document),
        _outcomes(document),
        _counts(document),
    ]
    return page.page(title, lead, sections)


def _other_targets(document: Document) -> str:
    return "".join(f" ({kind}: {number(target)})" for kind, target in document["other_targets_ms"].items())


def headline(document: Document) -> list[tuple[str, str]]:
    """(value, what it is): the figures that everybody asks for first."""
    summary = document["summary"]
    values = [
        (f"{number(summary['offered_per_second'])}/s", "offered"),
        (f"{number(summary['goodput_per_second'])}/s", "answered in time"),
        (f"{number(summary['response_ms_p50'])} ms", "response time, p50"),
        (f"{number(summary['response_ms_p99'])} ms", "response time, p99"),
        (share(summary["refused_share"] + summary["expired_share"]), "refused or expired"),
        (share(summary["error_share"]), "errors"),
        (number(summary["batch_size_mean"]), "batch size, mean"),
    ]
    knee = document["knee"]
    if knee is not None:
        values.insert(0, (f"{number(document['phases'][knee]['rate'])}/s", "held: the knee"))
    if document["server"]:
        values.append((f"{number(document['server']['cpu_cores_mean'])}", "server, CPU cores"))
        values.append((f"{number(document['server']['memory_mb_last'])} MB", "server, memory"))
    if document["exit_code"] is not None:
        values.append((_ended(document["exit_code"]), "exit code of the server"))
    return values


def warnings(document: Document) -> list[str]:
    """What makes the figures doubtful."""
    failed = [
        f"After {number(each['second'])} s of repeat {each['repeat']}: {each['what']}."
        for each in document["events"]
        if not each["ok"]
    ]
    if document["exit_code"]:
        failed.append(f"The server was told to stop: exit code {_ended(document['exit_code'])}.")
    generator = document["generator"]
    if not generator["is_bottleneck"]:
        return failed
    return [
        *failed,
        f"The generator took up to {number(generator['cpu_cores_max'])} of one core and was "
        f"{number(generator['lateness_ms_p99'])} ms late at p99: part of the latency is its own. "
        "Give it a machine or a core to itself.",
    ]


def _objectives(document: Document) -> str:
    rows = [
        [
            each["text"],
            "–" if each["value"] is None else f"{each['value']:.4g}",
            "met" if each["met"] else "missed",
        ]
        for each in document["objectives"]
    ]
    return page.table("Objectives", ["objective", "measured", "verdict"], rows)


def _comparison(document: Document) -> str:
    rows = [
        [each["figure"], f"{each['now']:.4g}", f"{each['then']:.4g}", f"{each['noise']:.2g}", each["verdict"]]
        for each in document["comparison"]
    ]
    return page.table(
        "Compared with an earlier run",
        ["figure", "now", "then", "noise", "verdict"],
        rows,
        "Medians over the repeats; a difference within the noise between repeats is none.",
    )


def _over_time(document: Document) -> list[Chart]:
    seconds = document["seconds"]

    def line(label: str, figure: str) -> Series:
        return Series(label, [(each["second"], _f(each[figure])) for each in seconds])

    throughput = [
        line("offered", "offered_per_second"),
        line("answered", "answered_per_second"),
        line("in time", "goodput_per_second"),
    ]
    latency = [line(f"p{percent}", f"response_ms_p{percent}") for percent in ("50", "90", "99")]
    starts = [each["second"] for each in seconds]
    longest = max((each["response_ms_p99"] or 0.0 for each in seconds), default=0.0)
    latency += _target(document, min(starts, default=0.0), max(starts, default=0.0), longest)
    return [
        Chart("Throughput and goodput", line_chart(throughput, SECOND, RATE, _marks(document))),
        Chart(
            "Response time",
            line_chart(latency, SECOND, MILLISECONDS, _marks(document)),
            "of answers, by the second they were scheduled in, from the schedule to the answer",
        ),
    ]


def _marks(document: Document) -> list[Mark]:
    """Where phases begin, and what was done to the server in the last repeat, which the charts show."""
    marks, start = [], 0.0
    for phase in document["phases"]:
        marks.append(Mark(start, phase["name"]))
        start += phase["seconds"]
    events = [
        Mark(event["second"], event["what"].partition(":")[0], row=1)
        for event in document["events"]
        if event["repeat"] == len(document["repeats"])
    ]
    return [*(marks if len(marks) > 1 else []), *events]


def _target(document: Document, start: float, end: float, longest: float) -> list[Series]:
    """A line at the target, if there is one, and not so far above that the latencies would lie flat."""
    target = document["target_ms"]
    near = target <= TARGET_IN_SIGHT * longest and not document["other_targets_ms"]
    return [Series("target", [(start, target), (end, target)], dashed=True)] if near else []


def _against_load(document: Document) -> list[Chart]:
    """For scenarios of several rates."""
    phases, steps = document["phases"], document["steps"]
    if len(steps) <= 3:
        return []
    forecast = document["forecast"]

    def measured(label: str, figure: str) -> Series:
        points = [(phase["rate"], _f(step[figure])) for phase, step in zip(phases, steps, strict=True)]
        return Series(label, points, dots=True)

    def expected(label: str, figure: str) -> list[Series]:
        points = [(phase["rate"], _f(each[figure])) for phase, each in zip(phases, forecast, strict=False)]
        return [Series(label, points, dashed=True)] if points else []

    offered = Axis("offered, requests/s")
    knee = document["knee"]
    marks = [] if knee is None else [Mark(phases[knee]["rate"], "knee")]
    rates = [phase["rate"] for phase in phases]
    longest = max(step["response_ms_p99"] or 0.0 for step in steps)
    latency = [
        measured("p50", "response_ms_p50"),
        measured("p99", "response_ms_p99"),
        *expected("p99, forecast", "response_ms_p99"),
        *_target(document, min(rates), max(rates), longest),
    ]
    goodput = [
        measured("in time", "goodput_per_second"),
        measured("answered", "answered_per_second"),
        *expected("in time, forecast", "goodput_per_second"),
    ]
    return [
        Chart(
            "Response time against load",
            line_chart(latency, offered, MILLISECONDS, marks),
            "the knee is the last step at which 95 % of all requests were answered in time",
        ),
        Chart("Goodput against load", line_chart(goodput, offered, RATE, marks)),
    ]


def _server(document: Document) -> list[Chart]:
    server = document["server"]
    if not server:
        return []

    def line(label: str, figure: str) -> Series:
        return Series(label, [(each["second"], _f(each[figure])) for each in server["series"]])

    cores = [line("server", "cpu_cores"), line("generator", "generator_cores")]
    refusals = {**server["refused"], **{f"{k} (in line)": v for k, v in server["abandoned"].items()}}
    return [
        Chart("Batch sizes", bar_chart(server["batch_sizes"], "images in a batch", "batches")),
        Chart("Refused and given up, by reason", bar_chart(list(refusals.items()), "reason", "requests")),
        Chart("Waiting line", line_chart([line("waiting", "waiting")], SECOND, Axis("images"))),
        Chart("Processor", line_chart(cores, SECOND, Axis("cores"))),
        Chart("Memory of the server", line_chart([line("resident", "memory_mb")], SECOND, Axis("MB"))),
    ]


def _percentiles(document: Document) -> str:
    summary = document["summary"]
    columns = ("p50", "p90", "p95", "p99", "p99.9", "max")
    rows = [
        [label, *(ms(summary[f"{name}_ms_{column}"]) for column in columns)]
        for label, name in (
            ("response: schedule to answer", "response"),
            ("service: sent to answer", "service"),
        )
    ]
    note = (
        f"Milliseconds, exact. The sender was {ms(summary['lateness_ms_p99'])} ms late at p99. "
        f"Of an answer's time, says the server (p50): decode {ms(summary['server_decode_ms_p50'])}, "
        f"queue {ms(summary['server_queue_ms_p50'])}, inference {ms(summary['server_infer_ms_p50'])}."
    )
    return page.table("Latency of answers", ["", *columns], rows, note)


def _phases(document: Document) -> str:
    header = [
        "phase",
        "offered/s",
        "in time/s",
        "share",
        "p50 ms",
        "p99 ms",
        "refused",
        "errors",
        "mean batch",
    ]
    rows = [
        [
            phase["name"],
            number(step["offered_per_second"]),
            number(step["goodput_per_second"]),
            share(step["goodput_share"]),
            ms(step["response_ms_p50"]),
            ms(step["response_ms_p99"]),
            share(step["refused_share"] + step["expired_share"]),
            share(step["error_share"]),
            number(step["batch_size_mean"]),
        ]
        for phase, step in zip(document["phases"], document["steps"], strict=True)
    ]
    return page.table("By phase", header, rows)


def _forecast(document: Document) -> str:
    header = [
        "phase",
        "goodput/s",
        "forecast",
        "p50 ms",
        "forecast",
        "p99 ms",
        "forecast",
        "batch",
        "forecast",
    ]
    figures = ("goodput_per_second", "response_ms_p50", "response_ms_p99", "batch_size_mean")
    rows = []
    for phase, step, expected in zip(
        document["phases"], document["steps"], document["forecast"], strict=False
    ):
        pairs = [(number(step[figure]), number(expected[figure])) for figure in figures]
        rows.append([phase["name"], *(cell for pair in pairs for cell in pair)])
    note = (
        f"The serving policy, simulated with the learnt curve. {number(OUTSIDE_SECONDS * 1000)} ms "
        "for decoding, HTTP and transfer are included; large photographs take more."
    )
    return page.table("Forecast against measurement", header, rows, note)


def _outcomes(document: Document) -> str:
    kinds = document["outcomes"]
    names = sorted({name for outcomes in kinds.values() for name in outcomes})
    rows = [[kind, *(number(outcomes.get(name, 0)) for name in names)] for kind, outcomes in kinds.items()]
    return page.table("Requests by kind and outcome", ["kind", *names], rows) + page.table(
        "Errors, of all repeats",
        ["what", "requests"],
        [[what, number(count)] for what, count in document["faults"].items()],
    )


def _counts(document: Document) -> str:
    server = document["server"]
    groups: Sequence[tuple[str, Mapping[str, float]]] = (
        ("batch closed", server.get("closed", {})),
        ("refused", server.get("refused", {})),
        ("given up in line", server.get("abandoned", {})),
    )
    rows = [[what, reason, number(count)] for what, counts in groups for reason, count in counts.items()]
    return page.table("What the server counted", ["", "why", "count"], rows)


def _f(value: float | None) -> float:
    return math.nan if value is None else value


def _ended(exit_code: int) -> str:
    return "killed" if exit_code == -SIGKILL else str(exit_code)
