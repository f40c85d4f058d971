"""The native routes: `/v1/models` and `/v1/models/{model}/predict`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from service.budget import budget_of
from service.edge.disconnect import cancelled_when_client_leaves
from service.errors import MalformedRequest, problem_body
from service.json_response import FastJSONResponse
from service.native.payloads import (
    AnswerPayload,
    AnswersPayload,
    ModelPayload,
    ModelsPayload,
    model_payload,
    prediction_payload,
    server_timing,
)
from service.native.request_images import images_of
from service.openapi_parts import EXAMPLE_IMAGE, ModelName
from service.problems import problem_response
from service.serving.served import Classified, ServedModel
from service.serving.slots import ModelSlot
from service.wiring import Service

DEFAULT_TOP_K, MAX_TOP_K = 5, 1000
TopK = Annotated[int, Query(ge=1, le=MAX_TOP_K, description="how many of the likeliest classes to list")]

_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_REQUEST_BODY = {
    "required": True,
    "content": {
        "image/jpeg": _BINARY,
        "image/png": _BINARY,
        "image/webp": _BINARY,
        "application/octet-stream": _BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                "required": ["file"],
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "image": {"type": "string", "contentEncoding": "base64"},
                    "images": {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}},
                },
                "oneOf": [{"required": ["image"]}, {"required": ["images"]}],
                "additionalProperties": False,
            },
            "example": {"image": EXAMPLE_IMAGE},
        },
    },
}


def predict_routes(service: Service) -> APIRouter:
    """The routes over `service`."""
    router = APIRouter(prefix="/v1/models", tags=["models"])

    @router.get("", response_model=ModelsPayload)
    async def list_models() -> ModelsPayload:
        """Every model that is being served."""
        return ModelsPayload(models=[_describe(slot.active) for slot in service.models.values()])

    @router.get("/{model}", response_model=ModelPayload)
    async def describe_model(model: ModelName) -> ModelPayload:
        """Its classes, version, accuracy, calibration and engine."""
        return _describe(service.model(model))

    @router.post(
        "/{model}/predict",
        responses={200: {"model": AnswerPayload | AnswersPayload}},
        openapi_extra={"requestBody": _REQUEST_BODY},
    )
    async def predict(request: Request, model: ModelName, top_k: TopK = DEFAULT_TOP_K) -> Response:
        """Classify one image (raw body, one multipart file, or JSON `image` in base64), or several.

        One image in, one answer out. Several images (multipart files, or JSON `images`) are answered as a
        list in their order; a bad one among them carries its own `error` and harms no other.
        """
        return await _predict(service, service.slot(model), request, top_k)

    return router


class PredictEndpoint:
    """One model's predict route as a bare ASGI application.

    The same answers as FastAPI's route, which documents it, for the path that nearly every request takes:
    FastAPI's routing, middleware and parameters cost about as much as decoding a 32-pixel JPEG.
    """

    route = "/v1/models/{model}/predict"

    def __init__(self, service: Service, slot: ModelSlot) -> None:
        self.model: str | None = slot.name
        self._service = service
        self._slot = slot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await _predict(self._service, self._slot, request, _top_k(request))
        except Exception as error:
            response = problem_response(request, error)
        await response(scope, receive, send)


async def _predict(service: Service, slot: ModelSlot, request: Request, top_k: int) -> Response:
    budget = budget_of(request.scope)
    with slot.use() as model:
        model.admit(budget)
        async with service.intake.body(request.scope, request.receive) as body:
            content_type = request.headers.get("content-type", "")
            images, is_list = images_of(content_type, body, service.settings.max_images)
            with cancelled_when_client_leaves(request.scope, request.receive):
                if is_list:
                    results = await model.classify_all(images, budget)
                    response = _answers(request, model, results, top_k)
                else:
                    result = await model.classify(images[0], budget)
                    results, response = [result], _answer(model, result, top_k)
            service.record.answered(request.scope, "v1", model, images, results)
            return response


def _top_k(request: Request) -> int:
    if not request.scope["query_string"]:
        return DEFAULT_TOP_K
    text = request.query_params.get("top_k", str(DEFAULT_TOP_K))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_TOP_K):
        raise MalformedRequest(f"top_k must be a whole number from 1 to {MAX_TOP_K}")
    return int(text)


def _describe(model: ServedModel) -> ModelPayload:
    return model_payload(model.predictor, model.batcher.policy, model.batcher.curve())


def _answer(served: ServedModel, classified: Classified, top_k: int) -> Response:
    manifest = served.predictor.manifest
    prediction = prediction_payload(classified.answered.value, manifest.classes, top_k)
    headers = served.cache_headers((classified,))
    if classified.cache != "hit":
        headers["Server-Timing"] = server_timing(classified.decode_seconds, classified.answered)
    return FastJSONResponse(
        {"model": manifest.name, "version": manifest.version, **prediction}, headers=headers
    )


def _answers(
    request: Request, served: ServedModel, results: Sequence[Classified | Exception], top_k: int
) -> Response:
    manifest = served.predictor.manifest
    request_id = request.state.request_id
    predictions = [
        {"error": problem_body(result, request_id)}
        if isinstance(result, Exception)
        else prediction_payload(result.answered.value, manifest.classes, top_k)
        for result in results
    ]
    return FastJSONResponse(
        {"model": manifest.name, "version": manifest.version, "predictions": predictions},
        headers=served.cache_headers(results),
    )
