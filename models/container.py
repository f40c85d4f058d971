"""A cheap walk over an encoded image's parts, before any decoder sees it.

Decoders parse headers one small part at a time, so ten megabytes of empty parts or fill bytes cost them
tens of seconds; a progressive JPEG pays for each of its scans with a pass over every pixel
(libjpeg-turbo's LJT-01-003). The walk jumps by the lengths that the parts announce and stops at the
image's end: what follows, such as the film behind a phone's motion photo, is not looked at.
"""

from __future__ import annotations

import re
from typing import Literal

from models.errors import UndecodableImage, UnsupportedImage

Format = Literal["JPEG", "PNG", "WEBP"]

# An ordinary file has tens; a colour profile may take 255 segments, and libpng cuts data every 8 KB.
MAX_PARTS = 4096

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_NO_LENGTH = {0x01, *range(0xD0, 0xD9)}
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


def count_scans(data: bytes, format_: Format) -> int:
    """How many passes over the pixels the file asks for: a JPEG's scans, otherwise 1.

    Raises UndecodableImage for a file made of too many parts; leaves everything else to the decoder.
    """
    if format_ == "JPEG":
        return _jpeg_scans(data)
    if format_ == "PNG":
        _refuse_many_chunks(data)
    return 1  # libwebp walks its container itself, in C


def _jpeg_scans(data: bytes) -> int:
    scans, position = 0, 2
    for _ in range(MAX_PARTS):
        marker = data[position : position + 2]
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] == _END_OF_IMAGE:
            return scans
        if marker[1] == 0xFF:  # fill bytes are legal, and nobody writes them
            raise UndecodableImage("the image has too many parts")
        position += 2
        if marker[1] in _NO_LENGTH:
            continue
        position += int.from_bytes(data[position : position + 2], "big")
        if marker[1] == _START_OF_SCAN:
            scans += 1
            found = _AFTER_SCAN.search(data, position)
            position = found.start() if found else len(data)
    raise UndecodableImage("the image has too many parts")


def _refuse_many_chunks(data: bytes) -> None:
    position = 8
    for _ in range(MAX_PARTS):
        if position >= len(data) or data[position + 4 : position + 8] == b"IEND":
            return
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    raise UndecodableImage("the image has too many parts")
