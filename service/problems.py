"""An exception -> the response of the native routes, of `/v2`, or of the Flask routes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from service.errors import detail_of, forget_frames, headers_of, plain_problem, problem_body, problem_of
from service.flask_app import portuguese
from service.json_response import FastJSONResponse

logger = logging.getLogger("rotulo")

CONTENT_TYPE = "application/problem+json"


def _log_failure(request_id: str, error: Exception) -> None:
    """What is our fault, in the log: with the id that the caller quotes."""
    logger.error("request %s failed", request_id, exc_info=error, extra={"request_id": request_id})


def problem_response(request: Request, error: Exception) -> Response:
    """What is our fault is logged with the request's id. The error keeps nothing of the request."""
    request_id = request.state.request_id
    body = problem_body(error, request_id)
    if body["status"] == 500:
        _log_failure(request_id, error)
    forget_frames(error)
    return _answer(request, body, headers_of(error))


def flask_error_response(request: Request, error: Exception) -> Response:
    """In the shape and the language that the clients of each Flask route know; logs what is our fault.

    The error keeps nothing of the request.
    """
    problem = problem_of(error)
    if problem.status == 500:
        _log_failure(request.state.request_id, error)
    forget_frames(error)
    in_portuguese = request.scope["path"] in portuguese.PATHS
    detail = portuguese.sentence(error) if in_portuguese else detail_of(error)
    return FastJSONResponse({"error": detail}, problem.status, headers_of(error))


def http_problem_response(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: 404, 405."""
    status, detail = getattr(error, "status_code", 500), getattr(error, "detail", "")
    body = plain_problem(status, detail, detail, request.state.request_id)
    return _answer(request, body, getattr(error, "headers", None))


def _answer(request: Request, problem: dict[str, Any], headers: Mapping[str, str] | None) -> Response:
    """A problem document (RFC 9457), or `{"error"}` where the path is of the Open Inference Protocol."""
    if f"{request.scope['path']}/".startswith("/v2/"):
        return FastJSONResponse({"error": problem["detail"]}, problem["status"], headers)
    return FastJSONResponse(problem, problem["status"], headers, media_type=CONTENT_TYPE)
