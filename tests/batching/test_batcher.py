"""The shell: who gets which answer when callers leave, batches fail or hang, and queues close."""

import asyncio
import gc
import threading
import time
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import pytest

from batching import (
    Answered,
    Batcher,
    BatcherClosed,
    BatchFailed,
    BatchPolicy,
    DeadlineExceeded,
    Device,
    LatencyModel,
    OutOfMemory,
    QueueFull,
    WrongResultCount,
)
from tests.batching.fakes import HeldModel, Recorder, double
from tests.batching.world import learnt

PATIENT = BatchPolicy(latency_target_seconds=600.0)


@pytest.fixture
async def device() -> AsyncIterator[Device]:
    device = Device("test")
    yield device
    device.close()


@pytest.fixture
async def held() -> AsyncIterator[HeldModel]:
    held = HeldModel()
    yield held
    held.let_go(1000)


def noting(sizes: list[int]) -> Callable[[Sequence[int]], list[int]]:
    """Doubles a batch, and notes its size."""

    def run(items: Sequence[int]) -> list[int]:
        sizes.append(len(items))
        return double(items)

    return run


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def make(device: Device, recorder: Recorder) -> Callable[..., Batcher[int, int]]:
    def make(
        run_batch: Callable[[Sequence[int]], Sequence[int | Exception]], policy: BatchPolicy = PATIENT
    ) -> Batcher[int, int]:
        return Batcher(run_batch, policy, device, name="test", observer=recorder)

    return make


@pytest.fixture
def in_a_row(device: Device, recorder: Recorder) -> Callable[..., Batcher[int, int]]:
    """Batches of up to four; one may be handed over behind another."""

    def make(
        run_batch: Callable[[Sequence[int]], Sequence[int | Exception]],
        expected_seconds: float = 0.05,
        target_seconds: float = 600.0,
    ) -> Batcher[int, int]:
        policy = BatchPolicy(target_seconds, max_batch_size=4)
        latency = learnt(lambda _: expected_seconds)
        return Batcher(
            run_batch, policy, device, name="test", observer=recorder, latency=latency, pipelined_from=2
        )

    return make


class Clock:
    """The queue's time, which the test moves; it begins now, since the loop's timers keep their own."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic


Make = Callable[..., Batcher[int, int]]
Caller = asyncio.Task[Answered[int]]


async def join(batcher: Batcher[int, int], *items: int, **options: Any) -> list[Caller]:
    """Callers who have all reached the line."""
    callers = [asyncio.create_task(batcher.submit(item, **options)) for item in items]
    await asyncio.sleep(0)
    return callers


async def values(callers: list[Caller]) -> list[Any]:
    """Each caller's answer or exception."""
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    return [outcome.value if isinstance(outcome, Answered) else outcome for outcome in outcomes]


async def two_in_a_row(
    batcher: Batcher[int, int], held: HeldModel, **options: Any
) -> tuple[list[Caller], list[Caller]]:
    """Callers whose batch runs, 1 and 2, and those whose batch was handed over behind it, 3 to 6, who alone
    have the options."""
    first = await join(batcher, 1, 2)
    await held.begun()
    second = await join(batcher, 3, 4, 5, 6, **options)
    await held.begun()
    return first, second


