"""Rows 15 to 34: requests that no client should send, on raw sockets."""

from __future__ import annotations

import json

from tests.live import multipart, until_closed
from tests.torture.client import answers, connected, head, post, statuses
from tests.torture.faults import Group
from tests.torture.health import GOLDEN
from tests.torture.subject import FLASK, MODEL, NATIVE, TOKEN, V2, Subject

GROUP = Group()
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
SLOW_CHARSET = {"Content-Type": "multipart/form-data; boundary=b; charset=punycode"}
PUNYCODE = "\U00010000".encode("punycode") + b"a" * 500_000  # its decoder takes quadratic time
CLOSE = {"Connection": "close"}
CPU_SECONDS = 1.0


def _each(subject: Subject, requests: dict[str, bytes], allowed: set[int]) -> str:
    """One answer for each, of an allowed status, for a bounded cost."""
    seen = {}
    for name, request in requests.items():
        cpu = subject.cpu_seconds()
        seen[name] = got = statuses(subject, request)
        seconds = subject.cpu_seconds() - cpu
        assert len(got) == 1, f"{name}: {got}"
        assert got[0] in allowed, f"{name}: {got[0]}"
        assert seconds < CPU_SECONDS, f"{name}: {seconds:.1f} s of CPU"
    return ", ".join(f"{name} {got[0]}" for name, got in seen.items())


def _both(name: str, body: bytes, headers: dict[str, str]) -> dict[str, bytes]:
    return {f"{name} {path}": post(path, body, {**headers, **CLOSE}) for path in (NATIVE, FLASK)}


def _file(field: str = "file", content: bytes = b"x") -> bytes:
    start = f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="a"\r\n\r\n'
    return start.encode() + content + b"\r\n"


def _field(content: bytes) -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="a-"\r\n\r\n' + content + b"\r\n"


@GROUP.fault(15, "empty body, empty file, no file, 1,001 fields", "400 or 413")
def _(subject: Subject) -> str:
    text = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    requests = {
        **_both("empty body", b"", {}),
        **_both("empty file", _file(content=b"") + b"--b--\r\n", FORM),
        **_both("no file", text + b"--b--\r\n", FORM),
        **_both("1,001 fields", text * 1001 + b"--b--\r\n", FORM),
    }
    return _each(subject, requests, {400, 413})


