"""Several lanes on one device: the properties that hold whatever comes, and fairness under a flood."""

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batching.latency import LatencyModel
from batching.policy import BatchPolicy, CloseReason, RefusalReason
from batching.waiting import Ticket
from tests.batching.world import Model, World, affine, learnt

INF = float("inf")


def model(
    target: float = 0.5,
    fixed: float = 0.010,
    each: float = 0.005,
    *,
    max_batch_size: int = 32,
    max_waiting: int = 1024,
    pipelined_from: float = INF,
) -> Model:
    return Model(
        BatchPolicy(target, max_batch_size, max_waiting), affine(fixed, each), pipelined_from=pipelined_from
    )


class TestAdmission:
    def test_an_idle_device_takes_anybody_whatever_it_expects(self) -> None:
        slow = model(target=0.001)
        world = World(slow)
        assert world.arrive(slow)

    def test_a_busy_device_refuses_what_would_be_late(self) -> None:
        slow = model(target=0.3)
        world = World(slow)
        world.arrive(slow)
        world.dispatch()
        while world.arrive(slow):
            pass
        (refusal,) = slow.refusals
        assert refusal.reason is RefusalReason.DEADLINE
        world.advance(10.0)
        assert slow.on_time() == len(slow.served) > 32

    def test_retry_after_is_when_the_same_request_would_be_taken(self) -> None:
        slow = model(target=0.3)
        world = World(slow)
        world.arrive(slow)
        world.dispatch()
        while world.arrive(slow):
            pass
        world.advance(slow.refusals[0].retry_after_seconds + 1e-6)
        assert world.arrive(slow)

    def test_a_full_line_refuses_exactly_those_who_do_not_fit(self) -> None:
        bounded = model(target=60.0, max_waiting=10)
        world = World(bounded)
        world.arrive(bounded)
        world.dispatch()
        accepted = [world.arrive(bounded) for _ in range(17)]
        assert sum(ticket is not None for ticket in accepted) == 10
        assert [refusal.reason for refusal in bounded.refusals] == [RefusalReason.FULL] * 7

    def test_a_deadline_already_past_is_not_called_a_full_line(self) -> None:
        idle = model()
        world = World(idle)
        world.arrive(idle, timeout_seconds=0.0)
        assert idle.refusals[0].reason is RefusalReason.EXPIRED

    def test_a_hung_device_soon_refuses_everybody(self) -> None:
        hung = model(target=0.1)
        world = World(hung)
        world.arrive(hung)
        world.dispatch()
        world.now = 5.0
        assert world.arrive(hung) is None
        assert hung.refusals[0].retry_after_seconds == pytest.approx(5.0, rel=0.05)

    def test_another_models_batch_counts_as_waiting_time_if_its_turn_is_first(self) -> None:
        quick, slow = model(target=0.05), model(target=0.04, fixed=0.1)
        world = World(quick, slow)
        world.arrive(slow)
        quick.lane.closed_at = world.now
        assert world.arrive(quick) is None

    def test_a_model_that_was_slow_once_is_served_again_beside_a_busy_one(self) -> None:
        busy, other = model(target=1.0), model(target=0.2, fixed=0.010, each=0.040)
        other.lane.latency = learnt(affine(0.040, 0.160))  # as it was while the machine was slow
        rng = Random(1)
        arrivals = [(rng.uniform(0, 120), busy, INF) for _ in range(120 * 300)]
        arrivals += [(rng.uniform(0, 120), other, INF) for _ in range(120 * 5)]
        World(busy, other).play(sorted(arrivals, key=lambda arrival: arrival[0]))
        late = [ticket for ticket, _ in other.served if ticket.offered > 60]
        assert len(late) > 60 * 5 / 2

    def test_a_large_batch_is_not_expected_again_once_nobody_waits(self) -> None:
        one = model(target=1.0)
        world = World(one)
        for _ in range(32):
            world.arrive(one)
        world.dispatch()
        world.advance(1.0)
        assert world.arrive(one, timeout_seconds=0.08)
        world.dispatch()
        assert world.arrive(one, timeout_seconds=0.08)

    def test_it_does_not_if_its_turn_comes_after(self) -> None:
        quick, slow = model(target=0.05), model(target=5.0, fixed=0.1)
        world = World(quick, slow)
        world.arrive(slow)
        assert world.arrive(quick)
        world.dispatch()
        assert world.log == [quick]


