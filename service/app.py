"""The ASGI application: FastAPI outside, the Flask routes mounted inside."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from flask import Flask
from starlette.exceptions import HTTPException
from starlette.routing import Route

from service.edge import Edge
from service.errors import PROBLEMS, MalformedRequest, headers_of, plain_problem, problem_body, problem_of
from service.flask_adapter import ConcurrentWsgiToAsgi
from service.flask_routes import MODEL_OF, FlaskRoute, flask_app
from service.health_routes import health_routes
from service.predict_routes import predict_routes
from service.wiring import Service

logger = logging.getLogger("rotulo")

PROBLEM_TYPE = "application/problem+json"


def create_app(service: Service) -> Edge:
    """Everything that answers HTTP, over one `Service`; its end of life closes the service."""
    flask = flask_app(service)
    # One batch that runs and one that waits, and as many again whose callers are sending their bodies.
    adapter = ConcurrentWsgiToAsgi(flask, 4 * service.settings.max_batch_size, service.intake.body)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.warm_up()
        yield
        await service.close()
        adapter.close()

    api = FastAPI(title="Rótulo", description=__doc__, version="1", lifespan=lifespan)
    api.include_router(health_routes(service))
    api.include_router(predict_routes(service))
    _mount(api, flask, adapter, service)
    for kind in PROBLEMS:
        api.add_exception_handler(kind, _answer)
    api.add_exception_handler(HTTPException, _answer_http)
    api.add_exception_handler(RequestValidationError, _answer_validation)
    api.add_exception_handler(Exception, _answer_unforeseen)
    return Edge(api, service)


def _mount(api: FastAPI, flask: Flask, adapter: ConcurrentWsgiToAsgi, service: Service) -> None:
    """Each Flask rule as a route of its own, so that every other path gets the API's own 404."""
    for rule in flask.url_map.iter_rules():
        api.router.routes.append(Route(rule.rule, FlaskRoute(adapter, service, MODEL_OF.get(rule.rule))))


async def _answer(request: Request, error: Exception) -> JSONResponse:
    if problem_of(error).status == 500:
        logger.error("request %s failed", request.state.request_id, exc_info=error)
    return _problem(request, error)


async def _answer_unforeseen(request: Request, error: Exception) -> JSONResponse:
    """Not logged here: Starlette raises it again, and the edge logs it."""
    return _problem(request, error)


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    """What Starlette itself refuses: 404, 405."""
    status, detail = getattr(error, "status_code", 500), getattr(error, "detail", "")
    body = plain_problem(status, detail, detail, request.state.request_id)
    return JSONResponse(body, status, getattr(error, "headers", None), media_type=PROBLEM_TYPE)


async def _answer_validation(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's 422 for parameters, as the 400 of every other malformed request."""
    first = getattr(error, "errors", list)()[0]
    where = ".".join(str(part) for part in first["loc"])
    return _problem(request, MalformedRequest(f"{where}: {first['msg']}"))


def _problem(request: Request, error: Exception) -> JSONResponse:
    body = problem_body(error, request.state.request_id)
    return JSONResponse(body, body["status"], headers_of(error), media_type=PROBLEM_TYPE)
