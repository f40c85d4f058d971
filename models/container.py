"""A cheap walk over an encoded image's parts, before any decoder sees it.

Decoders parse headers one small part at a time, so ten megabytes of empty parts or fill bytes cost them
tens of seconds; a progressive JPEG pays for each of its scans with a pass over every pixel
(libjpeg-turbo's LJT-01-003). The walk jumps by the lengths that the parts announce and stops at the
image's end: what follows, such as the film behind a phone's motion photo, is not looked at.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from models.errors import UndecodableImage, UnsupportedImage

Format = Literal["JPEG", "PNG", "WEBP"]

# An ordinary file has tens; a colour profile may take 255 segments, and libpng cuts data every 8 KB.
MAX_PARTS = 4096

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_HUFFMAN_FRAMES = {0xC0, 0xC1, 0xC2}
_EXIF, _ADOBE = 0xE1, 0xEE
# In a scan, 0xFF is data when 0x00 follows, and a restart marker when 0xD0..0xD7 does.
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def image_format(data: bytes) -> Format:
    """Name the format by its magic bytes; raises UnsupportedImage for anything else."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    raise UnsupportedImage("not a JPEG, PNG or WebP image")


class Parts(NamedTuple):
    """`scans`: how many passes over the pixels the file asks for; more than 1 in a progressive JPEG alone.

    `plain_size`: width and height of a JPEG with three components of 8 bits and with neither an EXIF nor
    an Adobe segment, so that nothing but its pixels decides the picture; None for every other file.
    """

    scans: int = 1
    plain_size: tuple[int, int] | None = None


def walk(data: bytes, format_: Format) -> Parts:
    """Look at the parts; raises UndecodableImage for too many, and leaves other faults to the decoder."""
    if format_ == "JPEG":
        return _walk_jpeg(data)
    if format_ == "PNG":
        _refuse_many_chunks(data)
    return Parts()  # libwebp walks its container itself, in C


def _walk_jpeg(data: bytes) -> Parts:
    scans, position = 0, 2
    sizes: list[tuple[int, int] | None] = []
    for _ in range(MAX_PARTS):
        marker = data[position : position + 2]
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] == _END_OF_IMAGE:
            return Parts(scans, sizes[0] if len(sizes) == 1 else None)
        kind = marker[1]
        if kind == 0xFF:  # fill bytes are legal, and nobody writes them
            raise UndecodableImage("the image has too many parts")
        position += 2
        if kind in _NO_LENGTH:
            continue
        if kind in _FRAMES:
            sizes.append(_plain_size(kind, data[position : position + 8]))
        elif kind in (_EXIF, _ADOBE):
            sizes.append(None)
        position += int.from_bytes(data[position : position + 2], "big")
        if kind == _START_OF_SCAN:
            scans += 1
            found = _AFTER_SCAN.search(data, position)
            position = found.start() if found else len(data)
    raise UndecodableImage("the image has too many parts")


def _plain_size(kind: int, frame: bytes) -> tuple[int, int] | None:
    """Of a frame header: length (2 bytes), bits, height (2), width (2), components."""
    if kind not in _HUFFMAN_FRAMES or frame[2:3] != b"\x08" or frame[7:8] != b"\x03":
        return None
    width, height = int.from_bytes(frame[5:7], "big"), int.from_bytes(frame[3:5], "big")
    return (width, height) if width and height else None


def _refuse_many_chunks(data: bytes) -> None:
    position = 8
    for _ in range(MAX_PARTS):
        if position >= len(data) or data[position + 4 : position + 8] == b"IEND":
            return
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    raise UndecodableImage("the image has too many parts")
