"""Two machines on one: network namespaces joined by a cable, for what `torchrun` does between machines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAUNCHER = (sys.executable, "-m", "torch.distributed.run")
IP = shutil.which("ip") or ""
PORT = 29500  # of a network that is this pair's own


@dataclass(frozen=True)
class Machine:
    """A network of its own, reached by `address` from the other machine through the interface `cable`."""

    namespace: str
    address: str

    def start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        """Run `command` here; gloo is told the interface, since the host's name leads nowhere here."""
        return start((IP, "netns", "exec", self.namespace, *command), GLOO_SOCKET_IFNAME="cable")


def start(command: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    """A process with one thread for arithmetic, so that its sums are the same each time."""
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def why_not() -> str:
    """Why there cannot be two machines here; empty where there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not IP:
        return "there is no `ip` (iproute2)"
    name = f"rotulo-{os.getpid()}-probe"
    tried = subprocess.run([IP, "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"no network namespace: {tried.stderr.strip()}"
    _ip("netns", "del", name)
    return ""


@contextmanager
def two() -> Iterator[tuple[Machine, Machine]]:
    """The first and the second, gone afterwards with their cable."""
    names = [f"rotulo-{os.getpid()}-{number}" for number in (0, 1)]
    machines = [Machine(name, f"10.213.0.{number}") for number, name in enumerate(names, start=1)]
    try:
        for name in names:
            _ip("netns", "add", name)
        far = ("peer", "name", "cable", "netns", names[1])
        _ip("link", "add", "cable", "netns", names[0], "type", "veth", *far)
        for machine in machines:
            _ip("-n", machine.namespace, "addr", "add", f"{machine.address}/24", "dev", "cable")
            for interface in ("lo", "cable"):
                _ip("-n", machine.namespace, "link", "set", interface, "up")
        yield machines[0], machines[1]
    finally:
        for name in names:
            subprocess.run([IP, "netns", "del", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    subprocess.run([IP, *arguments], check=True, capture_output=True)
