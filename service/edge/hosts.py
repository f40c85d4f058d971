"""The names that this service answers to, and whose pages may stop it.

A page whose own name leads to this address, in turn with its own (DNS rebinding), may read what it asks for
like any page of this site; its browser says that name in Host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from service.errors import ForeignOrigin, UnknownHost

_NAME = re.compile(r"(\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\]")
_PORT = re.compile(r":\d*\Z")


class AllowedHosts:
    """Names, addresses, and `*.example.com` for every name below that one; none of them: any."""

    def __init__(self, names: str) -> None:
        """By comma, without ports; raises ValueError."""
        self._names = {name.strip().lower() for name in names.split(",") if name.strip()}
        for name in self._names:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no host name, nor an address, without its port")

    def require(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises UnknownHost."""
        if self._names and not self._has(dict(headers).get(b"host", b"").decode("latin-1").lower()):
            raise UnknownHost("the name in Host is not one that this service answers to")

    def _has(self, host: str) -> bool:
        name = _PORT.sub("", host)
        return name in self._names or any(name.endswith(each[1:]) for each in self._names if each[0] == "*")


def require_own_origin(origin: str | None, host: str | None) -> None:
    """No page of another site, nor one without a site (`null`), may stop the service; raises ForeignOrigin.

    What is no browser sends no Origin.
    """
    if origin is not None and origin.partition("://")[2].lower() != (host or "").lower():
        raise ForeignOrigin("this is not answered to a page of another site")
