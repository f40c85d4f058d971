"""Which way up: what cameras write is read, and nothing that is written can do harm."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.exif import UPRIGHT, orientation

SHORT, LONG = 3, 4


def block(order: str, kind: int, value: int, count: int = 1) -> bytes:
    """A directory of one other tag and the orientation."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    stored = struct.pack(f"{order}{'H' if kind == SHORT else 'I'}", value).ljust(4, b"\0")
    other = struct.pack(f"{order}HHII", 0x010F, 2, 1, 0)
    entry = struct.pack(f"{order}HHI", 0x0112, kind, count) + stored
    return start + struct.pack(f"{order}IH", 8, 2) + other + entry


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [SHORT, LONG])
def test_the_orientation_is_read_in_either_byte_order(order: str, kind: int) -> None:
    for value in range(1, 9):
        assert orientation(block(order, kind, value)) == value
        assert orientation(b"Exif\0\0" + block(order, kind, value)) == value


def test_a_block_that_pillow_writes_is_read() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert orientation(exif.tobytes()) == 6


def test_without_a_sensible_orientation_a_picture_is_upright() -> None:
    for exif in (b"", b"Exif\0\0", b"II*\0", b"II*\0\xff\xff\xff\xff", block("<", SHORT, 99), b"XX*\0" * 9):
        assert orientation(exif) == UPRIGHT


@given(st.binary(max_size=200), st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b""]))
def test_any_bytes_say_which_way_up(data: bytes, start: bytes) -> None:
    assert 1 <= orientation(start + data) <= 8
