"""The pages are true: what they show is run, and what they link to exists.

A fenced block in `sh`, `python` or `js` is run, in its page's order; a `json` or `text` block right below it
is what it prints (`tests/expected.py`). A block that is not run says so above: `*Not run by the tests: why.*`
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import loadtest.__main__
import train.__main__
from service.settings import Settings, flag
from tests.desk import Desk
from tests.expected import documents, holds, like, with_quotes
from tests.markdown import COMMANDS, PAGES, ROOT, Block, anchors, blocks, links

BLOCKS = [block for page in PAGES for block in blocks(page)]
FLAG = re.compile(r"--[a-z][a-z0-9-]*")
PROGRAM = re.compile(r"(?<!\S)-m (train|loadtest|service)(?!\S)([^|>&;]*)")

# What goes around a page's lines, and the arguments with which the proxy checks a file.
PROXIES = {
    "nginx": ("pid nginx.pid; events {} http { access_log off; %s }", "-e", "stderr", "-p", ".", "-t", "-c"),
    "haproxy": ("%s", "-c", "-f"),
}


class Desks:
    """The desk of the page whose turn it is; the one before it is cleared."""

    def __init__(self, root: pytest.TempPathFactory) -> None:
        self._root = root
        self._page: Path | None = None
        self._desk: Desk | None = None

    def of(self, page: Path) -> Desk:
        if self._desk is None or page != self._page:
            self.close()
            self._page, self._desk = page, Desk(page, self._root.mktemp(page.stem))
        return self._desk

    def close(self) -> None:
        if self._desk:
            self._desk.close()


@pytest.fixture(scope="module")
def desks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desks]:
    with contextlib.closing(Desks(tmp_path_factory)) as all_of_them:
        yield all_of_them


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.runs], ids=str)
def test_a_block_does_what_its_page_says(desks: Desks, block: Block) -> None:
    if block.language == "js" and not shutil.which("node"):
        pytest.skip("node is not installed: apt-get install nodejs")
    printed = desks.of(block.page).run(block)
    if block.expected:
        assert holds(*block.expected, printed), f"{block} prints\n{printed}\nand not\n{block.expected[1]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_block_is_run_or_says_why_not(page: Path) -> None:
    for block in blocks(page):
        assert block.language not in COMMANDS or block.runs or block.not_run, f"{block} is not run, and why?"


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "json" and not block.answers], ids=str
)
def test_json_that_stands_alone_is_json(block: Block) -> None:
    assert documents(with_quotes(block.text))


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in PROXIES], ids=str)
def test_a_proxy_takes_its_configuration(block: Block, tmp_path: Path) -> None:
    if not shutil.which(block.language):
        pytest.skip(f"{block.language} is not installed: apt-get install {block.language}")
    around, *check = PROXIES[block.language]
    file = tmp_path / "configuration"
    file.write_text(around % block.text)
    done = subprocess.run(
        [block.language, *check, file], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{block}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_flag_on_a_page_exists(page: Path) -> None:
    for block in blocks(page):
        for command in re.sub(r"\\\n|#.*", " ", block.text).splitlines():
            for program, rest in PROGRAM.findall(command):
                used = set(FLAG.findall(" ".join(re.split(r"[\"']", rest)[::2])))  # what is quoted is others'
                assert used <= flags_of(program, rest), f"{block}: {command}"


def flags_of(program: str, rest: str) -> set[str]:
    """The flags that the command's own --help names."""
    if program == "service":
        return {flag(name) for name in Settings.model_fields} | {"--help"}
    words = shlex.split(rest, comments=True)
    command = [word for word in words[:2] if re.fullmatch(r"[a-z]+", word)]
    main = train.__main__.main if program == "train" else loadtest.__main__.main
    if command[:1] in (["run"], ["overload"], ["plan"]):
        del command[1:]
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        main([*command, "--help"])
    return set(FLAG.findall(output.getvalue()))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}"


def test_the_index_has_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for link in links(index)}
    assert {page for page in PAGES if page != index} <= linked


def test_every_make_target_on_a_page_exists() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {name for block in BLOCKS for name in re.findall(r"^(?:\$ )?make (\w+)", block.text, re.MULTILINE)}
    assert used <= targets


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ('{"a": 1.5, "b": "x...z", ...}', '{"a": 2.5, "b": "xyz", "c": 0}', True),
        ('{"a": 1}', '{"a": 1, "c": 0}', False),
        ('{"a": 1}', '{"a": 2}', False),
        ('{"a": [1, ...]}', '{"a": [1, 2]}', True),
        ('{"a": [...]}', '{"a": []}', True),
        ('{"a": [1]}', '{"a": [1, 2]}', False),
        ('{"a": ...}', '{"a": {"b": null}}', True),
        ('{"a": true}', '{"a": 1}', False),
        ('{"a": 1.5}', '{"a": true}', False),
        ('{"a": 0.97}', '{"a": 0.99}', True),
        ('{"a": 0.97}', '{"a": 0.9}', False),
        ('{"a": 0.97}', '{"a": 97}', False),
        ("1\n2", "1", False),
    ],
)
def test_what_a_page_shows_is_held_against_what_is_printed(expected: str, printed: str, same: bool) -> None:
    assert holds("json", expected, printed) is same


def test_text_is_compared_with_gaps() -> None:
    assert like("HTTP/1.1 429 ...\nretry-after: ...", "HTTP/1.1 429 Too Many\nretry-after: 3")
    assert not like("a...", "b")
