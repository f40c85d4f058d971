"""A cheap walk over an encoded image's parts, before any decoder sees it.

Decoders parse headers one small part at a time, so ten megabytes of empty parts or fill bytes cost them
tens of seconds; a progressive JPEG pays for each of its scans with a pass over every pixel
(libjpeg-turbo's LJT-01-003). What says nothing about the pixels (colour profiles, texts, thumbnails, EXIF)
is taken out: Pillow would inflate 4,000 profiles of 1 MB each, or make objects of a million fractions,
before it gives the size, which it finds before the first scan. The walk jumps by the lengths that the parts
announce and stops at the image's end: what follows, such as the film behind a phone's motion photo, is not
looked at, and the decoder does not get it. Nor does it get what stands between a JPEG's segments, so that it
sees the same ones as the walk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from models.errors import UndecodableImage, UnsupportedImage

Format = Literal["JPEG", "PNG", "WEBP"]

# An ordinary file has tens; a colour profile may take 255 segments, and libpng cuts data every 8 KB.
MAX_PARTS = 4096

_MARKER = 0xFF
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_FIRST_KIND = 0xC0  # what is below is reserved, or stuffing: no segment, and decoders do not agree on it
# Restarts, start and end of the image; extensions, which Pillow does not jump over, and libjpeg refuses.
_NO_LENGTH = {*range(0xD0, _END_OF_IMAGE + 1), 0xC8, *range(0xF0, 0xFE)}
# Application segments and comments, but for JFIF's and Adobe's, which say how the colours are stored.
_APP1 = 0xE1
_METADATA = {*range(_APP1, 0xEE), 0xEF, 0xFE}
_EXIF = b"Exif\0\0"
_ADOBE = 0xEE
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_HUFFMAN_FRAMES = {0xC0, 0xC1, 0xC2}
# In a scan, 0xFF is data when 0x00 follows, and a restart marker when 0xD0..0xD7 does.
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# Like libjpeg, over the bytes with which some cameras pad and over fill bytes, to the marker's own 0xFF.
_TO_MARKER = re.compile(rb"[^\xff]*+\xff++")
_PNG_HEADER = 8
# Lower-case names are of chunks that a decoder may pass over (PNG, 5.4); this one is transparency.
_PNG_KEPT = b"tRNS"


class Contents(NamedTuple):
    """`picture`: the file for the decoder. `scans`: passes over the pixels. `exif`: the EXIF block, or b"".

    `plain_size`: width and height of a JPEG with three components of 8 bits and without EXIF or Adobe's
    segment, so that its pixels alone decide the picture; None for every other file.

    A WebP is its own picture, EXIF and all: libwebp walks its container itself, in C, and Pillow parses
    nothing of it unasked.
    """

    picture: bytes
    scans: int = 1
    exif: bytes = b""
    plain_size: tuple[int, int] | None = None


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
    """Behind the first scan metadata stays: Pillow reads no further, and a damaged scan may look like it."""
    kept: list[bytes] = []
    exif, scans = b"", 0
    kept_from = kept_to = 0  # a stretch without metadata, and without anything between its segments
    sizes: list[tuple[int, int] | None] = []
    for kind, start, end in _jpeg_segments(data):
        if kind == _START_OF_SCAN:
            scans += 1
        elif kind in _FRAMES or kind == _ADOBE:
            sizes.append(_plain_size(kind, data[start + 2 : start + 10]))
        elif kind in _METADATA and not scans:
            if kind == _APP1 and not exif and data.startswith(_EXIF, start + 4):
                exif = data[start + 4 : end]
            continue
        if start != kept_to:
            kept.append(data[kept_from:kept_to])
            kept_from = start
        kept_to = end
    kept.append(data[kept_from:kept_to])
    plain_size = sizes[0] if len(sizes) == 1 and not exif else None
    return Contents(b"".join(kept), scans, exif, plain_size)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of each, the start of the image first, up to its end or that of the data."""
    end, size = 2, len(data)
    yield data[1], 0, end
    for _ in range(MAX_PARTS):
        start = end
        if start + 2 > size or data[start] != _MARKER or data[start + 1] == _MARKER:  # which is unusual
            marker = _TO_MARKER.match(data, start)
            if marker is None or marker.end() == size:
                return
            start = marker.end() - 1
        kind, end = data[start + 1], start + 2
        if kind not in _NO_LENGTH:
            length = int.from_bytes(data[end : end + 2], "big")
            if kind < _FIRST_KIND or length < 2:
                raise UndecodableImage("a segment of the JPEG is broken")
            end += length
        if kind == _START_OF_SCAN:
            found = _AFTER_SCAN.search(data, end)
            end = found.start() if found else len(data)
        yield kind, start, end
        if kind == _END_OF_IMAGE:
            return
    raise UndecodableImage("the image has too many parts")


def _plain_size(kind: int, frame: bytes) -> tuple[int, int] | None:
    """Of a frame's header: length (2 bytes), bits, height (2), width (2), components."""
    if kind not in _HUFFMAN_FRAMES or frame[2:3] != b"\x08" or frame[7:8] != b"\x03":
        return None
    width, height = int.from_bytes(frame[5:7], "big"), int.from_bytes(frame[3:5], "big")
    return (width, height) if width and height else None


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
