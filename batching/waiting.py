"""The line in which requests wait for the device, earliest deadline first."""

from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar


class Ticket:
    """A place in the line. Times are seconds on the caller's clock."""

    __slots__ = ("arrival", "deadline", "offered", "waiting")

    def __init__(self, offered: float, deadline: float) -> None:
        self.offered = offered
        self.deadline = deadline
        self.arrival = -1
        self.waiting = False


AnyTicket = TypeVar("AnyTicket", bound=Ticket)


class WaitingLine(Generic[AnyTicket]):
    """Tickets by deadline, and by arrival among equal deadlines.

    A ticket leaves once, by `take`, `expire` or `cancel`; ``len()`` counts those who still wait. Every call
    is O(log n) per ticket moved. A cancelled ticket stays in the heap, unseen, until it surfaces or until
    half of the heap is such: this keeps cancelling cheap, amortised, and memory bounded.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, AnyTicket]] = []
        self._arrivals = count()
        self._waiting = 0
        self._latest_deadline = float("-inf")

    def __len__(self) -> int:
        return self._waiting

    def offer(self, ticket: AnyTicket) -> None:
        """Join the line."""
        ticket.arrival = next(self._arrivals)
        if not self._waiting or ticket.deadline > self._latest_deadline:
            self._latest_deadline = ticket.deadline
        self._push(ticket)

    def put_back(self, ticket: AnyTicket) -> None:
        """Return a ticket just taken to the place it had."""
        self._push(ticket)

    def take(self, most: int) -> list[AnyTicket]:
        """The ``most`` earliest, in order; fewer if fewer wait."""
        taken: list[AnyTicket] = []
        while len(taken) < most and self._drop_cancelled():
            taken.append(self._pop())
        return taken

    def expire(self, now: float) -> list[AnyTicket]:
        """Take out those whose deadline has come."""
        expired: list[AnyTicket] = []
        while self._drop_cancelled() and self._heap[0][0] <= now:
            expired.append(self._pop())
        return expired

    def cancel(self, ticket: AnyTicket) -> bool:
        """Leave the line; False if the ticket was not in it."""
        if not ticket.waiting:
            return False
        ticket.waiting = False
        self._waiting -= 1
        if len(self._heap) > 2 * self._waiting:
            self._heap = [entry for entry in self._heap if entry[2].waiting]
            heapify(self._heap)
        return True

    def next_deadline(self) -> float | None:
        """The earliest deadline in the line."""
        return self._heap[0][0] if self._drop_cancelled() else None

    def ahead_of(self, deadline: float) -> int:
        """How many would be served before a newcomer with this deadline.

        Exact for the latest deadline, which is every caller's who asks for no tighter one. For a tighter one,
        deadlines are taken as evenly spread: exact ranks would cost more than the answer is worth.
        """
        earliest = self.next_deadline()
        if earliest is None or deadline < earliest:
            return 0
        if deadline >= self._latest_deadline:
            return self._waiting
        return int(self._waiting * (deadline - earliest) / (self._latest_deadline - earliest))

    def _push(self, ticket: AnyTicket) -> None:
        ticket.waiting = True
        self._waiting += 1
        heappush(self._heap, (ticket.deadline, ticket.arrival, ticket))

    def _pop(self) -> AnyTicket:
        ticket = heappop(self._heap)[2]
        ticket.waiting = False
        self._waiting -= 1
        return ticket

    def _drop_cancelled(self) -> bool:
        """Bring a waiting ticket to the top of the heap; False if there is none."""
        heap = self._heap
        while heap and not heap[0][2].waiting:
            heappop(heap)
        return bool(heap)
