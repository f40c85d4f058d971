"""The files of a form, for the native and the Flask routes alike.

The body is in memory and bounded when it comes here, so its delimiters can be searched for as they are.
Parsers made for streams cost more than the image on this path, and some forms held the event loop for
seconds: they compile patterns of each new boundary, look up whatever charset a header names, and make an
object of each of 100,000 header lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from werkzeug.http import parse_options_header

from service.errors import MalformedRequest

MAX_BOUNDARY_BYTES = 256  # RFC 2046 has 70
MAX_HEAD_BYTES = 8192  # of one part
MAX_OTHER_PARTS = 16  # fields of text, which say nothing here


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
    boundary = parse_options_header(content_type)[1].get("boundary", "").encode("utf-8", "replace")
    if not is_form(content_type) or not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise MalformedRequest("the body is not a multipart form with a boundary")
    # The first delimiter may be the very beginning; what stands before it or after the last one is no part.
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary, max_files + MAX_OTHER_PARTS + 2)
    if not parts or not parts[-1].startswith(b"--"):
        raise MalformedRequest("the multipart body has no end, or too many parts")
    files = list(_files(parts[:-1]))
    if len(files) > max_files:
        raise MalformedRequest(f"more than {max_files} images in one request")
    return files


def _files(parts: list[bytes]) -> Iterator[FormFile]:
    for part in parts:
        rest_of_line, _, part_body = part.partition(b"\r\n")
        end = part_body.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
        if rest_of_line.strip(b" \t") or end < 0:
            raise MalformedRequest("a part of the multipart body has no head, or too large a one")
        disposition = _disposition(part_body[:end])
        if "filename" in disposition:
            yield FormFile(disposition.get("name", ""), part_body[end + 4 :])


def _disposition(head: bytes) -> dict[str, str]:
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            kind, parameters = parse_options_header(value)
            if kind.lower() == "form-data":
                return parameters
    raise MalformedRequest("a part of the multipart body is no part of a form")
