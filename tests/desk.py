"""Where the blocks of one page are run: a folder of its own, and the services that the page speaks of.

The folder has the repository's packages and samples, a small folder of images by class (`my-images`), and
the old services' weights (of random networks). `$TOKEN` is the admin token, `$KEY` a key. Every
`127.0.0.1:PORT` is a real service: on 8000 the shipped model, on another port what the page's own
`python -m service ... --port PORT` would start.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from models import networks
from models.catalog import SHIPPED_MODELS
from service.serving.store import Store
from service.settings import Settings, read_settings
from tests.live import TOKEN, LiveService, serve
from tests.markdown import ROOT, Block, blocks

KEY = "6f1d2c9e0b7a4f58"
SMALL = {"max_batch_size": 4}  # where no page shows it: large batches take long to warm up
COLOURS = {"apple": (200, 50, 40), "lime": (40, 190, 70), "plum": (90, 40, 160)}
PROGRAMS = {
    "sh": (".sh", "bash", "-euo", "pipefail"),
    "python": (".py", sys.executable),
    "js": (".mjs", "node"),
}
WEIGHTS: dict[str, tuple[int, Literal["3x3", "stock"]]] = {
    "old-cifar10.pth": (10, "3x3"),
    "old-bottle.pth": (2, "stock"),
}
CURLRC = "silent\nshow-error\nfail-with-body\n"
CURL_HTTP_ERROR = 22
ADDRESS = re.compile(r"127\.0\.0\.1:(\d{4})\b")


class Desk:
    """One page's folder and services. `close` ends them."""

    def __init__(self, page: Path, folder: Path) -> None:
        self._page = page
        self._folder = folder
        self._services: dict[int, LiveService] = {}
        self._stack = contextlib.ExitStack()
        _furnish(folder, page.read_text())

    def run(self, block: Block) -> str:
        """What the block prints to standard output; raises AssertionError where it fails."""
        suffix, *command = PROGRAMS[block.language]
        file = self._folder / f"block-{block.line}{suffix}"
        file.write_text(ADDRESS.sub(self._address, block.text))
        done = subprocess.run(
            [*command, file.name],
            cwd=self._folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        # A page may show a refusal: then the answer is what is compared.
        allowed = (0, CURL_HTTP_ERROR) if block.language == "sh" and block.expected else (0,)
        assert done.returncode in allowed, f"{block} exits with {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def close(self) -> None:
        self._stack.close()

    def _address(self, match: re.Match[str]) -> str:
        port = int(match[1])
        if port not in self._services:
            self._services[port] = self._start(port)
        return f"127.0.0.1:{self._services[port].port}"

    def _start(self, port: int) -> LiveService:
        given = settings_of(self._page, port)
        paths: dict[str, Any] = {
            name: self._folder / value for name, value in given.items() if isinstance(value, Path)
        }
        if "record_url" in given:
            paths["record_url"] = f"sqlite:///{self._folder / 'predictions.db'}"
        served = self._folder / "served"
        if not served.exists():
            shutil.copytree(SHIPPED_MODELS, served)
        size = {} if port == 8000 else SMALL
        settings = size | {"models_dir": served} | given | paths | {"port": 0}
        store = Store(Settings(**settings))
        running = self._stack.enter_context(serve(store.load_all(), store, **settings))
        if port == 8000:
            add_version(served, "2")
        return running

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        home = {"CURL_HOME": str(self._folder), "HOME": str(self._folder), "NO_PROXY": "127.0.0.1"}
        home["OMP_NUM_THREADS"] = "1"  # on a busy machine several threads wait for one another
        return os.environ | home | {"PATH": path, "TOKEN": TOKEN, "KEY": KEY}


def settings_of(page: Path, port: int) -> dict[str, Any]:
    """What the page's own command for this port sets; nothing where it has none."""
    for line in "".join(block.text for block in blocks(page)).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:3] == ["python", "-m", "service"] and str(port) in words:
            return read_settings(words[3:]).model_dump(exclude_unset=True)
    return {}


def add_version(models: Path, version: str) -> None:
    """Another version of the shipped model: the same under another number."""
    copy = models / "cifar10" / version
    shutil.copytree(SHIPPED_MODELS / "cifar10" / "1", copy)
    manifest = copy / "model.json"
    manifest.write_text(re.sub(r'"version": "1"', f'"version": "{version}"', manifest.read_text()))


def _furnish(folder: Path, page: str) -> None:
    """The packages, and of the rest what the page names."""
    for entry in ("batching", "loadtest", "models", "service", "tests", "train"):
        (folder / entry).symlink_to(ROOT / entry)
    (folder / ".curlrc").write_text(CURLRC)
    for name, (classes, stem) in WEIGHTS.items():
        if name in page:
            torch.manual_seed(0)
            torch.save(networks.resnet18(classes, stem).state_dict(), folder / name)
    if "my-images" in page:
        _images(folder / "my-images")


def _images(root: Path, per_class: int = 12) -> None:
    generator = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            noisy = np.array(colour) + generator.normal(0, 40, (32, 32, 3))
            Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(root / name / f"{number:03}.png")
