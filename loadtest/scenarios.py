"""The scenarios: what each sends, when, and the question that it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loadtest import traffic
from loadtest.disturbances import Disturbance, reload, stop
from loadtest.schedules import Phase
from loadtest.traffic import BOTTLE, CIFAR10, Traffic

Phases = Callable[[float, float], list[Phase]]  # requests a second, seconds in all

STEPS = (0.25, 0.5, 0.75, 0.9, 1.0, 1.2, 1.5, 2.0)  # of the rate


@dataclass(frozen=True, slots=True)
class Scenario:
    """``load`` is the default rate as a share of what the server is expected to hold (images a second).

    model: what is asked where nothing else is said. needs: the models that the server must list.
    disturbances: what is done to the server meanwhile, each at its share of the time.
    """

    name: str
    question: str
    traffic: Traffic
    phases: Phases
    seconds: float = 30.0
    load: float = 0.7
    model: str = CIFAR10
    needs: tuple[str, ...] = ()
    disturbances: tuple[tuple[float, Disturbance], ...] = ()

    @property
    def stops_the_server(self) -> bool:
        return self.does(stop)

    def does(self, disturbance: Disturbance) -> bool:
        """Whether this is done to the server."""
        return any(each is disturbance for _, each in self.disturbances)


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


_RELOADS = tuple((share, reload) for share in (0.25, 0.5, 0.75))

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("smoke", "Does every route answer at all?", traffic.every_route, steady, 5, 0.05),
        Scenario("steady", "What do callers see at this rate?", traffic.native, steady),
        Scenario("step", "How much load does it hold?", traffic.native, step, 80, 1.0),
        Scenario("spike", "What does a burst cost, and when is it over?", traffic.native, spike, 60),
        Scenario("soak", "Does it stay as it is, and its memory flat?", traffic.native, steady, 1800),
        Scenario(
            "mixed", "Do all its models keep their promise at once?", traffic.mixed_models, steady, load=0.3
        ),
        Scenario(
            "flask", "Do clients of the old service see the same?", traffic.flask, steady, needs=(CIFAR10,)
        ),
        Scenario(
            "classificar",
            "Do clients of the old bottle service see the same?",
            traffic.classificar,
            steady,
            load=0.4,  # photographs in forms take the loop longer than the network
            model=BOTTLE,
            needs=(BOTTLE,),
        ),
        Scenario("several", "What if requests hold eight images?", traffic.several, steady, load=0.08),
        Scenario("big", "What do 12-megapixel photographs cost?", traffic.big, steady, load=0.1),
        Scenario("hostile", "Does a bad image harm its neighbours?", traffic.hostile, steady),
        Scenario("slow-uploads", "Do slow callers hold up the quick?", traffic.slow_uploads, steady),
        Scenario("leaving", "Is work saved when callers hang up?", traffic.leaving, steady),
        Scenario("tight", "What do callers in a hurry cost the others?", traffic.tight, steady),
        Scenario(
            "reload",
            "Does anybody notice a new version being loaded?",
            traffic.native,
            steady,
            load=0.5,
            disturbances=_RELOADS,
        ),
        Scenario(
            "shutdown",
            "Is everything answered that was accepted before a stop?",
            traffic.native,
            steady,
            10,
            disturbances=((0.5, stop),),
        ),
    )
}
