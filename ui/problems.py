"""What went wrong, in plain words: an error of the client -> a title and sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ui.client import ClientError, Refused, Unexpected
from ui.formats import seconds
from ui.words import Language

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])")


@dataclass(frozen=True, slots=True)
class Problem:
    """A title, and what is to be known beyond it."""

    title: str
    sentences: tuple[str, ...]


def problem_of(error: ClientError, url: str, language: Language) -> Problem:
    """What to tell a person about `error`; `url` is the service's."""
    if isinstance(error, Refused):
        return _refused(error, language)
    if isinstance(error, Unexpected):
        return Problem(language("unexpected"), (language("unexpected_why", url=url),))
    return Problem(language("unreachable"), (language("unreachable_why", url=url),))


def title_of(error: Refused, language: Language) -> str:
    """In the reader's language where the problem is a known one, else the service's own."""
    return language(error.kind) if error.kind in language.words else error.title


def _refused(error: Refused, language: Language) -> Problem:
    title = title_of(error, language)
    sentences = []
    if error.detail and error.detail not in (title, error.title):
        sentences.append(language("service_says", detail=error.detail))
    sentences.append(language("refused_why", status=error.status))
    if error.retry_after_seconds is not None:
        sentences.append(language("retry_after", seconds=seconds(error.retry_after_seconds, language)))
    if error.request_id:
        sentences.append(language("request_id", request_id=error.request_id))
    return Problem(title, tuple(sentences))


def plain(text: str) -> str:
    """Text as Markdown that shows just that text, since it is other people's; an address becomes a link."""
    return _MARKDOWN.sub(r"\\\1", text)
