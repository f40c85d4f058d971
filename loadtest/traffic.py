"""What callers send: each kind of traffic as a list of whole requests, made before the load begins."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice

import numpy as np
from PIL import Image

from loadtest import bodies
from loadtest.answers import bottle_answer, flask_answers, judge_hostile, native_answer, native_answers
from loadtest.bodies import Body
from loadtest.images import EncodedImage
from loadtest.messages import Message, encoded, post

CIFAR10, BOTTLE = "cifar10", "bottle"  # the models behind the two Flask routes
_BEHIND = {"flask": CIFAR10, "classificar": BOTTLE}

SEVERAL = 8  # images in one request
LEAVE_AFTER_SECONDS = 0.02
UPLOAD_SECONDS = 2.0
TIGHT_TIMEOUT_MS = 10
_BIG = (4000, 3000)  # a 12-megapixel camera


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask, and with which images. ``models`` are all that the server lists, ``model`` is meant."""

    host: str
    port: int
    model: str
    images: Sequence[EncodedImage]
    models: Sequence[str] = ()

    @property
    def path(self) -> str:
        return f"/v1/models/{self.model}/predict"

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


Traffic = Callable[[Target], list[Message]]


def native(target: Target) -> list[Message]:
    """The image as the body."""
    return [_native(target, "native", bodies.raw(image)) for image in target.images]


def flask(target: Target) -> list[Message]:
    """A form with the field `file`, to the route of the old service."""
    return [
        post("flask", target.authority, "/predict", bodies.multipart([image]), flask_answers())
        for image in target.images
    ]


def classificar(target: Target) -> list[Message]:
    """A form with the field `image`, to the route of the old bottle service."""
    return [
        post(
            "classificar", target.authority, "/classificar", bodies.multipart([image], "image"), bottle_answer
        )
        for image in target.images
    ]


def mixed_models(target: Target) -> list[Message]:
    """The native route of every model that the server lists, as often of one as of the other."""
    return [
        message for name in target.models for message in _of_kind(name, native(replace(target, model=name)))
    ]


def several(target: Target) -> list[Message]:
    """Eight images in one request."""
    images = list(islice(cycle(target.images), len(target.images) + SEVERAL - 1))
    check = native_answers(SEVERAL)
    return [
        post(
            "several", target.authority, target.path, bodies.multipart(images[start : start + SEVERAL]), check
        )
        for start in range(len(target.images))
    ]


def big(target: Target) -> list[Message]:
    """The first images at 12 megapixels, as a camera sends them."""
    return [_native(target, "big", bodies.raw(_enlarged(image))) for image in target.images[:4]]


def hostile(target: Target) -> list[Message]:
    """One in eight is no image, a broken one, or a bomb; it must be turned down and harm no other."""
    first = target.images[0].data
    attacks = [
        Body("image/jpeg", first[: len(first) // 2]),
        Body("image/jpeg", b"GIF89a" + bytes(200)),
        Body("image/png", b"<html>not an image</html>"),
        Body("image/png", png_header(30_000, 30_000)),
    ]
    evil = [
        Message("hostile", encoded(target.authority, target.path, body, {}), judge_hostile)
        for body in attacks
    ]
    return _mixed(native(target), evil, 8)


def slow_uploads(target: Target) -> list[Message]:
    """One in eight takes two seconds to send its body."""
    slow = [_native(target, "slow", bodies.raw(i), upload_seconds=UPLOAD_SECONDS) for i in target.images]
    return _mixed(native(target), slow, 8)


def leaving(target: Target) -> list[Message]:
    """One in four hangs up after 20 ms."""
    hasty = [
        _native(target, "leaves", bodies.raw(i), leave_after_seconds=LEAVE_AFTER_SECONDS)
        for i in target.images
    ]
    return _mixed(native(target), hasty, 4)


def tight(target: Target) -> list[Message]:
    """One in a hundred asks for its answer within 10 ms."""
    headers = {"X-Timeout-Ms": str(TIGHT_TIMEOUT_MS)}
    send = partial(post, "tight", target.authority, target.path, headers=headers)
    return _mixed(native(target), [send(bodies.raw(i), native_answer) for i in target.images], 100)


def every_route(target: Target) -> list[Message]:
    """One image and several on the native route, and the Flask routes whose models are served."""
    old = {CIFAR10: flask, BOTTLE: classificar}
    routes = [native, several, *(route for name, route in old.items() if name in target.models)]
    return [message for route in routes for message in route(target)]


def asked(kind: str, target: Target) -> str:
    """The model that messages of this kind ask."""
    return kind if kind in target.models else _BEHIND.get(kind, target.model)


def _of_kind(kind: str, messages: Sequence[Message]) -> list[Message]:
    return [replace(message, kind=kind) for message in messages]


def chooser(messages: Sequence[Message], count: int, *, seed: int = 0) -> Callable[[int], Message]:
    """Which message is sent as the n-th: at random, seeded, drawn before the load begins."""
    drawn = np.random.default_rng(seed).integers(0, len(messages), count).tolist()
    return lambda index: messages[drawn[index]]


def _native(
    target: Target,
    kind: str,
    body: Body,
    *,
    leave_after_seconds: float = float("inf"),
    upload_seconds: float = 0.0,
) -> Message:
    return post(
        kind,
        target.authority,
        target.path,
        body,
        native_answer,
        leave_after_seconds=leave_after_seconds,
        upload_seconds=upload_seconds,
    )


def _mixed(usual: Sequence[Message], rare: Sequence[Message], one_in: int) -> list[Message]:
    """Every rare message once, and so many usual ones that one in ``one_in`` is rare."""
    return [*rare, *islice(cycle(usual), len(rare) * (one_in - 1))]


def _enlarged(image: EncodedImage) -> EncodedImage:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(image.data)) as opened:
        opened.convert("RGB").resize(_BIG, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return EncodedImage("big.jpg", buffer.getvalue())


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(8))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
