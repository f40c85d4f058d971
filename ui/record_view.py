"""The tab that shows what was answered, for whoever holds the service's admin token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import streamlit as st

from ui.classify_view import show_problem
from ui.client import ClientError, Model, RecordPage, Refused, ServiceClient, Wanted
from ui.formats import number
from ui.words import Language

PERIODS: Mapping[str, timedelta | None] = {
    "period_hour": timedelta(hours=1),
    "period_day": timedelta(days=1),
    "period_week": timedelta(days=7),
    "period_all": None,
}
PAGE, MOST, MOST_AS_CSV = 100, 1000, 10_000  # rows
FIELD_PX = 420


def record_view(client: ServiceClient, model: Model, language: Language) -> None:
    """The newest answers of `model` first, read anew whenever the tab is drawn."""
    typed = st.text_input(language("record_token"), type="password", width=FIELD_PX, key="record-token")
    token = typed.strip()  # a blank comes along when it is copied, and no header can end with one
    if not token:
        st.info(language("record_token_why"), icon=":material/key:")
        return
    wanted = _wanted(model, language)
    rows = st.session_state.setdefault("record-rows", PAGE)
    try:
        page = client.predictions(token, {**wanted, "limit": rows})
    except ClientError as error:
        _show(error, client.url, language)
        return
    if not page.predictions:
        st.info(language("record_empty"), icon=":material/search_off:")
        return
    st.dataframe(_table(page, language), column_config=_columns(language), hide_index=True)
    _below(page, partial(client.predictions_csv, token, {**wanted, "limit": MOST_AS_CSV}), language)


def _wanted(model: Model, language: Language) -> Wanted:
    """What the three controls ask for, as the query of `GET /v1/predictions`."""
    left, middle, right = st.columns([2, 3, 3], vertical_alignment="bottom")
    labels = ["", *model.classes]
    label = left.selectbox(
        language("record_class"),
        labels,
        format_func=lambda label: language.label(label) if label else language("record_any"),
        key=f"record-class-{model.name}",
    )
    period = middle.segmented_control(
        language("record_period"),
        list(PERIODS),
        required=True,
        default="period_day",
        format_func=language,
        key="record-period",
    )
    doubtful = right.toggle(language("record_doubtful"), key="record-doubtful")
    length = PERIODS[period]
    since = {} if length is None else {"since": (datetime.now(UTC) - length).isoformat()}
    return {
        "model": model.name,
        **({"label": label} if label else {}),
        **since,
        **({"uncertain": True} if doubtful else {}),
    }


def _table(page: RecordPage, language: Language) -> Sequence[Mapping[str, Any]]:
    return [
        {
            "time": row.time,
            "answer": language.label(row.label),
            "confidence": row.confidence,
            "sure": not row.uncertain,
            "took": row.seconds * 1000,
            "version": row.version,
            "caller": row.api_key or "",
            "size": f"{row.width} × {row.height}",
            "image": row.image_sha256,
            "request": row.request_id,
        }
        for row in page.predictions
    ]


def _columns(language: Language) -> dict[str, Any]:
    """Times are the reader's own."""
    column = st.column_config
    return {
        "time": column.DatetimeColumn(
            language("record_time"), format="YYYY-MM-DD HH:mm:ss", timezone=st.context.timezone
        ),
        "answer": column.TextColumn(language("record_answer")),
        "confidence": column.ProgressColumn(
            language("record_confidence"), min_value=0, max_value=1, format="percent", width="medium"
        ),
        "sure": column.CheckboxColumn(language("record_sure"), width="small"),
        "took": column.NumberColumn(language("record_took"), format="%.1f ms", width="small"),
        "version": column.TextColumn(language("record_version")),
        "caller": column.TextColumn(language("record_caller")),
        "size": column.TextColumn(language("record_size")),
        "image": column.TextColumn(language("record_image"), width="medium"),
        "request": column.TextColumn(language("record_request"), width="medium"),
    }


def _below(page: RecordPage, csv: partial[bytes], language: Language) -> None:
    """How many rows there are, and the ways to more."""
    rows = len(page.predictions)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(language("record_again"), icon=":material/refresh:")
        if page.next is not None and rows < MOST:
            st.button(language("record_older"), icon=":material/expand_more:", on_click=_more)
        st.download_button(
            language("record_csv", most=number(MOST_AS_CSV, language)),
            csv,
            "predictions.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
    st.caption(language("record_rows" if page.next is None else "record_newest", rows=number(rows, language)))


def _more() -> None:
    st.session_state["record-rows"] = min(MOST, st.session_state["record-rows"] + PAGE)


def _show(error: ClientError, url: str, language: Language) -> None:
    if isinstance(error, Refused) and error.status == 401:
        st.error(language("record_token_wrong"), icon=":material/key_off:")
    elif isinstance(error, Refused) and error.kind == "record-off":
        st.info(language("record_off_why"), icon=":material/history_toggle_off:")
    else:
        show_problem(error, url, language)
