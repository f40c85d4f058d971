"""The forecast: what the policy does to a load, against what a fixed wait does to it."""

from collections.abc import Callable
from math import exp
from random import Random

import pytest

from batching.policy import BatchPolicy
from batching.simulate import Costs, Forecast, Routing, simulate
from tests.batching.fixed_wait import fixed_wait_latencies
from tests.batching.world import Model, World, affine, learnt, poisson

POLICY = BatchPolicy(latency_target_seconds=0.5)
SECONDS = affine(0.010, 0.005)  # capacity: 32 in 170 ms
CAPACITY = 32 / SECONDS(32)
SIMULATED_SECONDS = 30.0


def noisy(seconds: Callable[[int], float], spread: float) -> Callable[[int], float]:
    rng = Random(1)
    return lambda size: seconds(size) * exp(spread * rng.gauss(0.0, 1.0))


def forecast(times_capacity: float, *, spread: float = 0.0) -> Forecast:
    load = poisson(times_capacity * CAPACITY, SIMULATED_SECONDS, seed=1)
    return simulate(load, POLICY, learnt(SECONDS), batch_seconds=noisy(SECONDS, spread))


def p99(one: Forecast) -> float:
    """Seconds, of the answers given."""
    return sorted(one.latencies)[int(0.99 * one.answered)]


@pytest.mark.parametrize("times_capacity", [1.2, 2.0, 5.0])
@pytest.mark.parametrize("spread", [0.0, 0.1])
def test_under_overload_goodput_stays_at_capacity(times_capacity: float, spread: float) -> None:
    overload = forecast(times_capacity, spread=spread)
    assert overload.on_time > 0.95 * CAPACITY * SIMULATED_SECONDS
    assert p99(overload) < 1.02 * POLICY.latency_target_seconds
    assert overload.expired + overload.dropped < 0.03 * overload.offered


def test_below_capacity_nearly_everybody_is_answered_on_time() -> None:
    assert forecast(0.5).on_time == forecast(0.5).offered
    assert forecast(0.9).on_time > 0.99 * forecast(0.9).offered


def test_under_overload_a_fixed_wait_answers_next_to_nobody_on_time() -> None:
    latencies = fixed_wait_latencies(list(poisson(2 * CAPACITY, SIMULATED_SECONDS, seed=1)), SECONDS)
    assert sum(latency <= 0.5 for latency in latencies) < 0.05 * CAPACITY * SIMULATED_SECONDS


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
    assert list(recorded.batch_sizes) == [1, 2, 1]


def test_batch_times_are_drawn_from_what_was_learnt_unless_given() -> None:
    drawn = simulate(poisson(CAPACITY, SIMULATED_SECONDS, seed=1), POLICY, learnt(SECONDS))
    assert drawn.on_time > 0.93 * CAPACITY * SIMULATED_SECONDS


@pytest.mark.parametrize("routing", list(Routing))
def test_four_replicas_hold_four_times_the_load(routing: Routing) -> None:
    load = poisson(4 * 0.8 * CAPACITY, 20.0, seed=1)
    four = simulate(load, POLICY, learnt(SECONDS), batch_seconds=SECONDS, replicas=4, routing=routing)
    assert four.on_time > 0.98 * four.offered


def test_the_unlucky_wait_less_at_the_least_loaded_replica_than_at_a_random_one() -> None:
    def four(routing: Routing) -> Forecast:
        load = poisson(4 * 0.8 * CAPACITY, 20.0, seed=1)
        return simulate(load, POLICY, learnt(SECONDS), replicas=4, routing=routing)

    assert p99(four(Routing.LEAST_LOADED)) < p99(four(Routing.RANDOM))


def test_refusals_slow_the_device_down_and_never_stop_it() -> None:
    """Of eight thousand a second nearly all are refused; to refuse them takes all of a second and more."""
    rates = (CAPACITY, 8_000.0)
    costs = Costs(refusal=0.00013)
    calm, flooded = (
        simulate(poisson(rate, 10.0, seed=1), POLICY, learnt(SECONDS), batch_seconds=SECONDS, costs=costs)
        for rate in rates
    )
    assert 0.2 * calm.on_time < flooded.on_time < 0.8 * calm.on_time


def test_decoding_beside_batches_makes_bursts_wait_longer_and_takes_nothing_from_what_is_held() -> None:
    """Of a batch it takes what more than the usual number of images need, and gives what fewer do."""

    def at(share: float, decode: float) -> Forecast:
        load = poisson(share * CAPACITY, 60.0, seed=1)
        costs = Costs(decode=decode)
        return simulate(load, POLICY, learnt(SECONDS), batch_seconds=SECONDS, costs=costs)

    assert p99(at(0.5, 0.0)) < 0.9 * p99(at(0.5, 0.002))
    assert at(1.2, 0.002).on_time == pytest.approx(at(1.2, 0.0).on_time, rel=0.03)
