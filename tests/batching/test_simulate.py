"""The forecast: what the policy does to a load, against what a fixed wait does to it."""

from collections.abc import Callable
from math import exp
from random import Random

import pytest

from batching.arrivals import bursty, poisson
from batching.policy import BatchPolicy
from batching.simulate import Costs, Forecast, Routing, simulate
from tests.batching.fixed_wait import fixed_wait_latencies
from tests.batching.world import Model, World, affine, learnt

POLICY = BatchPolicy(latency_target_seconds=0.5)
SECONDS = affine(0.010, 0.005)  # capacity: 32 in 170 ms
CAPACITY = 32 / SECONDS(32)


def noisy(seconds: Callable[[int], float], spread: float) -> Callable[[int], float]:
    rng = Random(1)
    return lambda size: seconds(size) * exp(spread * rng.gauss(0.0, 1.0))


def forecast(times_capacity: float, *, spread: float = 0.0, seconds: float = 30.0) -> Forecast:
    load = poisson(times_capacity * CAPACITY, seconds, seed=1)
    return simulate(load, POLICY, learnt(SECONDS), batch_seconds=noisy(SECONDS, spread))


@pytest.mark.parametrize("times_capacity", [1.2, 2.0, 5.0])
@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_under_overload_goodput_stays_at_capacity(times_capacity: float, spread: float) -> None:
    overload = forecast(times_capacity, spread=spread)
    assert overload.goodput > 0.95 * CAPACITY
    assert overload.latency_percentile(99) < 1.02 * POLICY.latency_target_seconds
    assert overload.expired + overload.dropped < 0.03 * overload.offered


def test_below_capacity_nearly_everybody_is_answered_on_time() -> None:
    assert forecast(0.5).on_time == forecast(0.5).offered
    assert forecast(0.9).on_time > 0.99 * forecast(0.9).offered


def test_under_overload_a_fixed_wait_answers_next_to_nobody_on_time() -> None:
    latencies = fixed_wait_latencies(list(poisson(2 * CAPACITY, 30.0, seed=1)), SECONDS)
    assert sum(latency <= 0.5 for latency in latencies) < 0.05 * CAPACITY * 30.0


def test_a_fixed_wait_makes_a_lone_request_wait() -> None:
    ours = simulate([0.0], POLICY, learnt(SECONDS), batch_seconds=SECONDS)
    fixed = fixed_wait_latencies([0.0], SECONDS, wait_seconds=0.1)
    assert list(ours.latencies) == [SECONDS(1)]
    assert fixed == [pytest.approx(0.1 + SECONDS(1))]


def test_everybody_offered_is_accounted_for() -> None:
    all_of_them = forecast(2.0, spread=0.3)
    gone = all_of_them.refused + all_of_them.expired + all_of_them.dropped
    assert all_of_them.answered + gone == all_of_them.offered


def test_the_same_arguments_give_the_same_forecast() -> None:
    assert forecast(1.2, spread=0.1) == forecast(1.2, spread=0.1)


def test_a_few_callers_in_a_great_hurry_cost_the_others_little() -> None:
    rng, model = Random(1), Model(POLICY, SECONDS)
    load = [(when, model, 0.010 if rng.random() < 0.01 else 9.9) for when in poisson(CAPACITY, 30.0, seed=1)]
    World(model).play(load)
    alone = simulate(poisson(CAPACITY, 30.0, seed=1), POLICY, learnt(SECONDS), batch_seconds=SECONDS)
    assert model.on_time() > 0.95 * alone.on_time


def test_after_a_burst_latency_is_normal_again_within_a_second() -> None:
    calm = list(poisson(0.5 * CAPACITY, 20.0, seed=1))
    burst = [10 + when for when in poisson(5 * CAPACITY, 5.0, seed=2)]
    model = Model(POLICY, SECONDS)
    World(model).play([(when, model, 9.9) for when in sorted(calm + burst)])
    after = [when - ticket.offered for ticket, when in model.served if ticket.offered > 16]
    before = [when - ticket.offered for ticket, when in model.served if ticket.offered < 10]
    assert sorted(after)[len(after) // 2] < 1.2 * sorted(before)[len(before) // 2]


def test_a_recorded_load_is_any_list_of_times() -> None:
    recorded = simulate([0.0, 0.001, 0.001, 0.3], POLICY, learnt(SECONDS), batch_seconds=SECONDS)
    assert (recorded.batches, recorded.answered) == (3, 4)
    assert recorded.mean_batch == pytest.approx(4 / 3)


def test_batch_times_are_drawn_from_what_was_learnt_unless_given() -> None:
    drawn = simulate(poisson(CAPACITY, 30.0, seed=1), POLICY, learnt(SECONDS))
    assert drawn.goodput > 0.93 * CAPACITY


@pytest.mark.parametrize("routing", list(Routing))
def test_four_replicas_hold_four_times_the_load(routing: Routing) -> None:
    load = poisson(4 * 0.8 * CAPACITY, 20.0, seed=1)
    four = simulate(load, POLICY, learnt(SECONDS), batch_seconds=SECONDS, replicas=4, routing=routing)
    assert four.on_time > 0.98 * four.offered


def test_the_unlucky_wait_less_at_the_least_loaded_replica_than_at_a_random_one() -> None:
    def p99(routing: Routing) -> float:
        load = poisson(4 * 0.8 * CAPACITY, 20.0, seed=1)
        four = simulate(load, POLICY, learnt(SECONDS), replicas=4, routing=routing)
        return four.latency_percentile(99)

    assert p99(Routing.LEAST_LOADED) < p99(Routing.RANDOM)


@pytest.mark.parametrize("arrivals", [poisson, bursty])
def test_arrivals_ascend_and_keep_their_mean_rate(arrivals: Callable[..., list[float]]) -> None:
    times = list(arrivals(100.0, 1000.0, seed=1))
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 1000
    assert len(times) == pytest.approx(100_000, rel=0.1)


def test_bursts_are_burstier_than_poisson() -> None:
    def spread(times: list[float]) -> float:
        counts = [0] * 1000
        for when in times:
            counts[int(when)] += 1
        return sum((count - 100) ** 2 for count in counts) / 1000

    assert spread(list(bursty(100.0, 1000.0, seed=1))) > 10 * spread(list(poisson(100.0, 1000.0, seed=1)))


def test_refusals_slow_the_device_down_and_never_stop_it() -> None:
    """Of eight thousand a second nearly all are refused; to refuse them takes all of a second and more."""
    rates = (CAPACITY, 8_000.0)
    costs = Costs(refusal=0.00013)
    calm, flooded = (
        simulate(poisson(rate, 10.0, seed=1), POLICY, learnt(SECONDS), batch_seconds=SECONDS, costs=costs)
        for rate in rates
    )
    assert 0.2 * calm.on_time < flooded.on_time < 0.8 * calm.on_time


def test_several_lines_before_one_device_hold_as_much_and_wait_longer() -> None:
    load = list(poisson(0.9 * CAPACITY, 30.0, seed=1))
    one, four = (
        simulate(load, POLICY, learnt(SECONDS), batch_seconds=SECONDS, lines=lines) for lines in (1, 4)
    )
    assert one.on_time == len(load)
    assert four.on_time > 0.99 * len(load)
    assert four.latency_percentile(99) > 1.2 * one.latency_percentile(99)
