"""A fault as a function, a group of them, and the rows of the report."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tests.torture.health import Standing
from tests.torture.subject import Subject

Attack = Callable[[Subject], str]


@dataclass(frozen=True)
class Fault:
    """`attack` does it, says what happened, and raises AssertionError where that must not."""

    number: int
    sent: str
    must: str
    attack: Attack


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    number: int
    sent: str
    must: str
    happened: str
    passed: bool

    def markdown(self, command: str) -> str:
        cells = (str(self.number), self.sent, self.must, self.happened, f"`{command}`")
        return f"| {' | '.join(cell.replace('|', '/').replace(chr(10), ' ') for cell in cells)} |"


HEADER = "| # | sent or done | must happen | happened | how it is held |\n|---|---|---|---|---|"


class Group(list[Fault]):
    """Faults in order; `@group.fault(number, sent, must)` adds one."""

    def fault(self, number: int, sent: str, must: str) -> Callable[[Attack], Attack]:
        def add(attack: Attack) -> Attack:
            self.append(Fault(number, sent, must, attack))
            return attack

        return add


def run(faults: Iterable[Fault], subject: Subject) -> Iterator[Row]:
    """Do each to the subject; the standing checks are a row of their own at the end, numbered 0."""
    standing = Standing(subject)
    for fault in faults:
        yield row_of(fault, subject)
    yield row_of(Fault(0, "after all of these", "the standing checks", lambda _: standing.check()), subject)


def row_of(fault: Fault, subject: Subject) -> Row:
    """One fault done; whatever it raises is a row that has not passed."""
    started = time.monotonic()
    try:
        happened, passed = fault.attack(subject), True
    except AssertionError as error:
        happened, passed = f"FAILED: {error}", False
    except Exception as error:
        traceback.print_exc()
        happened, passed = f"FAILED: {type(error).__name__}: {error}", False
    row = Row(fault.number, fault.sent, fault.must, happened, passed)
    mark = "ok  " if passed else "FAIL"
    seconds = time.monotonic() - started
    print(f"{mark} {fault.number:>2} {seconds:6.1f} s  {fault.sent}: {happened}", flush=True)
    return row