@GROUP.fault(16, "multipart built to cost: boundaries, headers, parts, preamble", "4xx or 200, < 1 s of CPU")
def _(subject: Subject) -> str:
    end, size = b"--b--\r\n", 9_000_000
    requests = {
        **_both("no boundary", _file() + end, {"Content-Type": "multipart/form-data"}),
        **_both(
            "260-byte boundary", _file() + end, {"Content-Type": f"multipart/form-data; boundary={'b' * 260}"}
        ),
        **_both("no end", _file(), FORM),
        **_both("50,000 part headers", _file()[:-5] + b"A: b\r\n" * 50_000 + b"\r\nx\r\n" + end, FORM),
        **_both("15,000 parts", _file() * 15_000 + end, FORM),
        **_both("preamble", b"x" * 1_000_000 + b"\r\n" + _file() + end, FORM),
        **_both("epilogue", _file() + end + b"\r\n" * 500_000, FORM),
        **_both("nested", _file(content=_file() * 100) + end, FORM),
        **_both("nearly boundaries", _file(content=b"\r\n--" * (size // 4)) + end, FORM),
        **_both("false delimiters", _file(content=b"\r\n--bX" * (size // 6)) + end, FORM),
        **_both("a header of 9 MB", _file("f" * size) + end, FORM),
        **_both("heads of 400 KB", _file()[:-5] + b"A:b\n" * 100_000 + b"\r\n\r\nx\r\n" + end, FORM),
        **_both("heads of quotes", (_file(b'\\"'.decode() * 4000) * 1270)[:size] + end, FORM),
        **_both("a slow charset", _field(PUNYCODE) + _file() + end, SLOW_CHARSET),
        **_both("9 MB of another form's fields", b"a&" * (size // 2), URLENCODED),
    }
    return _each(subject, requests, {200, 400, 413, 415, 422})


@GROUP.fault(17, "JSON: bad base64, data: URL, depth 10,000, a key twice, NaN, 9 MB of commas", "400")
def _(subject: Subject) -> str:
    documents = {
        "bad base64": b'{"image": "%%%"}',
        "data URL": b'{"image": "data:image/png;base64,AAAA"}',
        "depth": b'{"image": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "twice": b'{"image": "AAAA", "image": "AAAA"}',
        "NaN": b'{"image": NaN}',
        "commas": b'{"images": [' + b"0," * 4_500_000 + b"0]}",
    }
    v2 = {
        "v2 depth": b'{"inputs": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "v2 twice": b'{"inputs": [], "inputs": []}',
        "v2 NaN": b'{"inputs": [{"name": "image", "shape": [NaN], "datatype": "BYTES", "data": []}]}',
    }
    requests = {name: post(NATIVE, body, {**JSON, **CLOSE}) for name, body in documents.items()}
    requests |= {name: post(V2, body, {**JSON, **CLOSE}) for name, body in v2.items()}
    return _each(subject, requests, {400})


@GROUP.fault(18, "a Content-Length of 100 MB and of 10^30", "413 before any body; closed")
def _(subject: Subject) -> str:
    lengths = (100_000_000, 10**18)
    paths = (NATIVE, FLASK, V2)
    requests = {f"{n} {path}": head(path, f"Content-Length: {n}") for n in lengths for path in paths}
    return _each(subject, requests, {413})


@GROUP.fault(20, "a compressed body", "415")
def _(subject: Subject) -> str:
    paths = (NATIVE, FLASK, V2)
    gzip = {"Content-Encoding": "gzip", **CLOSE}
    return _each(subject, {path: post(path, b"\x1f\x8b" + bytes(100), gzip) for path in paths}, {415})


@GROUP.fault(25, "requests of two meanings, and half of a smuggled one", "400, never two answers")
def _(subject: Subject) -> str:
    hidden = b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n"
    chunked = "Transfer-Encoding: chunked"
    requests = {
        "CL + TE": head(NATIVE, f"Content-Length: {len(hidden) + 5}", chunked) + b"0\r\n\r\n" + hidden,
        "two CL": head(NATIVE, "Content-Length: 0", f"Content-Length: {len(hidden)}") + hidden,
        "TE xchunked": head(NATIVE, "Transfer-Encoding: xchunked") + hidden,
        "TE twice": head(NATIVE, chunked, "Transfer-Encoding: identity") + hidden,
        "TE in HTTP/1.0": head(NATIVE, chunked).replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n",
        "bare LF": b"POST / HTTP/1.1\nHost: test\nContent-Length: 0\n\n" + hidden,
        "folded": head("/", "A: b", " c"),
        "two Host": head("/", "Host: other", method="GET"),
        "no Host": b"GET / HTTP/1.1\r\n\r\n",
        "NUL in path": head("/\0", method="GET"),
        "space before colon": head("/", "A : b", method="GET"),
        "CL +5": head(NATIVE, "Content-Length: +5") + b"abcde",
        "CL -1": head(NATIVE, "Content-Length: -1"),
        "chunk of size -1": head(NATIVE, chunked) + b"-1\r\n\r\n",
        "chunk of size 2^64": head(NATIVE, chunked) + b"10000000000000000\r\n",
    }
    return _each(subject, requests, {400})


@GROUP.fault(27, "methods and paths", "200, 404 or 405, as documented; never 5xx")
def _(subject: Subject) -> str:
    methods = ("HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "PROPFIND")
    paths: tuple[str, ...] = (
        "/",
        "//",
        "/healthz/",
        "/HEALTHZ",
        "/%2e%2e/healthz",
        "/v1/models/%00",
        f"/v1/models/{MODEL}/",
    )
    paths += ("/v1/models/..%2f..", f"{NATIVE}/", f"/{FLASK}", "/%ff", "/v1/models/" + "a" * 8000, "/\xff")
    requests = {
        **{f"{m} {p}": head(p, "Connection: close", method=m) for m in methods for p in (NATIVE, FLASK, V2)},
        **{f"GET {path[:20]!a}": head(path, "Connection: close", method="GET") for path in paths},
        "absolute form": head("http://evil/healthz", "Connection: close", method="GET"),
        "CONNECT": head("evil:80", "Connection: close", method="CONNECT"),
        "CONNECT path": head("/healthz", "Connection: close", method="CONNECT"),
        "*": head("*", "Connection: close", method="OPTIONS"),
        "unknown method": head("/", "Connection: close", method="FETCH"),
        "lower case": head("/", "Connection: close", method="get"),
        "HTTP/2.0": head("/", method="GET").replace(b"HTTP/1.1", b"HTTP/2.0"),
        "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    }
    seen = _bodiless(subject, requests)
    assert all(status in {200, 400, 404, 405, 431} for status in seen.values()), seen
    counts = {status: list(seen.values()).count(status) for status in sorted(set(seen.values()))}
    return ", ".join(f"{count} x {status}" for status, count in counts.items())


def _bodiless(subject: Subject, requests: dict[str, bytes]) -> dict[str, int]:
    """HEAD has a length and no body: the status line is enough."""

    seen = {}
    for name, request in requests.items():
        with connected(subject) as client:
            client.sendall(request)
            line = until_closed(client).split(b"\r\n", 1)[0]
            seen[name] = int(line.split()[1]) if line else 0
    return seen


@GROUP.fault(
    28, "line breaks, escapes and quotes in path, header, file name, request id", "nothing in the log"
)
def _(subject: Subject) -> str:
    before = len(subject.lines)
    evil = "%0d%0aFORGED%20LINE%1b[31m%22"
    name = 'filename="a\x1b[31m\\"\nFORGED"'
    forged = f'--b\r\nContent-Disposition: form-data; name="file"; {name}\r\n\r\nx\r\n--b--\r\n'
    requests = [
        head(f"/{evil}", "Connection: close", method="GET"),
        head("/x", 'X-Request-Id: a\x1b[31m"FORGED', "Connection: close", method="GET"),
        head("/x", 'User-Agent: "}\x1b]0;FORGED\x07', "Connection: close", method="GET"),
        post(FLASK, forged.encode(), {**FORM, **CLOSE}),
        post(NATIVE, forged.encode(), {**FORM, **CLOSE}),
        post(NATIVE, b'--b\nFORGED: "\x1b[31m', {**FORM, **CLOSE}),
    ]
    seen = [statuses(subject, request) for request in requests]
    ids = [answer.headers["x-request-id"] for answer in answers(subject, requests[1])]
    printed = "".join(subject.lines[before:])
    assert "FORGED" not in printed, printed
    assert "\x1b" not in printed, printed
    assert all(name.isalnum() for name in ids), ids
    assert all(len(got) == 1 and got[0] < 500 for got in seen), seen
    assert not printed, printed
    return f"{[got[0] for got in seen]}, no log line, request id replaced"


@GROUP.fault(
    34, "/shutdown: GET, no token, a wrong one, from another origin", "405, 401, 401, 403; still ready"
)
def _(subject: Subject) -> str:
    bearer = f"Authorization: Bearer {TOKEN}"
    requests = [
        head("/shutdown", "Connection: close", method="GET"),
        head("/shutdown", "Connection: close"),
        head("/shutdown", "Connection: close", f"{bearer}x"),
        head("/shutdown", "Connection: close", bearer, "Origin: https://evil.example"),
        head("/shutdown", "Connection: close", bearer, "Origin: null"),
    ]
    seen = [status for request in requests for status in statuses(subject, request)]
    assert seen == [405, 401, 401, 403, 403], seen
    assert subject.request("GET", "/readyz").status == 200
    return ", ".join(map(str, seen)) + ", ready"


@GROUP.fault(37, "one bad image among 16 in one request", "15 answers and one error in its place")
def _(subject: Subject) -> str:
    seen = []
    for path, wanted in ((NATIVE, "label"), (FLASK, "category")):
        files = [("file", GOLDEN)] * 15
        body, headers = multipart(*files[:7], ("file", b"bad"), *files[7:])
        answer = json.loads(subject.request("POST", path, body, headers).body)["predictions"]
        seen.append([wanted in each for each in answer])
    assert seen == [[True] * 7 + [False] + [True] * 8] * 2, seen
    return "15 answers, 1 error, on both routes"
