"""The tab of the record, without a browser; `test_page.py` has it in one."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from ui.client import Model, RecordPage, Wanted
from ui.words import LANGUAGES

MODEL = Model.model_validate(
    {
        "name": "cifar10",
        "version": "1",
        "classes": ["cat", "dog"],
        "input_size": 32,
        "engine": "torch",
        "engine_reason": "",
        "latency_target_ms": 100,
        "max_batch_size": 8,
        "calibration": {},
        "metrics": {},
    }
)


class FakeClient:
    """An empty record; it keeps the tokens that it was asked with."""

    url = "http://127.0.0.1:8000"

    def __init__(self) -> None:
        self.tokens: list[str] = []

    def predictions(self, token: str, wanted: Wanted) -> RecordPage:  # noqa: ARG002
        self.tokens.append(token)
        return RecordPage(predictions=[], next=None)


TAB = """
import streamlit as st
from ui.record_view import record_view
record_view(*st.session_state["tab"])
"""


def test_blanks_that_came_along_with_the_token_are_no_part_of_it() -> None:
    client = FakeClient()
    tab = AppTest.from_string(TAB)
    tab.session_state["tab"] = (client, MODEL, LANGUAGES["en"])
    tab.run()
    for typed in (" ", "token ", "\ttoken"):
        tab.text_input(key="record-token").input(typed).run()
        assert not tab.exception
    assert client.tokens == ["token", "token"]
