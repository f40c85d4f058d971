"""A log that cannot be written is no reason to stop."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator

import pytest

from service.logs import MAX_WAITING, LogHandler, Output, configure


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its two ends: to read, to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_what_is_said_arrives_in_order(pipe: tuple[int, int]) -> None:
    output = Output()
    output.say("one", pipe[1])
    output.say("zw\N{LATIN SMALL LETTER O WITH DIAERESIS}lf \ud800", pipe[1])
    output.flush()
    assert os.read(pipe[0], 1000) == b"one\nzw\xc3\xb6lf \\ud800\n"


def test_more_than_may_wait_for_a_stuck_reader_is_dropped_and_blocks_nobody() -> None:
    stuck, theirs = os.pipe()
    output, line = Output(), "x" * 65536
    for _ in range(MAX_WAITING + 100):  # the pipe takes one, the thread holds another
        output.say(line, theirs)
    os.close(stuck)  # the rest ends in EPIPE
    output.flush()
    os.close(theirs)


def test_a_closed_reader_is_survived(pipe: tuple[int, int]) -> None:
    closed, theirs = os.pipe()
    os.close(closed)
    output = Output()
    output.say("lost", theirs)
    output.say("arrives", pipe[1])
    output.flush()
    assert os.read(pipe[0], 1000) == b"arrives\n"
    os.close(theirs)


def test_logs_and_warnings_go_through_the_output_and_callers_faults_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Output, "say", lambda _, text, descriptor: said.append(f"{descriptor}: {text}"))
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    try:
        configure(Output(), "info")
        logging.getLogger("rotulo").info("of ours")
        logging.getLogger("python_multipart.multipart").warning("of a caller")
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(True)
            warnings.warn("of a library", stacklevel=1)
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = before
    assert said[0] == "2: INFO: of ours"
    assert "of a library" in said[1]
    assert len(said) == 2


def test_a_record_that_cannot_be_formatted_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = LogHandler(Output())
    handler.handle(logging.LogRecord("rotulo", logging.ERROR, "", 0, "%d", ("text",), None))
