"""The Open Inference Protocol's request bodies, whatever they hold."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from service.errors import MalformedRequest
from service.v2.requests import InferRequest, InputLimits, read_request

LIMITS = InputLimits(max_images=3, size=2)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["image", "pixels"]) | values,
        "datatype": st.sampled_from(["BYTES", "UINT8"]) | values,
        "shape": st.just([1]) | st.just([1, 2, 2, 3]) | values,
    },
    optional={"data": values, "parameters": st.fixed_dictionaries({"binary_data_size": values}) | values},
)
documents = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=2) | values}, optional={"id": values, "outputs": values}
)


@given(document=documents | values, tail=st.binary(max_size=16), binary=st.booleans())
@example(document={"inputs": [{"name": "image", "shape": [], "datatype": "BYTES"}]}, tail=b"", binary=False)
def test_any_json_and_any_bytes_behind_it_are_read_or_refused(
    document: Any, tail: bytes, binary: bool
) -> None:
    head = json.dumps(document).encode()
    try:
        request = read_request(head + tail, str(len(head)) if binary else None, LIMITS)
    except MalformedRequest:
        return
    assert (request.images is None) != (request.pixels is None)


@given(images=st.lists(st.binary(min_size=1), min_size=1, max_size=3))
def test_images_in_binary_come_out_as_they_went_in(images: list[bytes]) -> None:
    tail = b"".join(len(image).to_bytes(4, "little") + image for image in images)
    assert read("image", "BYTES", [len(images)], tail).images == images


@given(values=st.binary(min_size=24, max_size=24))
def test_pixels_in_binary_nested_and_flat_are_the_same_pixels(values: bytes) -> None:
    expected = np.frombuffer(values, np.uint8).reshape(2, 2, 2, 3)
    for read_as in (
        read("pixels", "UINT8", [2, 2, 2, 3], values),
        read("pixels", "UINT8", [2, 2, 2, 3], data=expected.tolist()),
        read("pixels", "UINT8", [2, 2, 2, 3], data=list(values)),
    ):
        assert read_as.pixels is not None
        assert np.array_equal(read_as.pixels, expected)


def read(name: str, datatype: str, shape: list[int], tail: bytes = b"", **held: Any) -> InferRequest:
    held = held or {"parameters": {"binary_data_size": len(tail)}}
    tensor = {"name": name, "datatype": datatype, "shape": shape, **held}
    head = json.dumps({"inputs": [tensor]}).encode()
    return read_request(head + tail, str(len(head)), LIMITS)
