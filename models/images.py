"""Encoded image -> uint8 pixels at the network's input size.

This is the only evaluation preprocessing in the project: the service calls it for every request and
`train` evaluates through it, so offline accuracy is the accuracy served.

Rules, all part of preprocessing version 1:

* JPEG, PNG and WebP, told by their first bytes and never by a name; the first frame of an animation.
* JPEG is decoded at the smallest of libjpeg's scales that is not below the target size.
* Transparency is composited on white; 16-bit grey keeps its high byte; CMYK becomes RGB.
* EXIF orientation is applied; a corrupt EXIF block is ignored, and so is all other metadata.
* Every pixel must be there: a truncated file is an error, while bytes after the image are ignored.

Pillow decides all of this. Small plain JPEGs go through simplejpeg first, which is the same libjpeg-turbo in
a sixth of the time, and come to Pillow where it finds the least fault with them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from models.container import Format, contents, image_format
from models.errors import ImageError, ImageTooLarge, UndecodableImage
from models.exif import orientation

Pixels = NDArray[np.uint8]

DEFAULT_MAX_PIXELS = 25_000_000
# JPEG's own limit. A PNG of one column took 36 bytes a row in row pointers and coefficients: 0.9 GB.
MAX_SIDE = 65_535
# An ordinary progressive JPEG has about ten scans; 5,000 scans in 106 KB cost 12 s of CPU (LJT-01-003).
MAX_JPEG_SCANS = 64
MAX_SCANNED_PIXELS = 12 * DEFAULT_MAX_PIXELS
# Up to here Pillow's parsing of headers in Python takes longer than the pixels. Above, it gains from a
# second core, since it lets go of the interpreter lock, which simplejpeg holds.
SMALL_PIXELS = 96 * 96
# torchvision's evaluation preset for ImageNet: short side to 256, centre 224 (references/classification).
CROP_FRACTION = 224 / 256

# Our own cap comes first and is lower; Pillow's would warn, and remember every size it warned of.
Image.MAX_IMAGE_PIXELS = None
_IHDR_AT = 12  # in a PNG, behind the signature and the chunk's length; width, height and depth follow
# A few milliseconds of one core.
_STRIP_PIXELS = 500_000

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Preprocessing(BaseModel):
    """How an image reaches the network's input size; stored in the model's `model.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    size: int = Field(ge=8, le=1024, description="side of the square input, in pixels")
    resize: Literal["stretch", "crop"] = Field(
        description="stretch: to the square, aspect lost; crop: short side to size/0.875, then the centre"
    )


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image that has passed `inspect` and is not decoded yet; its size tells what decoding will cost.

    `data` is the file without its metadata.
    """

    data: bytes
    format: Format
    width: int
    height: int
    exif: bytes
    opened: Image.Image | None  # None for a small plain JPEG

    @property
    def small(self) -> bool:
        """Whether decoding costs less than a hop to another thread."""
        return self.width * self.height <= SMALL_PIXELS and len(self.data) <= 8 * SMALL_PIXELS


def prepare(data: bytes, preprocessing: Preprocessing, max_pixels: int = DEFAULT_MAX_PIXELS) -> Pixels:
    """Encoded image -> uint8 RGB (size, size, 3), in one step; raises ImageError."""
    return decode(inspect(data, max_pixels), preprocessing)


def inspect(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Encoded:
    """Read the header alone, so that a hostile image is refused before any pixel is decoded.

    Raises UnsupportedImage, UndecodableImage or ImageTooLarge.
    """
    format_ = image_format(data)
    picture, scans, exif, plain_size = contents(data, format_)
    encoded = Encoded(picture, format_, *(plain_size or (0, 0)), exif, None)
    if not (plain_size and encoded.small):
        opened = _open(picture, format_)
        encoded = Encoded(picture, format_, opened.width, opened.height, exif, opened)
    pixels = encoded.width * encoded.height
    if pixels > max_pixels:
        raise ImageTooLarge(f"the image has more than {max_pixels:,} pixels")
    if max(encoded.width, encoded.height) > MAX_SIDE:
        raise ImageTooLarge(f"a side of the image is longer than {MAX_SIDE:,} pixels")
    if scans > MAX_JPEG_SCANS or scans * pixels > MAX_SCANNED_PIXELS:
        raise UndecodableImage("the JPEG has too many scans for its size")
    return encoded


def decode(encoded: Encoded, preprocessing: Preprocessing) -> Pixels:
    """Decode what `inspect` returned and bring it to `preprocessing.size`: uint8 RGB (size, size, 3).

    Raises UndecodableImage.
    """
    if encoded.opened is None and (pixels := _decode_small(encoded, preprocessing)) is not None:
        return pixels
    image = encoded.opened or _open(encoded.data, encoded.format)
    with _decoder_errors(encoded.format):
        short_side = _short_side(preprocessing)
        image.draft("RGB", (short_side, short_side))
        image.load()
        if encoded.data[_IHDR_AT : _IHDR_AT + 4] == b"IHDR":
            _mend_transparent_colour(image, depth=encoded.data[_IHDR_AT + 12])
        resized = _resize(_to_rgb(image), preprocessing)
        turn = _UPRIGHT.get(orientation(encoded.exif or image.info.get("exif", b"")))
        return np.asarray(resized.transpose(turn) if turn is not None else resized)


def _open(data: bytes, format_: Format) -> Image.Image:
    with _decoder_errors(format_):
        return Image.open(io.BytesIO(data), formats=(format_,))


def _decode_small(encoded: Encoded, preprocessing: Preprocessing) -> Pixels | None:
    """None where Pillow would decode at a smaller scale, and for whatever is not quite right."""
    if min(encoded.width, encoded.height) >= 2 * _short_side(preprocessing):
        return None
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(encoded.data, strict=True)
    except ValueError:  # what libjpeg only warns of, too
        return None
    if preprocessing.resize == "stretch" and pixels.shape[:2] == (preprocessing.size, preprocessing.size):
        return pixels
    return np.asarray(_resize(Image.fromarray(pixels), preprocessing))


@contextmanager
def _decoder_errors(format_: Format) -> Iterator[None]:
    """Pillow's many exceptions -> ours, without its text."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # the plugins raise half a dozen types on broken files
        raise UndecodableImage(f"the {format_} image is broken or incomplete") from error


def _short_side(preprocessing: Preprocessing) -> int:
    if preprocessing.resize == "stretch":
        return preprocessing.size
    return round(preprocessing.size / CROP_FRACTION)


def _mend_transparent_colour(image: Image.Image, depth: int) -> None:
    """Pillow has pixels of 8 bits, and the one colour that a PNG calls transparent in the file's own.

    Of 16 bits a colour the low ones are gone, so that its next neighbours are transparent too.
    """
    colour = image.info.get("transparency")
    if image.mode == "L" and isinstance(colour, int) and depth < 8:
        image.info["transparency"] = colour * 255 // (2**depth - 1)
    elif image.mode == "RGB" and isinstance(colour, tuple) and depth == 16:
        image.info["transparency"] = tuple(part >> 8 for part in colour)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Strip by strip: Pillow converts with the interpreter lock held, and copies what it converts."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    rgb = Image.new("RGB", image.size)
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        rgb.paste(_strip_to_rgb(strip), (0, top))
    return rgb


def _strip_to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        grey = np.asarray(image)
        white = grey == image.info.get("transparency")
        return Image.fromarray(np.where(white, 255, grey >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), with_alpha).convert("RGB")
    return image.convert("RGB")


def _resize(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    size = preprocessing.size
    if preprocessing.resize == "stretch":
        box = (0.0, 0.0, float(image.width), float(image.height))
    else:
        # Resampling the centre box alone equals resizing the whole and cropping, for less work.
        side = min(image.size) * CROP_FRACTION
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)
