"""API keys, from a file that is read again when it changes.

One key a line, `name:key`, or `name:sha256:hex` with the SHA-256 of the key, so that the file gives nobody
one. A name may have several keys, so that one can be replaced without a pause. Blank lines and lines that
begin with # are skipped.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from collections.abc import Sequence
from pathlib import Path

logger = logging.getLogger("rotulo")

LOOK_EVERY_SECONDS = 1.0
MIN_KEY_LENGTH = 16

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST = re.compile(r"sha256:([0-9A-Fa-f]{64})")


class BadKeys(Exception):
    """The file cannot be used; the message names the line and never a key."""


class ApiKeys:
    """Names and the digests of their keys. Immutable."""

    def __init__(self, keys: Sequence[tuple[str, bytes]]) -> None:
        self._keys = tuple(keys)

    def name_of(self, presented: bytes) -> str | None:
        """Whose key this is. Takes as long for any key: all are compared, each in constant time."""
        digest = hashlib.sha256(presented).digest()
        found = None
        for name, expected in self._keys:
            if hmac.compare_digest(digest, expected):
                found = name
        return found


def parse_keys(text: str) -> ApiKeys:
    """The content of a key file; raises BadKeys."""
    keys: list[tuple[str, bytes]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            keys.append(_parse_line(line.strip(), number))
    if not keys:
        raise BadKeys("there is no key in it")
    if len({digest for _, digest in keys}) < len(keys):
        raise BadKeys("a key is in it twice")
    return ApiKeys(keys)


def _parse_line(line: str, number: int) -> tuple[str, bytes]:
    name, colon, key = line.partition(":")
    if not colon or not _NAME.fullmatch(name):
        raise BadKeys(f"line {number}: a name is up to 64 letters, digits, '.', '_' or '-', then a colon")
    if digest := _DIGEST.fullmatch(key):
        return name, bytes.fromhex(digest[1])
    if key.startswith("sha256:"):
        raise BadKeys(f"line {number}: a SHA-256 is 64 hexadecimal digits")
    if len(key) < MIN_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        raise BadKeys(f"line {number}: a key has at least {MIN_KEY_LENGTH} printable ASCII characters")
    return name, hashlib.sha256(key.encode()).digest()


class KeyFile:
    """The keys of a file as it is now, or as it was when it was last good."""

    def __init__(self, path: Path) -> None:
        """Reads the file; raises BadKeys."""
        self._path = path
        self._version = _version(path)  # before it is read: what is changed in between is seen later
        self._keys = parse_keys(_read(path))
        self._look_at = float("-inf")

    def keys(self, now: float) -> ApiKeys:
        """Looks at the file at most once a second; `now` in seconds, of any clock that only goes forward."""
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY_SECONDS
            if (version := _version(self._path)) != self._version:
                self._version = version
                self._reload()
        return self._keys

    def _reload(self) -> None:
        try:
            self._keys = parse_keys(_read(self._path))
            logger.info("the keys in %s were read again", self._path)
        except BadKeys as error:
            logger.warning("the keys stay as they were, for %s cannot be used: %s", self._path, error)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeError) as error:
        raise BadKeys(getattr(error, "strerror", None) or "it is not text") from error


def _version(path: Path) -> tuple[int, ...] | None:
    """Differs when the file does, or who may read it; None where there is none.

    Nobody can set ctime back, as a copy that preserves times does with mtime.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino
