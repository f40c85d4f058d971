"""Which service the page asks, and with which key: from `ROTULO_URL` and `ROTULO_API_KEY`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

URL, API_KEY = "ROTULO_URL", "ROTULO_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"


class BadSettings(Exception):
    """One line that names the setting and says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`url` without a slash at its end; `api_key` goes into `X-API-Key`, and into no log."""

    url: str = DEFAULT_URL
    api_key: str | None = field(default=None, repr=False)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises BadSettings. An empty variable counts as one that is not set.

    Blanks around the key are no part of it: a file that it is read from ends with a line's end.
    """
    key = environment.get(API_KEY, "").strip() or None
    if key is not None and not (key.isascii() and key.isprintable()):
        raise BadSettings(f"{API_KEY}: a key consists of printable ASCII characters")
    return Settings(_checked(environment.get(URL) or DEFAULT_URL), key)


def _checked(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise BadSettings(f"--url ({URL}): {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise BadSettings(f"--url ({URL}): must begin with http:// or https:// and name a host")
    return url.rstrip("/")
