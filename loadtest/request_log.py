"""What a run measured: one row for each request, in columns. Exact; percentiles are taken from the rows."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

from loadtest.answers import Outcome


@dataclass(slots=True)
class RequestLog:
    """Columns, appended to as requests end. Times are seconds from the start of the run.

    ``timings`` holds the raw `Server-Timing` header of each answer (empty if none): parsed after the run,
    since the sender has no time for it.
    """

    scheduled: array[float] = field(default_factory=lambda: array("d"))
    sent: array[float] = field(default_factory=lambda: array("d"))
    ended: array[float] = field(default_factory=lambda: array("d"))
    outcomes: array[int] = field(default_factory=lambda: array("b"))
    kinds: list[str] = field(default_factory=list)
    timings: list[bytes] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.ended)

    def add(
        self,
        kind: str,
        scheduled: float,
        sent: float,
        ended: float,
        outcome: Outcome,
        *,
        timing: bytes = b"",
        fault: str = "",
    ) -> None:
        """One request has ended."""
        self.kinds.append(kind)
        self.scheduled.append(scheduled)
        self.sent.append(sent)
        self.ended.append(ended)
        self.outcomes.append(outcome)
        self.timings.append(timing)
        if outcome in {Outcome.ERROR, Outcome.UNREACHED}:
            self.faults[fault] += 1
