"""The Markdown pages as the tests read them: fenced blocks with what stands around them, headings, links."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

RUN = ("sh", "python", "js")
COMMANDS = (*RUN, "console", "bash", "shell")
EXPECTED = ("json", "text")  # what the block right above prints
NOT_RUN = "*Not run by the tests:"


@dataclass(frozen=True)
class Block:
    """A fenced block. `answers`: it is what the block right above it prints; `expected`: language and text of
    the block right below it, where that answers this one.
    """

    page: Path
    line: int
    language: str
    text: str
    not_run: bool
    answers: bool
    expected: tuple[str, str] | None

    @property
    def runs(self) -> bool:
        return self.language in RUN and not self.not_run

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Every fenced block of the page, in order."""
    tokens = [None, None, *MarkdownIt("commonmark").parse(page.read_text()), None]
    return [_block(page, tokens, at) for at, token in enumerate(tokens) if token and token.type == "fence"]


def _block(page: Path, tokens: list[Token | None], at: int) -> Block:
    token, below = tokens[at], tokens[at + 1]
    assert token is not None
    not_run, above = _marked(tokens, at), tokens[at - 1]
    runs = _language(token) in RUN and not not_run
    expected = (_language(below), below.content) if runs and below and _language(below) in EXPECTED else None
    answers = _language(token) in EXPECTED and _language(above) in RUN and not _marked(tokens, at - 1)
    line = (token.map or [0])[0] + 1
    return Block(page, line, _language(token), token.content, not_run, answers, expected)


def _language(token: Token | None) -> str:
    return token.info.strip() if token and token.type == "fence" else ""


def _marked(tokens: list[Token | None], at: int) -> bool:
    """Whether the paragraph above says that the block is not run, and why."""
    inline, close = tokens[at - 2], tokens[at - 1]
    paragraph = bool(inline and close and close.type == "paragraph_close")
    return paragraph and inline is not None and inline.content.startswith(NOT_RUN)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the page's headings."""
    slugs: list[str] = []
    for text in _headings(page):
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        again = slugs.count(slug)
        slugs.append(f"{slug}-{again}" if again else slug)
    return set(slugs)


def _headings(page: Path) -> Iterator[str]:
    tokens = MarkdownIt("commonmark").parse(page.read_text())
    for before, token in itertools.pairwise(tokens):
        if before.type == "heading_open":
            yield "".join(child.content for child in token.children or ())


def links(page: Path) -> set[str]:
    """The targets of the page's links and images that are not addresses of other sites."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text())
    children = [child for token in tokens for child in token.children or ()]
    found = {str(child.attrGet("href") or child.attrGet("src") or "") for child in children}
    return {link for link in found if link and not re.match(r"[a-z]+:", link)}
