"""Many small pictures on one page, each with a line or two of words below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

TILE_PX = 144
_LINE_PX = 12


@dataclass(frozen=True)
class Tile:
    """A picture of any size, and what is said of it; a new line for each `\\n`."""

    picture: Image.Image
    words: str


def contact_sheet(tiles: Sequence[Tile], columns: int = 8) -> Image.Image:
    """The tiles in rows; one blank tile where there are none."""
    lines = max((tile.words.count("\n") + 1 for tile in tiles), default=1)
    height = TILE_PX + lines * _LINE_PX + 6
    rows = max(1, -(-len(tiles) // columns))
    page = Image.new("RGB", (columns * (TILE_PX + 4), rows * height), "white")
    draw = ImageDraw.Draw(page)
    for number, tile in enumerate(tiles):
        x, y = number % columns * (TILE_PX + 4), number // columns * height
        scale = TILE_PX / max(tile.picture.size)
        size = round(tile.picture.width * scale), round(tile.picture.height * scale)
        page.paste(tile.picture.resize(size, Image.Resampling.BICUBIC), (x, y))
        draw.multiline_text((x + 2, y + TILE_PX + 1), tile.words, fill="black", spacing=1)
    return page
