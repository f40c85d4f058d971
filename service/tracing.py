"""What a request's parts are told to, for traces; nobody listens unless a setting says so."""

from __future__ import annotations

from starlette.types import ASGIApp

from batching import Answered
from models.manifest import Manifest
from models.predictor import Prediction
from service.settings import BadSettings, Settings


class Trace:
    """Hears of a request's parts as they end, in the request's own context. This one does nothing."""

    def around(self, app: ASGIApp) -> ASGIApp:
        """The whole application, with whatever has to see each request first."""
        return app

    def decoded(self, seconds: float) -> None:
        """An image of the current request was decoded, and that took so long."""

    def classified(self, manifest: Manifest) -> None:
        """An image of the current request has its answer, wherever that came from."""

    def answered(self, manifest: Manifest, answered: Answered[Prediction]) -> None:
        """An image of the current request was run, and so has its answer."""

    async def close(self) -> None:
        """Send what is left, for a moment."""


def trace_of(settings: Settings) -> Trace:
    """OpenTelemetry is imported where an endpoint is set, and not otherwise; raises BadSettings."""
    if settings.otel_endpoint is None:
        return Trace()
    try:
        from service.otel import OtelTrace
    except ImportError as error:
        raise BadSettings(f"--otel-endpoint: {error}; pip install 'rotulo[otel]'") from error
    return OtelTrace(str(settings.otel_endpoint))
