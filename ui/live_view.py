"""The tab that shows what the service is doing now, from its metrics."""

from __future__ import annotations

import time

import streamlit as st

from ui import charts, live
from ui.classify_view import show_problem
from ui.client import ClientError, ServiceClient, Unreachable
from ui.formats import duration, number, seconds
from ui.live import History, Interval
from ui.words import Language

EVERY_SECONDS = 2
SHOWN = 150  # intervals: five minutes of them


@st.fragment(run_every=EVERY_SECONDS)
def live_view(client: ServiceClient, language: Language) -> None:
    """Drawn again every few seconds, by itself, while the tab is open."""
    history: History = st.session_state.setdefault("live", History(SHOWN))
    try:
        history.add(live.read(client.metrics(), time.monotonic()))
    except Unreachable:
        history.forget_last()
        st.warning(language("live_gone", url=client.url), icon=":material/cloud_off:")
        if not history.intervals:
            return
    except ClientError as error:
        show_problem(error, client.url, language)
        return
    if not history.intervals:
        st.info(language("live_waiting"), icon=":material/hourglass_empty:")
        return
    _figures(history.intervals[-1], language)
    if any(interval.requests_per_second for interval in history.intervals):
        _charts(list(history.intervals), language)
    else:
        st.info(language("no_traffic"), icon=":material/hourglass_empty:")
    _notes(language)


def _figures(last: Interval, language: Language) -> None:
    figures = {
        "images_per_second": number(last.images_per_second, language, 1),
        "p50": _latency(last.p50_seconds, language),
        "p99": _latency(last.p99_seconds, language),
        "batch_size": _or_none(last.mean_batch_size, language),
        "in_line": number(last.waiting, language),
        "failures": number(last.failures_per_second, language, 1),
    }
    columns = st.container(key="figures-live").columns(len(figures))
    for column, (key, value) in zip(columns, figures.items(), strict=True):
        column.metric(language(key), value, border=True)


def _charts(intervals: list[Interval], language: Language) -> None:
    drawn = {
        "throughput": charts.throughput,
        "latency": charts.latency,
        "batches": charts.batch_sizes,
    }
    for column, (key, chart) in zip(st.columns(3, gap="medium"), drawn.items(), strict=True):
        column.markdown(f"**{language(key)}**")
        column.altair_chart(chart(intervals, language), alt=language(key))


def _notes(language: Language) -> None:
    shown = {
        "seconds": seconds(EVERY_SECONDS, language),
        "minutes": number(EVERY_SECONDS * SHOWN / 60, language),
    }
    st.caption(f"{language('live_intro', **shown)} {language('from_buckets')}")


def _latency(value: float | None, language: Language) -> str:
    return language("none") if value is None else duration(value * 1000, language)


def _or_none(value: float | None, language: Language) -> str:
    return language("none") if value is None else number(value, language, 1)
