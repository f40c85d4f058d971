"""Traces by OpenTelemetry: a span for each request, and one for each of its parts.

Spans wait in a bounded queue for a thread that sends them. A collector that is slow or away costs spans,
never an answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from itertools import chain
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.util.http import parse_excluded_urls
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batching import Answered
from models.manifest import Manifest
from models.predictor import Prediction
from service.edge.middleware import route_of
from service.process.background import in_thread
from service.tracing import Trace

_QUIETENED = (
    # Says so with every attempt where the collector is away; that an export has failed is enough.
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    # These tell of every trace header that a caller gets wrong.
    "opentelemetry.trace",
    "opentelemetry.baggage",
    "opentelemetry.sdk.trace",
)
for _name in _QUIETENED:
    logging.getLogger(_name).setLevel(logging.ERROR)

EXPORT_SECONDS = 5.0
CLOSE_SECONDS = 2.0
# Asked every few seconds by machines, and of interest to nobody.
_NOT_TRACED = parse_excluded_urls("/healthz$,/readyz$,/metrics$")


class OtelTrace(Trace):
    """Spans to a collector, over OTLP/HTTP. `OTEL_` variables (sampler, headers, resource) apply."""

    def __init__(self, endpoint: str) -> None:
        exporter = OTLPSpanExporter(_signal_url(endpoint), timeout=EXPORT_SECONDS)
        resource = Resource.create({"service.name": "rotulo"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("rotulo")

    def around(self, app: ASGIApp) -> ASGIApp:
        """The middleware decodes headers and the query, and raises where it cannot: those go untraced."""
        middleware: ASGIApp = OpenTelemetryMiddleware(
            _described(app),
            excluded_urls=_NOT_TRACED,
            default_span_details=lambda scope: (scope.get("method", scope["type"]), {}),
            tracer_provider=self._provider,
            meter_provider=NoOpMeterProvider(),
            exclude_spans=["receive", "send"],
        )

        async def traced_if_readable(scope: Scope, receive: Receive, send: Send) -> None:
            await (middleware if _is_ascii(scope) else app)(scope, receive, send)

        return traced_if_readable

    def decoded(self, seconds: float) -> None:
        self._span("decode", time.time_ns(), seconds)

    def classified(self, manifest: Manifest) -> None:
        span = trace.get_current_span()
        if span.is_recording():  # not sampled out, nor over since its caller left
            span.set_attributes(_model_attributes(manifest))

    def answered(self, manifest: Manifest, answered: Answered[Prediction]) -> None:
        self.classified(manifest)
        ran = _model_attributes(manifest) | {"rotulo.batch_size": answered.batch_size}
        ended = time.time_ns()
        self._span("queue", ended - _nanoseconds(answered.batch_seconds), answered.queue_seconds)
        self._span("infer", ended, answered.batch_seconds, ran)

    async def close(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await in_thread(self._provider.shutdown)

    def _span(
        self, name: str, ended_ns: int, seconds: float, attributes: dict[str, str | int] | None = None
    ) -> None:
        """A part of the current request that is over, where that has a trace."""
        if not trace.get_current_span().get_span_context().is_valid:
            return
        span = self._tracer.start_span(
            name, start_time=ended_ns - _nanoseconds(seconds), attributes=attributes
        )
        span.end(ended_ns)


def _model_attributes(manifest: Manifest) -> dict[str, str | int]:
    return {"rotulo.model": manifest.name, "rotulo.model_version": manifest.version}


def _is_ascii(scope: Scope) -> bool:
    texts = (scope.get("query_string", b""), *chain.from_iterable(scope.get("headers", ())))
    return all(text.isascii() for text in texts)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)


def _signal_url(endpoint: str) -> str:
    """A collector's bare address stands for its path for traces, as in OTEL_EXPORTER_OTLP_ENDPOINT."""
    return f"{endpoint.rstrip('/')}/v1/traces" if urlsplit(endpoint).path in ("", "/") else endpoint


def _described(app: ASGIApp) -> ASGIApp:
    """Gives the request's span, as the response begins, what the edge and the router know by then."""

    async def described(scope: Scope, receive: Receive, send: Send) -> None:
        span = trace.get_current_span()

        async def send_described(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = route_of(scope)
                span.update_name(f"{scope['method']} {route}")
                span.set_attributes({"http.route": route, "rotulo.request_id": scope["state"]["request_id"]})
            await send(message)

        await app(scope, receive, send_described)

    return described
