"""A cheap walk over an encoded image's parts, before any decoder sees it.

Decoders parse headers one small part at a time, so ten megabytes of empty parts or fill bytes cost them
tens of seconds; a progressive JPEG pays for each of its scans with a pass over every pixel
(libjpeg-turbo's LJT-01-003). What says nothing about the pixels (colour profiles, texts, thumbnails, EXIF)
is taken out: Pillow would inflate 4,000 profiles of 1 MB each, or make objects of a million fractions,
before it gives the size. The walk jumps by the lengths that the parts announce and stops at the image's
end: what follows, such as the film behind a phone's motion photo, is not looked at.
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
# Application segments and comments, but for JFIF's and Adobe's, which say how the colours are stored.
_APP1 = 0xE1
_METADATA = {*range(_APP1, 0xEE), 0xEF, 0xFE}
_EXIF = b"Exif\0\0"
# In a scan, 0xFF is data when 0x00 follows, and a restart marker when 0xD0..0xD7 does.
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_PNG_HEADER = 8
# Lower-case names are of chunks that a decoder may pass over (PNG, 5.4); this one is transparency.
_PNG_KEPT = b"tRNS"


class Contents(NamedTuple):
    """`picture`: the file for the decoder. `scans`: passes over the pixels. `exif`: the EXIF block, or b"".

    A WebP is its own picture, EXIF and all: libwebp walks its container itself, in C, and Pillow parses
    nothing of it unasked.
    """

    picture: bytes
    scans: int = 1
    exif: bytes = b""


def image_format(data: bytes) -> Format:
    """Name the format by its magic bytes; raises UnsupportedImage for anything else."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    raise UnsupportedImage("not a JPEG, PNG or WebP image")


def contents(data: bytes, format_: Format) -> Contents:
    """Take an encoded file apart.

    Raises UndecodableImage for a file made of too many parts; leaves everything else to the decoder.
    """
    if format_ == "JPEG":
        return _jpeg_contents(data)
    if format_ == "PNG":
        return _png_contents(data)
    return Contents(data)


def _jpeg_contents(data: bytes) -> Contents:
    kept, exif = [data[:2]], b""
    scans, position = 0, 2
    for _ in range(MAX_PARTS):
        start = position
        marker = data[position : position + 2]
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] == _END_OF_IMAGE:
            return Contents(b"".join([*kept, data[start:]]), scans, exif)
        if marker[1] == 0xFF:  # fill bytes are legal, and nobody writes them
            raise UndecodableImage("the image has too many parts")
        position += 2
        if marker[1] not in _NO_LENGTH:
            position += int.from_bytes(data[position : position + 2], "big")
        if marker[1] == _START_OF_SCAN:
            scans += 1
            found = _AFTER_SCAN.search(data, position)
            position = found.start() if found else len(data)
        if marker[1] not in _METADATA:
            kept.append(data[start:position])
        elif marker[1] == _APP1 and not exif and data.startswith(_EXIF, start + 4):
            exif = data[start + 4 : position]
    raise UndecodableImage("the image has too many parts")


def _png_contents(data: bytes) -> Contents:
    kept, exif = [data[:_PNG_HEADER]], b""
    position = _PNG_HEADER
    for _ in range(MAX_PARTS):
        name = data[position + 4 : position + 8]
        if position >= len(data) or name == b"IEND":
            return Contents(b"".join([*kept, data[position : position + 12]]), exif=exif)
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if not name[:1].islower() or name == _PNG_KEPT:
            kept.append(data[position:end])
        elif name == b"eXIf":
            exif = data[position + 8 : end - 4]
        position = end
    raise UndecodableImage("the image has too many parts")
