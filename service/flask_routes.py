"""The routes of the two Flask services that this one replaces, with the JSON that their clients know."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from service.disconnect import cancelled_when_client_leaves
from service.errors import MalformedRequest, detail_of, headers_of, problem_of
from service.flask_adapter import RECEIVE_KEY
from service.wiring import Classified, ServedModel, Service

logger = logging.getLogger("rotulo")

CIFAR10 = "cifar10"


def flask_app(service: Service) -> Flask:
    """A Flask application over `service`; its async views run on the server's event loop."""
    app = Flask("rotulo", static_folder=None)

    @app.post("/predict")
    async def predict() -> Response:
        """CIFAR-10: files in `file` (or `image`), answered in order."""
        model = service.model(CIFAR10)
        images = _files(service.settings.max_images)
        async with cancelled_when_client_leaves(request.environ[RECEIVE_KEY]):
            if len(images) == 1:  # alone, its error is the response's status
                results: list[Classified | Exception] = [await model.classify(images[0])]
            else:
                results = await model.classify_all(images)
        return jsonify(predictions=[_category(model, result) for result in results])

    @app.post("/shutdown")
    def shutdown() -> tuple[Response, int]:
        """A controlled stop, for whoever holds the admin token."""
        service.admin_token.require(request.headers.get("Authorization"))
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


def _http_error(error: HTTPException) -> tuple[Response, int]:
    return jsonify(error=error.name), error.code or 500


def _error(error: Exception) -> tuple[Response, int, dict[str, str]]:
    if problem_of(error).status == 500:
        logger.error("a Flask route failed", exc_info=error)
    return jsonify(error=detail_of(error)), problem_of(error).status, headers_of(error)
