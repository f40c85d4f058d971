"""A call into the engine that hangs: when it counts as that, and what its callers see."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from service import server
from service.process.leaving import HANGING
from service.server import Server
from service.serving.watchdog import Watchdog
from service.settings import Settings
from service.wiring import Service
from tests.conftest import ImageMaker
from tests.live import LiveService, serve
from tests.service.fakes import HeldEngine, PixelEngine, predictor_on

PREDICT = "/v1/models/cifar10/predict"


def test_an_engine_at_rest_does_not_hang_however_late_it_is() -> None:
    assert not Watchdog(30, 60).hangs(None, 1e9)
    assert not Watchdog(30, 60).gives_up(None, 1e9)


def test_a_call_hangs_from_its_limit_on_and_is_given_up_a_while_later() -> None:
    watchdog = Watchdog(hang_seconds=30, exit_seconds=60)
    assert not watchdog.hangs(100, 129.9)
    assert watchdog.hangs(100, 130)
    assert not watchdog.gives_up(100, 189.9)
    assert watchdog.gives_up(100, 190)


class Left(Exception):
    """With this code, the process would have ended."""


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> Service:
    """Its engine has been in a call for longer than it may be."""

    def leave(code: int, _: str) -> None:
        raise Left(code)

    service = Service(Settings(), [predictor_on(PixelEngine())])
    limit = service.settings.hang_seconds + service.settings.hang_exit_seconds
    monkeypatch.setattr(service, "_device", SimpleNamespace(busy_since=time.monotonic() - limit))
    monkeypatch.setattr(server, "leave", leave)
    return service


def while_it_sleeps(monkeypatch: pytest.MonkeyPatch, what: Callable[[], None]) -> None:
    async def sleep(_: float) -> None:
        what()

    monkeypatch.setattr(asyncio, "sleep", sleep)


async def test_a_call_that_returns_once_a_paused_process_goes_on_does_not_end_it(
    hung: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    while_it_sleeps(monkeypatch, lambda: setattr(hung._device, "busy_since", None))
    assert not await Server(hung).on_tick(1)
    assert hung.not_ready() is None


async def test_a_call_that_does_not_return_then_either_ends_the_process(
    hung: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    while_it_sleeps(monkeypatch, lambda: None)
    with pytest.raises(Left, match=str(HANGING)):
        await Server(hung).on_tick(1)


def wait_until_ready(running: LiveService) -> None:
    while running.request("GET", "/readyz").status != 200:
        pass  # pytest's own limit ends it


def test_while_the_engine_hangs_callers_are_answered_and_its_late_result_is_given_to_nobody(
    make_image: ImageMaker,
) -> None:
    engine = HeldEngine()
    with serve([predictor_on(engine)], hang_seconds=3600.0) as running, ThreadPoolExecutor(3) as pool:
        alone = running.request("POST", PREDICT, make_image(3)).json()
        engine.hold()
        hasty = pool.submit(running.request, "POST", PREDICT, make_image(0), {"X-Timeout-Ms": "200"})
        assert hasty.result().status == 504
        assert running.request("GET", "/readyz").status == 200
        patient = [pool.submit(running.request, "POST", PREDICT, make_image(seed)) for seed in (1, 2)]
        running.wait_for_metric(2, "rotulo_waiting", model="cifar10")
        # As if the time had come: any call that runs hangs from now on.
        running.service._watchdog = Watchdog(hang_seconds=0.0, exit_seconds=3600.0)
        hanging = running.request("GET", "/readyz")
        assert hanging.status == 503
        assert b"engine-hangs" in hanging.body
        assert running.request("GET", "/healthz").status == 200
        assert running.request("GET", "/v2/health/ready").status == 503
        assert [caller.result().status for caller in patient] == [504, 504]
        engine.release.set()
        wait_until_ready(running)
        assert running.request("POST", PREDICT, make_image(3)).json() == alone
    assert engine.sizes == [1, 1]
