"""The cache without clock or loop: whatever happens in whatever order, everybody is told their own answer."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batching.waiting import Ticket
from service.serving.cache import AnswerCache, Fault, Flight

MAX_ENTRIES = 2
KEYS = (b"a", b"b", b"c", b"d")
TIMES = st.integers(0, 3)


class Caller(Ticket):
    def __init__(self, key: bytes, deadline: float) -> None:
        super().__init__(0.0, deadline)
        self.key = key


def test_callers_with_the_same_key_share_one_flight_and_are_all_told() -> None:
    cache: AnswerCache[Caller, str] = AnswerCache(MAX_ENTRIES)
    callers = [Caller(b"a", due) for due in (1, 1, 2)]
    flights = [cache.board(b"a", caller) for caller in callers]
    assert flights == [flights[0]] * 3
    assert flights[0].leader is callers[0]
    assert cache.look_up(b"a") is None
    assert cache.land(flights[0], "answer") == callers
    assert cache.look_up(b"a") == "answer"


def test_the_answer_that_was_used_last_is_kept_the_longest() -> None:
    cache: AnswerCache[Caller, str] = AnswerCache(2)
    for key in (b"a", b"b"):
        cache.land(cache.board(key, Caller(key, 1)), key.decode())
    assert cache.look_up(b"a") == "a"
    cache.land(cache.board(b"c", Caller(b"c", 1)), "c")
    assert [cache.look_up(key) for key in (b"a", b"b", b"c")] == ["a", None, "c"]


def test_a_caller_due_before_the_flight_takes_another_which_later_callers_board() -> None:
    cache: AnswerCache[Caller, str] = AnswerCache(MAX_ENTRIES)
    slow, quick, later = Caller(b"a", 10), Caller(b"a", 5), Caller(b"a", 11)
    first, second = cache.board(b"a", slow), cache.board(b"a", quick)
    assert first is not second
    assert cache.board(b"a", later) is second
    assert cache.land(second, "answer") == [quick, later]
    assert cache.look_up(b"a") == "answer"
    assert cache.land(first, "answer") == [slow]


def test_a_budget_that_was_too_small_fails_its_own_caller_and_the_next_one_due_leads() -> None:
    cache: AnswerCache[Caller, str] = AnswerCache(MAX_ENTRIES)
    hasty, patient, middle = Caller(b"a", 1), Caller(b"a", 9), Caller(b"a", 5)
    (flight,) = {cache.board(b"a", caller) for caller in (hasty, patient, middle)}
    assert cache.fail(flight, Fault.LEADER) == [hasty]
    assert flight.leader is middle
    assert cache.land(flight, "answer") == [middle, patient]


def test_callers_in_a_hurry_who_keep_coming_do_not_keep_a_patient_one_from_its_answer() -> None:
    cache: AnswerCache[Caller, str] = AnswerCache(MAX_ENTRIES)
    hasty, patient = Caller(b"a", 1), Caller(b"a", 100)
    (flight,) = {cache.board(b"a", caller) for caller in (hasty, patient)}
    for due in range(2, 10):
        cache.board(b"a", Caller(b"a", due))
        if flight.leader is not patient:
            cache.fail(flight, Fault.LEADER)
    assert flight.leader is patient
    assert cache.land(flight, "answer") == [patient]


def test_a_failed_batch_is_tried_once_more_for_the_others_and_then_fails_them_all() -> None:
    cache: AnswerCache[Caller, str] = AnswerCache(MAX_ENTRIES)
    callers = [Caller(b"a", due) for due in (1, 2, 3)]
    (flight,) = {cache.board(b"a", caller) for caller in callers}
    assert cache.fail(flight, Fault.BATCH) == callers[:1]
    assert cache.fail(flight, Fault.BATCH) == callers[1:]
    assert cache.look_up(b"a") is None
    assert cache.board(b"a", Caller(b"a", 4)) is not flight


def test_nobody_is_told_for_a_leader_who_has_left() -> None:
    cache: AnswerCache[Caller, str] = AnswerCache(MAX_ENTRIES)
    leader, follower = Caller(b"a", 1), Caller(b"a", 2)
    (flight,) = {cache.board(b"a", caller) for caller in (leader, follower)}
    assert not cache.leave(flight, leader)
    assert cache.fail(flight, Fault.LEADER) == []
    assert flight.leader is follower
    assert cache.leave(flight, follower)
    assert cache.board(b"a", Caller(b"a", 1)) is not flight


class Comings(RuleBasedStateMachine):
    """Callers come, leave, are answered and failed in any order, beside a plain account of who waits."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: AnswerCache[Caller, bytes] = AnswerCache(MAX_ENTRIES)
        self.aboard: dict[Flight[Caller], list[Caller]] = {}  # what is flown, and for whom
        self.faults: dict[Flight[Caller], int] = {}  # failed batches of each
        self.closed: set[Flight[Caller]] = set()  # that have failed a leader

    @rule(key=st.sampled_from(KEYS), deadline=TIMES)
    def ask(self, key: bytes, deadline: int) -> None:
        kept = self.cache.look_up(key)
        if kept is not None:
            assert kept == key
            return
        caller = Caller(key, deadline)
        open_ones = [flight for flight in self.aboard.keys() - self.closed if flight.key == key]
        due = [flight.leader.deadline for flight in open_ones]
        flight = self.cache.board(key, caller)
        assert flight.key == key
        if flight in self.aboard:
            assert flight in open_ones
            assert flight.leader is not caller
            assert flight.leader.deadline == min(due) <= deadline
        else:  # the only one, unless those that there are might come too late
            assert flight.leader is caller
            assert min(due, default=4) > deadline
        self.aboard.setdefault(flight, []).append(caller)

    @precondition(lambda self: self.aboard)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        flight = data.draw(st.sampled_from(list(self.aboard)))
        caller = data.draw(st.sampled_from(self.aboard[flight]))
        self.aboard[flight].remove(caller)
        assert self.cache.leave(flight, caller) == (not self.aboard[flight])
        assert not self.cache.leave(flight, caller)
        self._forget_if_empty(flight)

    @precondition(lambda self: self.aboard)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        flight = data.draw(st.sampled_from(list(self.aboard)))
        told = self.cache.land(flight, flight.key)
        assert sorted(map(id, told)) == sorted(map(id, self.aboard.pop(flight)))
        assert all(caller.key == flight.key for caller in told)
        assert self.cache.look_up(flight.key) == flight.key

    @precondition(lambda self: self.aboard)
    @rule(data=st.data(), fault=st.sampled_from(Fault))
    def fail(self, data: st.DataObject, fault: Fault) -> None:
        flight = data.draw(st.sampled_from(list(self.aboard)))
        leader, before = flight.leader, list(self.aboard[flight])
        told = self.cache.fail(flight, fault)
        self.faults[flight] = self.faults.get(flight, 0) + (fault is Fault.BATCH)
        self.closed |= {flight} if fault is Fault.LEADER else set()
        if fault is Fault.EVERYBODY or (fault is Fault.BATCH and self.faults[flight] > 1):
            assert sorted(map(id, told)) == sorted(map(id, before))
        else:
            assert told == [leader] * (leader in before)
        self.aboard[flight] = [caller for caller in before if caller not in told]
        self._forget_if_empty(flight)

    def _forget_if_empty(self, flight: Flight[Caller]) -> None:
        if not self.aboard[flight]:
            del self.aboard[flight]

    @invariant()
    def whoever_waits_is_aboard_of_a_flight_that_is_flown(self) -> None:
        for flight, callers in self.aboard.items():
            assert all(caller.waiting for caller in callers)
            assert len(flight.line) == len(callers) > 0
            assert all(flight.leader.deadline <= caller.deadline for caller in callers)

    @invariant()
    def no_more_is_kept_than_may_be(self) -> None:
        assert len(self.cache) <= MAX_ENTRIES


TestComings = Comings.TestCase
TestComings.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
