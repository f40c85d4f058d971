"""`python -m tests.torture`: every fault against a real process, and a table of what happened.

Alone: `python -m tests.torture images`, or edge, connections, tls, mutations, signals, resources, soak or
control.
Small, to try: `--count 500 --clients 20 --rounds 1 --minutes 1`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.torture import connections, control, edge, faults, images, mutations, resources, signals, soak, tls
from tests.torture.faults import Attack, Fault, Group, Row, row_of
from tests.torture.health import warm_up
from tests.torture.subject import Subject, started

# Fewer threads to warm up, and nobody refused for being late on a slow machine.
FLAGS = ("--max-batch-size", "8", "--latency-target-ms", "60000")

Rows = Iterator[Row]


def main(arguments: Sequence[str]) -> int:
    """0 where every row passed; the report is written either way."""
    given = _parse(arguments)
    rows: list[tuple[str, Row]] = []
    for name in given.groups or GROUPS:
        print(f"# {name}", flush=True)
        rows += [(f"python -m tests.torture {name}", row) for row in GROUPS[name](given)]
    given.report.write_text("\n".join([faults.HEADER, *(row.markdown(how) for how, row in rows)]) + "\n")
    failed = sum(not row.passed for _, row in rows)
    print(f"{len(rows) - failed} of {len(rows)} rows passed; {given.report}")
    return 1 if failed else 0


def _shared(group: Group, *flags: str, rehearsal: Attack = lambda _: "") -> Iterator[Row]:
    with started(*FLAGS, *flags) as subject:
        warm_up(subject)
        rehearsal(subject)
        yield from faults.run(group, subject)


def _alone(group: Group) -> Iterator[Row]:
    nobody = Subject.__new__(Subject)  # not one of them looks at it
    yield from (row_of(fault, nobody) for fault in group)


def _soak(given: argparse.Namespace) -> Group:
    rate = f"{given.rate:g}/s" if given.rate else "half of what is held"
    sent = f"good and hostile requests, {rate}, for {given.minutes:g} minutes"
    must = "RSS < 1 MB/min after warm-up; p99 of the good ones < 2x, or < 50 ms"
    return Group([Fault(57, sent, must, lambda subject: soak.soak(subject, given.minutes, given.rate))])


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("groups", nargs="*", help="all, where none is named")
    parser.add_argument("--count", type=int, default=100_000, help="damaged requests")
    parser.add_argument(
        "--clients", type=int, default=1000, help="slow ones; ten times as many idle, a tenth busy"
    )
    parser.add_argument("--rounds", type=int, default=20, help="of SIGTERM")
    parser.add_argument("--minutes", type=float, default=30, help="of the soak")
    parser.add_argument(
        "--rate", type=float, help="requests a second of the soak; half of what is held where none is given"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--report", type=Path, default=Path("torture.md"), help="where the table goes")
    given = parser.parse_args(arguments)
    if unknown := set(given.groups) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    return given


# Name -> what runs it: against one service that all its faults share, or each with its own.
GROUPS: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "images": lambda _: _shared(images.GROUP),
    "edge": lambda _: _shared(edge.GROUP),
    # The allocator keeps what the first crowd took, about 8 KB a connection, and the next one takes no more.
    "connections": lambda given: _shared(
        connections.group(given.clients),
        *connections.FLAGS,
        rehearsal=connections.idle(10 * given.clients).attack,
    ),
    "tls": lambda given: _alone(tls.group(max(1, given.clients // 50))),
    "mutations": lambda given: _shared(mutations.group(given.count, given.seed)),
    "signals": lambda given: _alone(signals.group(given.rounds, max(2, given.clients // 10))),
    "resources": lambda given: _alone(resources.group(max(10, given.count // 1000))),
    "soak": lambda given: _shared(_soak(given)),
    "control": lambda _: _alone(control.group()),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
