"""The scenarios: what each sends, when, and the question that it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loadtest import traffic
from loadtest.schedules import Phase
from loadtest.traffic import Traffic

Phases = Callable[[float, float], list[Phase]]  # requests a second, seconds in all

STEPS = (0.25, 0.5, 0.75, 0.9, 1.0, 1.2, 1.5, 2.0)  # of the rate


@dataclass(frozen=True, slots=True)
class Scenario:
    """``load`` is the default rate as a share of what the server is expected to hold (images a second)."""

    name: str
    question: str
    traffic: Traffic
    phases: Phases
    seconds: float = 30.0
    load: float = 0.7
    stops_the_server: bool = False


def steady(rate: float, seconds: float) -> list[Phase]:
    """One rate throughout."""
    return [Phase("steady", rate, seconds)]


def step(rate: float, seconds: float) -> list[Phase]:
    """Eight rates around the given one, each for an eighth of the time."""
    return [Phase(f"{share:.0%}", rate * share, seconds / len(STEPS)) for share in STEPS]


def spike(rate: float, seconds: float) -> list[Phase]:
    """Calm at half the rate, three times the rate for a sixth of the time, calm again."""
    return [
        Phase("before", rate / 2, seconds / 3),
        Phase("spike", rate * 3, seconds / 6),
        Phase("after", rate / 2, seconds / 2),
    ]


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("smoke", "Does every route answer at all?", traffic.both_routes, steady, 5, 0.1),
        Scenario("steady", "What do callers see at this rate?", traffic.native, steady),
        Scenario("step", "How much load does it hold?", traffic.native, step, 80, 1.0),
        Scenario("spike", "What does a burst cost, and when is it over?", traffic.native, spike, 60),
        Scenario("soak", "Does it stay as it is, and its memory flat?", traffic.native, steady, 1800),
        Scenario("flask", "Do clients of the old service see the same?", traffic.flask, steady),
        Scenario("several", "What if requests hold eight images?", traffic.several, steady, load=0.08),
        Scenario("big", "What do 12-megapixel photographs cost?", traffic.big, steady, load=0.1),
        Scenario("hostile", "Does a bad image harm its neighbours?", traffic.hostile, steady),
        Scenario("slow-uploads", "Do slow callers hold up the quick?", traffic.slow_uploads, steady),
        Scenario("leaving", "Is work saved when callers hang up?", traffic.leaving, steady),
        Scenario("tight", "What do callers in a hurry cost the others?", traffic.tight, steady),
        Scenario(
            "shutdown",
            "Is everything answered that was accepted before a stop?",
            traffic.native,
            steady,
            10,
            stops_the_server=True,
        ),
    )
}
