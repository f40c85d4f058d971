"""`python -m tests.bench.ray_replicas`: two replicas on Ray against one, and what is lost when a node dies.

Both nodes, Ray's proxy and the load are on this machine, so that two replicas are twice one only where it has
processors for all of them. Each replica has one thread.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from loadtest import bodies
from loadtest.images import EncodedImage
from tests.bench import closed_loop
from tests.bench.__main__ import header
from tests.bench.closed_loop import Answers
from tests.conftest import SAMPLES
from tests.ray_cluster import RayCluster, ray_cluster

PATH = "/v1/models/cifar10/predict"
SETTINGS = {"threads": 1, "latency_target_ms": 30_000}


def main(arguments: Sequence[str]) -> None:
    """Print a table in Markdown, each line when it is measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ray_replicas", description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    parser.add_argument("--connections", type=int, default=64, help="callers, one request each at a time")
    chosen = parser.parse_args(arguments)
    print("\n".join([*header(chosen.seconds), f"- ray {version('ray')}"]))
    print(f"\n| replicas | requests/s | p50 ms | p99 ms | answered | not 200 |\n|---|{'---:|' * 5}")
    with (
        tempfile.TemporaryDirectory() as scratch,
        ray_cluster(Path(scratch) / "cluster.log", SETTINGS, replicas=1) as cluster,
    ):
        measure(cluster, chosen.connections, chosen.seconds)


def measure(cluster: RayCluster, connections: int, seconds: int) -> None:
    """One replica, two, two of which one dies with its node, and a new one in its place."""

    def load(for_seconds: int) -> Answers:
        image = (SAMPLES / "cat-32.jpg").read_bytes()
        url = f"http://127.0.0.1:{cluster.port}{PATH}"
        return closed_loop.run(url, [bodies.raw(EncodedImage("cat-32.jpg", image))], connections, for_seconds)

    load(1)
    print(line("1", load(seconds)), flush=True)
    cluster.deploy(2)
    load(1)
    print(line("2", load(seconds)), flush=True)
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(load, seconds)
        cluster.kill_node()
        print(line("2, then a node dies", under_way.result()), flush=True)
    cluster.add_node()
    cluster.deploy(2)
    print(line("2, with another node", load(seconds)), flush=True)


def line(title: str, answers: Answers) -> str:
    """Of the table."""
    rate = answers.answered / answers.seconds
    figures = f"{rate:,.0f} | {answers.p50_ms:.1f} | {answers.p99_ms:.1f}"
    return f"| {title} | {figures} | {answers.answered:,} | {answers.failed:,} |"


if __name__ == "__main__":
    main(sys.argv[1:])