class TestCloseReasons:
    def close(self, waiting: int, *, timeout: float = INF, draining: bool = False) -> CloseReason:
        one = model()
        world = World(one)
        world.arrive(one, timeout)
        for _ in range(waiting - 1):
            world.arrive(one)
        one.lane.draining = draining
        world.dispatch()
        return one.batches[0].reason

    def test_full(self) -> None:
        assert self.close(32) is CloseReason.FULL

    def test_the_device_was_free(self) -> None:
        assert self.close(5) is CloseReason.DEVICE_FREE

    def test_the_deadline_of_one_of_them(self) -> None:
        assert self.close(5, timeout=0.021) is CloseReason.DEADLINE

    def test_drain(self) -> None:
        assert self.close(5, draining=True) is CloseReason.DRAIN


class TestFairness:
    """A flood on one model; a few requests a second on the other."""

    def play(self, flooded: Model, quiet: Model, *, flood: float) -> float:
        """The worst latency of the quiet model's answers, in seconds."""
        rng = Random(1)
        arrivals = [(rng.uniform(0, 10), flooded, INF) for _ in range(int(10 * flood))]
        arrivals += [(rng.uniform(0, 10), quiet, INF) for _ in range(10 * 5)]
        World(flooded, quiet).play(sorted(arrivals, key=lambda arrival: arrival[0]))
        return max(when - ticket.offered for ticket, when in quiet.served)

    def one_batch_of_each(self, flooded: Model, quiet: Model) -> float:
        return flooded.seconds(32) + quiet.seconds(4)

    def test_a_flood_costs_the_other_model_at_most_one_batch(self) -> None:
        flooded, quiet = model(), model()
        worst = self.play(flooded, quiet, flood=400)
        assert worst <= self.one_batch_of_each(flooded, quiet)
        assert quiet.on_time() == 50

    def test_a_flood_with_a_tighter_target_costs_no_more(self) -> None:
        flooded, quiet = model(target=0.2), model(target=2.0)
        worst = self.play(flooded, quiet, flood=400)
        assert worst <= self.one_batch_of_each(flooded, quiet)
        assert quiet.on_time() == 50

    def test_the_flooded_model_keeps_what_the_other_leaves(self) -> None:
        flooded, quiet = model(), model()
        self.play(flooded, quiet, flood=400)
        left = 10 - sum(quiet.seconds(len(batch.tickets)) for batch in quiet.batches)
        assert flooded.on_time() > 0.93 * left * 32 / flooded.seconds(32)

    def test_a_flood_of_batches_as_long_as_the_target_leaves_the_other_model_in_time(self) -> None:
        """A batch of 32 takes 98 ms alone; the other model's callers wait for 100."""
        flooded, quiet = (
            model(target=1.0, fixed=0.002, each=0.003),
            model(target=0.1, fixed=0.002, each=0.001),
        )
        self.play(flooded, quiet, flood=900)
        assert quiet.on_time() >= 48
        assert flooded.on_time() > 0.9 * 10 * 16 / flooded.seconds(16)

    def test_a_model_that_nobody_asks_for_makes_no_batches_smaller(self) -> None:
        flooded, quiet = model(target=1.0, fixed=0.002, each=0.003), model(target=0.1)
        world = World(flooded, quiet)
        world.arrive(quiet)
        world.dispatch()
        world.advance(11.0)
        for _ in range(33):
            world.arrive(flooded)
        world.dispatch()
        assert len(flooded.batches[-1].tickets) == 32

    def test_the_earliest_deadline_goes_first_among_those_who_have_not_had_their_turn(self) -> None:
        first, late, early = model(), model(target=0.9), model(target=0.6)
        world = World(first, late, early)
        for each in (first, late, early):
            world.arrive(each)
            world.dispatch()
        world.advance(1.0)
        assert world.log == [first, early, late]


