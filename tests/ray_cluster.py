"""A Ray cluster of two nodes on this machine, one CPU each, that serves Rótulo: for tests and the benchmark.

It lives in a process of its own, which is told by lines on its standard input what to do (`main`), so that
neither Ray's threads nor its signal handlers are in the test's process, and one kill ends all of it.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import psutil

ROOT = Path(__file__).parent.parent
WITHOUT_RAY = "Ray is not installed: pip install --constraint constraints.txt 'rotulo[ray]'"
OBJECT_STORE_BYTES = 100_000_000
PATIENCE_SECONDS = 300  # a busy machine takes long to start a dozen processes
_PR_SET_CHILD_SUBREAPER = 36  # from linux/prctl.h
# Ray Serve gives a proxy 5 s to start, and then starts another; on a busy machine none ever would.
PATIENT = {
    "RAY_worker_niceness": "0",  # else 15, and beside any other work there is no end to the start
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": str(PATIENCE_SECONDS),
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": str(PATIENCE_SECONDS),
}
# As docs/ray.md asks: else a proxy sends all it can to the replica on its own node.
EVENLY = {"RAY_SERVE_PROXY_PREFER_LOCAL_NODE_ROUTING": "0"}
# Ray's logs go to files in its folder; no statistics leave the machine, and no dashboard listens.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}


def has_ray() -> bool:
    return find_spec("ray") is not None


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A running cluster: the head has the HTTP proxy, at `port`, and a replica; so has the other node."""

    port: int
    _commands: IO[str]
    _answers: IO[str]

    def kill_node(self) -> None:
        """SIGKILL to the raylet of the node that is not the head; its replica dies with it."""
        self._tell("kill")

    def add_node(self) -> None:
        """Another node; returns when it has joined."""
        self._tell("add")

    def deploy(self, replicas: int) -> None:
        """Anew, with so many replicas; returns when they answer."""
        self._tell(f"deploy {replicas}")

    def _tell(self, command: str) -> None:
        print(command, file=self._commands, flush=True)
        answer = self._answers.readline().strip()
        if answer != "done":
            raise RuntimeError(f"the cluster said {answer!r} to {command!r}: see its log")


@contextlib.contextmanager
def ray_cluster(log: Path, settings: Mapping[str, Any], replicas: int = 2) -> Iterator[RayCluster]:
    """Start it, with `settings` as the operator's environment; end every process of it afterwards."""
    variables = {f"ROTULO_{name.upper()}": str(value) for name, value in settings.items()}
    with log.open("w") as errors, tempfile.TemporaryDirectory(prefix="ray") as scratch:
        environment = {
            **os.environ,
            **QUIET,
            **PATIENT,
            **EVENLY,
            **variables,
            "PYTHONPATH": str(ROOT),
            "RAY_TMPDIR": scratch,  # a cluster of the developer's own keeps its place
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.ray_cluster", str(replicas)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        assert process.stdin
        assert process.stdout
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"the cluster did not start:\n{log.read_text()[-4000:]}")
            yield RayCluster(json.loads(line)["port"], process.stdin, process.stdout)
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Ask it to end, then make sure of everything that it has started."""
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
        process.communicate(timeout=30)
    process.kill()
    process.communicate()
    _kill(family)


def _kill(processes: list[psutil.Process]) -> None:
    """psutil compares when they started: never another process with the same id."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)


def main(replicas: int) -> None:
    """In the cluster's own process: print the port, then obey until standard input ends."""
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from service.on_ray import application

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)  # whoever loses its parent becomes our child
    atexit.register(lambda: _kill(psutil.Process().children(recursive=True)))
    # Without the agents of a dashboard: a raylet gives them 15 s to start, and then ends.
    ray._private.utils.get_dashboard_dependency_error = lambda: ImportError("not wanted")
    ray.serve._private.api.HTTP_PROXY_TIMEOUT = PATIENCE_SECONDS
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints belongs in the log
    node = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})

    def add_node() -> Any:
        added = cluster.add_node(wait=False, **node)
        cluster.wait_for_nodes(PATIENCE_SECONDS)
        return added

    others = [add_node()]
    ray.init(address=cluster.address, log_to_driver=True)
    port = _free_port()
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})

    def deploy(count: int) -> None:
        serve.run(application({"min_replicas": count, "max_replicas": count}), name="rotulo")

    deploy(replicas)
    print(json.dumps({"port": port}), file=answers, flush=True)
    for command in sys.stdin:
        word, _, argument = command.strip().partition(" ")
        if word == "kill":
            cluster.remove_node(others.pop(), allow_graceful=False)
        elif word == "add":
            others.append(add_node())
        elif word == "deploy":
            deploy(int(argument))
        print("done", file=answers, flush=True)
    ray.shutdown()
    cluster.shutdown()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main(int(sys.argv[1]))
