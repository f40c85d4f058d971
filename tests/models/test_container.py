"""The walk over an image's parts: bounded by their number, blind to what follows the image."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.container import MAX_PARTS, Contents, contents, image_format
from models.errors import UndecodableImage, UnsupportedImage
from tests.conftest import SAMPLES, ImageMaker

COMMENT = b"\xff\xfe\x00\x02"
RESTARTS = b"\xff\xdd\x00\x04\x00\x01"
CHUNK = b"\x00\x00\x00\x00prVt\xda\xfe\x43\xc0"


def progressive(data: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).save(buffer, "JPEG", progressive=True)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["cat.jpg", "cat-32.png", "cat-face.webp"])
def test_an_ordinary_file_has_one_scan(name: str) -> None:
    data = (SAMPLES / name).read_bytes()
    assert contents(data, image_format(data)).scans == 1


def test_the_scans_of_a_progressive_jpeg_are_counted(make_image: ImageMaker) -> None:
    assert 5 < contents(progressive(make_image(0, (64, 64))), "JPEG").scans < 15


def test_what_follows_the_image_is_not_looked_at(make_image: ImageMaker) -> None:
    jpeg, png = make_image(0, format_="JPEG"), make_image(0)
    assert contents(jpeg + b"\xff\xda" * 1000 + os.urandom(1_000_000), "JPEG") == contents(jpeg, "JPEG")
    assert contents(png + CHUNK * (MAX_PARTS + 1), "PNG").scans == 1


@pytest.mark.parametrize("count", [MAX_PARTS, 100_000])
def test_a_file_of_too_many_parts_is_refused(make_image: ImageMaker, count: int) -> None:
    jpeg, png = make_image(0, format_="JPEG"), make_image(0)
    for data in (
        jpeg[:2] + COMMENT * count + jpeg[2:],
        jpeg[:20] + (b"\0" + COMMENT) * count + jpeg[20:],
        png[:33] + CHUNK * count + png[33:],
        png[:-12] + CHUNK * count + png[-12:],
    ):
        with pytest.raises(UndecodableImage):
            contents(data, image_format(data))


def test_a_comment_or_two_is_fine(make_image: ImageMaker) -> None:
    jpeg, png = make_image(0, format_="JPEG"), make_image(0)
    assert contents(jpeg[:2] + COMMENT * 100 + jpeg[2:], "JPEG").scans == 1
    assert contents(png[:33] + CHUNK * 100 + png[33:], "PNG").scans == 1


@pytest.mark.parametrize("stray", [b"\0", b"\0\0\0", b"\xff", b"\0" + b"\xff" * 400_000])
def test_stray_bytes_and_fill_bytes_between_segments_hide_nothing_and_do_not_reach_the_decoder(
    make_image: ImageMaker, stray: bytes
) -> None:
    jpeg = progressive(make_image(0, (64, 64)))
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    assert contents(jpeg[:20] + stray + COMMENT + stray + jpeg[20:], "JPEG") == contents(jpeg, "JPEG")
    many = contents(jpeg[:20] + RESTARTS + stray + jpeg[20:-2] + scan * 260 + jpeg[-2:], "JPEG")
    assert many.scans == 260 + contents(jpeg, "JPEG").scans


def test_the_decoder_gets_nothing_behind_the_end_even_of_a_jpeg_without_a_scan(
    make_image: ImageMaker,
) -> None:
    jpeg = make_image(0, format_="JPEG")
    end = b"\xff\xd9"
    assert contents(jpeg[:20] + end + COMMENT * 100_000 + jpeg[20:], "JPEG").picture == jpeg[:20] + end


@pytest.mark.parametrize(
    "segment", [b"\xff\x02\xff\xff", b"\xff\x01", b"\xff\x00", b"\xff\xfe\0\1", b"\xff\xdb\0\0"]
)
def test_what_decoders_could_take_for_a_segment_of_another_length_is_refused(
    make_image: ImageMaker, segment: bytes
) -> None:
    jpeg = progressive(make_image(0, (64, 64)))
    with pytest.raises(UndecodableImage, match="segment"):
        contents(jpeg[:20] + segment + jpeg[20:], "JPEG")


def test_a_reserved_marker_in_a_scan_hides_no_scan_behind_its_length(make_image: ImageMaker) -> None:
    jpeg = progressive(make_image(0, (64, 64)))
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    hidden = scan * 100
    reserved = b"\xff\x02" + (len(hidden) + 2).to_bytes(2, "big")
    with pytest.raises(UndecodableImage):
        contents(jpeg[:20] + RESTARTS + jpeg[20:-2] + reserved + hidden + jpeg[-2:], "JPEG")


@pytest.mark.parametrize("extension", [0xC8, 0xF0, 0xFD])
def test_no_metadata_is_hidden_from_the_walk_by_what_pillow_does_not_jump_over(
    make_image: ImageMaker, extension: int
) -> None:
    jpeg = make_image(0, (64, 64), format_="JPEG")
    scan = jpeg.index(b"\xff\xda")
    metadata = segment(0xE1, b"Exif\0\0" + b"m" * 60_000) * 10
    inside = jpeg[:scan] + segment(extension, metadata[:60_010]) + jpeg[scan:]
    false_scan = b"\xff\xda\x00\x02"
    comment = b"\xff\xfe" + (2 + len(false_scan)).to_bytes(2, "big")  # Pillow's alone: over the false scan
    behind = jpeg[:scan] + segment(extension, comment) + false_scan + metadata + jpeg[scan:]
    for hidden in (inside, behind):
        assert len(contents(hidden, "JPEG").picture) < len(jpeg) + 100


def segment(kind: int, content: bytes) -> bytes:
    return bytes((0xFF, kind)) + (2 + len(content)).to_bytes(2, "big") + content


def test_other_formats_are_not_named() -> None:
    for data in (b"", b"\xff\xd8", b"GIF89a", b"RIFF....WAVE", b"\x89PNG"):
        with pytest.raises(UnsupportedImage):
            image_format(data)


@given(st.binary(max_size=2000), st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"]))
def test_any_bytes_are_walked_to_an_end(data: bytes, magic: bytes) -> None:
    try:
        scans = contents(magic + data, image_format(magic + data)).scans
    except UndecodableImage:
        scans = 0
    assert scans >= 0


def test_a_png_keeps_its_pixels_and_its_transparency_and_nothing_else(make_image: ImageMaker) -> None:
    png = make_image(0)
    assert contents(png[:33] + CHUNK * 100 + png[33:], "PNG") == Contents(png)
    transparent = b"\x00\x00\x00\x06tRNS\0\0\0\0\0\0\xaf\xc2\xe0\x8a"
    assert contents(png[:33] + transparent + png[33:], "PNG").picture == png[:33] + transparent + png[33:]


def test_a_jpeg_keeps_its_pixels_and_how_its_colours_are_stored(make_image: ImageMaker) -> None:
    jpeg = make_image(0, format_="JPEG")
    adobe = b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\x01"
    metadata = b"\xff\xe1\x00\x0aExif\0\0II" + b"\xff\xe2\x00\x08MPF\0ab" + COMMENT
    assert contents(jpeg[:2] + adobe + metadata + jpeg[2:], "JPEG") == Contents(
        jpeg[:2] + adobe + jpeg[2:], scans=1, exif=b"Exif\0\0II"
    )


def test_a_plain_jpeg_tells_its_size_and_one_with_exif_does_not(make_image: ImageMaker) -> None:
    jpeg = make_image(0, (33, 21), "JPEG")
    assert contents(jpeg, "JPEG").plain_size == (33, 21)
    for segment in (b"\xff\xe1\x00\x08Exif\0\0", b"\xff\xee\x00\x02"):
        assert contents(jpeg[:2] + segment + jpeg[2:], "JPEG").plain_size is None


def test_a_grey_or_two_framed_jpeg_is_not_plain(make_image: ImageMaker) -> None:
    jpeg = make_image(0, (33, 21), "JPEG")
    frame = jpeg[jpeg.index(b"\xff\xc0") :][:19]
    grey = io.BytesIO()
    Image.new("L", (8, 8)).save(grey, "JPEG")
    for data in (grey.getvalue(), jpeg[:2] + frame + jpeg[2:]):
        assert contents(data, "JPEG").plain_size is None
