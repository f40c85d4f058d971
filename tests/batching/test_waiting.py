"""The line alone: whom it hands out, in what order, and what it forgets."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from batching.waiting import Ticket, WaitingLine


def line_of(*deadlines: float) -> tuple[WaitingLine[Ticket], list[Ticket]]:
    line: WaitingLine[Ticket] = WaitingLine()
    tickets = [Ticket(offered=0.0, deadline=deadline) for deadline in deadlines]
    for ticket in tickets:
        line.offer(ticket)
    return line, tickets


def test_the_earliest_deadline_is_served_first() -> None:
    line, (late, early) = line_of(2.0, 1.0)
    assert line.take(2) == [early, late]


def test_equal_deadlines_are_served_in_order_of_arrival() -> None:
    line, tickets = line_of(1.0, 1.0, 1.0)
    assert line.take(3) == tickets


def test_a_ticket_put_back_keeps_its_place() -> None:
    line, (first, second) = line_of(1.0, 1.0)
    (taken,) = line.take(1)
    line.put_back(taken)
    assert line.take(2) == [first, second]


def test_a_deadline_that_has_just_come_is_past() -> None:
    line, (early, _) = line_of(1.0, 2.0)
    assert line.expire(now=1.0) == [early]
    assert len(line) == 1


def test_a_cancelled_ticket_is_never_handed_out() -> None:
    line, (first, second) = line_of(1.0, 2.0)
    assert line.cancel(first)
    assert line.next_deadline() == 2.0
    assert line.take(2) == [second]


def test_cancelling_twice_or_after_leaving_changes_nothing() -> None:
    line, (first, second) = line_of(1.0, 2.0)
    line.take(1)
    assert not line.cancel(first)
    assert line.cancel(second)
    assert not line.cancel(second)
    assert len(line) == 0


def test_cancelled_tickets_do_not_pile_up_in_memory() -> None:
    line, tickets = line_of(*map(float, range(1000)))
    for ticket in tickets[1:]:
        line.cancel(ticket)
    assert len(line._heap) <= 2


@pytest.mark.parametrize(("deadline", "ahead"), [(0.5, 0), (1.0, 0), (4.0, 3), (5.0, 3), (2.5, 1)])
def test_who_is_ahead_is_exact_at_the_ends_and_spread_evenly_between(deadline: float, ahead: int) -> None:
    line, _ = line_of(1.0, 2.0, 4.0)
    assert line.ahead_of(deadline) == ahead


def test_nobody_is_ahead_in_an_empty_line_whatever_was_there_before() -> None:
    line, _ = line_of(100.0)
    line.take(1)
    line.offer(Ticket(offered=0.0, deadline=1.0))
    assert line.ahead_of(2.0) == 1


class LineAgainstAList(RuleBasedStateMachine):
    """The line does what a plain sorted list would."""

    tickets: Bundle[Ticket] = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.line: WaitingLine[Ticket] = WaitingLine()
        self.expected: list[Ticket] = []

    @rule(target=tickets, deadline=st.integers(0, 20))
    def offer(self, deadline: int) -> Ticket:
        ticket = Ticket(offered=0.0, deadline=float(deadline))
        self.line.offer(ticket)
        self.expected.append(ticket)
        self.expected.sort(key=lambda waiting: waiting.deadline)
        return ticket

    @rule(most=st.integers(0, 5), back=st.integers(0, 5))
    def take_and_put_some_back(self, most: int, back: int) -> None:
        taken = self.line.take(most)
        assert taken == self.expected[:most]
        kept = max(0, len(taken) - back)
        for ticket in taken[kept:]:
            self.line.put_back(ticket)
        del self.expected[:kept]

    @rule(now=st.integers(0, 20))
    def expire(self, now: int) -> None:
        past = [ticket for ticket in self.expected if ticket.deadline <= now]
        assert self.line.expire(float(now)) == past
        del self.expected[: len(past)]

    @rule(ticket=consumes(tickets))
    def cancel(self, ticket: Ticket) -> None:
        assert self.line.cancel(ticket) == (ticket in self.expected)
        if ticket in self.expected:
            self.expected.remove(ticket)

    @rule(deadline=st.integers(-1, 21))
    def ask_who_is_ahead(self, deadline: int) -> None:
        assert 0 <= self.line.ahead_of(float(deadline)) <= len(self.expected)

    @invariant()
    def same_length_and_same_head(self) -> None:
        assert len(self.line) == len(self.expected)
        head = self.expected[0].deadline if self.expected else None
        assert self.line.next_deadline() == head


TestLineAgainstAList = LineAgainstAList.TestCase
TestLineAgainstAList.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
