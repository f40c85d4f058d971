"""The files of a form, whatever it holds."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import MalformedRequest
from service.multipart import MAX_HEAD_BYTES, MAX_PARTS, FormFile, form_files
from tests.live import multipart

FORM = "multipart/form-data; boundary=b"
HEAD = b'Content-Disposition: form-data; name="file"; filename="a.jpg"\r\n'
FILE = b"--b\r\n" + HEAD + b"\r\n%s\r\n"
FIELD = b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\n%s\r\n'
END = b"--b--\r\n"
BOUNDARY = "----test-boundary"


@given(st.lists(st.tuples(st.sampled_from(["file", "image", "übrig"]), st.binary()), max_size=8))
def test_every_file_comes_out_as_it_went_in_and_in_its_order(files: list[tuple[str, bytes]]) -> None:
    files = [(field, content) for field, content in files if BOUNDARY.encode() not in content]
    body, headers = multipart(*files, boundary=BOUNDARY)
    assert form_files(headers["Content-Type"], body, 8) == files


@given(st.binary(), st.sampled_from([FORM, "multipart/form-data", "multipart/form-data; boundary=", ""]))
def test_any_other_bytes_are_files_or_a_malformed_request(body: bytes, content_type: str) -> None:
    for each in (body, FILE[:-4] + body + END, b"--b\r\n" + body + END):
        with contextlib.suppress(MalformedRequest):
            assert all(isinstance(file, FormFile) for file in form_files(content_type, each, 8))


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, FILE % b"x" + END),
        (FORM, b"a preamble\r\n" + FILE % b"x" + END + b"an epilogue"),
        (FORM, FILE % b"x" + b"--b--"),
        (FORM, FILE % b"x" + END + FILE % b"y" + END),
        (FORM, (FILE % b"x").replace(b"--b\r", b"--b \t\r") + END),
        (FORM, (FILE % b"x").replace(HEAD, b"content-type: image/jpeg\r\n" + HEAD.swapcase()) + END),
        (FORM, FIELD % b"text" + FILE % b"x" + FIELD % b"more" + END),
        ('Multipart/Form-Data; charset=punycode; boundary="b"', FILE % b"x" + END),
        (FORM, (FILE % b"x").replace(b'"a.jpg"', b"a.jpg") + END),
        (FORM, (FILE % b"x").replace(b'filename="a.jpg"', b"filename*=UTF-8''a%20b.jpg") + END),
        (FORM, (FILE % b"x").replace(b"a.jpg", b"\xff\xfe") + END),
        (FORM, (FILE % b"x").replace(b"a.jpg", b"") + END),
        (FORM, (FILE % b"x").replace(b"form-data", b"attachment") + END),
        (FORM, FIELD % b"x" * (MAX_PARTS - 1) + FILE % b"x" + END),
        *[
            (FORM, (FILE % b"x").replace(b'filename="a.jpg"', name) + END)
            for name in (
                b'filename="b\\"',
                b'filename="a \\"b\\".jpg"',
                b"filename=(1).jpg",
                b"filename=/tmp/b.jpg",
                b"filename=\xe9.jpg",
                b'filename = "b.jpg"',
                b"filename=",
                b'\r\n filename="folded.jpg"',
            )
        ],
        *[
            (f"multipart/form-data; boundary={written}", (FILE % b"x" + END).replace(b"--b", b"--" + sent))
            for written, sent in (
                ("===1388735642123===", b"===1388735642123==="),
                ("----=_Part_1_2.3", b"----=_Part_1_2.3"),
                (" abc ; charset=utf-8", b"abc"),
                ('"a b:?/(c)"', b"a b:?/(c)"),
                ("a%22b", b"a%22b"),
                ("\xe9", b"\xe9"),
            )
        ],
    ],
)
def test_what_clients_send_around_a_file_is_no_part_of_it(content_type: str, body: bytes) -> None:
    (file,) = form_files(content_type, body, 1)
    assert file.content == b"x"
    assert file.field.lower() == "file"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", FILE % b"x" + END),
        ("multipart/form-data; boundary=" + 257 * "b", FILE % b"x" + END),
        ("application/x-www-form-urlencoded; boundary=b", FILE % b"x" + END),
        (FORM, b""),
        (FORM, b"no parts here"),
        (FORM, FILE % b"x"),
        (FORM, FILE % b"x" + FILE % b"y" + b"--b-"),
        (FORM, (FILE % b"x" + END).replace(b"\r\n", b"\n")),
        (FORM, b"--b\r\n\r\nx\r\n" + END),
        (FORM, (FILE % b"x").replace(HEAD, HEAD + b"A: b\r\n" * (MAX_HEAD_BYTES // 6)) + END),
        (FORM, (FILE % b"x").replace(b"--b\r", b"--bc\r") + END),
        (FORM, FILE % (b"x\r\n--bX" * 100_000) + END),
        (FORM, FILE % b"x" * 3 + END),
        (FORM, FIELD % b"x" * MAX_PARTS + FILE % b"x" + END),
    ],
)
def test_a_form_that_could_be_read_in_two_ways_or_has_no_end_is_refused(
    content_type: str, body: bytes
) -> None:
    with pytest.raises(MalformedRequest):
        form_files(content_type, body, 2)


def test_a_file_of_no_bytes_may_be_without_a_line_break_of_its_own() -> None:
    body = b"--b\r\n" + HEAD + b"\r\n" + END
    assert form_files(FORM, body, 1) == [FormFile("file", b"")]