class TestBatches:
    async def test_a_lone_request_on_an_idle_device_runs_at_once(
        self, make: Make, recorder: Recorder
    ) -> None:
        answered = await make(double).submit(21)
        assert answered.value == 42
        assert answered.batch_size == 1
        assert recorder.formed == [(1, "device_free")]

    async def test_all_who_are_ready_in_one_turn_of_the_loop_share_the_first_batch(
        self, make: Make, recorder: Recorder
    ) -> None:
        assert await values(await join(make(double), *range(10))) == double(range(10))
        assert recorder.formed == [(10, "device_free")]

    async def test_the_line_grows_while_the_device_is_busy(
        self, make: Make, held: HeldModel, recorder: Recorder
    ) -> None:
        batcher = make(held, BatchPolicy(600.0, max_batch_size=4))
        first = await join(batcher, 1)
        await held.begun()
        others = await join(batcher, 2, 3, 4, 5, 6)
        assert batcher.waiting == 5
        held.let_go(3)
        assert await values(first + others) == double([1, 2, 3, 4, 5, 6])
        assert held.batches == [[1], [2, 3, 4, 5], [6]]
        assert recorder.formed == [(1, "device_free"), (4, "full"), (1, "device_free")]
        assert recorder.done == [1, 4, 1]

    async def test_an_answer_says_what_it_took(self, make: Make, held: HeldModel) -> None:
        batcher = make(held)
        (first,) = await join(batcher, 1)
        await held.begun()
        (second,) = await join(batcher, 2)
        held.let_go(2)
        answered = await second
        assert 0 < answered.queue_seconds <= (await first).batch_seconds
        assert answered.batch_seconds > 0

    async def test_the_device_starts_the_next_batch_before_the_last_answers_go_out(
        self, make: Make, held: HeldModel
    ) -> None:
        batcher = make(held, BatchPolicy(600.0, max_batch_size=1))
        first, second = await join(batcher, 1, 2)
        held.let_go()
        assert (await first).value == 2
        assert batcher.waiting == 0
        assert not second.done()

    async def test_answers_are_not_permuted_under_load_with_callers_leaving(self, make: Make) -> None:
        rng, batcher, limit = Random(1), make(double), asyncio.Semaphore(64)

        async def call(item: int) -> bool:
            async with limit:
                caller = asyncio.create_task(batcher.submit(item))
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                if rng.random() < 0.3:
                    caller.cancel()
                (answer,) = await values([caller])
                return isinstance(answer, asyncio.CancelledError) or answer == 2 * item

        assert all(await asyncio.gather(*map(call, range(10_000))))
        assert batcher.waiting == 0


