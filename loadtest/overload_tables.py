"""The document of an overload run as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loadtest import capacity
from loadtest.charts import ms, number, share

Document = Mapping[str, Any]


def markdown(document: Document) -> str:
    """Every table, with what it was measured on."""
    sections = (_head, _levels, _beside, _forecast, _refusals, _memory, _tight, _flood)
    return "\n".join(line for section in sections for line in section(document)) + "\n"


def _head(document: Document) -> Iterator[str]:
    model, idle, refusal = document["model"], document["idle"], document["refusal"]
    yield (
        f"{model['name']}/{model['version']} on {model['engine']}, {document['cpus']} CPUs shared with the "
        f"generator; target {number(document['target_ms'])} ms; {document['arrivals']} arrivals by schedule "
        f"(open loop), {number(document['seconds'])} s a level, medians of {document['repeats']} "
        f"(of errors the most); started {document['started']}."
    )
    yield ""
    held = document["capacity"]
    yield f"- {capacity.described(held['goodput_per_second'], held['probes'])}."
    yield (
        f"- Calm: p50 {ms(idle['response_ms_p50'])} ms, of it decoding {ms(idle['decode_ms_p50'])} and "
        f"inference {ms(idle['infer_ms_p50'])}: {ms(idle['added_ms_p50'])} ms added."
    )
    yield (
        f"- Callers who all want an answer within 1 ms cost {ms(refusal['cpu_ms'])} ms of processor time "
        f"each (turned down after {ms(refusal['response_ms_p50'])} ms; who finds nobody in line is run)."
    )


def _levels(document: Document) -> Iterator[str]:
    header = ("load", "offered/s", "goodput/s", "of capacity", "p50 ms", "p99 ms", "refused", "expired")
    yield from _table(
        "Beyond capacity",
        (*header, "errors", "mean batch", "recovery s"),
        [
            [
                f"{number(row['level'])} x",
                number(row["offered_per_second"]),
                number(row["goodput_per_second"]),
                share(row["goodput_of_capacity"]),
                ms(row["response_ms_p50"]),
                ms(row["response_ms_p99"]),
                share(row["refused_share"]),
                share(row["expired_share"]),
                share(row["error_share"]),
                number(row["batch_size_mean"]),
                _seconds(row["recovery_seconds"]),
            ]
            for row in document["levels"]
        ],
    )


def _beside(document: Document) -> Iterator[str]:
    other = document.get("beside")
    if not other:
        return
    header = ("load", "goodput/s", "beside", "p50 ms", "beside", "p99 ms", "beside", "recovery s", "beside")
    rows = []
    for ours, theirs in zip(document["levels"], other["levels"], strict=True):
        cells = [f"{number(ours['level'])} x"]
        for name, form in (
            ("goodput_per_second", number),
            ("response_ms_p50", ms),
            ("response_ms_p99", ms),
            ("recovery_seconds", _seconds),
        ):
            cells += [form(ours[name]), form(theirs[name])]
        rows.append(cells)
    yield from _table(f"Beside `{other['command']}`", header, rows)


def _forecast(document: Document) -> Iterator[str]:
    header = ("load", "goodput/s", "forecast", "off by", "p99 ms", "forecast", "off by", "batch", "forecast")
    rows = []
    for row in document["levels"]:
        expected = row["forecast"]
        cells = [f"{number(row['level'])} x"]
        for name in ("goodput_per_second", "response_ms_p99"):
            cells += [number(row[name]), number(expected[name]), _off(expected[name], row[name])]
        rows.append([*cells, number(row["batch_size_mean"]), number(expected["batch_size_mean"])])
    yield from _table("The forecast", header, rows)


def _refusals(document: Document) -> Iterator[str]:
    """By reason, as the server counted them: before the line, and in it."""
    rows = [row for row in document["levels"] if "refused" in row]
    columns = [(stage, name) for stage in ("refused", "abandoned") for name in _names(rows, stage)]
    header = ["load", *(f"{stage}: {name}" for stage, name in columns), "refusal p50 ms", "p99 ms"]
    yield from _table(
        "Refused and given up",
        header,
        [
            [
                f"{number(row['level'])} x",
                *(number(row[stage].get(name, 0)) for stage, name in columns),
                ms(row["refusal_ms_p50"]),
                ms(row["refusal_ms_p99"]),
            ]
            for row in rows
        ],
    )


def _names(rows: Sequence[Mapping[str, Any]], stage: str) -> list[str]:
    return sorted({name for row in rows for name in row[stage]})


def _memory(document: Document) -> Iterator[str]:
    header = ("load", "memory before, MB", "at most", "after", "server, cores", "generator, cores")
    figures = ("memory_mb_first", "memory_mb_max", "memory_mb_last", "cpu_cores", "generator_cores")
    rows = [
        [f"{number(row['level'])} x", *(number(row[name]) for name in figures)]
        for row in document["levels"]
        if "memory_mb_first" in row
    ]
    yield from _table("The server's process", header, rows)


def _tight(document: Document) -> Iterator[str]:
    header = ("load", "others in time", "without them", "lost", "of those in a hurry in time")
    names = ("others_in_time_share", "without_share", "lost_share", "tight_in_time_share")
    rows = [[f"{number(row['level'])} x", *(share(row[name]) for name in names)] for row in document["tight"]]
    yield from _table("One caller in a hundred asks for 10 ms", header, rows)


def _flood(document: Document) -> Iterator[str]:
    flood = document["flood"]
    if not flood:
        return
    header = ("", "goodput/s", "p50 ms", "p99 ms", "refused")
    rows = [
        [
            title,
            number(flood[key]["goodput_per_second"]),
            ms(flood[key]["response_ms_p50"]),
            ms(flood[key]["response_ms_p99"]),
            share(flood[key]["refused_share"]),
        ]
        for title, key in (("alone", "alone"), ("during the flood", "during"))
    ]
    title = (
        f"{number(flood['flood_per_second'])}/s on {flood['model']} "
        f"(a batch of it takes {ms(flood['batch_ms'])} ms), seen from {document['model']['name']}"
    )
    yield from _table(title, header, rows)


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    yield f"\n### {title}\n"
    yield f"| {' | '.join(header)} |"
    yield "|---|" + "---:|" * (len(header) - 1)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


def _off(expected: float | None, measured: float | None) -> str:
    return f"{expected / measured - 1:+.0%}" if expected and measured else "–"
