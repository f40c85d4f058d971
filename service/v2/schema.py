"""The Open Inference Protocol as the OpenAPI page shows it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from fastapi.responses import Response
from pydantic import BaseModel, Field

from service.openapi_parts import EXAMPLE_IMAGE, example
from service.v2.responses import OUTPUTS, input_descriptions, output_descriptions


def _version() -> str:
    try:
        return version("rotulo")
    except PackageNotFoundError:  # run from a checkout, not installed
        return "unknown"


class MetadataPayload(BaseModel):
    """The server."""

    model_config = example({"name": "rotulo", "version": _version(), "extensions": ["binary_tensor_data"]})

    name: str = "rotulo"
    version: str = _version()
    extensions: list[str] = ["binary_tensor_data"]


class LivePayload(BaseModel):
    """The process answers."""

    model_config = example({"live": True})

    live: Literal[True] = True


class ReadyPayload(BaseModel):
    """Requests are welcome."""

    model_config = example({"ready": True})

    ready: Literal[True] = True


class TensorMetadataPayload(BaseModel):
    """One input or output; -1 stands for the number of images."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadataPayload(BaseModel):
    """What a model takes, one of the inputs per request, and what it gives."""

    model_config = example(
        {
            "name": "cifar10",
            "versions": ["1"],
            "platform": "openvino cpu int8",
            "inputs": input_descriptions(32),
            "outputs": output_descriptions(10),
        }
    )

    name: str
    versions: list[str]
    platform: str = Field(description="what runs the network")
    inputs: list[TensorMetadataPayload]
    outputs: list[TensorMetadataPayload]


class BinaryOrJson(Response):
    """JSON; or JSON with binary tensors behind it, where the request asked for some in binary."""

    media_type = "application/json"


_TENSOR: dict[str, Any] = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "data": {"type": "array", "description": "row-major, flat or nested; absent in the binary form"},
        "parameters": {
            "type": "object",
            "properties": {"binary_data_size": {"type": "integer", "minimum": 0}},
        },
    },
}
_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "description": "given back"},
        "inputs": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": _TENSOR,
            "description": "`image`, BYTES [n], base64 in JSON; or `pixels`, UINT8 [n, size, size, 3]",
        },
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"enum": list(OUTPUTS)},
                    "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
                },
            },
            "description": "all of them where none is named",
        },
        "parameters": {"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}},
    },
}
_RESPONSE: dict[str, Any] = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
}
_ASKED = {
    "id": "42",
    "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [EXAMPLE_IMAGE]}],
    "outputs": [{"name": "label"}, {"name": "confidence"}],
}
_ANSWERED = {
    "model_name": "cifar10",
    "model_version": "1",
    "id": "42",
    "outputs": [
        {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["cat"]},
        {"name": "confidence", "datatype": "FP32", "shape": [1], "data": [0.97]},
    ],
}
_BINARY = {
    "schema": {"type": "string", "format": "binary"},
    "example": "the JSON, as long as Inference-Header-Content-Length says, then the tensors",
}

# The arguments of the infer routes that describe them.
INFER: dict[str, Any] = {
    "responses": {
        200: {
            "description": "an answer for every image, in order",
            "headers": {
                "Inference-Header-Content-Length": {
                    "description": "length of the JSON, where binary tensors follow it",
                    "schema": {"type": "integer"},
                }
            },
            "content": {
                "application/json": {"schema": _RESPONSE, "example": _ANSWERED},
                "application/octet-stream": _BINARY,
            },
        }
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _REQUEST, "example": _ASKED},
                "application/octet-stream": _BINARY,
            },
        }
    },
}
