"""The Open Inference Protocol's descriptions of a model, and its answers, with or without binary tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.predictor import Prediction

# Name -> (datatype, dimensions after the number of images); None: as many as the model has classes.
OUTPUTS: dict[str, tuple[str, tuple[None, ...]]] = {
    "label": ("BYTES", ()),
    "index": ("INT64", ()),
    "confidence": ("FP32", ()),
    "probabilities": ("FP32", (None,)),
    "uncertain": ("BOOL", ()),
}
_DTYPES = {"INT64": "<i8", "FP32": "<f4", "BOOL": "?"}
# Each element of BYTES, in binary, stands behind its length: little-endian.
LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Tensor:
    """`values`: an array of the datatype's little-endian dtype, or strings for BYTES."""

    datatype: str
    values: NDArray[Any] | list[str]

    @property
    def shape(self) -> list[int]:
        return [len(self.values)] if isinstance(self.values, list) else list(self.values.shape)


def input_descriptions(size: int) -> list[dict[str, Any]]:
    """What a model takes, one of them per request; -1 is the number of images."""
    return [
        {"name": "image", "datatype": "BYTES", "shape": [-1]},
        {"name": "pixels", "datatype": "UINT8", "shape": [-1, size, size, 3]},
    ]


def output_descriptions(classes: int) -> list[dict[str, Any]]:
    """What a model gives."""
    return [
        {"name": name, "datatype": datatype, "shape": [-1, *(classes for _ in dimensions)]}
        for name, (datatype, dimensions) in OUTPUTS.items()
    ]


def output_tensors(predictions: Sequence[Prediction], classes: Sequence[str]) -> dict[str, Tensor]:
    """The answers for n images, by the names of OUTPUTS."""
    values: dict[str, list[Any]] = {
        "label": [classes[prediction.index] for prediction in predictions],
        "index": [prediction.index for prediction in predictions],
        "confidence": [prediction.confidence for prediction in predictions],
        "probabilities": [prediction.probabilities for prediction in predictions],
        "uncertain": [prediction.uncertain for prediction in predictions],
    }
    return {
        name: Tensor(
            datatype, np.array(values[name], _DTYPES[datatype]) if datatype in _DTYPES else values[name]
        )
        for name, (datatype, _) in OUTPUTS.items()
    }


def write_response(
    envelope: Mapping[str, str], tensors: Mapping[str, Tensor], outputs: Sequence[tuple[str, bool]]
) -> tuple[bytes, int | None]:
    """The body, and the length of the JSON at its start where binary tensors follow it.

    `envelope`: what the JSON holds beside its tensors. `outputs`: (name, in binary), in order.
    """
    encoded = [(name, *_encode(tensors[name], in_binary)) for name, in_binary in outputs]
    described = [{"name": name, **fields} for name, fields, _ in encoded]
    # Escaped to ASCII, so that an id goes back as it came even where it is no valid Unicode.
    head = json.dumps({**envelope, "outputs": described}, separators=(",", ":")).encode()
    if not any(in_binary for _, in_binary in outputs):
        return head, None
    return head + b"".join(data for _, _, data in encoded), len(head)


def _encode(tensor: Tensor, in_binary: bool) -> tuple[dict[str, Any], bytes]:
    """What the JSON says of a tensor, and the bytes that follow the JSON; flat and row-major in both."""
    described: dict[str, Any] = {"datatype": tensor.datatype, "shape": tensor.shape}
    values = tensor.values
    if not in_binary:
        return {**described, "data": values if isinstance(values, list) else values.ravel().tolist()}, b""
    data = _join([text.encode() for text in values]) if isinstance(values, list) else values.tobytes()
    return {**described, "parameters": {"binary_data_size": len(data)}}, data


def _join(elements: Sequence[bytes]) -> bytes:
    """BYTES in binary: each element behind its length, 4 bytes little-endian."""
    return b"".join(len(each).to_bytes(LENGTH_BYTES, "little") + each for each in elements)
