"""What a page says that a block prints, held against what it printed.

`text`: line by line, `...` standing for anything. `json`: one or more documents; `...` stands for more
elements, for more members, for any value, and within a string for any part of it. Numbers with a decimal
point differ from machine to machine and need only be numbers; those from 0 to 1, which are probabilities
and the like, by at most `SHARE_MAY_DIFFER`.
"""

from __future__ import annotations

import json
import re
from typing import Any

ANYTHING = "..."
SHARE_MAY_DIFFER = 0.05
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\.\.\.|[{}\[\]]|[^"{}\[\].]+|\.', re.DOTALL)


def holds(language: str, expected: str, printed: str) -> bool:
    """Whether the output is as the page says; raises ValueError where one of the two is no JSON."""
    if language == "text":
        return like(expected.strip(), printed.replace("\r", "").strip())
    return same(documents(with_quotes(expected)), documents(printed))


def like(pattern: str, text: str) -> bool:
    """Whether the text is the pattern, in which `...` is anything."""
    pieces = (re.escape(piece) for piece in pattern.split(ANYTHING))
    return re.fullmatch(".*?".join(pieces), text, re.DOTALL) is not None


def documents(text: str) -> list[Any]:
    """The JSON documents in a text, one after another."""
    found, decoder = [], json.JSONDecoder()
    while text := text.strip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


def with_quotes(text: str) -> str:
    """The page's JSON with each bare `...` as a string, or as a member where members are."""
    parts, open_brackets, last = [], "", ""
    for token in _TOKEN.findall(text):
        if token in "{[":
            open_brackets += token
        elif token in "}]":
            open_brackets = open_brackets[:-1]
        member = token == ANYTHING and open_brackets.endswith("{") and last != ":"
        parts.append('"...": "..."' if member else '"..."' if token == ANYTHING else token)
        last = token.strip()[-1:] or last
    return "".join(parts)


def same(expected: Any, printed: Any) -> bool:
    """Whether a document is as expected."""
    if expected == ANYTHING:
        return True
    if isinstance(expected, float) and type(printed) in (int, float):
        return not 0 <= expected <= 1 or abs(expected - printed) <= SHARE_MAY_DIFFER
    if type(expected) is not type(printed):
        return False
    if isinstance(expected, dict):
        return _same_members(expected, printed)
    if isinstance(expected, list):
        return _same_elements(expected, printed)
    return like(expected, printed) if isinstance(expected, str) else bool(expected == printed)


def _same_members(expected: dict[str, Any], printed: dict[str, Any]) -> bool:
    named = {name: value for name, value in expected.items() if name != ANYTHING}
    complete = ANYTHING in expected or named.keys() == printed.keys()
    return complete and all(name in printed and same(value, printed[name]) for name, value in named.items())


def _same_elements(expected: list[Any], printed: list[Any]) -> bool:
    more = expected[-1:] == [ANYTHING]
    named = expected[:-1] if more else expected
    long_enough = len(printed) >= len(named) if more else len(printed) == len(named)
    return long_enough and all(same(*pair) for pair in zip(named, printed, strict=False))
