"""Rows 1 to 13 and 46: images built to cost more than they weigh, against the whole service."""

from __future__ import annotations

import asyncio
import io
import struct
import time
import zlib
from functools import cache

import psutil
from PIL import Image

from tests.conftest import png_header
from tests.torture.client import asynchronous, counted, post
from tests.torture.faults import Group
from tests.torture.health import GOLDEN
from tests.torture.subject import NATIVE, Subject

GROUP = Group()
CPU_SECONDS = 0.05


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_ROWS = 100


def _solid_png(side: int, mode: str = "RGB") -> bytes:
    """A valid square of zeros, made of one compressed block again and again; `side` in hundreds."""
    depth, colour, row_bytes = {
        "RGB": (8, 2, 3 * side),
        "RGBA": (8, 6, 4 * side),
        "1": (1, 0, -(-side // 8)),
    }[mode]
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes((1 + row_bytes) * _ROWS)) + packer.flush(zlib.Z_FULL_FLUSH)
    adler = ((1 + row_bytes) * side % 65521) << 16 | 1  # of zeros
    packed = b"\x78\xda" + block * (side // _ROWS) + b"\x03\x00" + struct.pack(">I", adler)
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def encoded(image: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


@cache
def _photo(format_: str = "JPEG") -> bytes:
    return encoded(Image.open(io.BytesIO(GOLDEN)).convert("RGB").resize((320, 240)), format_)


def _jpeg_of_size(width: int, height: int) -> bytes:
    photo = bytearray(_photo())
    at = photo.index(b"\xff\xc0") + 5
    photo[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(photo)


def _costs_little(subject: Subject, image: bytes, status: int, times: int = 10) -> str:
    """CPU per request and memory, of the same image sent so many times."""
    process = psutil.Process(subject.process.pid)
    rss, cpu = process.memory_info().rss, subject.cpu_seconds()
    seen = {subject.classify(image).status for _ in range(times)}
    each = (subject.cpu_seconds() - cpu) / times
    growth = (process.memory_info().rss - rss) / 1e6
    what = f"{len(image):,} B: {sorted(seen)}, {each * 1000:.0f} ms of CPU each, RSS {growth:+.1f} MB"
    assert seen == {status}, what
    assert each < CPU_SECONDS, what
    assert growth < 20, what
    return what


@GROUP.fault(1, "PNG header of 100,000 x 100,000", "413, < 50 ms of CPU")
def _(subject: Subject) -> str:
    return _costs_little(subject, png_header(100_000, 100_000), 413)


@GROUP.fault(2, "PNG of 13,300 x 13,300, RGB", "413 from its size, RSS +< 20 MB")
def _(subject: Subject) -> str:
    return _costs_little(subject, _solid_png(13_300), 413)


@GROUP.fault(3, "PNG of 9,400 x 9,400, under Pillow's own warning", "413")
def _(subject: Subject) -> str:
    return _costs_little(subject, _solid_png(9_400), 413)


@GROUP.fault(4, "1-bit PNG of 13,300 x 13,300", "413")
def _(subject: Subject) -> str:
    return _costs_little(subject, _solid_png(13_300, "1"), 413)


@GROUP.fault(5, "JPEG whose header says 65,500 x 65,500, and 9,400 x 9,400", "413")
def _(subject: Subject) -> str:
    sizes = (65_500, 9_400)
    return "; ".join(_costs_little(subject, _jpeg_of_size(size, size), 413) for size in sizes)


@GROUP.fault(6, "progressive JPEG of 5,000 scans", "422 before it is decoded, < 50 ms of CPU")
def _(subject: Subject) -> str:
    image = encoded(Image.new("RGB", (2000, 2000)), "JPEG", progressive=True)
    scan = image[image.rindex(b"\xff\xda") : -2]
    return _costs_little(subject, image[:-2] + scan * 5000 + b"\xff\xd9", 422)


@GROUP.fault(6, "260 scans, or 100,000 comments, behind a stray byte between segments", "422, < 50 ms of CPU")
def _(subject: Subject) -> str:
    image = encoded(Image.new("RGB", (2000, 2000)), "JPEG", progressive=True)
    scan, restarts = image[image.rindex(b"\xff\xda") : -2], b"\xff\xdd\x00\x04\x00\x00"
    scans = image[:2] + restarts + b"\0" + image[2:-2] + scan * 260 + b"\xff\xd9"
    photo = _photo()
    comments = photo[:20] + b"\0" + b"\xff\xfe\x00\x02" * 100_000 + photo[20:]
    return "; ".join(_costs_little(subject, data, 422) for data in (scans, comments))


@GROUP.fault(6, "400,000 fill bytes behind a stray byte between segments", "200, < 50 ms of CPU")
def _(subject: Subject) -> str:
    photo = _photo()
    return _costs_little(subject, photo[:20] + b"\0" + b"\xff" * 400_000 + photo[20:], 200)


@GROUP.fault(7, "GIF of 3,000 frames; GIF that is HTML too", "415")
def _(subject: Subject) -> str:
    frames = [Image.new("L", (8, 8), index % 2 * 255) for index in range(3000)]
    gif = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    polyglot = b"GIF89a/*<html><script>alert(1)</script>*/=1;"
    return "; ".join(_costs_little(subject, image, 415) for image in (gif, polyglot))


@GROUP.fault(8, "2,000 colour profiles and texts in a PNG that inflate to 1 MB each", "200, < 50 ms of CPU")
def _(subject: Subject) -> str:
    png, text = _photo("PNG"), b"a\0\0" + zlib.compress(bytes(1_000_000), 9)
    return _costs_little(
        subject, png[:33] + (_chunk(b"iCCP", text) + _chunk(b"zTXt", text)) * 1000 + png[33:], 200
    )


@GROUP.fault(10, "EXIF of a million fractions in a JPEG; 2,600 values that overlap", "200, < 50 ms of CPU")
def _(subject: Subject) -> str:
    def block(tags: list[int], kind: int, unit: int, size: int) -> bytes:
        start = 8 + 2 + 12 * len(tags) + 4
        entries = b"".join(struct.pack("<HHII", tag, kind, size // unit, start) for tag in tags)
        values = b"\1\0\0\0\2\0\0\0" * (size // 8)
        return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + values

    def with_exif(exif: bytes) -> bytes:
        parts = [exif[start : start + 65_000] for start in range(0, len(exif), 65_000)]
        segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(p) + 8) + b"Exif\0\0" + p for p in parts)
        return b"\xff\xd8" + segments + _photo()[20:]  # without JFIF, Pillow asks EXIF for the density

    blocks = (block([0x011A], 5, 8, 8_000_000), block(list(range(0x1000, 0x1A28)), 7, 1, 30_000))
    return "; ".join(_costs_little(subject, with_exif(exif), 200, times=3) for exif in blocks)


@GROUP.fault(
    13, "EPS, SVG, TIFF, PSD, FITS, ICO, BMP, HDF5, PDF, named .jpg", "415, no other program started"
)
def _(subject: Subject) -> str:
    starts = [
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b'<svg><image href="file:///etc/passwd"/></svg>',
        b"II*\0",
        b"8BPS",
    ]
    starts += [b"SIMPLE  =", b"\0\0\1\0", b"BM", b"\x89HDF\r\n\x1a\n", b"%PDF-1.7\n"]
    for start in starts:
        status = subject.classify(start + bytes(512)).status
        assert status == 415, f"{start!r}: {status}"
    children = psutil.Process(subject.process.pid).children(recursive=True)
    assert not children, children
    return f"{len(starts)} x 415, no child process"


@GROUP.fault(46, "20 images of 24 million pixels at once", "/healthz p99 < 50 ms; small images served")
@asynchronous
async def _(subject: Subject) -> str:
    flood = asyncio.create_task(counted(subject.port, [post(NATIVE, _solid_png(4900, "RGBA"))] * 20, 20))
    waits = []
    while not flood.done():
        started = time.perf_counter()
        status = (await asyncio.to_thread(subject.request, "GET", "/healthz")).status
        waits.append(time.perf_counter() - started)
        assert status == 200, status
        await asyncio.sleep(0.01)
    p99 = sorted(waits)[int(0.99 * len(waits))] * 1000
    seen = await flood
    what = f"{dict(seen)}; {len(waits)} probes, p99 {p99:.0f} ms"
    assert set(seen) <= {"200", "503", "504", "413"}, what
    assert p99 < 50, what
    return what
