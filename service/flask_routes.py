"""The routes of the CIFAR-10 Flask service that this one replaces, with the JSON that its clients know."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from service.auth import require_own_origin
from service.budget import budget_of
from service.disconnect import cancelled_when_client_leaves
from service.errors import PROBLEMS, MalformedRequest, detail_of, headers_of, problem_of
from service.flask_adapter import RECEIVE_KEY, SCOPE_KEY, ConcurrentWsgiToAsgi
from service.limits import Receive, Scope, Send
from service.problems import flask_error_response
from service.wiring import Classified, ServedModel, Service

logger = logging.getLogger("rotulo")

CIFAR10 = "cifar10"
# The model behind each rule that has one: what its line cannot take is refused before a thread is.
MODEL_OF = {"/predict": CIFAR10}


class FlaskRoute:
    """One Flask rule as an ASGI application, which answers in Flask's shape what is refused before Flask."""

    def __init__(self, adapter: ConcurrentWsgiToAsgi, service: Service, model: str | None) -> None:
        self._adapter = adapter
        self._service = service
        self._model = model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if self._model is not None and scope["method"] == "POST":
                self._service.model(self._model).admit(budget_of(scope))
            await self._adapter(scope, receive, send)
        except tuple(PROBLEMS) as error:
            await flask_error_response(error)(scope, receive, send)


def flask_app(service: Service) -> Flask:
    """A Flask application over `service`; its async views run on the server's event loop."""
    app = Flask("rotulo", static_folder=None)

    @app.post("/predict")
    async def predict() -> Response:
        """CIFAR-10: files in `file` (or `image`), answered in order."""
        model = service.model(CIFAR10)
        images = _files(service.settings.max_images)
        budget = budget_of(request.environ[SCOPE_KEY])
        async with cancelled_when_client_leaves(request.environ[RECEIVE_KEY]):
            if len(images) == 1:  # alone, its error is the response's status
                results: list[Classified | Exception] = [await model.classify(images[0], budget)]
            else:
                results = await model.classify_all(images, budget)
        return jsonify(predictions=[_category(model, result) for result in results])

    @app.post("/shutdown")
    def shutdown() -> tuple[Response, int]:
        """A controlled stop, for whoever holds the admin token."""
        service.admin_token.require(request.headers.get("Authorization"))
        require_own_origin(request.headers.get("Origin"), request.headers.get("Host"))
        service.begin_drain()
        return jsonify(status="shutting down"), 202

    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _error)
    return app


def _files(max_images: int) -> list[bytes]:
    files = request.files.getlist("file") + request.files.getlist("image")
    if len(files) > max_images:
        raise MalformedRequest(f"more than {max_images} images in one request")
    images = [file.read() for file in files]
    if not images or not all(images):
        raise MalformedRequest("send an image in the multipart field 'file'")
    return images


def _category(model: ServedModel, result: Classified | Exception) -> dict[str, Any]:
    if isinstance(result, Exception):
        return {"error": detail_of(result)}
    prediction = result.prediction
    return {
        "category": model.classes[prediction.index],
        "category_index": prediction.index,
        "confidence": round(prediction.confidence, 6),
    }


def _http_error(error: HTTPException) -> tuple[Response, int, dict[str, str]]:
    # Its own headers, such as Allow with a 405, but for those of the page that the JSON replaces.
    headers = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
    return jsonify(error=error.name), error.code or 500, headers


def _error(error: Exception) -> tuple[Response, int, dict[str, str]]:
    if problem_of(error).status == 500:
        request_id = request.environ[SCOPE_KEY]["state"]["request_id"]
        logger.error("request %s failed", request_id, exc_info=error)
    return jsonify(error=detail_of(error)), problem_of(error).status, headers_of(error)