class TestBehindTheRunningBatch:
    """Batches of up to four, 30 ms each: two requests have been running for 20."""

    def backlog(self, callers: int, *, pipelined_from: float = 2, others: tuple[Model, ...] = ()) -> World:
        """So many wait."""
        asked = model(fixed=0.030, each=0.0, max_batch_size=4, pipelined_from=pipelined_from)
        world = World(asked, *others)
        world.arrive(asked)
        world.arrive(asked)
        world.dispatch()
        world.now = 0.020
        for _ in range(callers):
            assert world.arrive(asked)
        return world

    def sizes(self, world: World) -> list[int]:
        """Of the batches of the first model so far, after another look."""
        world.dispatch()
        return [len(batch.tickets) for batch in world.models[0].batches]

    def test_a_full_batch_is_closed_shortly_before_the_running_one_ends(self) -> None:
        world = self.backlog(6)
        assert world.schedule.decides_at() == pytest.approx(0.019)
        assert self.sizes(world) == [2, 4]
        world.finish()
        assert world.schedule.running is not None
        assert world.schedule.running.size == 4
        assert world.schedule.following is None

    def test_not_before(self) -> None:
        world = self.backlog(6)
        world.now = 0.018
        assert self.sizes(world) == [2]

    def test_one_that_is_not_full_may_still_grow(self) -> None:
        world = self.backlog(3)
        assert self.sizes(world) == [2]
        world.arrive(world.models[0])
        assert self.sizes(world) == [2, 4]

    def test_no_third_batch_is_closed(self) -> None:
        world = self.backlog(12)
        world.dispatch()
        assert self.sizes(world) == [2, 4]
        assert world.schedule.decides_at() == INF

    def test_an_engine_that_does_one_after_the_other_gets_them_so(self) -> None:
        world = self.backlog(6, pipelined_from=5)
        assert self.sizes(world) == [2]
        assert world.schedule.decides_at() == INF

    def test_one_behind_a_batch_that_is_too_small_waits_for_its_end(self) -> None:
        world = World(single := model(pipelined_from=2))
        assert world.schedule.decides_at() == -INF
        world.arrive(single)
        world.dispatch()
        assert world.schedule.decides_at() == INF

    def test_another_model_that_was_asked_for_lately_may_have_its_turn(self) -> None:
        other = model()
        world = self.backlog(4, others=(other,))
        gone = world.arrive(other)
        assert gone is not None
        other.lane.line.cancel(gone)
        assert self.sizes(world) == [2]

    def test_and_so_may_one_that_has_waited_for_long(self) -> None:
        other = model()
        world = self.backlog(4, others=(other,))
        other.lane.line.offer(Ticket(-60.0, 600.0))
        assert self.sizes(world) == [2]

    def test_while_a_measurement_waits_for_its_turn_nothing_is_handed_over(self) -> None:
        world = self.backlog(4)
        world.schedule.measurements = 1
        assert self.sizes(world) == [2]
        assert world.schedule.decides_at() == INF

    def test_a_batch_behind_a_measurement_begins_as_that_ends(self) -> None:
        world = self.backlog(4)
        world.schedule.measurements = 1
        world.schedule.measured(0.015)
        assert world.schedule.measurements == 0
        assert world.schedule.running is not None
        assert world.schedule.running.started == 0.015
        assert world.schedule.decides_at() == pytest.approx(0.034)

    def test_behind_a_batch_that_is_late_it_is_expected_to_begin_as_late_again(self) -> None:
        world = self.backlog(4)
        world.now = 0.040
        world.dispatch()
        assert world.schedule.following is not None
        assert world.schedule.following.started == pytest.approx(0.050)

    def test_a_newcomer_waits_for_both(self) -> None:
        world = self.backlog(4)
        world.dispatch()
        lane = world.models[0].lane
        assert world.schedule.refusal(lane, 0.095, now=world.now) is None
        refusal = world.schedule.refusal(lane, 0.085, now=world.now)
        assert refusal is not None
        assert refusal.retry_after_seconds == pytest.approx(0.005)

    def test_who_would_be_late_by_the_time_it_begins_is_given_up(self) -> None:
        world = self.backlog(4)
        asked = world.models[0]
        asked.lane.line.offer(late := Ticket(0.0, 0.055))
        assert self.sizes(world) == [2, 3]
        assert (asked.dropped, asked.expired) == ([late], [])

    def test_each_teaches_the_time_from_the_end_of_the_one_before(self) -> None:
        world = self.backlog(4)
        world.dispatch()
        first = world.schedule.finish(0.040, ended_at=0.035)
        second = world.schedule.finish(0.065)
        assert (first.started, second.started) == (0.0, 0.035)


