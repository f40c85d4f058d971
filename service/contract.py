"""The OpenAPI document: what FastAPI knows of its routes, with every error response and the Flask routes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from fastapi import FastAPI

import batching.errors as queue
import models.errors as model
from service.budget import MAX_TIMEOUT_MS
from service.edge.access import PROBES
from service.errors import (
    COME_BACK,
    PROBLEMS,
    BodyTooLarge,
    Draining,
    EngineHangs,
    ForeignOrigin,
    KeyRequired,
    MalformedRequest,
    NotAuthorized,
    OneOfSeveral,
    Overloaded,
    Problem,
    RecordAway,
    RecordOff,
    SlowClient,
    TooManyRequests,
    UnfitVersion,
    UnknownHost,
    UnsupportedEncoding,
    VersionConflict,
)
from service.flask_app import portuguese
from service.flask_app.schema import FLASK_OPERATIONS
from service.problems import CONTENT_TYPE

Errors = tuple[type[Exception], ...]

_ACCESS: Errors = (UnknownHost, KeyRequired, TooManyRequests)  # everywhere but on the probes
_BODY: Errors = (MalformedRequest, SlowClient, BodyTooLarge, UnsupportedEncoding, Overloaded)
_LINE: Errors = (
    queue.QueueFull,
    queue.BatcherClosed,
    queue.DeadlineExceeded,
    queue.BatchFailed,
    queue.OutOfMemory,
)
_IMAGE: Errors = (model.ImageTooLarge, model.UnsupportedImage, model.UndecodableImage)
_CLASSIFY: Errors = (*_BODY, *_LINE, *_IMAGE, model.UnknownModel)
_READY: Errors = (Draining, EngineHangs)
_ADMIN: Errors = (NotAuthorized, model.UnknownModel)
_SWITCH: Errors = (*_ADMIN, OneOfSeveral, VersionConflict, UnfitVersion, Draining)

# Path -> what can go wrong there; every path that is described has an entry.
ERRORS: dict[str, Errors] = {
    "/healthz": (),
    "/readyz": (),  # its 503 is no problem document: probes read the status alone
    "/metrics": (Draining,),  # of several workers, one whose supervisor is gone
    "/v1/models": (),
    "/v1/models/{model}": (model.UnknownModel,),
    "/v1/models/{model}/predict": _CLASSIFY,
    "/v1/predictions": (MalformedRequest, NotAuthorized, RecordOff, RecordAway, Overloaded),
    "/v2": (),
    "/v2/health/live": (),
    "/v2/health/ready": _READY,
    "/v2/models/{model}": (model.UnknownModel,),
    "/v2/models/{model}/ready": (model.UnknownModel, *_READY),
    "/v2/models/{model}/infer": _CLASSIFY,
    "/v2/models/{model}/versions/{version}": (model.UnknownModel,),
    "/v2/models/{model}/versions/{version}/ready": (model.UnknownModel, *_READY),
    "/v2/models/{model}/versions/{version}/infer": _CLASSIFY,
    "/admin/models/{model}": _ADMIN,
    "/admin/models/{model}/activate": (*_BODY, *_SWITCH),
    "/admin/models/{model}/rollback": _SWITCH,
    "/predict": _CLASSIFY,
    "/classificar": _CLASSIFY,
    "/shutdown": (NotAuthorized, ForeignOrigin, OneOfSeveral, *_BODY),
}

_PROBLEM = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "stable: urn:rotulo:problem:..., or about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "to quote; as in the header X-Request-Id"},
        "retry_after_ms": {
            "type": "integer",
            "minimum": 0,
            "description": "with 429 and 503: when to come back",
        },
    },
}
_ERROR = {
    "type": "object",
    "description": "An error in the shape of the Open Inference Protocol and of the old Flask services.",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}
_TIMEOUT = {
    "name": "X-Timeout-Ms",
    "in": "header",
    "required": False,
    "description": "how long the caller waits, from the arrival of the request; it can only shorten "
    "the model's latency_target_ms",
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_TIMEOUT_MS},
}
_SECURITY_SCHEMES = {
    "AdminToken": {"type": "http", "scheme": "bearer"},
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_KEY_WHERE_KEYS_ARE_ON: list[dict[str, list[str]]] = [{}, {"ApiKey": []}]
_HEADERS: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    **{
        status: {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
        for status in COME_BACK
    },
}


def describe(api: FastAPI) -> None:
    """Make `api.openapi()` tell the whole contract."""
    generate = api.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        if "Problem" not in schema["components"]["schemas"]:  # FastAPI keeps what it generated
            _complete(schema)
        return schema

    api.openapi = openapi  # type: ignore[method-assign]


def _complete(schema: dict[str, Any]) -> None:
    schema["paths"].update(deepcopy(FLASK_OPERATIONS))
    schemas = schema["components"]["schemas"]
    # FastAPI's own 422 never leaves this service: a wrong parameter is a malformed request.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas.update(Problem=_PROBLEM, Error=_ERROR)
    schema["components"]["securitySchemes"] = _SECURITY_SCHEMES
    for path, operations in schema["paths"].items():
        native = path.startswith(("/v1", "/admin", "/healthz", "/readyz", "/metrics"))
        for operation in operations.values():
            operation["responses"].pop("422", None)
            errors = ERRORS.get(path, ()) + (() if path in PROBES else _ACCESS)
            operation["responses"].update(error_responses(errors, native, path in portuguese.PATHS))
            if path not in PROBES:
                operation.setdefault("security", _KEY_WHERE_KEYS_ARE_ON)
            if ERRORS.get(path) == _CLASSIFY:
                operation["parameters"] = [*operation.get("parameters", ()), _TIMEOUT]


def error_responses(errors: Errors, native: bool, in_portuguese: bool = False) -> dict[str, Any]:
    """OpenAPI's responses for these exceptions: problem documents, or `{"error"}` where not native."""
    by_status: dict[int, dict[str, Problem]] = defaultdict(dict)
    for problem in (PROBLEMS[kind] for kind in errors):
        by_status[problem.status][problem.kind] = problem
    return {
        str(status): {
            "description": "; ".join(problem.title for problem in problems.values()),
            "content": _content(problems.values(), native, in_portuguese),
            **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
        }
        for status, problems in sorted(by_status.items())
    }


def _content(problems: Iterable[Problem], native: bool, in_portuguese: bool) -> dict[str, Any]:
    examples = {
        problem.kind: {
            "value": _example(problem)
            if native
            else {"error": portuguese.SENTENCES[problem.kind] if in_portuguese else problem.title}
        }
        for problem in problems
    }
    schema = {"$ref": "#/components/schemas/Problem" if native else "#/components/schemas/Error"}
    return {CONTENT_TYPE if native else "application/json": {"schema": schema, "examples": examples}}


def _example(problem: Problem) -> dict[str, Any]:
    return {
        "type": f"urn:rotulo:problem:{problem.kind}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.title,
        "request_id": "0b9c3f0e6f5c4c0f9d8d1f6f6f3a2b1c",
        **({"retry_after_ms": 120} if problem.status in COME_BACK else {}),
    }
