"""JSON with one meaning: no key twice, and no number that JSON does not have."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from service.errors import MalformedRequest


def parse(body: bytes) -> Any:
    """Raises MalformedRequest. The caller bounds how many things the document may hold."""
    try:
        return json.loads(body, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest("the body is not JSON") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Parsers disagree about which of two counts; what was checked by one must not be read by another."""
    document = dict(pairs)
    if len(document) < len(pairs):
        raise MalformedRequest("the JSON has a key twice in one object")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedRequest(f"{name} is not JSON")
