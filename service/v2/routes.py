"""The Open Inference Protocol (version 2, REST), as the clients of KServe and Triton speak it.

A request holds one input: encoded images in `image`, or `pixels` at the network's own size. The protocol has
no error for one element of a tensor, so a bad image fails its whole request, which says which one it was.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response

from models.errors import ImageError, UnknownModel
from service.budget import Budget, budget_of
from service.edge.disconnect import cancelled_when_client_leaves
from service.openapi_parts import ModelName
from service.serving.served import Classified, Decoded, ServedModel, all_or_none
from service.v2.requests import InferRequest, InputLimits, read_request
from service.v2.responses import input_descriptions, output_descriptions, output_tensors, write_response
from service.v2.schema import (
    INFER,
    BinaryOrJson,
    LivePayload,
    MetadataPayload,
    ModelMetadataPayload,
    ReadyPayload,
)
from service.wiring import Service

HEADER_LENGTH = "Inference-Header-Content-Length"

Version = Annotated[str, Path(description="one of the model's versions")]

_Find = Callable[..., AsyncIterator[ServedModel]]


def v2_routes(service: Service) -> APIRouter:
    """The routes over `service`."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    async def active(model: ModelName) -> AsyncIterator[ServedModel]:
        with service.slot(model).use() as served:
            yield served

    async def of_version(model: ModelName, version: Version) -> AsyncIterator[ServedModel]:
        with service.slot(model).use() as served:
            yield _of_version(served, version)

    _server_routes(router, service)
    _model_routes(router, service, "/models/{model}", active)
    _model_routes(router, service, "/models/{model}/versions/{version}", of_version)
    return router


def _server_routes(router: APIRouter, service: Service) -> None:
    @router.get("", response_model=MetadataPayload)
    async def server_metadata() -> MetadataPayload:
        """The server, and the extensions of the protocol that it speaks."""
        return MetadataPayload()

    @router.get("/health/live", response_model=LivePayload)
    async def server_live() -> LivePayload:
        """200 while the event loop runs."""
        return LivePayload()

    @router.get("/health/ready", response_model=ReadyPayload)
    async def server_ready() -> ReadyPayload:
        """200 while requests are welcome; 503 while the engine hangs, and once the service is stopping."""
        return _ready(service)


def _model_routes(router: APIRouter, service: Service, path: str, find: _Find) -> None:
    """The three routes of a model; `find` reads its name, and its version, from the path, and holds on to it
    until the request is answered.
    """
    found = Depends(find)

    @router.get(path, response_model=ModelMetadataPayload)
    async def model_metadata(model: ServedModel = found) -> ModelMetadataPayload:
        """What the model takes and gives."""
        return _metadata(model)

    @router.get(f"{path}/ready", response_model=ReadyPayload, dependencies=[found])
    async def model_ready() -> ReadyPayload:
        """200 while requests to this model are welcome."""
        return _ready(service)

    @router.post(f"{path}/infer", response_class=BinaryOrJson, **INFER)
    async def infer(request: Request, model: ServedModel = found) -> Response:
        """Classify one or several images; all of them are answered, or none."""
        return await _infer(service, model, request)


def _of_version(model: ServedModel, version: str) -> ServedModel:
    manifest = model.predictor.manifest
    if version != manifest.version:
        raise UnknownModel(f"version {version!r} of model {manifest.name!r} is not served")
    return model


def _ready(service: Service) -> ReadyPayload:
    reason = service.not_ready()
    if reason is not None:
        raise reason
    return ReadyPayload()


def _metadata(model: ServedModel) -> ModelMetadataPayload:
    manifest = model.predictor.manifest
    return ModelMetadataPayload.model_validate(
        {
            "name": manifest.name,
            "versions": [manifest.version],
            "platform": model.predictor.engine.name,
            "inputs": input_descriptions(manifest.preprocessing.size),
            "outputs": output_descriptions(len(manifest.classes)),
        }
    )


async def _infer(service: Service, model: ServedModel, request: Request) -> Response:
    budget = budget_of(request.scope)
    model.admit(budget)
    limits = InputLimits(service.settings.max_images, model.predictor.manifest.preprocessing.size)
    async with service.intake.body(request.scope, request.receive) as body:
        asked = read_request(body, request.headers.get(HEADER_LENGTH), limits)
        with cancelled_when_client_leaves(request.scope, request.receive):
            decoded = await _decoded_all(model, asked, budget)
            results = await all_or_none(model.answer(each, budget) for each in decoded)
        response = _answered(model, asked, results)
        images = asked.images if asked.pixels is None else list(asked.pixels)
        service.record.answered(request.scope, "v2", model, images or (), results)
        return response


def _answered(model: ServedModel, asked: InferRequest, results: Sequence[Classified]) -> Response:
    manifest = model.predictor.manifest
    envelope = {"model_name": manifest.name, "model_version": manifest.version, **asked.echo}
    tensors = output_tensors([result.prediction for result in results], manifest.classes)
    content, header_length = write_response(envelope, tensors, asked.outputs)
    return _response(content, header_length, model.cache_headers(results))


def _response(content: bytes, header_length: int | None, headers: dict[str, str]) -> Response:
    if header_length is None:
        return Response(content, headers=headers, media_type="application/json")
    headers = {HEADER_LENGTH: str(header_length), **headers}
    return Response(content, headers=headers, media_type="application/octet-stream")


async def _decoded_all(model: ServedModel, asked: InferRequest, budget: Budget) -> Iterable[Decoded]:
    """Each image or tensor, in order."""
    if asked.pixels is not None:
        model.admit_to_line(budget, len(asked.pixels))
        return [Decoded(pixels, 0.0, pixels.shape[1], pixels.shape[0]) for pixels in asked.pixels]
    images = asked.images or []
    model.admit_to_line(budget, len(images))
    return await all_or_none(_decoded(model, index, data, budget) for index, data in enumerate(images))


async def _decoded(model: ServedModel, index: int, data: bytes, budget: Budget) -> Decoded:
    try:
        return await model.decode(data, budget)
    except ImageError as error:
        raise type(error)(f"image {index}: {error}") from error
