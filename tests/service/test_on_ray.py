"""A replica on Ray Serve without a cluster: settings, numbers, health. `test_ray_cluster.py` has one."""

from __future__ import annotations

import asyncio
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from pydantic import ValidationError

from tests.ray_cluster import WITHOUT_RAY, has_ray

if not has_ray():
    pytest.skip(WITHOUT_RAY, allow_module_level=True)

with warnings.catch_warnings():  # of its use of pydantic
    warnings.simplefilter("ignore")
    from ray.serve import Application
    from ray.serve.schema import ServeDeploySchema

from starlette.types import Message

from service import on_ray
from service.budget import Budget
from service.errors import EngineHangs
from service.on_ray import OF_THE_PROXY, Replica, Scaling, application, marked, options, replicable
from service.process.leaving import HANGING
from service.settings import BadSettings, Settings
from service.targets import LatencyTargets
from service.wiring import Service
from tests.conftest import ImageMaker
from tests.service.fakes import HeldEngine, predictor_on

SERVE_CONFIG = Path(__file__).parent.parent.parent / "deploy" / "ray" / "serve.yaml"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "9000"),
        ("workers", "2"),
        ("device", "cuda:1"),
        ("record_url", "sqlite:////tmp/predictions.db"),
    ],
)
def test_a_setting_that_cannot_hold_for_replicas_is_refused_by_its_name(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"ROTULO_{name.upper()}"
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSettings, match=variable):
        application({})


def test_the_arguments_of_serve_run_are_read_and_others_refused() -> None:
    assert isinstance(application({"min_replicas": "1", "max_replicas": "4"}), Application)
    with pytest.raises(ValidationError, match="replicas"):
        application({"replicas": "4"})


def test_what_is_not_set_is_not_refused() -> None:
    assert set(OF_THE_PROXY) <= Settings.model_fields.keys()
    settings = Settings(threads=3)
    assert replicable(settings) is settings


def test_ray_lets_in_all_that_a_replica_can_hold_and_as_many_to_be_refused() -> None:
    settings = Settings(max_waiting=100, max_batch_size=8)
    held = settings.max_waiting + settings.max_waiting + settings.max_batch_size
    assert options(settings, Scaling())["max_ongoing_requests"] >= 2 * held


def test_a_replica_takes_the_processors_of_its_threads_and_a_gpu_where_it_uses_one() -> None:
    assert options(Settings(threads=3), Scaling())["ray_actor_options"] == {"num_cpus": 3, "num_gpus": 0}
    on_a_gpu = options(Settings(threads=3, device="cuda"), Scaling())["ray_actor_options"]
    assert on_a_gpu == {"num_cpus": 3, "num_gpus": 1}


@pytest.mark.parametrize("largest", [1, 2, 32])
def test_another_replica_is_wanted_before_the_first_is_full(largest: int) -> None:
    settings = Settings(max_batch_size=largest)
    wanted = options(settings, Scaling(max_replicas=3))["autoscaling_config"]
    assert 1 <= wanted.target_ongoing_requests <= largest
    chosen = options(settings, Scaling(target_ongoing_requests=5))["autoscaling_config"]
    assert chosen.target_ongoing_requests == 5


async def test_a_replica_is_unhealthy_while_its_engine_hangs(make_image: ImageMaker) -> None:
    engine = HeldEngine()
    service = Service(Settings(latency_target_ms="300000", hang_seconds=0.05), [predictor_on(engine)])
    replica = object.__new__(Replica)  # it would load its models from disk
    replica.service = service
    await replica.check_health()
    engine.hold()
    budget = Budget(asyncio.get_running_loop().time(), None)
    asked = asyncio.create_task(service.model("cifar10").classify(make_image(0), budget))
    while service.not_ready() is None:
        await asyncio.sleep(0)
    with pytest.raises(EngineHangs):
        await replica.check_health()
    engine.release.set()
    await asked
    await replica.check_health()
    await service.close()


async def test_a_replica_ends_when_a_second_look_finds_its_engine_hanging_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    still = [False, False, True]

    async def hangs_still() -> bool:
        return still.pop(0)

    def leave(code: int, _: str) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(on_ray, "TICK_SECONDS", 0)
    monkeypatch.setattr(on_ray, "leave", leave)
    service = SimpleNamespace(tick=lambda _: False, hangs_still=hangs_still)
    with pytest.raises(SystemExit, match=str(HANGING)):
        await on_ray.watch(cast(Service, service))
    assert not still


async def test_an_answer_says_which_replica_gave_it_and_has_one_request_id() -> None:
    sent: list[Message] = []

    async def app(_: Any, __: Any, send: Any) -> None:
        headers = [(b"x-request-id", b"abc"), (b"retry-after", b"1")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b"later"})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    await marked(app, "r1")({"type": "http"}, receive, send)
    assert sent[0]["headers"] == [(b"retry-after", b"1"), (b"x-replica", b"r1")]
    assert sent[1] == {"type": "http.response.body", "body": b"later"}


def test_the_serve_config_is_one_and_has_arguments_and_settings_that_exist() -> None:
    config = ServeDeploySchema.model_validate(yaml.safe_load(SERVE_CONFIG.read_text()))
    (served,) = config.applications
    Scaling.model_validate(served.args)
    variables = served.runtime_env["env_vars"]
    names = {name.removeprefix("ROTULO_").lower() for name in variables}
    assert names <= Settings.model_fields.keys() - set(OF_THE_PROXY)
    defaults = Settings()
    targets = LatencyTargets.parse(defaults.latency_target_ms)
    enough = defaults.body_timeout_seconds + targets.default_ms / 1000
    assert (config.http_options.request_timeout_s or 0) > enough
    assert config.http_options.keep_alive_timeout_s == defaults.keep_alive_seconds
