"""The images that a person chose, and small copies of them to show."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from PIL import Image, ImageOps

Source = tuple[str, str]  # what a picture is known by, and its name
SIDE_PX = 480
MAX_PIXELS = 25_000_000
# Installed with the package; where one was left out, the page does not offer it.
SAMPLES = Path(__file__).parent.parent / "loadtest" / "samples"


@dataclass(frozen=True)
class Picture:
    """An encoded image, as it was chosen, and the name that it had."""

    name: str
    content: bytes = field(repr=False)

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class Gallery:
    """The pictures of one session. Each is read and hashed once, however often the page is drawn."""

    def __init__(self) -> None:
        self._known: dict[Source, Picture] = {}

    def of(self, chosen: Mapping[Source, Callable[[], bytes]]) -> list[Picture]:
        """Reads those that are new, and forgets the ones that are gone."""
        self._known = {
            source: self._known.get(source) or Picture(source[1], read()) for source, read in chosen.items()
        }
        return list(self._known.values())


def thumbnail(content: bytes) -> bytes | None:
    """A small copy as JPEG or PNG, upright; None where Pillow cannot read what the service could.

    For images that the service has answered, and so has checked: decoding others may cost any time.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, about files that are slightly off
            return _thumbnail(content)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _thumbnail(content: bytes) -> bytes | None:
    with Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "WEBP")) as image:
        if image.width * image.height > MAX_PIXELS:
            return None
        image.draft("RGB", (SIDE_PX, SIDE_PX))
        small = ImageOps.exif_transpose(image).convert("RGBA" if image.has_transparency_data else "RGB")
    small.thumbnail((SIDE_PX, SIDE_PX))
    buffer = io.BytesIO()
    small.save(buffer, "PNG" if small.mode == "RGBA" or max(small.size) <= 64 else "JPEG", quality=88)
    return buffer.getvalue()


def samples() -> dict[str, Path]:
    """Name -> file, of those that are there."""
    files = {name: SAMPLES / f"{name}.jpg" for name in ("cat", "coffee", "rocket", "bottle")}
    return {name: path for name, path in files.items() if path.is_file()}
