"""The API key that every request carries, where the service asks for one; a flag would show it in `ps`."""

from __future__ import annotations

import os

from loadtest.errors import BadOptions

API_KEY = "ROTULO_API_KEY"  # as the page has it


def key_headers() -> dict[str, str]:
    """`X-API-Key`, or nothing where the variable is empty or not set; raises BadOptions.

    Blanks around the key are no part of it: a file that it is read from ends with a line's end.
    """
    key = os.environ.get(API_KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise BadOptions(f"{API_KEY}: a key consists of printable ASCII characters")
    return {"X-API-Key": key} if key else {}
