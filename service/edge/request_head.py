"""What the parser lets through and a service behind other servers must not: ambiguous or oversized heads.

httptools refuses a Content-Length beside a Transfer-Encoding, two lengths, folded headers and bare line
feeds. It takes heads of any size, any number of Host headers, other versions of HTTP and other transfer
codings.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from service.errors import HeadersTooLarge, MalformedRequest, ServiceError

Headers = Sequence[tuple[bytes, bytes]]

MAX_FIELDS = 100
_SEPARATORS = len(b": \r\n")


def fault_in_head(version: str, target: bytes, headers: Headers, max_bytes: int) -> ServiceError | None:
    """Why a request must be refused before anything is done for it, or None.

    `headers` have lower-case names. `max_bytes` bounds the target and the fields, with their separators.
    """
    if len(headers) > MAX_FIELDS:
        return HeadersTooLarge(f"more than {MAX_FIELDS} header fields")
    if len(target) + sum(map(len, chain.from_iterable(headers))) + _SEPARATORS * len(headers) > max_bytes:
        return too_large(max_bytes)
    if version not in ("1.0", "1.1"):
        return MalformedRequest("speak HTTP/1.1 or HTTP/1.0")
    names = [name for name, _ in headers]
    if names.count(b"host") > 1 or (version == "1.1" and b"host" not in names):
        return MalformedRequest("a request has one Host header")
    if b"transfer-encoding" in names and not _is_chunked(version, headers):
        return MalformedRequest("the only Transfer-Encoding is chunked, with HTTP/1.1")
    return None


def too_large(max_bytes: int) -> HeadersTooLarge:
    """The error of a head that is over the limit."""
    return HeadersTooLarge(f"the request line and headers are larger than {max_bytes:,} bytes")


def _is_chunked(version: str, headers: Headers) -> bool:
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    return version == "1.1" and codings == [b"chunked"]
