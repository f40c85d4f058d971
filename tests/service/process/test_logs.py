"""A log that cannot be written is no reason to stop."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engines.protocol import Logits
from service.process.logs import FORMATTERS, MAX_WAITING, LogHandler, Output, TextFormatter, configure
from tests.conftest import ImageMaker
from tests.live import responses, serve, until_closed
from tests.service.fakes import FaultyEngine, predictor_on


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


def test_more_than_may_wait_for_a_stuck_reader_is_dropped_and_blocks_nobody(pipe: tuple[int, int]) -> None:
    output = Output()
    for number in range(MAX_WAITING + 100):  # longer lines than a pipe holds: one is being written
        output.say(f"{number:<65536}", pipe[1])
    with open(pipe[0], "rb", closefd=False) as reader:
        arrived = [int(reader.readline()), int(reader.readline())]  # the second has left the queue
        output.say("-1", pipe[1])
        while arrived[-1] != -1:
            arrived.append(int(reader.readline()))
    assert len(arrived) - 1 in (MAX_WAITING, MAX_WAITING + 1)
    assert arrived[:-1] == list(range(len(arrived) - 1))


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
        configure("info", "text")
        logging.getLogger("rotulo").info("of ours")
        logging.getLogger("PIL.PngImagePlugin").warning("of a caller")
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
    handler = LogHandler(Output(), TextFormatter())
    handler.handle(logging.LogRecord("rotulo", logging.ERROR, "", 0, "%d", ("text",), None))


def formatted(name: str, message: str, error: Exception | None = None) -> str:
    """What the formatter of that name makes of a record."""
    about = (type(error), error, None) if error else None
    record = logging.LogRecord("rotulo", logging.ERROR, "", 0, "%s", (message,), about)
    return FORMATTERS[name]().format(record)


@given(st.text())
def test_a_message_is_one_printable_line_whatever_is_in_it(message: str) -> None:
    line = formatted("text", message)
    assert line.startswith("ERROR: ")
    assert line.isprintable()


@given(st.text(), st.text())
def test_a_line_of_json_is_ascii_and_gives_back_what_was_said(message: str, detail: str) -> None:
    line = formatted("json", message, ValueError(detail))
    assert line.isascii()
    assert line.isprintable()
    said = json.loads(line)
    assert said["message"] == message
    assert (said["level"], said["logger"]) == ("error", "rotulo")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", said["time"])
    assert detail in said["exception"]


def test_where_there_are_several_workers_every_line_says_whose_it_is() -> None:
    record = logging.LogRecord("rotulo", logging.WARNING, "", 0, "a message", (), None)
    assert FORMATTERS["text"](2).format(record) == "WARNING: worker 2: a message"
    assert FORMATTERS["text"]().format(record) == "WARNING: a message"
    assert json.loads(FORMATTERS["json"](2).format(record))["worker"] == 2
    assert "worker" not in json.loads(FORMATTERS["json"]().format(record))


@given(st.text())
def test_no_line_of_a_traceback_looks_like_the_first_line_of_another_record(detail: str) -> None:
    first, *rest = formatted("text", "failed", ValueError(f"{detail}\nERROR: forged")).split("\n")
    assert first == "ERROR: failed"
    assert rest
    assert all(line.startswith("  ") and line.isprintable() for line in rest)


FORGED = b"%0aERROR:%20forged\x9b\tERROR: forged"


def forging(path: bytes, image: bytes) -> bytes:
    """A request with another line, and what moves a terminal's cursor, wherever a caller may write."""
    disposition = b'Content-Disposition: form-data; name="file"; filename="%0aERROR: \xc2\x9b"'
    body = b"\r\n".join([b"--b", disposition, b"", image, b"--b--", b""])
    lines = [
        b"POST " + path + b"?x=%0aERROR:%20forged%1b HTTP/1.1",
        b"Host: a",
        b"Connection: close",
        b"X-Request-Id: " + FORGED,
        b"User-Agent: " + FORGED,
        b"Content-Type: multipart/form-data; boundary=b",
        b"Content-Length: " + str(len(body)).encode(),
    ]
    return b"\r\n".join([*lines, b"", body])


def fault(_: object) -> Logits:
    raise RuntimeError("broken\nERROR: forged\x1b[2J")


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("path", [b"/v1/models/cifar10/predict", b"/predict"])
def test_a_caller_can_forge_no_line_and_its_failure_is_found_by_its_id(
    monkeypatch: pytest.MonkeyPatch, make_image: ImageMaker, log_format: str, path: bytes
) -> None:
    said: list[str] = []
    monkeypatch.setattr(Output, "say", lambda _, text, **__: said.append(text))
    engine = FaultyEngine()
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    try:
        configure("info", log_format)
        with serve([predictor_on(engine)]) as running:
            engine.fault = fault
            with socket.create_connection(("127.0.0.1", running.port), timeout=60) as client:
                client.sendall(forging(path, make_image(size=(8, 8))))
                (response,) = responses(until_closed(client))
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = before
    assert response.status == 500
    request_id = response.headers["x-request-id"]
    (about,) = (record for record in said if request_id in record)
    assert "broken" in about
    lines = "\n".join(said).split("\n")
    assert all(line.isprintable() for line in lines)
    assert not any(line.startswith("ERROR: forged") for line in lines)
    if log_format == "json":
        assert json.loads(about)["request_id"] == request_id
        assert all(json.loads(line)["message"] for line in lines)
