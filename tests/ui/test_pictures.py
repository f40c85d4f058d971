"""Small copies of what the service has answered."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from tests.conftest import SAMPLES, ImageMaker, png_header
from ui.pictures import SIDE_PX, Gallery, Picture, samples, thumbnail


def opened(content: bytes | None) -> Image.Image:
    assert content is not None
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("name", ["coffee.jpg", "cat-face.webp", "cat-32.png"])
def test_a_copy_is_no_larger_than_it_is_shown(name: str) -> None:
    content = (SAMPLES / name).read_bytes()
    with opened(content) as original, opened(thumbnail(content)) as small:
        assert max(small.size) <= min(SIDE_PX, max(original.size))
        assert small.width / small.height == pytest.approx(original.width / original.height, rel=0.02)


def test_a_photograph_is_shown_upright() -> None:
    sideways = Image.new("RGB", (60, 30))
    exif = sideways.getexif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    sideways.save(buffer, "JPEG", exif=exif)
    with opened(thumbnail(buffer.getvalue())) as small:
        assert small.size == (30, 60)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_images_of_any_mode_have_a_copy(make_image: ImageMaker, mode: str) -> None:
    with opened(thumbnail(make_image(1, mode=mode))) as small:
        assert small.mode in ("RGB", "RGBA")


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff", png_header(60_000, 60_000)])
def test_what_cannot_be_read_has_no_copy(content: bytes) -> None:
    assert thumbnail(content) is None


def test_the_same_image_is_known_again_under_another_name() -> None:
    assert Picture("a", b"x").digest == Picture("b", b"x").digest != Picture("a", b"y").digest


def test_a_picture_is_read_and_hashed_once_until_it_is_gone() -> None:
    gallery, reads = Gallery(), 0

    def read() -> bytes:
        nonlocal reads
        reads += 1
        return b"x"

    (first,) = gallery.of({("1", "a"): read})
    assert gallery.of({("1", "a"): read, ("2", "b"): read})[0] is first
    assert first.digest is first.digest
    assert reads == 2
    assert gallery.of({}) == []
    gallery.of({("1", "a"): read})
    assert reads == 3


def test_a_checkout_has_samples() -> None:
    assert set(samples()) == {"bottle", "cat", "coffee", "rocket"}
