"""Damaged images and damaged bodies, as many as asked for: only 200 and 4xx may come back."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator

from PIL import Image

from tests.live import multipart
from tests.torture.client import counted, post
from tests.torture.faults import Group
from tests.torture.subject import FLASK, NATIVE, SAMPLES, V2, Subject

CONNECTIONS = 16
# A queue that refuses would hide what the decoder does: give every request its time.
FLAGS = ("--latency-target-ms", "60000")
_EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1")


def seeds() -> list[bytes]:
    """Small valid files of every kind that is read."""
    samples = [(SAMPLES / name).read_bytes() for name in ("cat-32.jpg", "cat-32.png", "cat-face.webp")]
    photo = Image.open(SAMPLES / "cat.jpg").resize((120, 90))
    exif = Image.Exif()
    exif[0x0112] = 6
    made: list[tuple[str, Image.Image, dict[str, object]]] = [
        ("JPEG", photo, {"progressive": True, "exif": exif}),
        ("JPEG", photo.convert("CMYK"), {}),
        ("JPEG", photo.convert("L"), {"restart_marker_blocks": 2}),
        ("PNG", photo.convert("P"), {"transparency": 3}),
        ("PNG", photo.convert("RGBA"), {"exif": exif}),
        ("PNG", photo.convert("L").convert("I;16"), {}),
        ("PNG", photo.convert("1"), {}),
        ("WEBP", photo, {"lossless": True, "exif": exif}),
        ("WEBP", photo, {"save_all": True, "append_images": [photo.rotate(90, expand=False)]}),
    ]
    return samples + [_encoded(format_, image, options) for format_, image, options in made]


def _encoded(format_: str, image: Image.Image, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def damaged(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """One to four of: a bit flipped, a byte set, a length made extreme, a cut, a piece of another file."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(broken) + 1)
        match rng.randrange(6):
            case 0 if at < len(broken):
                broken[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(broken):
                broken[at] = rng.randrange(256)
            case 2:
                broken[at : at + 4] = rng.choice(_EXTREMES)
            case 3:
                del broken[at:]
            case 4:
                del broken[at : at + rng.randint(1, 64)]
            case _:
                start = rng.randrange(len(other))
                broken[at:at] = other[start : start + rng.randint(1, 2000)]
    return bytes(broken)


Wrap = Callable[[bytes], tuple[str, bytes, dict[str, str]]]


def _json(image: bytes) -> tuple[str, bytes, dict[str, str]]:
    body = json.dumps({"image": base64.b64encode(image).decode()}).encode()
    return NATIVE, body, {"Content-Type": "application/json"}


def _form(path: str, field: str) -> Wrap:
    def wrap(image: bytes) -> tuple[str, bytes, dict[str, str]]:
        return path, *multipart((field, image))

    return wrap


def _v2(image: bytes) -> tuple[str, bytes, dict[str, str]]:
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(image).decode()]}
    return V2, json.dumps({"inputs": [tensor]}).encode(), {"Content-Type": "application/json"}


def _v2_binary(image: bytes) -> tuple[str, bytes, dict[str, str]]:
    data = len(image).to_bytes(4, "little") + image
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES"}
    document = {"inputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}]}
    first = json.dumps(document).encode()
    return V2, first + data, {"Inference-Header-Content-Length": str(len(first))}


WRAPS: tuple[Wrap, ...] = (
    lambda image: (NATIVE, image, {}),
    _form(NATIVE, "file"),
    _json,
    _form(FLASK, "file"),
    _v2,
    _v2_binary,
)


def requests(count: int, seed: int) -> Iterator[bytes]:
    """The image is damaged, or the body around it, or both."""
    rng, files = random.Random(seed), seeds()
    for index in range(count):
        image, other = rng.choice(files), rng.choice(files)
        which = rng.randrange(3)
        path, body, headers = WRAPS[index % len(WRAPS)](damaged(image, other, rng) if which else image)
        yield post(path, body if which == 1 else damaged(body, other, rng), headers)


def attack(subject: Subject, count: int, seed: int, allowed: tuple[str, ...] = ("200", "4")) -> str:
    """Raises AssertionError where a status came back that does not begin like those allowed."""
    seen = asyncio.run(counted(subject.port, requests(count, seed), CONNECTIONS))
    summary = in_words(seen)
    assert all(status.startswith(allowed) for status in seen), summary
    return summary


def in_words(seen: Counter[str]) -> str:
    """`900 x 200, 100 x 422`."""
    return ", ".join(f"{count:,} x {status}" for status, count in seen.most_common())


def group(count: int, seed: int = 0) -> Group:
    """One fault of so many requests."""
    faults = Group()
    sent = f"{count:,} damaged images and bodies, in six forms (seed {seed})"
    faults.fault(14, sent, "200 and 4xx alone")(lambda subject: attack(subject, count, seed))
    return faults
