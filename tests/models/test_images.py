"""The one preprocessing path: formats, colour modes, orientation, and everything hostile."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin

from models.errors import ImageError, ImageTooLarge, UndecodableImage, UnsupportedImage
from models.images import MAX_JPEG_SCANS, Pixels, Preprocessing, decode, inspect, prepare
from tests.conftest import SAMPLES, ImageMaker, png_header

STRETCH = Preprocessing(size=32, resize="stretch")
CROP = Preprocessing(size=32, resize="crop")


def encoded(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def halves(width: int = 64, height: int = 64) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), "blue")
    image.paste("red", (0, 0, width // 2, height))
    return image


@pytest.mark.parametrize("name", ["cat.jpg", "cat-32.jpg", "cat-32.png", "cat-face.webp"])
@pytest.mark.parametrize("preprocessing", [STRETCH, CROP])
def test_real_photographs_become_uint8_squares(name: str, preprocessing: Preprocessing) -> None:
    pixels = prepare((SAMPLES / name).read_bytes(), preprocessing)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert pixels.std() > 10


def test_pixels_at_the_target_size_are_left_as_they_are(make_image: ImageMaker) -> None:
    data = make_image(5, (32, 32), "PNG")
    assert np.array_equal(prepare(data, STRETCH), np.asarray(Image.open(io.BytesIO(data))))


def test_stretching_uses_the_whole_picture_and_cropping_its_centre() -> None:
    framed = Image.new("RGB", (300, 200), "red")
    framed.paste("blue", (50, 0, 250, 200))  # the centre square is blue
    assert prepare(encoded(framed), STRETCH)[:, 0, 0].min() == 255
    assert prepare(encoded(framed), CROP)[:, :, 0].max() == 0


def test_cropping_is_torchvisions_evaluation_preset(make_image: ImageMaker) -> None:
    from torchvision.transforms import v2

    data = make_image(1, (400, 320), "PNG")
    preset = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
    expected = np.asarray(preset(Image.open(io.BytesIO(data)))).astype(int)
    got = prepare(data, Preprocessing(size=224, resize="crop")).astype(int)
    assert np.abs(got - expected).mean() < 1.5


@pytest.mark.parametrize(
    ("format_", "mode"),
    [
        *(("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        *(("JPEG", mode) for mode in ("L", "RGB", "CMYK")),
        *(("WEBP", mode) for mode in ("RGB", "RGBA")),
    ],
)
def test_every_colour_mode_shows_the_same_picture(format_: str, mode: str) -> None:
    image = Image.new("L", (64, 64), 255)
    image.paste(0, (0, 0, 32, 64))
    pixels = prepare(encoded(image.convert("RGB").convert(mode), format_), STRETCH)
    assert pixels[:, :14].max() < 25
    assert pixels[:, 18:].min() > 230


def ycck(image: Image.Image) -> bytes:
    """As Photoshop writes it: of the inverted colours the luma and chroma, with black beside them."""
    stored = [*ImageOps.invert(image).convert("YCbCr").split(), Image.new("L", image.size, 255)]
    cmyk = Image.merge("CMYK", [ImageOps.invert(band) for band in stored])  # Pillow inverts them again
    jpeg = bytearray(encoded(cmyk, "JPEG", quality=95))
    jpeg[jpeg.index(b"Adobe") + 11] = 2  # the transform: YCCK
    return bytes(jpeg)


def test_a_ycck_jpeg_shows_the_same_picture() -> None:
    data = ycck(halves())
    assert Image.open(io.BytesIO(data)).info["adobe_transform"] == 2
    pixels = prepare(data, STRETCH).astype(int)
    assert np.abs(pixels[:, :14] - (255, 0, 0)).max() < 6
    assert np.abs(pixels[:, 18:] - (0, 0, 255)).max() < 6


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    pixels = prepare(encoded(Image.fromarray(ramp)), STRETCH)
    assert np.array_equal(pixels[..., 0], (ramp >> 8).astype(np.uint8))


def test_hidden_colour_under_full_transparency_is_white() -> None:
    hidden = Image.new("RGBA", (32, 32), (10, 200, 30, 0))
    assert prepare(encoded(hidden), STRETCH).min() == 255


def test_a_transparent_palette_entry_is_white() -> None:
    palette = Image.new("P", (32, 32), 0)
    palette.putpalette([200, 10, 10])
    assert prepare(encoded(palette, transparency=0), STRETCH).min() == 255


@pytest.mark.parametrize(
    ("depth", "kind", "row", "colour"),
    [
        (1, 0, b"\x00" * 4, b"\0\0"),
        (2, 0, b"\x55" * 8, b"\0\1"),
        (4, 0, b"\x55" * 16, b"\0\5"),
        (8, 0, b"\5" * 32, b"\0\5"),
        (16, 0, b"\x12\x34" * 32, b"\x12\x34"),
        (8, 2, b"\1\2\3" * 32, b"\0\1\0\2\0\3"),
        (16, 2, b"\x12\x34" * 96, b"\x12\x34" * 3),
    ],
)
def test_a_pngs_transparent_colour_is_white_at_every_depth(
    depth: int, kind: int, row: bytes, colour: bytes
) -> None:
    def file(transparent: bytes) -> bytes:
        header = struct.pack(">IIBBBBB", 32, 32, depth, kind, 0, 0, 0)
        parts = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", zlib.compress((b"\0" + row) * 32))]
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in [*parts, (b"IEND", b"")])

    other = bytes([*colour[:-1], colour[-1] ^ 1]) if depth < 16 else bytes(len(colour))
    assert prepare(file(colour), STRETCH).min() == 255
    assert prepare(file(other), STRETCH).max() < 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("preprocessing", [STRETCH, CROP])
def test_exif_orientation_is_applied(orientation: int, preprocessing: Preprocessing) -> None:
    stored = halves(80, 64)
    stored.putpixel((0, 0), (0, 255, 0))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert (
        np.abs(
            prepare(data, preprocessing).astype(int) - prepare(encoded(upright), preprocessing).astype(int)
        ).max()
        <= 2
    )


def test_a_nonsense_orientation_or_a_corrupt_exif_block_is_ignored() -> None:
    upright = prepare(encoded(halves()), STRETCH)
    exif = Image.Exif()
    exif[0x0112] = 99
    assert np.array_equal(prepare(encoded(halves(), exif=exif), STRETCH), upright)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of it, which is right
        for block in (b"Exif\0\0" + b"\xff" * 64, b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0"):
            corrupt, plain = encoded(halves(), "JPEG", exif=block), encoded(halves(), "JPEG")
            assert np.array_equal(prepare(corrupt, STRETCH), prepare(plain, STRETCH))


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")]
    for format_ in ("PNG", "WEBP"):
        data = encoded(frames[0], format_, save_all=True, append_images=frames[1:])
        assert prepare(data, STRETCH)[0, 0, 0] > 250


@pytest.mark.parametrize(
    "magic", [b"GIF89a", b"BM", b"%PDF", b"II*\0", b"8BPS", b"%!PS", b"<svg", b"SIMPLE", b"", b"\0"]
)
def test_other_formats_are_refused_by_their_first_bytes(magic: bytes) -> None:
    with pytest.raises(UnsupportedImage):
        prepare(magic + bytes(256), STRETCH)


@pytest.mark.parametrize(
    ("width", "height"),
    [(100_000, 100_000), (13_300, 13_300), (9_400, 9_400), (5001, 5000), (1, 65_536), (65_536, 1)],
)
def test_too_many_pixels_or_too_long_a_side_are_refused_from_the_header(width: int, height: int) -> None:
    with pytest.raises(ImageTooLarge):
        inspect(png_header(width, height))


def test_as_many_pixels_as_allowed_are_accepted(make_image: ImageMaker) -> None:
    data = make_image(0, (40, 30))
    assert prepare(data, STRETCH, max_pixels=1200).shape == (32, 32, 3)
    with pytest.raises(ImageTooLarge):
        prepare(data, STRETCH, max_pixels=1199)


def test_a_jpeg_with_too_many_scans_is_refused_before_it_is_decoded(make_image: ImageMaker) -> None:
    progressive = encoded(Image.open(io.BytesIO(make_image(0, (64, 64)))), "JPEG", progressive=True)
    assert prepare(progressive, STRETCH).shape == (32, 32, 3)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    with pytest.raises(UndecodableImage, match="scans"):
        inspect(progressive[:-2] + scan * MAX_JPEG_SCANS + b"\xff\xd9")


def test_a_large_jpeg_may_have_fewer_scans_than_a_small_one() -> None:
    large = encoded(Image.new("L", (5000, 5000)), "JPEG", progressive=True)
    assert (inspect(large).width, inspect(large).height) == (5000, 5000)
    scan = large[large.rindex(b"\xff\xda") : -2]
    with pytest.raises(UndecodableImage, match="scans for its size"):
        inspect(large[:-2] + scan * 12 + b"\xff\xd9")


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_a_file_cut_anywhere_is_an_error_or_the_whole_picture(make_image: ImageMaker, format_: str) -> None:
    data = make_image(2, (48, 48), format_)
    whole = prepare(data, STRETCH)
    for length in range(len(data)):
        try:
            assert np.array_equal(prepare(data[:length], STRETCH), whole), length
        except ImageError:
            continue


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP"])
def test_bytes_after_the_image_are_ignored(make_image: ImageMaker, format_: str) -> None:
    data = make_image(2, (48, 48), format_)
    assert np.array_equal(prepare(data + b"PK\x03\x04 and more", STRETCH), prepare(data, STRETCH))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        prepare(data, STRETCH)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_image_is_pixels_or_an_image_error_and_says_nothing_of_the_decoder(
    make_image: ImageMaker, data: st.DataObject
) -> None:
    image = bytearray(make_image(7, (48, 48), data.draw(st.sampled_from(["PNG", "JPEG", "WEBP"]))))
    for _ in range(data.draw(st.integers(1, 8))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    try:
        outcome = str(prepare(bytes(image), STRETCH).shape)
    except ImageError as error:
        outcome = str(error)
    assert "0x" not in outcome


def by_pillow(data: bytes, preprocessing: Preprocessing) -> Pixels | None:
    """What Pillow alone makes of it; None for an error."""
    try:
        opened = Image.open(io.BytesIO(data), formats=("JPEG",))
        return decode(replace(inspect(data), opened=opened), preprocessing)
    except (ImageError, OSError, SyntaxError):
        return None


def by_us(data: bytes, preprocessing: Preprocessing) -> Pixels | None:
    try:
        return prepare(data, preprocessing)
    except ImageError:
        return None


def same(one: Pixels | None, other: Pixels | None) -> bool:
    return one is None if other is None else one is not None and np.array_equal(one, other)


SMALL_SIDE = st.integers(1, 100)


@settings(deadline=None)
@given(
    SMALL_SIDE,
    SMALL_SIDE,
    st.integers(0, 2),
    st.integers(1, 100),
    st.booleans(),
    st.sampled_from([STRETCH, CROP]),
)
def test_a_small_jpeg_has_the_pixels_that_pillow_gives_it(
    width: int, height: int, subsampling: int, quality: int, progressive: bool, preprocessing: Preprocessing
) -> None:
    noise = np.random.default_rng(width * 100 + height).integers(0, 256, (height, width, 3), np.uint8)
    data = encoded(
        Image.fromarray(noise), "JPEG", subsampling=subsampling, quality=quality, progressive=progressive
    )
    assert same(by_us(data, preprocessing), by_pillow(data, preprocessing))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(0, 255))
@example(757, 0, 0xFE)  # which makes a comment of the middle of the scan
def test_pillow_decides_about_a_small_jpeg_that_is_damaged(at: int, end: int, byte: int) -> None:
    whole = (SAMPLES / "cat-32.jpg").read_bytes()
    damaged = bytearray(whole)
    damaged[at % len(whole)] = byte
    for data in (bytes(damaged), whole[: end % len(whole)]):
        assert same(by_us(data, STRETCH), by_pillow(data, STRETCH))


def test_the_orientation_of_a_small_jpeg_counts() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = prepare(encoded(halves(32, 32), "JPEG", exif=exif), STRETCH)
    assert turned[0, 16, 0] > 200 > turned[-1, 16, 0]


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_metadata_is_not_inflated_or_parsed(make_image: ImageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile of 1 KB inflates to 1 MB; 4,000 of them held the event loop for ten seconds."""

    def forbidden(*_: object) -> bytes:
        raise AssertionError

    monkeypatch.setattr(PngImagePlugin, "_safe_zlib_decompress", forbidden)
    monkeypatch.setattr(TiffImagePlugin.ImageFileDirectory_v2, "load", forbidden)
    png, jpeg = make_image(3, (48, 48)), make_image(3, (48, 48), "JPEG")
    text = b"a\0\0" + zlib.compress(bytes(1_000_000))
    exif = turned().tobytes()
    mpf = b"\xff\xe2" + struct.pack(">H", len(exif) + 6) + b"MPF\0" + exif
    bomb = png[:33] + (chunk(b"iCCP", text) + chunk(b"zTXt", text)) * 10 + png[33:]
    assert np.array_equal(prepare(bomb, STRETCH), prepare(png, STRETCH))
    assert np.array_equal(prepare(jpeg[:2] + mpf + jpeg[2:], STRETCH), prepare(jpeg, STRETCH))


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1"])
def test_a_large_image_in_strips_is_the_same_picture(mode: str) -> None:
    """Held against Pillow's conversion of the whole; the last strip is a short one."""
    noise = Image.effect_noise((999, 1111), 80).convert("RGBA")
    noise.putalpha(noise.getchannel("R"))
    image = noise.convert(mode)
    whole = image.convert("RGBA") if image.has_transparency_data else image.convert("RGB")
    if whole.mode == "RGBA":
        whole = Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
    assert np.array_equal(prepare(encoded(image), STRETCH), prepare(encoded(whole), STRETCH))
