"""A call into the engine that hangs: when it counts as that, and what its callers see."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from service.serving.watchdog import Watchdog
from tests.conftest import ImageMaker
from tests.live import LiveService, serve
from tests.service.fakes import HeldEngine, predictor_on

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
