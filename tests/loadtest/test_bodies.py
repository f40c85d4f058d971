"""The bodies are what a web framework reads back."""

from __future__ import annotations

import io

from werkzeug.formparser import parse_form_data

from loadtest import bodies
from loadtest.images import EncodedImage

CAT = EncodedImage("animals/cat.jpg", b"\xff\xd8\r\n--cat\r\n")
DOG = EncodedImage("animals/dog.png", b"\x89PNGdog")


def test_a_raw_body_is_the_file() -> None:
    body = bodies.raw(CAT)
    assert (body.content_type, body.data) == ("image/jpeg", CAT.data)


def test_a_form_carries_every_file_whole_and_in_order() -> None:
    body = bodies.multipart([CAT, DOG], "image")
    environ = {
        "wsgi.input": io.BytesIO(body.data),
        "CONTENT_LENGTH": str(len(body.data)),
        "CONTENT_TYPE": body.content_type,
        "REQUEST_METHOD": "POST",
    }
    _, fields, files = parse_form_data(environ)
    parts = []
    for file in files.getlist("image"):
        with file.stream as content:
            parts.append((file.filename, file.mimetype, content.read()))
    assert parts == [("cat.jpg", "image/jpeg", CAT.data), ("dog.png", "image/png", DOG.data)]
    assert not fields
