"""Request bodies, encoded once before the load begins: building them in between would measure the client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from loadtest.images import EncodedImage

_BOUNDARY = "rotulo-loadtest-7MA4YWxkTrZu0gW"


@dataclass(frozen=True, slots=True)
class Body:
    """What follows the header, and its type."""

    content_type: str
    data: bytes = field(repr=False)


def raw(image: EncodedImage) -> Body:
    """The file itself, as the native route likes it best."""
    return Body(image.content_type, image.data)


def multipart(images: Sequence[EncodedImage], name: str = "file") -> Body:
    """A form with one file field, once for each image, as browsers and the old clients send it."""
    parts = [_part(name, image) for image in images]
    return Body(
        f"multipart/form-data; boundary={_BOUNDARY}", b"".join([*parts, f"--{_BOUNDARY}--\r\n".encode()])
    )


def _part(name: str, image: EncodedImage) -> bytes:
    head = (
        f"--{_BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="{name}"; filename="{image.name.rpartition("/")[2]}"\r\n'
        f"Content-Type: {image.content_type}\r\n\r\n"
    )
    return head.encode() + image.data + b"\r\n"
