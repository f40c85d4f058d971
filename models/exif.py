"""The one thing in an EXIF block that changes the picture: which way up it is.

Read here rather than by Pillow, which makes objects of every value in the block, as many as the file says.
"""

from __future__ import annotations

import struct

UPRIGHT = 1

_ORIENTATION_TAG = 0x0112
_BYTE_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_TYPES = {3: "H", 4: "I"}  # SHORT, and the LONG that some cameras write
_ENTRY_BYTES = 12
_MAX_ENTRIES = 1000  # cameras write dozens


def orientation(exif: bytes) -> int:
    """1 to 8, as EXIF 2.32 defines them; UPRIGHT where the block is absent, corrupt or says nothing."""
    block = exif.removeprefix(b"Exif\0\0")
    order = _BYTE_ORDERS.get(block[:4])
    if order is None:
        return UPRIGHT
    try:
        return _in_first_directory(block, order)
    except struct.error:  # an offset that points outside
        return UPRIGHT


def _in_first_directory(block: bytes, order: str) -> int:
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, start)
    for index in range(min(count, _MAX_ENTRIES)):
        position = start + 2 + _ENTRY_BYTES * index
        tag, kind = struct.unpack_from(f"{order}HH", block, position)
        if tag == _ORIENTATION_TAG and kind in _TYPES:
            (value,) = struct.unpack_from(order + _TYPES[kind], block, position + 8)
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT
