"""The live view's charts. Series differ by their dashes and a legend, not by colour alone."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from ui.live import Interval, summed
from ui.words import Language

HEIGHT_PX = 260
COLOURS = ("#1f8a8a", "#b7791f")
POINT = alt.OverlayMarkDef(size=16)  # one between two gaps has no line


def throughput(intervals: Sequence[Interval], language: Language) -> alt.Chart:
    """Images a second over the time shown."""
    rows = [{"ago": ago, "rate": each.images_per_second} for ago, each in _timed(intervals)]
    chart: alt.Chart = (
        alt.Chart(alt.Data(values=rows), height=HEIGHT_PX)
        .mark_line(color=COLOURS[0], point=POINT)
        .encode(x=_time(language), y=_count("rate:Q", language("images_per_second")))
    )
    return chart


def latency(intervals: Sequence[Interval], language: Language) -> alt.Chart:
    """Median and 99th percentile; a stretch without answers is a gap."""
    names = {"p50_seconds": language("p50_short"), "p99_seconds": language("p99_short")}
    rows = [
        {"ago": ago, "series": name, "ms": None if value is None else value * 1000}
        for ago, each in _timed(intervals)
        for field, name in names.items()
        for value in [getattr(each, field)]
    ]
    series, domain = "series:N", list(names.values())
    legend = alt.Legend(
        title=None,
        orient="top",
        offset=4,
        padding=0,
        symbolType="stroke",
        symbolSize=400,
        symbolStrokeWidth=2,
    )
    chart: alt.Chart = (
        alt.Chart(alt.Data(values=rows), height=HEIGHT_PX)
        .mark_line(point=POINT)
        .encode(
            x=_time(language),
            y=_count("ms:Q", language("milliseconds")),
            color=alt.Color(series, scale=alt.Scale(domain=domain, range=list(COLOURS)), legend=legend),
            strokeDash=alt.StrokeDash(
                series, scale=alt.Scale(domain=domain, range=[[1, 0], [5, 3]]), legend=legend
            ),
        )
    )
    return chart


def batch_sizes(intervals: Sequence[Interval], language: Language) -> alt.Chart:
    """How many batches of which sizes in the time shown."""
    bars = summed(intervals)
    rows = [{"images": sizes, "batches": batches} for sizes, batches in bars]
    order = [sizes for sizes, _ in bars]
    chart: alt.Chart = (
        alt.Chart(alt.Data(values=rows), height=HEIGHT_PX)
        .mark_bar(color=COLOURS[0])
        .encode(
            x=alt.X("images:N", sort=order, title=language("batch_images"), axis=alt.Axis(labelAngle=0)),
            y=_count("batches:Q", language("batches_count")),
        )
    )
    return chart


def _timed(intervals: Sequence[Interval]) -> list[tuple[float, Interval]]:
    """(seconds before the last one, negative), each."""
    return [(each.ended_at - intervals[-1].ended_at, each) for each in intervals]


def _time(language: Language) -> alt.X:
    axis = alt.Axis(labelExpr="format(abs(datum.value), 'd')", tickMinStep=1, tickCount=5, grid=False)
    return alt.X("ago:Q", title=language("seconds_ago"), axis=axis)


def _count(field: str, title: str) -> alt.Y:
    return alt.Y(field, title=title, scale=alt.Scale(domainMin=0), axis=alt.Axis(tickCount=4, format=",.3~f"))