class TestFailures:
    async def test_a_bad_item_fails_alone(self, make: Make) -> None:
        def picky(items: Sequence[int]) -> list[int | Exception]:
            return [ValueError(f"no {item}") if item == 3 else item for item in items]

        answers = await values(await join(make(picky), *range(16)))
        assert answers[:3] + answers[4:] == [item for item in range(16) if item != 3]
        assert isinstance(answers[3], ValueError)

    @pytest.mark.parametrize("failure", [ValueError(), SystemExit(), asyncio.CancelledError()])
    async def test_a_batch_that_raises_fails_its_callers_and_nobody_else(
        self, make: Make, held: HeldModel, failure: BaseException
    ) -> None:
        batcher = make(held)
        callers = await join(batcher, 1, 2)
        await held.begun()
        later = await join(batcher, 3)
        held.failure = failure
        held.let_go()
        for error in await values(callers):
            assert isinstance(error, BatchFailed)
            assert error.__cause__ is failure
        held.failure = None
        held.let_go()
        assert await values(later) == [6]

    async def test_a_batch_that_finds_no_memory_is_run_again_in_halves(self, make: Make) -> None:
        sizes: list[int] = []

        def greedy(items: Sequence[int]) -> list[int]:
            sizes.append(len(items))
            if len(items) > 4:
                raise MemoryError
            return double(items)

        assert await values(await join(make(greedy), *range(7))) == [2 * item for item in range(7)]
        assert sizes == [7, 3, 4]

    async def test_a_half_that_finds_no_memory_either_fails_without_the_other(
        self, make: Make, recorder: Recorder
    ) -> None:
        def greedy(items: Sequence[int]) -> list[int]:
            if 0 in items:
                raise MemoryError
            return double(items)

        batcher = make(greedy)
        first, second, *others = await values(await join(batcher, *range(4)))
        assert isinstance(first, OutOfMemory)
        assert isinstance(second, OutOfMemory)
        assert first is not second
        assert others == [4, 6]
        assert recorder.failures == ["OutOfMemory"] * 2
        assert (await batcher.submit(5)).value == 10

    @pytest.mark.parametrize("fits", [0, 4])
    async def test_nothing_is_learnt_from_a_batch_that_found_no_memory_at_first(
        self, make: Make, fits: int
    ) -> None:
        """To fail takes no time, and two halves take longer than one batch."""

        def greedy(items: Sequence[int]) -> list[int]:
            if len(items) > fits:
                raise MemoryError
            return double(items)

        batcher = make(greedy)
        batcher.latency.observe(8, 5.0)
        before = batcher.latency.typical(8)
        await values(await join(batcher, *range(8)))
        assert batcher.latency.typical(8) == before

    async def test_what_an_attempt_without_memory_had_allocated_is_free_for_the_next(
        self, make: Make
    ) -> None:
        class Tensor:
            pass

        tensors: list[weakref.ref[Tensor]] = []

        def greedy(items: Sequence[int]) -> list[int]:
            assert all(tensor() is None for tensor in tensors)
            tensor = Tensor()
            tensors.append(weakref.ref(tensor))
            if len(items) > 1:
                raise MemoryError
            return double(items)

        assert await values(await join(make(greedy), 1, 2)) == [2, 4]

    async def test_each_caller_of_a_failed_batch_gets_an_error_of_its_own(self, make: Make) -> None:
        def broken(_items: Sequence[int]) -> list[int]:
            raise ValueError("broken")

        errors = await values(await join(make(broken), *range(32)))
        assert len(set(map(id, errors))) == 32
        assert len({len(traceback.extract_tb(error.__traceback__)) for error in errors}) == 1
        assert len(traceback.extract_tb(errors[0].__cause__.__traceback__)) < 10

    @pytest.mark.parametrize("returned", [0, 2, 4])
    async def test_a_wrong_number_of_answers_answers_nobody(self, make: Make, returned: int) -> None:
        batcher = make(lambda items: [0] * returned if len(items) == 3 else double(items))
        for error in await values(await join(batcher, 1, 2, 3)):
            assert isinstance(error, WrongResultCount)
            assert f"batch of 3: {returned} answers" in str(error)
        assert (await batcher.submit(5)).value == 10

    async def test_something_that_is_no_list_of_answers_fails_the_batch(self, make: Make) -> None:
        batcher: Batcher[int, int] = make(lambda _: None)
        (error,) = await values(await join(batcher, 1))
        assert isinstance(error, BatchFailed)

    async def test_even_stop_iteration_as_an_answer_harms_only_its_own_caller(self, make: Make) -> None:
        batcher = make(lambda items: [StopIteration() if item == 1 else item for item in items])
        first, second = await values(await join(batcher, 1, 2))
        assert isinstance(first, RuntimeError)
        assert second == 2

    async def test_a_failed_batch_teaches_nothing_about_time(self, make: Make, held: HeldModel) -> None:
        batcher = make(held)
        held.failure = ValueError()
        held.let_go()
        await values(await join(batcher, 1))
        assert batcher.latency.typical(1) == 0.0

    async def test_an_observer_that_fails_harms_no_request(
        self, device: Device, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(Recorder):
            def batch_formed(self, *_: object) -> None:
                raise ValueError("broken observer")

        batcher = Batcher(double, PATIENT, device, name="test", observer=Broken())
        assert (await batcher.submit(1)).value == 2
        assert "broken observer" in caplog.text


class TestCallersWhoLeave:
    async def test_a_caller_who_leaves_is_taken_out_of_the_line(
        self, make: Make, held: HeldModel, recorder: Recorder
    ) -> None:
        batcher = make(held)
        first = await join(batcher, 1)
        await held.begun()
        second, third = await join(batcher, 2, 3)
        second.cancel()
        await asyncio.sleep(0)
        assert batcher.waiting == 1
        held.let_go(2)
        assert await values([*first, third]) == [2, 6]
        assert held.batches == [[1], [3]]
        assert recorder.stages == ["left"]

    async def test_a_caller_who_leaves_in_the_turn_of_dispatch_is_not_served(
        self, make: Make, recorder: Recorder
    ) -> None:
        first, second = await join(make(double), 1, 2)
        first.cancel()
        assert await values([second]) == [4]
        assert recorder.formed == [(1, "device_free")]
        assert recorder.stages == ["left"]

    async def test_if_everybody_leaves_before_dispatch_nothing_runs(
        self, make: Make, recorder: Recorder
    ) -> None:
        batcher = make(double)
        callers = await join(batcher, 1, 2)
        for caller in callers:
            caller.cancel()
        await values(callers)
        assert recorder.formed == []
        assert (await batcher.submit(3)).value == 6

    async def test_a_caller_who_leaves_a_running_batch_does_not_hurt_the_others(
        self, make: Make, held: HeldModel, recorder: Recorder
    ) -> None:
        first, second = await join(make(held), 1, 2)
        await held.begun()
        first.cancel()
        held.let_go()
        assert await values([second]) == [4]
        assert recorder.stages == ["left_running"]

    async def test_nothing_is_left_behind_in_memory(self, device: Device) -> None:
        class Image:
            pass

        async def call(image: Image) -> weakref.ref[Image]:
            await batcher.submit(image)
            return weakref.ref(image)

        batcher = Batcher[Image, int](lambda images: [0] * len(images), PATIENT, device, name="test")
        images = await asyncio.gather(*[call(Image()) for _ in range(100)])
        await device.measure(lambda: None)  # by now the engine thread is done with them as well
        gc.collect()
        assert not any(image() for image in images)


class TestDeadlines:
    async def test_a_request_that_expires_in_the_line_is_not_served(
        self, make: Make, held: HeldModel, recorder: Recorder
    ) -> None:
        batcher = make(held)
        first = await join(batcher, 1)
        await held.begun()
        (second,) = await join(batcher, 2, timeout_seconds=0.25)
        (error,) = await values([second])
        assert isinstance(error, DeadlineExceeded)
        assert float(str(error).split()[-2]) >= 0.25
        held.let_go()
        assert await values(first) == [2]
        assert held.batches == [[1]]
        assert recorder.stages == ["expired"]

    async def test_the_target_is_the_deadline_of_those_who_name_none(
        self, make: Make, held: HeldModel
    ) -> None:
        batcher = make(held, BatchPolicy(latency_target_seconds=0.5))
        await join(batcher, 1)
        await held.begun()
        (error,) = await values(await join(batcher, 2))
        assert isinstance(error, DeadlineExceeded)

    async def test_when_a_batch_hangs_callers_get_out_at_their_deadline_and_the_late_answer_goes_nowhere(
        self, make: Make, held: HeldModel, recorder: Recorder
    ) -> None:
        batcher = make(held)
        soon = asyncio.create_task(batcher.submit(1, timeout_seconds=0.2))
        later = asyncio.create_task(batcher.submit(2, timeout_seconds=0.4))
        assert [type(error) for error in await values([soon, later])] == [DeadlineExceeded] * 2
        assert recorder.stages == ["expired_running"] * 2
        (third,) = await join(batcher, 3)
        held.let_go(2)
        assert (await third).value == 6
        assert held.batches == [[1, 2], [3]]

    async def test_who_is_given_up_is_answered_at_once_and_the_late_answers_go_nowhere(
        self, make: Make, held: HeldModel, recorder: Recorder
    ) -> None:
        batcher = make(held)
        running = await join(batcher, 1)
        await held.begun()
        waiting = await join(batcher, 2)
        batcher.give_up()
        batcher.give_up()
        assert [type(error) for error in await values([*running, *waiting])] == [DeadlineExceeded] * 2
        assert recorder.stages == ["dropped", "expired_running"]
        (later,) = await join(batcher, 3)
        held.let_go(2)
        assert (await later).value == 6
        assert held.batches == [[1], [3]]

    async def test_a_running_batch_may_exceed_the_target_and_still_answers(
        self, make: Make, held: HeldModel
    ) -> None:
        batcher = make(held, BatchPolicy(latency_target_seconds=0.2))
        (caller,) = await join(batcher, 1)
        await asyncio.wait([caller], timeout=0.4)
        held.let_go()
        assert (await caller).value == 2

    async def test_a_deadline_counts_from_arrival(self, make: Make, recorder: Recorder) -> None:
        arrived = asyncio.get_running_loop().time() - 1.0
        with pytest.raises(DeadlineExceeded):
            await make(double).submit(1, arrived=arrived, timeout_seconds=0.9)
        assert recorder.refusals == ["expired"]

    async def test_the_earliest_deadline_is_served_first(self, make: Make, held: HeldModel) -> None:
        batcher = make(held, BatchPolicy(600.0, max_batch_size=1))
        callers = await join(batcher, 1)
        await held.begun()
        callers += await join(batcher, 2) + await join(batcher, 3, timeout_seconds=300.0)
        held.let_go(3)
        await values(callers)
        assert held.batches == [[1], [3], [2]]


class TestAdmission:
    async def test_of_more_than_fit_exactly_the_rest_are_refused(
        self, make: Make, held: HeldModel, recorder: Recorder
    ) -> None:
        batcher = make(held, BatchPolicy(600.0, max_waiting=8))
        callers = await join(batcher, 0)
        await held.begun()
        callers += await join(batcher, *range(1, 14))
        held.let_go(2)
        outcomes = await values(callers)
        assert outcomes[:9] == double(range(9))
        assert all(isinstance(error, QueueFull) for error in outcomes[9:])
        assert len(outcomes[9:]) == 5
        assert recorder.refusals == ["full"] * 5

    async def test_a_request_is_refused_before_any_work_is_done_for_it(
        self, make: Make, held: HeldModel
    ) -> None:
        batcher = make(held, BatchPolicy(600.0, max_waiting=2))
        callers = await join(batcher, 1)
        await held.begun()
        batcher.admit(2)
        with pytest.raises(QueueFull) as refused:
            batcher.admit(3)
        assert refused.value.retry_after_seconds >= 0
        held.let_go()
        await values(callers)


class TestClosing:
    async def test_drain_finishes_what_was_accepted_and_refuses_the_rest(
        self, make: Make, held: HeldModel, recorder: Recorder
    ) -> None:
        batcher = make(held)
        callers = await join(batcher, 1)
        await held.begun()
        callers += await join(batcher, 2, 3)
        drains = [asyncio.create_task(batcher.drain()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BatcherClosed):
            await batcher.submit(4)
        held.let_go(2)
        assert await values(callers) == [2, 4, 6]
        await asyncio.gather(*drains)
        assert recorder.formed[1] == (2, "drain")
        assert recorder.refusals == ["closed"]
        assert batcher.waiting == 0

    async def test_an_empty_batcher_drains_at_once(self, make: Make) -> None:
        await make(double).drain()

    async def test_drain_does_not_wait_for_a_batch_whose_callers_are_gone(
        self, make: Make, held: HeldModel
    ) -> None:
        batcher = make(held)
        (caller,) = await join(batcher, 1, timeout_seconds=0.01)
        await batcher.drain()
        assert isinstance((await values([caller]))[0], DeadlineExceeded)

    async def test_a_closed_device_takes_nothing_and_its_thread_ends(self, recorder: Recorder) -> None:
        device = Device("closing")
        batcher = Batcher(double, PATIENT, device, name="test", observer=recorder)
        await batcher.submit(1)
        device.close()
        with pytest.raises(BatcherClosed):
            await batcher.submit(2)
        with pytest.raises(BatcherClosed):
            await asyncio.wait_for(device.measure(lambda: None), 10)
        assert "device-closing" not in [thread.name for thread in threading.enumerate()]


class TestTheDevice:
    async def test_two_models_take_turns(self, device: Device, held: HeldModel) -> None:
        policy = BatchPolicy(600.0, max_batch_size=2)
        flooded = Batcher(held, policy, device, name="flooded")
        quiet = Batcher(held, policy, device, name="quiet")
        callers = await join(flooded, 1, 2, 3, 4, 5, 6)
        await held.begun()
        callers += await join(quiet, 100)
        held.let_go(4)
        await values(callers)
        assert held.batches == [[1, 2], [100], [3, 4], [5, 6]]

    async def test_a_watchdog_can_see_since_when_the_engine_is_busy_even_with_a_warm_up(
        self, device: Device, make: Make, held: HeldModel
    ) -> None:
        assert device.busy_since is None
        batcher = make(held, BatchPolicy(600.0, max_batch_size=1))
        callers = await join(batcher, 1)
        await held.begun()
        first = device.busy_since
        assert first is not None
        held.let_go()
        await values(callers)
        assert device.busy_since is None
        warm_up = asyncio.create_task(batcher.warm_up(0, repeats=0))
        await held.begun()
        assert device.busy_since is not None
        assert device.busy_since > first
        held.let_go()
        await warm_up

    async def test_a_batch_behind_another_models_warm_up_waits_for_it_and_learns_only_its_own_time(
        self, device: Device, make: Make, held: HeldModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = Clock()
        monkeypatch.setattr("batching.device.time", clock)
        monkeypatch.setattr("batching.batcher.time", clock)
        batcher = make(held)
        warm_up = asyncio.create_task(device.measure(partial(held, [0])))
        await held.begun()
        (caller,) = await join(batcher, 1)
        await asyncio.sleep(0)
        assert batcher.waiting == 0
        clock.now += 60.0
        held.let_go()
        await held.begun()
        clock.now += 1.0
        held.let_go()
        answered = await caller
        assert await warm_up == pytest.approx(60.0)
        assert answered.queue_seconds == pytest.approx(60.0)
        assert answered.batch_seconds == pytest.approx(1.0)
        assert batcher.latency.typical(1) == pytest.approx(1.0)

    async def test_a_full_batch_is_handed_over_before_the_one_before_it_ends(
        self, in_a_row: Make, held: HeldModel, recorder: Recorder
    ) -> None:
        batcher = in_a_row(held)
        first, second = await two_in_a_row(batcher, held)
        assert held.batches == [[1, 2], [3, 4, 5, 6]]
        assert recorder.done == []
        held.let_go(2)
        assert await values(first + second) == [2, 4, 6, 8, 10, 12]

    async def test_one_that_fills_up_late_is_handed_over_as_soon_as_it_is_full(
        self, in_a_row: Make, held: HeldModel
    ) -> None:
        batcher = in_a_row(held, 0.001)
        callers = await join(batcher, 1, 2)
        await held.begun()
        callers += await join(batcher, 3, 4, 5)
        await asyncio.sleep(0)
        assert len(held.batches) == 1
        callers += await join(batcher, 6)
        await held.begun()
        held.let_go(2)
        assert await values(callers) == [2, 4, 6, 8, 10, 12]

    async def test_and_another_behind_that_one(self, in_a_row: Make, held: HeldModel) -> None:
        batcher = in_a_row(held)
        first, second = await two_in_a_row(batcher, held)
        held.let_go(2)
        await values(first + second)
        third = await join(batcher, 7, 8)
        await held.begun()
        fourth = await join(batcher, 9, 10, 11, 12)
        await held.begun()
        held.let_go(1)
        fifth = await join(batcher, 13, 14, 15, 16)
        held.let_go(1)
        await values(third)
        await held.begun()
        held.let_go(1)
        assert await values(fourth + fifth) == [18, 20, 22, 24, 26, 28, 30, 32]

    async def test_a_batch_that_is_done_before_its_turn_is_answered_in_its_turn(self, in_a_row: Make) -> None:
        done_early, may_end = threading.Event(), threading.Event()

        def run(items: Sequence[int]) -> list[int]:
            if len(items) == 2:
                assert may_end.wait(60)
            else:
                done_early.set()
            return double(items)

        batcher = in_a_row(run)
        answered: list[int] = []
        first = await join(batcher, 1, 2)
        second = await join(batcher, 3, 4, 5, 6)
        for caller in first + second:
            caller.add_done_callback(lambda caller: answered.append(caller.result().value))
        await asyncio.to_thread(done_early.wait, 60)
        assert answered == []
        may_end.set()
        await values(first + second)
        assert answered == [2, 4, 6, 8, 10, 12]

    async def test_what_follows_is_timed_from_the_end_of_the_one_before_and_not_from_when_the_loop_heard(
        self, in_a_row: Make, device: Device, held: HeldModel
    ) -> None:
        batcher = in_a_row(held)
        first, second = await two_in_a_row(batcher, held)
        ends = []
        for _ in range(2):  # while the loop is held up
            before = device._ended_at
            held.let_go()
            while device._ended_at == before:
                pass
            ends.append(device._ended_at)
        await values(first)
        assert (await second[0]).batch_seconds >= ends[1] - ends[0] > 0

    async def test_whoever_is_in_either_of_two_batches_can_be_given_up(
        self, in_a_row: Make, held: HeldModel, recorder: Recorder
    ) -> None:
        batcher = in_a_row(held)
        first, second = await two_in_a_row(batcher, held)
        batcher.give_up()
        assert {type(outcome) for outcome in await values(first + second)} == {DeadlineExceeded}
        assert recorder.stages == ["expired_running"] * 6

    async def test_callers_behind_a_batch_that_hangs_get_out_at_their_deadline(
        self, in_a_row: Make, held: HeldModel
    ) -> None:
        """That is the target; those of the batch that runs wait for it, as they said nothing else."""
        batcher = in_a_row(held, 0.001, 0.3)
        first, second = await two_in_a_row(batcher, held)
        assert {type(outcome) for outcome in await values(second)} == {DeadlineExceeded}
        held.let_go(2)
        assert await values(first) == [2, 4]

    async def test_callers_of_what_followed_a_batch_that_ended_get_out_at_the_time_they_gave(
        self, in_a_row: Make, held: HeldModel
    ) -> None:
        batcher = in_a_row(held, 0.001)
        first, second = await two_in_a_row(batcher, held, timeout_seconds=0.3)
        held.let_go()
        assert await values(first) == [2, 4]
        assert {type(outcome) for outcome in await values(second)} == {DeadlineExceeded}

    async def test_a_watchdog_sees_each_of_two_batches_from_its_own_beginning(
        self, in_a_row: Make, device: Device
    ) -> None:
        gates = {2: threading.Event(), 4: threading.Event()}
        begun: asyncio.Queue[int] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def run(items: Sequence[int]) -> list[int]:
            loop.call_soon_threadsafe(begun.put_nowait, len(items))
            assert gates[len(items)].wait(60)
            return double(items)

        batcher = in_a_row(run)
        first = await join(batcher, 1, 2)
        await begun.get()
        first_began = device.busy_since
        second = await join(batcher, 3, 4, 5, 6)
        await begun.get()
        assert device.busy_since == first_began
        gates[2].set()
        await values(first)
        assert device.busy_since == device._ended_at
        gates[4].set()
        await values(second)

    async def test_a_warm_up_waits_for_the_batch_that_was_handed_over_ahead(
        self, in_a_row: Make, device: Device, held: HeldModel
    ) -> None:
        batcher = in_a_row(held)
        first, second = await two_in_a_row(batcher, held)
        others: list[int] = []
        measured = asyncio.create_task(device.measure(lambda: others.append(len(device._busy) - 1)))
        await asyncio.sleep(0)
        held.let_go(2)
        await values(first + second)
        await measured
        assert others == [0]

    async def test_nothing_is_handed_over_ahead_while_a_warm_up_waits_or_runs(
        self, in_a_row: Make, device: Device, held: HeldModel
    ) -> None:
        batcher = in_a_row(held, 0.001)
        callers = await join(batcher, 1, 2)
        await held.begun()
        measured = asyncio.create_task(device.measure(lambda: held([0])))
        await asyncio.sleep(0)
        callers += await join(batcher, 3, 4, 5, 6)
        held.let_go()
        await held.begun()
        assert held.batches == [[1, 2], [0]]
        callers += await join(batcher, 7, 8, 9, 10)
        await asyncio.sleep(0)
        assert len(held.batches) == 2
        held.let_go(3)
        await measured
        assert await values(callers) == [2 * item for item in range(1, 11)]

    async def test_one_that_callers_have_left_too_few_in_waits_for_the_end_of_the_one_before(
        self, device: Device, held: HeldModel
    ) -> None:
        policy, latency = BatchPolicy(600.0, max_batch_size=4), learnt(lambda _: 0.001)
        batcher = Batcher(held, policy, device, name="test", latency=latency, pipelined_from=3)
        first = await join(batcher, 1, 2, 3, 4)
        await held.begun()
        second = await join(batcher, 5, 6, 7, 8)
        for caller in second[:2]:
            caller.cancel()  # in the turn in which their batch is handed over
        await asyncio.sleep(0)
        assert device.schedule.following is not None
        assert (device.schedule.following.size, device.schedule.following.ahead) == (2, False)
        assert device._last_thread == 0
        held.let_go(2)
        assert await values(first + second[2:]) == [2, 4, 6, 8, 14, 16]

    async def test_no_thread_that_is_idle_keeps_a_batch_in_memory(self, device: Device) -> None:
        class Image:
            pass

        second_begun = threading.Event()

        def run(images: Sequence[Image]) -> list[int]:
            if len(images) == 2:
                assert second_begun.wait(60)
            else:
                second_begun.set()
            return [0 for _ in images]

        latency = learnt(lambda _: 0.001)
        policy = BatchPolicy(600.0, max_batch_size=4)
        batcher = Batcher(run, policy, device, name="test", latency=latency, pipelined_from=2)
        images = [Image() for _ in range(6)]
        seen = [weakref.ref(image) for image in images]
        callers = [asyncio.create_task(batcher.submit(image)) for image in images[:2]]
        await asyncio.sleep(0)
        callers += [asyncio.create_task(batcher.submit(image)) for image in images[2:]]
        await asyncio.gather(*callers)
        del images, callers
        gc.collect()
        for _ in range(1000):  # the threads may still be on their way to the next job
            if not any(image() for image in seen):
                break
            await asyncio.to_thread(second_begun.wait)
        assert not any(image() for image in seen)

    async def test_batches_do_not_run_in_the_loops_thread(self, make: Make) -> None:
        batcher = make(lambda items: [threading.get_ident()] * len(items))
        assert (await batcher.submit(1)).value != threading.get_ident()

    async def test_warming_up_measures_every_doubling_and_the_largest_size(self, make: Make) -> None:
        sizes: list[int] = []
        batcher = make(noting(sizes), BatchPolicy(1.0, max_batch_size=12))
        await batcher.warm_up(0, repeats=2)
        assert sizes == [1] * 3 + [2] * 3 + [4] * 3 + [8] * 3 + [12] * 3
        assert [point.size for point in batcher.curve()] == [1, 2, 4, 8, 12]
        assert batcher.latency.p99(12) > 0.0

    async def test_warming_up_runs_the_steps_too_and_learns_them(self, make: Make) -> None:
        sizes: list[int] = []
        batcher = make(noting(sizes), BatchPolicy(1.0, max_batch_size=8))
        await batcher.warm_up(0, [1, 2, 4, 6, 8], repeats=1)
        assert sizes == [1, 1, 2, 2, 4, 4, 6, 8, 8]
        assert batcher.latency.typical(5) == batcher.latency.typical(6)

    async def test_the_curve_is_told_at_both_ends_of_each_step(self, make: Make) -> None:
        steps = [1, 2, 3, 8, 12, 16]
        batcher = make(double, BatchPolicy(1.0, max_batch_size=16))
        await batcher.warm_up(0, steps, repeats=1)
        assert [point.size for point in batcher.curve()] == [1, 2, 3, 4, 8, 9, 12, 13, 16]
        known = LatencyModel([(size, 0.01 * size) for size in (1, 2, 4, 8, 16)], steps)
        told = LatencyModel.from_curve(known.curve(point.size for point in batcher.curve()))
        for size in range(1, 17):
            assert told.typical(size) == pytest.approx(known.typical(size))

    @pytest.mark.parametrize(
        ("answers", "failure"),
        [([], WrongResultCount), ([ValueError()], ValueError), ([0, 0], WrongResultCount)],
    )
    async def test_a_failing_warm_up_says_so(
        self, make: Make, answers: list[Any], failure: type[Exception]
    ) -> None:
        batcher = make(lambda _: answers)
        with pytest.raises(failure):
            await batcher.warm_up(0)

    async def test_a_warm_up_without_memory_says_so(self, make: Make) -> None:
        def greedy(items: Sequence[int]) -> list[int]:
            if len(items) > 16:
                raise MemoryError
            return double(items)

        with pytest.raises(MemoryError):
            await make(greedy).warm_up(0)


def test_a_batcher_made_before_the_loop_and_used_on_one_after_another_works() -> None:
    device = Device("loops")
    batcher = Batcher(double, PATIENT, device, name="test")

    async def call() -> int:
        return (await batcher.submit(4)).value

    assert [asyncio.run(call()) for _ in range(2)] == [8, 8]
    device.close()