class AnythingCanHappen(RuleBasedStateMachine):
    """Three models on one device; arrivals, departures, slow batches and idle time in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.models: tuple[Model, ...] = (
            model(target=1.0, max_batch_size=4, max_waiting=6, pipelined_from=2),
            model(target=0.2, fixed=0.05, max_batch_size=8, max_waiting=20),
            Model(BatchPolicy(10.0, 3), affine(0.5, 0.1), LatencyModel()),
        )
        self.world = World(*self.models)
        self.accepted: list[tuple[Model, Ticket]] = []
        self.left: list[Ticket] = []
        self.overtaken = dict.fromkeys(self.models, 0)

    @rule(which=st.integers(0, 2), count=st.integers(1, 12), timeout=st.sampled_from([INF, 0.3, 0.02]))
    def arrive(self, which: int, count: int, timeout: float) -> None:
        for _ in range(count):
            model = self.models[which % len(self.models)]
            if ticket := self.world.arrive(model, timeout):
                self.accepted.append((model, ticket))
        self.dispatch()

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        where, ticket = data.draw(st.sampled_from(self.accepted))
        if where.lane.line.cancel(ticket):
            self.left.append(ticket)

    @rule(seconds=st.floats(0, 0.5))
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds
        self.world.expire()

    @rule()
    def the_batch_is_about_to_be_done(self) -> None:
        self.world.now = max(self.world.now, min(self.world.schedule.decides_at(), self.world.done_at))
        self.world.expire()
        self.dispatch()

    @rule()
    def the_batch_is_done(self) -> None:
        self.world.finish()
        self.dispatch()

    def dispatch(self) -> None:
        waiting = [each for each in self.models if each.lane.line]
        turns = len(self.world.log)
        self.world.dispatch()
        for chosen in self.world.log[turns:]:
            self.check_batch(chosen)
            for each in waiting:
                self.overtaken[each] += 1
            self.overtaken[chosen] = 0

    def check_batch(self, chosen: Model) -> None:
        tickets = chosen.batches[-1].tickets
        assert 1 <= len(tickets) <= chosen.lane.policy.max_batch_size
        assert all(ticket.deadline > self.world.now for ticket in tickets)
        served = [(ticket.deadline, ticket.arrival) for ticket in tickets]
        still_waiting = [entry[:2] for entry in chosen.lane.line._heap if entry[2].waiting]
        assert served == sorted(served)
        assert all(served[-1] < other for other in still_waiting)

    @invariant()
    def the_device_never_idles_while_somebody_waits(self) -> None:
        assert self.world.running or not any(each.lane.line for each in self.models)

    @invariant()
    def the_line_is_bounded(self) -> None:
        assert all(len(each.lane.line) <= each.lane.policy.max_waiting for each in self.models)

    @invariant()
    def nobody_is_overtaken_for_ever(self) -> None:
        assert all(
            count <= 2 * (len(self.models) - 1) for each, count in self.overtaken.items() if each.lane.line
        )

    @invariant()
    def everybody_accepted_is_in_exactly_one_place(self) -> None:
        places = list(self.left)
        for batch in (self.world.running, self.world.following):
            places += batch[1] if batch else []
        for each in self.models:
            places += [ticket for ticket, _ in each.served] + each.expired + each.dropped
            places += [entry[2] for entry in each.lane.line._heap if entry[2].waiting]
        assert sorted(map(id, places)) == sorted(id(ticket) for _, ticket in self.accepted)

    def teardown(self) -> None:
        while self.world.running:
            self.the_batch_is_done()
        assert not any(each.lane.line for each in self.models)
        self.everybody_accepted_is_in_exactly_one_place()


class AnythingCanHappenToOne(AnythingCanHappen):
    """The same with one model, whose batches may be closed ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.models = self.models[:1]
        self.world = World(*self.models)


TestAnythingCanHappenToOne = AnythingCanHappenToOne.TestCase
TestAnythingCanHappenToOne.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnythingCanHappen = AnythingCanHappen.TestCase
TestAnythingCanHappen.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
