"""The files of a form, for the native and the Flask routes alike.

The body is in memory and bounded when it comes here, so its delimiters can be searched for as they are.
Parsers made for streams cost more than the image on this path, and some forms held the event loop for
seconds: they compile patterns of each new boundary, look up whatever charset a header names, and make an
object of each of 100,000 header lines.

What clients write in these headers is not always what RFC 9110 has: boundaries such as `==1==` without
quotes, file names with brackets or a backslash at their end. Of a part only its field's name counts, and
whether it has a file name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from service.errors import MalformedRequest

MAX_BOUNDARY_BYTES = 256  # RFC 2046 has 70
MAX_HEAD_BYTES = 8192  # of one part
MAX_PARTS = 1000  # as Flask has it

_BOUNDARY = re.compile(r';[ \t]*boundary[ \t]*=[ \t]*(?:"([^"]+)"|([^";\s]+))', re.IGNORECASE)
# A line that begins with a blank goes on with the one before.
_DISPOSITION = re.compile(rb"^content-disposition[ \t]*:(.*(?:\n[ \t].*)*)", re.IGNORECASE | re.MULTILINE)
_NAME = re.compile(rb';\s*name\s*=\s*(?:"([^"]*)"|([^";\s]*))', re.IGNORECASE)
_FILE_NAME = re.compile(rb";\s*filename\*?\s*=", re.IGNORECASE)


class FormFile(NamedTuple):
    """`field` is the name of the form's field; "" where it has none."""

    field: str
    content: bytes


def is_form(content_type: str) -> bool:
    """Whether this Content-Type is that of a multipart form."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def form_files(content_type: str, body: bytes, max_files: int) -> list[FormFile]:
    """The parts of a multipart/form-data body that have a file name (RFC 7578), in order.

    Raises MalformedRequest for what is no such body (RFC 2046, 5.1.1, with CRLF line breaks), has no end, or
    has too many parts.
    """
    boundary = _BOUNDARY.search(content_type)
    if not is_form(content_type) or boundary is None:
        raise MalformedRequest("the body is not a multipart form with a boundary")
    delimiter = b"\r\n--" + (boundary[1] or boundary[2]).encode("latin-1", "replace")
    if len(delimiter) > MAX_BOUNDARY_BYTES:
        raise MalformedRequest("the multipart boundary is too long")
    files = [file for start, end in _parts(body, delimiter) if (file := _file(body, start, end))]
    if len(files) > max_files:
        raise MalformedRequest(f"more than {max_files} images in one request")
    return files


def _parts(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int]]:
    """From behind one delimiter to the next. What stands before the first and behind the last is no part."""
    # The line break before the first may be missing.
    end = -len(b"\r\n") if body.startswith(delimiter[2:]) else body.find(delimiter)
    for _ in range(MAX_PARTS + 1):
        if end == -1:
            break
        start = end + len(delimiter)
        if body.startswith(b"--", start):
            return
        end = body.find(delimiter, start)
        if end != -1:
            yield start, end
    raise MalformedRequest("the multipart body has no end, or too many parts")


def _file(body: bytes, start: int, end: int) -> FormFile | None:
    """None of a part without a file name."""
    at_most = min(start + MAX_HEAD_BYTES, end + 2)
    head = body.find(b"\r\n", start, at_most)
    blank = body.find(b"\r\n\r\n", head, at_most)
    if head < 0 or blank < 0 or body[start:head].strip(b" \t"):
        raise MalformedRequest("a part of the multipart body has no head, or too large a one")
    found = _DISPOSITION.search(body[head + 2 : blank])
    if found is None:
        raise MalformedRequest("a part of the multipart body does not say what it is")
    if not _FILE_NAME.search(found[1]):
        return None
    name = _NAME.search(found[1])
    field = (name[1] or name[2] or b"").decode("utf-8", "replace") if name else ""
    return FormFile(field, body[blank + 4 : end])
