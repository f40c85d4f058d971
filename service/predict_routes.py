"""The native routes: `/v1/models` and `/v1/models/{model}/predict`."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.budget import budget_of
from service.disconnect import cancelled_when_client_leaves
from service.errors import MalformedRequest, problem_body
from service.payloads import (
    AnswerPayload,
    AnswersPayload,
    ModelPayload,
    ModelsPayload,
    model_payload,
    prediction_payload,
    server_timing,
)
from service.wiring import Classified, ServedModel, Service

ModelName = Annotated[str, Path(description="a name from GET /v1/models")]
TopK = Annotated[int, Query(ge=1, le=1000, description="how many of the likeliest classes to list")]

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
            }
        },
    },
}


def predict_routes(service: Service) -> APIRouter:
    """The routes over `service`."""
    router = APIRouter(prefix="/v1/models", tags=["models"])

    @router.get("", response_model=ModelsPayload)
    async def list_models() -> ModelsPayload:
        """Every model that is being served."""
        return ModelsPayload(models=[_describe(model) for model in service.models.values()])

    @router.get("/{model}", response_model=ModelPayload)
    async def describe_model(model: ModelName) -> ModelPayload:
        """Its classes, version, accuracy, calibration and engine."""
        return _describe(service.model(model))

    @router.post(
        "/{model}/predict",
        responses={200: {"model": AnswerPayload | AnswersPayload}},
        openapi_extra={"requestBody": _REQUEST_BODY},
    )
    async def predict(request: Request, model: ModelName, top_k: TopK = 5) -> Response:
        """Classify one image (raw body, one multipart file, or JSON `image` in base64), or several.

        One image in, one answer out. Several images (multipart files, or JSON `images`) are answered as a
        list in their order; a bad one among them carries its own `error` and harms no other.
        """
        served, budget = service.model(model), budget_of(request.scope)
        served.admit(budget)
        async with service.intake.body(request.scope, request.receive) as body:
            images, is_list = await _images(request, body, service.settings.max_images)
            async with cancelled_when_client_leaves(request.receive):
                if is_list:
                    return _answers(request, served, await served.classify_all(images, budget), top_k)
                return _answer(served, await served.classify(images[0], budget), top_k)

    return router


def _describe(model: ServedModel) -> ModelPayload:
    return model_payload(model.predictor, model.policy, model.latency_curve())


def _answer(served: ServedModel, classified: Classified, top_k: int) -> Response:
    manifest = served.predictor.manifest
    prediction = prediction_payload(classified.answered.value, manifest.classes, top_k)
    timing = server_timing(classified.decode_seconds, classified.answered)
    return JSONResponse(
        {"model": manifest.name, "version": manifest.version, **prediction},
        headers={"Server-Timing": timing},
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
    return JSONResponse({"model": manifest.name, "version": manifest.version, "predictions": predictions})


async def _images(request: Request, body: bytes, max_images: int) -> tuple[list[bytes], bool]:
    """The encoded images of a request, and whether they are to be answered as a list."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        images = await _multipart_files(request, body, max_images)
        is_list = len(images) > 1
    elif content_type == "application/json":
        images, is_list = _json_images(body, max_images)
    else:  # the image's own first bytes tell what it is, whatever the header says
        images, is_list = [body], False
    if not images or not all(images):
        raise MalformedRequest("the request holds no image, or an empty one")
    if len(images) > max_images:
        raise MalformedRequest(f"more than {max_images} images in one request")
    return images, is_list


async def _multipart_files(request: Request, body: bytes, max_images: int) -> list[bytes]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, stream(), max_files=max_images, max_fields=16)
    parser.spool_max_size = len(body) + 1  # the body is in memory already; do not write it to disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeError, LookupError) as error:
        raise MalformedRequest("the multipart body is malformed or has too many parts") from error
    try:
        return [await part.read() for _, part in form.multi_items() if isinstance(part, UploadFile)]
    finally:
        await form.close()


def _json_images(body: bytes, max_images: int) -> tuple[list[bytes], bool]:
    # Base64 has no quotes or brackets, so a document that could be ours has few; another one would hold
    # the event loop for seconds.
    if body.count(b'"') > 2 * max_images + 4 or body.count(b"[") > 1 or body.count(b"{") > 1:
        raise MalformedRequest("the JSON is not of a form that is read here, or holds too many images")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest("the body is not JSON") from error
    match document:
        case {"image": str(image), **rest} if not rest:
            return [_base64(image)], False
        case {"images": list(images), **rest} if not rest and all(isinstance(each, str) for each in images):
            return [_base64(image) for image in images], True
    raise MalformedRequest('the body must be {"image": BASE64} or {"images": [BASE64, ...]}')


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedRequest("an image is not valid base64") from error
