"""The routes of the two Flask services that this one replaces, with the JSON that its clients know."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, jsonify, request
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send
from werkzeug.exceptions import HTTPException

from models.errors import UnknownModel
from models.predictor import Prediction
from service.budget import budget_of
from service.edge.disconnect import cancelled_when_client_leaves
from service.edge.hosts import require_own_origin
from service.errors import MalformedRequest, detail_of
from service.flask_app import portuguese
from service.flask_app.adapter import RECEIVE_KEY, SCOPE_KEY, ConcurrentWsgiToAsgi, FlaskOnTheLoop
from service.multipart import FormFile, form_files, is_form
from service.problems import flask_error_response
from service.serving.served import Classified, ServedModel
from service.serving.slots import ModelSlot
from service.wiring import Service

CIFAR10 = "cifar10"
BOTTLE = "bottle"
# The model behind each rule that has one: what its line cannot take is refused before Flask runs.
MODEL_OF = {"/predict": CIFAR10, "/classificar": BOTTLE}
MODEL_KEY = "model"  # in the scope's state: the version that the request belongs to
# The words of the old bottle service for two of the model's classes; the third is that it cannot tell.
STATUSES = {"open": "aberta", "closed": "fechada"}


class FlaskRoute:
    """One Flask rule as an ASGI application: whatever is raised, before Flask or in it, has Flask's shape."""

    def __init__(self, rule: str, adapter: ConcurrentWsgiToAsgi, service: Service) -> None:
        self.route = rule
        self._adapter = adapter
        self._service = service
        self.model = MODEL_OF.get(rule)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["method"] != "POST":
                await self._adapter(scope, _no_body, send)  # it is not allowed, whatever it brings
            elif self.model is not None:
                await self._ask(self._service.slot(self.model), scope, receive, send)
            else:
                self._require_operator(Request(scope))
                await self._adapter(scope, receive, send)
        except Exception as error:
            await flask_error_response(Request(scope), error)(scope, receive, send)

    def _require_operator(self, asked: Request) -> None:
        """Before the body is read: keys and their bounds are not asked for here."""
        self._service.admin_token.require(asked.headers.get("authorization"))
        require_own_origin(asked.headers.get("origin"), asked.headers.get("host"))

    async def _ask(self, slot: ModelSlot, scope: Scope, receive: Receive, send: Send) -> None:
        with slot.use() as model:
            model.admit(budget_of(scope))
            scope["state"][MODEL_KEY] = model
            try:
                await self._adapter(scope, receive, send)
            finally:  # Flask's request is in a cycle, which would hold on to the version
                del scope["state"][MODEL_KEY]


async def _no_body() -> Message:
    return {"type": "http.request"}


def flask_app(service: Service) -> Flask:
    """A Flask application over `service`; its async views run on the server's event loop."""
    app = FlaskOnTheLoop("rotulo", static_folder=None)
    app.config["PROPAGATE_EXCEPTIONS"] = True  # to `FlaskRoute`

    @app.post("/predict")
    async def predict() -> Response:
        """CIFAR-10: files in `file` (or `image`), answered in order."""
        scope = request.environ[SCOPE_KEY]
        model, budget = scope["state"][MODEL_KEY], budget_of(scope)
        images = _files(service.settings.max_images)
        with cancelled_when_client_leaves(scope, request.environ[RECEIVE_KEY]):
            if len(images) == 1:  # alone, its error is the response's status
                results: list[Classified | Exception] = [await model.classify(images[0], budget)]
            else:
                results = await model.classify_all(images, budget)
        response = jsonify(predictions=[_category(model, result) for result in results])
        response.headers.update(model.cache_headers(results))
        service.record.answered(scope, "flask", model, images, results)
        return response

    @app.post("/classificar")
    async def classificar() -> Response:
        """Bottles: one file in `image`, open or closed and how likely that is."""
        scope = request.environ[SCOPE_KEY]
        model, budget = scope["state"][MODEL_KEY], budget_of(scope)
        image = _only_file(service.settings.max_images)
        with cancelled_when_client_leaves(scope, request.environ[RECEIVE_KEY]):
            result = await model.classify(image, budget)
        response = jsonify(_status(model.classes, result.prediction))
        response.headers.update(model.cache_headers([result]))
        service.record.answered(scope, "flask", model, [image], [result])
        return response

    @app.post("/shutdown")
    def shutdown() -> tuple[Response, int]:
        """A controlled stop; `FlaskRoute` has asked for the admin token."""
        service.peers.require_reach()
        service.begin_drain()
        return jsonify(status="shutting down"), 202

    app.register_error_handler(HTTPException, _http_error)
    return app


def _files(max_images: int) -> list[bytes]:
    files = _form_files(max_images)
    images = [file.content for field in ("file", "image") for file in files if file.field == field]
    if not any(images):
        raise MalformedRequest("send an image in the multipart field 'file'")
    return images


def _only_file(max_images: int) -> bytes:
    files = [file.content for file in _form_files(max_images) if file.field == "image"]
    if len(files) != 1 or not files[0]:
        raise MalformedRequest("send one image in the multipart field 'image'")
    return files[0]


def _form_files(max_images: int) -> list[FormFile]:
    content_type = request.headers.get("Content-Type", "")
    if not is_form(content_type):
        return []
    return form_files(content_type, request.get_data(cache=False), max_images)


def _status(classes: tuple[str, ...], prediction: Prediction) -> dict[str, Any]:
    """The likelier of open and closed, with its probability among all classes; raises UnknownModel where the
    model has no such classes.
    """
    if not set(STATUSES) <= set(classes):
        raise UnknownModel(f"the model {BOTTLE!r} does not tell open from closed")
    index = max((classes.index(name) for name in STATUSES), key=lambda i: float(prediction.probabilities[i]))
    answer: dict[str, Any] = {
        "status": STATUSES[classes[index]],
        "confidence": round(float(prediction.probabilities[index]), 6),
    }
    if prediction.uncertain or prediction.index != index:
        answer["incerto"] = True
    return answer


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
    return jsonify(error=_http_words(error)), error.code or 500, headers


def _http_words(error: HTTPException) -> str:
    known = portuguese.HTTP_SENTENCES if request.path in portuguese.PATHS else {}
    return known.get(error.code or 500, error.name)
