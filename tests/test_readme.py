"""The README's commands do what it says."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.live import LiveService

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
# A command ends with its line, unless the line ends in a pipe.
CURLS = re.findall(r"^(?:echo .*\|\n +)?curl .*$", SHELL, re.MULTILINE)
TARGETS = sorted(set(re.findall(r"^\$? ?make (\w+)", README, re.MULTILINE)))


@pytest.mark.parametrize("command", CURLS)
def test_every_curl_line_is_answered(live: LiveService, command: str) -> None:
    here = command.replace("127.0.0.1:8000", f"127.0.0.1:{live.port}").replace("curl ", "curl -sS --fail ")
    result = subprocess.run(["bash", "-c", here], cwd=ROOT, capture_output=True, text=True)  # noqa: S607
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)


def test_there_are_curl_lines_for_every_way_to_ask() -> None:
    assert len(CURLS) == 5


@pytest.mark.parametrize("target", TARGETS)
def test_every_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_linked_file_exists() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (ROOT / link).exists(), f"{page.name}: {link}"
