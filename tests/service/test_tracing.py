"""Traces reach a collector over OTLP, from every way in; a collector that is away costs nothing."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import HttpUrl
from starlette.types import Scope

from models.predictor import Predictor
from service.otel import OtelTrace, _signal_url
from service.settings import BadSettings, Settings, read_settings
from service.tracing import Trace, trace_of
from tests.conftest import ImageMaker
from tests.live import LiveService, multipart, serve
from tests.service.fakes import HeldEngine, predictor_on
from tests.service.serving.test_cache import ask, at_once, hold_with

NOWHERE = "http://127.0.0.1:9"  # the discard port: refused
PARENT = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP, in protobuf."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.received: SimpleQueue[ExportTraceServiceRequest] = SimpleQueue()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def spans(self) -> list[Span]:
        """Everything that has come, once the service has stopped."""
        found = []
        while not self.received.empty():
            for resource in self.received.get().resource_spans:
                attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
                assert attributes["service.name"] == "rotulo"
                found += [span for scope in resource.scope_spans for span in scope.spans]
        return found


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        assert self.headers["Content-Type"] == "application/x-protobuf"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.put(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def attributes(span: Span) -> dict[str, str | int]:
    return {
        each.key: each.value.string_value if each.value.HasField("string_value") else each.value.int_value
        for each in span.attributes
    }


def requests_in(spans: list[Span]) -> dict[str, Span]:
    """The request spans by their name."""
    return {span.name: span for span in spans if span.kind == Span.SPAN_KIND_SERVER}


def parts_of(request: Span, spans: list[Span]) -> list[Span]:
    return [span for span in spans if span.parent_span_id == request.span_id]


def test_every_way_to_ask_is_a_span_with_its_parts(
    predictor: Predictor, collector: Collector, make_image: ImageMaker
) -> None:
    image = make_image()
    body, headers = multipart(("file", image))
    with serve([predictor], otel_endpoint=collector.url) as running:
        assert running.request("POST", "/predict", body, headers).status == 200
        path = "/v1/models/cifar10/predict"
        marks = {"X-Request-Id": "mine", "traceparent": f"00-{PARENT}-00f067aa0ba902b7-01"}
        assert running.request("POST", path, image, marks).status == 200
        data = {
            "name": "image",
            "shape": [1],
            "datatype": "BYTES",
            "data": [base64.b64encode(image).decode()],
        }
        infer = running.request("POST", "/v2/models/cifar10/infer", json.dumps({"inputs": [data]}))
        assert infer.status == 200, infer.body
        assert running.request("GET", "/metrics").status == 200
        assert running.request("GET", "/healthz").status == 200
        running.stop()
    spans = collector.spans()
    requests = requests_in(spans)
    native, flask, v2 = (
        requests[f"POST {route}"]
        for route in ("/v1/models/{model}/predict", "/predict", "/v2/models/{model}/infer")
    )
    assert len(requests) == 3
    for request in (native, flask, v2):
        assert attributes(request)["rotulo.model"] == "cifar10"
        assert attributes(request)["rotulo.model_version"] == "1"
        parts = {part.name: part for part in parts_of(request, spans)}
        assert parts.keys() == {"decode", "queue", "infer"}
        assert attributes(parts["infer"])["rotulo.batch_size"] == 1
        assert parts["queue"].end_time_unix_nano == parts["infer"].start_time_unix_nano
        assert parts["infer"].end_time_unix_nano <= request.end_time_unix_nano
    assert attributes(native)["rotulo.request_id"] == "mine"
    assert native.trace_id.hex() == PARENT


def test_what_is_refused_has_a_span_too_by_its_route_and_never_by_its_path(
    predictor: Predictor, collector: Collector
) -> None:
    with serve([predictor], otel_endpoint=collector.url) as running:
        assert running.request("POST", "/v1/models/cifar10/predict", b"no image").status == 415
        assert running.request("GET", "/scanned/for/admin.php").status == 404
        running.stop()
    requests = requests_in(collector.spans())
    assert set(requests) == {"POST /v1/models/{model}/predict", "GET unmatched"}
    assert attributes(requests["GET unmatched"])["http.status_code"] == 404


UNREADABLE = b"\xff\\x"  # neither UTF-8 nor, as the middleware takes it then, escapes
# The query, and headers.
HOSTILE = [
    (b"", b"Host: " + UNREADABLE),
    (b"?x=%ff\\x", b"Host: a"),
    *(
        (b"", b"Host: a\r\n" + header)
        for header in (
            b"traceparent: \xff\xfe",
            b"traceparent: 00-zz",
            b"tracestate: " + b"a=b," * 200,
            b"baggage: \xff",
            b"baggage: \xff\\ud800",
            b"User-Agent: " + UNREADABLE,
            b"traceparent: " + UNREADABLE,
            b"tracestate: " + UNREADABLE,
            b"baggage: " + UNREADABLE,
        )
    ),
]


def test_a_hostile_header_or_query_harms_nobody_and_leaves_no_part_without_its_request(
    predictor: Predictor, collector: Collector, make_image: ImageMaker
) -> None:
    image = make_image()
    with serve([predictor], otel_endpoint=collector.url) as running:
        for query, headers in HOSTILE:
            with socket.create_connection(("127.0.0.1", running.port), timeout=60) as client:
                client.sendall(
                    b"POST /v1/models/cifar10/predict%s HTTP/1.1\r\n" % query
                    + headers
                    + b"\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(image)
                    + image
                )
                assert client.makefile("rb").readline().split()[1] == b"200", (query, headers)
        running.stop()
    spans = collector.spans()
    requests = {span.span_id for span in spans if span.kind == Span.SPAN_KIND_SERVER}
    readable = [pair for pair in HOSTILE if all(part.isascii() for part in pair)]
    assert len(requests) == len(readable) == 3
    assert all(span.parent_span_id in requests for span in spans if span.span_id not in requests)


async def test_a_query_that_the_server_would_refuse_is_passed_on() -> None:
    passed = []

    async def app(scope: Scope, *_: object) -> None:
        passed.append(scope)

    async def unused(*_: object) -> Any:
        raise AssertionError

    traced = OtelTrace(NOWHERE)
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": UNREADABLE, "headers": []}
    await traced.around(app)(scope, unused, unused)
    assert passed == [scope]
    await traced.close()


def test_no_caller_fills_the_log_with_trace_headers(
    predictor: Predictor, make_image: ImageMaker, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {
        "traceparent": f"00-{PARENT}-00f067aa0ba902b7-01",
        "tracestate": "no member",
        "baggage": "no pair",
    }
    with serve([predictor], otel_endpoint=NOWHERE) as running:
        for long in ({}, {"traceparent": "0" * 513}, {"tracestate": "a=b," * 200}, {"baggage": "a" * 9000}):
            running.request("POST", "/v1/models/cifar10/predict", make_image(), {**headers, **long})
    assert not [record for record in caplog.records if record.levelno < logging.ERROR]


def test_a_span_that_is_over_is_told_nothing_and_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "opentelemetry.sdk.trace")
    traced = OtelTrace(NOWHERE)
    with traced._tracer.start_as_current_span("request", end_on_exit=False) as span:
        span.end()
        traced.classified(predictor_on(HeldEngine()).manifest)
    assert not caplog.records
    asyncio.run(traced.close())


def test_who_shares_a_run_or_is_answered_from_the_cache_has_the_model_in_its_span_too(
    collector: Collector, make_image: ImageMaker
) -> None:
    engine, image = HeldEngine(), make_image()
    settings = {"cache_entries": 10, "otel_endpoint": collector.url}
    with serve([predictor_on(engine)], **settings) as running:
        with at_once(running) as begin:
            answers = [hold_with(running, engine, begin, image), begin(image)]
            engine.release.set()
            outcomes = [answer.result().headers["x-cache"] for answer in answers]
        outcomes.append(ask(running, image).headers["x-cache"])
        running.stop()
    assert outcomes == ["miss", "coalesced", "hit"]
    spans = collector.spans()
    requests = [span for span in spans if span.kind == Span.SPAN_KIND_SERVER]
    for request in requests:
        assert attributes(request)["rotulo.model"] == "cifar10"
        assert attributes(request)["rotulo.model_version"] == "1"
    parts = [sorted(part.name for part in parts_of(request, spans)) for request in requests]
    assert sorted(parts) == [[], [], ["decode", "infer", "queue"]]


@pytest.mark.parametrize("stuck", [True, False])
def test_a_collector_that_is_away_or_stuck_delays_no_answer(
    predictor: Predictor, make_image: ImageMaker, stuck: bool
) -> None:
    others = set(threading.enumerate())
    with closing(socket.socket()) as collector:
        collector.bind(("127.0.0.1", 0))  # away: who does not listen is not connected to
        if stuck:
            collector.listen()  # the kernel accepts, nobody reads
        url = f"http://127.0.0.1:{collector.getsockname()[1]}"
        with serve([predictor], otel_endpoint=url, log_level="error") as running:
            for seed in range(150):  # more than one export's worth of spans
                assert (
                    running.request("POST", "/v1/models/cifar10/predict", make_image(seed % 4)).status == 200
                )
            running.stop()
        for thread in set(threading.enumerate()) - others:  # what the service did not wait for
            thread.join()


def test_without_an_endpoint_nothing_of_it_is_imported() -> None:
    code = (  # FastAPI itself imports OpenTelemetry's API, which does nothing without the SDK
        "import sys, service.server, service.settings, service.tracing as tracing; "
        "tracing.trace_of(service.settings.Settings()); "
        "unwanted = 'opentelemetry.sdk', 'opentelemetry.exporter', 'service.otel'; "
        "print([name for name in sys.modules if name.startswith(unwanted)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_an_endpoint_the_application_is_as_it_was(live: LiveService) -> None:
    async def app(*_: object) -> None:
        raise AssertionError

    assert type(live.service.trace) is Trace
    assert live.service.trace.around(app) is app


def test_an_extra_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "service.otel", None)
    with pytest.raises(BadSettings, match=r"--otel-endpoint: .*rotulo\[otel\]"):
        trace_of(Settings(otel_endpoint=HttpUrl("http://localhost:4318")))


@pytest.mark.parametrize("url", ["collector:4318", "ftp://collector", "nonsense"])
def test_an_endpoint_that_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(BadSettings, match="--otel-endpoint"):
        read_settings(["--otel-endpoint", url])


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("http://collector:4318/", "http://collector:4318/v1/traces"),
        ("https://host/custom/path", "https://host/custom/path"),
    ],
)
def test_an_address_without_a_path_means_the_path_for_traces(endpoint: str, url: str) -> None:
    assert _signal_url(endpoint) == url
