"""Answers that are kept, and work in flight that several callers wait for. Pure: no clock, no loop.

As in Go's singleflight, callers with the same key share one flight. Here each has a deadline and may leave,
so a flight is nobody's own: its leader only lends it the budget that it runs on.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum, auto
from typing import Generic, TypeVar

from batching.waiting import Ticket, WaitingLine

Caller = TypeVar("Caller", bound=Ticket)
Answer = TypeVar("Answer")


class Fault(Enum):
    """Whose it is that a flight failed."""

    LEADER = auto()  # its budget was too small, which says nothing about the others
    BATCH = auto()  # of what it ran with: the others have one more try, together
    EVERYBODY = auto()  # the image's, or the service's


class Flight(Generic[Caller]):
    """One piece of work in progress, for the callers in its line; never without one.

    `leader` is whose budget it runs on, even when that caller has left.
    """

    __slots__ = ("key", "leader", "line", "second_try")

    def __init__(self, key: bytes, leader: Caller) -> None:
        self.key = key
        self.leader = leader
        self.line: WaitingLine[Caller] = WaitingLine()
        self.second_try = False


class AnswerCache(Generic[Caller, Answer]):
    """The last answers used, by key, and the flights that bring new ones.

    Bound: `max_entries` answers; flights and their lines hold callers who wait, and nobody else. A caller
    boards one flight, once. Every flight that `board` returns new must be flown until `land` has taken its
    answer, `fail` has left its line empty, or `leave` has returned it.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._answers: OrderedDict[bytes, Answer] = OrderedDict()
        self._flights: dict[bytes, list[Flight[Caller]]] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def look_up(self, key: bytes) -> Answer | None:
        """The answer that is kept for this key."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def board(self, key: bytes, caller: Caller) -> Flight[Caller]:
        """The flight that brings this caller's answer: a new one, to be flown, if the caller is its leader.

        A flight that is due after the caller is not for it: alone, the line would serve it sooner. So of one
        key there are two flights only where somebody was in more of a hurry than those before, or where one
        has failed its leader.
        """
        flights = self._flights.setdefault(key, [])
        flight = min(flights, key=_due, default=None)
        if flight is None or _due(flight) > caller.deadline:
            flight = Flight(key, caller)
            flights.append(flight)
        flight.line.offer(caller)
        return flight

    def leave(self, flight: Flight[Caller], caller: Caller) -> bool:
        """The caller waits no more; True where nobody else does, and the flight is to be cancelled."""
        if not flight.line.cancel(caller) or flight.line:
            return False
        self._close(flight)
        return True

    def land(self, flight: Flight[Caller], answer: Answer) -> list[Caller]:
        """Keep the answer; returns who is to be told it."""
        self._close(flight)
        self._answers[flight.key] = answer
        self._answers.move_to_end(flight.key)
        if len(self._answers) > self._max_entries:
            self._answers.popitem(last=False)
        return flight.line.take(len(flight.line))

    def fail(self, flight: Flight[Caller], fault: Fault) -> list[Caller]:
        """Returns who is to be told the failure. For the others, if any are left in its line, the flight is
        to be flown once more, by the budget of its new leader, who is due first.

        Nobody else boards one that has failed its leader: newcomers who are due sooner would lead it in turn,
        and fail it, for as long as they come.
        """
        others_go_on = fault is Fault.LEADER or (fault is Fault.BATCH and not flight.second_try)
        flight.second_try |= fault is Fault.BATCH
        if not others_go_on:
            told = flight.line.take(len(flight.line))
        else:
            told = [flight.leader] if flight.line.cancel(flight.leader) else []
        if not flight.line or fault is Fault.LEADER:
            self._close(flight)
        if flight.line:
            (flight.leader,) = flight.line.take(1)
            flight.line.put_back(flight.leader)
        return told

    def _close(self, flight: Flight[Caller]) -> None:
        """Nobody boards it any more; closed twice, nothing happens."""
        flights = self._flights.get(flight.key, [])
        if flight in flights:
            flights.remove(flight)
            if not flights:
                del self._flights[flight.key]


def _due(flight: Flight[Caller]) -> float:
    return flight.leader.deadline
