"""What an Open Inference Protocol request asks: JSON, with or without binary tensors behind it.

Pure. The binary form is Triton's binary tensor data extension: the JSON comes first, the header
`Inference-Header-Content-Length` says how long it is, and the tensor whose `parameters` hold a
`binary_data_size` follows it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from models.images import Pixels
from service import strict_json
from service.errors import MalformedRequest
from service.v2.responses import LENGTH_BYTES, OUTPUTS

# Numbers in JSON are read on the event loop, one object each; a larger tensor belongs in the binary form.
MAX_JSON_NUMBERS = 500_000
# Strings and lists of an honest request apart from its data: names, ids, parameters, shapes.
_SPARE = 256


@dataclass(frozen=True, slots=True)
class InputLimits:
    """What one request may hold. `size`: side of the network's square input, in pixels."""

    max_images: int
    size: int


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What was asked. `images` are encoded; `pixels` is uint8 (n, size, size, 3); one of the two is there.

    `outputs` holds (name, in binary) in the order asked for. `echo` is what the response gives back.
    """

    echo: dict[str, str]
    images: list[bytes] | None
    pixels: Pixels | None
    outputs: tuple[tuple[str, bool], ...]


def read_request(body: bytes, header_length: str | None, limits: InputLimits) -> InferRequest:
    """A body and its `Inference-Header-Content-Length`, if it has one; raises MalformedRequest."""
    head, tail = _parts(body, header_length)
    document = _document(head, limits)
    inputs = document.get("inputs")
    if not (isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict)):
        raise MalformedRequest("'inputs' must hold exactly one tensor, 'image' or 'pixels'")
    images, pixels = _input(inputs[0], tail, limits)
    return InferRequest(_echo(document), images, pixels, _wanted(document))


def _parts(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    is_number = header_length.isascii() and header_length.isdigit() and len(header_length) <= 18
    if not (is_number and int(header_length) <= len(body)):
        raise MalformedRequest("Inference-Header-Content-Length must be a number up to the body's length")
    return body[: int(header_length)], memoryview(body)[int(header_length) :]


def _document(head: bytes, limits: InputLimits) -> dict[str, Any]:
    # Counted first: a document of small things costs a hundred times its size in objects, and the loop waits.
    if (
        head.count(b'"') > 2 * limits.max_images + _SPARE
        or head.count(b"{") > _SPARE
        or head.count(b"[") > MAX_JSON_NUMBERS // 2 + _SPARE  # a list for each pixel, one for each row
        or head.count(b",") > MAX_JSON_NUMBERS + _SPARE
    ):
        raise MalformedRequest("the JSON holds too much; send tensors in the binary form")
    document = strict_json.parse(head)
    if not isinstance(document, dict):
        raise MalformedRequest("the JSON must be an object")
    return document


def _echo(document: dict[str, Any]) -> dict[str, str]:
    if not isinstance(document.get("id", ""), str):
        raise MalformedRequest("'id' must be a string")
    return {"id": document["id"]} if "id" in document else {}


def _input(
    tensor: dict[str, Any], tail: memoryview, limits: InputLimits
) -> tuple[list[bytes] | None, Pixels | None]:
    name = tensor.get("name")
    if name == "image":
        return _images(tensor, _count(tensor, "BYTES", [], limits), tail), None
    if name == "pixels":
        dimensions = [limits.size, limits.size, 3]
        count = _count(tensor, "UINT8", dimensions, limits)
        return None, _pixels(tensor, [count, *dimensions], tail)
    raise MalformedRequest(f"there is no input {name!r:.80}, only 'image' and 'pixels'")


def _count(tensor: dict[str, Any], datatype: str, dimensions: list[int], limits: InputLimits) -> int:
    """The number of images, which with `dimensions` bounds the elements before any is allocated."""
    name, shape = tensor["name"], tensor.get("shape")
    if tensor.get("datatype") != datatype:
        raise MalformedRequest(f"the datatype of {name!r} must be {datatype}")
    whole = isinstance(shape, list) and all(type(length) is int for length in shape)
    if not (whole and shape and shape[1:] == dimensions):
        raise MalformedRequest(f"the shape of {name!r} must be {[-1, *dimensions]}, -1 for how many images")
    if not 1 <= shape[0] <= limits.max_images:
        raise MalformedRequest(f"a request holds 1 to {limits.max_images} images")
    return int(shape[0])


def _is_binary(tensor: dict[str, Any]) -> bool:
    return "binary_data_size" in _parameters(tensor)


def _parameters(of: dict[str, Any]) -> dict[str, Any]:
    parameters = of.get("parameters", {})
    if not isinstance(parameters, dict):
        raise MalformedRequest("'parameters' must be an object")
    return parameters


def _raw(tensor: dict[str, Any], tail: memoryview) -> memoryview:
    size = _parameters(tensor)["binary_data_size"]
    if type(size) is not int or size != len(tail):
        raise MalformedRequest(f"'binary_data_size' must be what follows the JSON: {len(tail)} bytes")
    if "data" in tensor:
        raise MalformedRequest("a tensor has 'data' or a 'binary_data_size', not both")
    return tail


def _data(tensor: dict[str, Any], tail: memoryview) -> list[Any]:
    data = tensor.get("data")
    if not isinstance(data, list) or len(tail):
        raise MalformedRequest("a tensor's values must be in 'data', or behind the JSON: 'binary_data_size'")
    return data


def _images(tensor: dict[str, Any], count: int, tail: memoryview) -> list[bytes]:
    if _is_binary(tensor):
        images = _split(_raw(tensor, tail), count)
    else:
        images = [_base64(text) for text in _data(tensor, tail)]
    if len(images) != count:
        raise MalformedRequest(f"the shape of 'image' says {count} elements, its data holds {len(images)}")
    if not all(images):
        raise MalformedRequest(f"image {images.index(b'')} is empty")
    return images


def _split(data: memoryview, count: int) -> list[bytes]:
    """`count` elements of BYTES in binary, which must be all there is; raises MalformedRequest."""
    elements, at = [], 0
    for index in range(count):
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(data[start - LENGTH_BYTES : start], "little")
        if at > len(data):
            raise MalformedRequest(f"the binary data ends inside element {index}")
        elements.append(bytes(data[start:at]))
    if at != len(data):
        raise MalformedRequest(f"the binary data goes on after its {count} elements")
    return elements


def _base64(text: object) -> bytes:
    with suppress(ValueError):
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    raise MalformedRequest("in JSON, the elements of 'image' must be strings in base64")


def _pixels(tensor: dict[str, Any], shape: list[int], tail: memoryview) -> Pixels:
    data = _raw(tensor, tail) if _is_binary(tensor) else _numbers(_data(tensor, tail), shape)
    if len(data) != prod(shape):
        raise MalformedRequest(f"'pixels' needs {prod(shape)} bytes for its shape, its data has {len(data)}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _numbers(data: list[Any], shape: Sequence[int]) -> bytes:
    """Flat, or nested as the shape says."""
    for length in shape[1:]:
        if not any(isinstance(row, list) for row in data):
            break
        if not all(isinstance(row, list) and len(row) == length for row in data):
            raise MalformedRequest("the nested lists of 'pixels' are not of its shape")
        data = list(chain.from_iterable(data))
    try:
        return bytes(data)
    except (TypeError, ValueError, OverflowError):
        raise MalformedRequest("the elements of 'pixels' must be whole numbers from 0 to 255") from None


def _wanted(document: dict[str, Any]) -> tuple[tuple[str, bool], ...]:
    """All outputs where none is named."""
    in_binary = _flag(_parameters(document), "binary_data_output", False)
    outputs = document.get("outputs", [])
    if not (isinstance(outputs, list) and all(isinstance(output, dict) for output in outputs)):
        raise MalformedRequest("'outputs' must be a list of objects")
    outputs = outputs or [{"name": name} for name in OUTPUTS]
    names = [output.get("name") for output in outputs]
    for name in names:
        if not isinstance(name, str) or name not in OUTPUTS or names.count(name) > 1:
            raise MalformedRequest(f"'outputs' may name each of {', '.join(OUTPUTS)} once")
    return tuple((output["name"], _output_flag(output, in_binary)) for output in outputs)


def _output_flag(output: dict[str, Any], in_binary: bool) -> bool:
    parameters = _parameters(output)
    if "classification" in parameters:
        raise MalformedRequest("the classification extension is not offered: ask for 'label'")
    return _flag(parameters, "binary_data", in_binary)


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise MalformedRequest(f"{name!r} must be true or false")
    return value
