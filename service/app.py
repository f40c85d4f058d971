"""The ASGI application: FastAPI outside, the Flask routes mounted inside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.routing import Route

from service.contract import describe
from service.edge.middleware import Edge
from service.errors import PROBLEMS, MalformedRequest
from service.flask_app.adapter import ConcurrentWsgiToAsgi
from service.flask_app.routes import FlaskRoute, flask_app
from service.native.admin_routes import admin_routes
from service.native.health_routes import health_routes
from service.native.predict_routes import PredictEndpoint, predict_routes
from service.problems import http_problem_response, problem_response
from service.record.routes import record_routes
from service.v2.routes import v2_routes
from service.wiring import Service

_DESCRIPTION = """Image classifiers over REST. Concurrent requests are answered in batches.

Native routes under `/v1`, the Open Inference Protocol under `/v2`, the routes of the two old Flask services.
"""


def create_app(service: Service) -> Edge:
    """Everything that answers HTTP, over one `Service`; its end of life closes the service."""
    flask = flask_app(service)
    adapter = ConcurrentWsgiToAsgi(flask, service.intake.body)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    # FastAPI's own telemetry would not see what the edge answers; `service.otel` is around both.
    silent: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    api = FastAPI(
        title="Rótulo",
        description=_DESCRIPTION,
        version="1",
        lifespan=lifespan,
        telemetry=silent,
        redirect_slashes=False,  # it would lead to whatever host the caller names
    )
    api.include_router(health_routes(service))
    api.include_router(predict_routes(service))
    api.include_router(v2_routes(service))
    api.include_router(admin_routes(service))
    api.include_router(record_routes(service))
    flask_routes = [FlaskRoute(rule.rule, adapter, service) for rule in flask.url_map.iter_rules()]
    # Routes of their own, so that every other path gets the API's own 404.
    api.router.routes.extend(Route(route.route, route) for route in flask_routes)
    describe(api)
    for kind in (*PROBLEMS, Exception):
        api.add_exception_handler(kind, _on_the_loop(problem_response))
    api.add_exception_handler(HTTPException, _on_the_loop(http_problem_response))
    api.add_exception_handler(RequestValidationError, _on_the_loop(_parameter_problem))
    endpoints = {
        f"/v1/models/{name}/predict": PredictEndpoint(service, slot) for name, slot in service.models.items()
    }
    return Edge(api, endpoints, {route.route: route for route in flask_routes}, service)


Handler = Callable[[Request, Exception], Response]


def _on_the_loop(handler: Handler) -> Callable[[Request, Exception], Awaitable[Response]]:
    """Starlette gives what is no coroutine a thread, up to 40 of them in a flood of bad requests."""

    async def handle(request: Request, error: Exception) -> Response:
        return handler(request, error)

    return handle


def _parameter_problem(request: Request, error: Exception) -> Response:
    """FastAPI's 422 for parameters, as the 400 of every other malformed request."""
    first = getattr(error, "errors", list)()[0]
    where = ".".join(str(part) for part in first["loc"])
    return problem_response(request, MalformedRequest(f"{where}: {first['msg']}"))
