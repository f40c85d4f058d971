"""One latency target for all models, or one for each."""

from __future__ import annotations

import json

import pytest

from service.metrics import Metrics
from service.settings import BadSettings, Settings
from service.targets import LatencyTargets
from service.wiring import targets_of
from tests.conftest import ImageMaker, spec
from tests.live import multipart, serve
from tests.service.fakes import PixelEngine, predictor_on

IN_TIME = "rotulo_http_answers_in_time_total"


@pytest.mark.parametrize(
    ("text", "cifar10", "large", "bottle"),
    [
        ("100", 0.1, 0.1, 0.1),
        ("cifar10=100,large=500.5", 0.1, 0.5005, 1.0),
        ("100, large=500", 0.1, 0.5, 0.1),
        ("large=500,100", 0.1, 0.5, 0.1),
    ],
)
def test_a_plain_number_is_for_every_model_that_has_none_of_its_own(
    text: str, cifar10: float, large: float, bottle: float
) -> None:
    targets = LatencyTargets.parse(text)
    assert [targets.seconds(name) for name in ("cifar10", "large", "bottle")] == [cifar10, large, bottle]


def test_a_target_for_a_model_that_there_is_not_is_refused_in_one_line() -> None:
    settings = Settings(latency_target_ms="100,lrage=500")
    says = r"^--latency-target-ms .*: no model is named 'lrage', there are cifar10, large$"
    with pytest.raises(BadSettings, match=says):
        targets_of(settings, {"large", "cifar10"})


def test_every_model_keeps_its_own_target_and_has_its_own_goodput(make_image: ImageMaker) -> None:
    models = [predictor_on(PixelEngine()), predictor_on(PixelEngine(), spec("large"))]
    image = make_image(0)
    body, headers = multipart(("file", image))
    tensor = {"name": "pixels", "shape": [1, 8, 8, 3], "datatype": "UINT8", "data": [0] * 192}
    with serve(models, latency_target_ms="300000,large=200000") as live:
        for name, target in (("cifar10", 300), ("large", 200)):
            assert live.request("GET", f"/v1/models/{name}").json()["latency_target_ms"] == 1000 * target
            assert live.metric("rotulo_latency_target_seconds", model=name) == target
        assert live.request("POST", "/v1/models/large/predict", image).status == 200
        assert live.request("POST", "/predict", body, headers).status == 200
        assert live.request("POST", "/v2/models/large/infer", json.dumps({"inputs": [tensor]})).status == 200
        for name, route in (
            ("large", "/v1/models/{model}/predict"),
            ("cifar10", "/predict"),
            ("large", "/v2/models/{model}/infer"),
        ):
            assert live.metric(IN_TIME, route=route, model=name) == 1
        assert live.metric(IN_TIME, route="/v1/models/{model}/predict", model="cifar10") == 0


def test_an_answer_is_late_by_the_target_of_the_model_that_gave_it() -> None:
    metrics = Metrics(LatencyTargets.parse("100,large=500"))
    for name in ("cifar10", "large"):
        metrics.answered("/route", "POST", 200, 0.3, name)
    metrics.answered("/readyz", "GET", 200, 0.05)
    text = metrics.text().decode()
    for name, route, count in (("cifar10", "/route", 0), ("large", "/route", 1), ("", "/readyz", 1)):
        assert f'{IN_TIME}{{model="{name}",route="{route}"}} {count}.0' in text


def test_a_model_s_name_that_a_caller_made_up_is_no_label() -> None:
    with serve([predictor_on(PixelEngine())]) as live:
        assert live.request("POST", "/v2/models/made-up/infer", "{}").status == 404
        assert live.metric(IN_TIME, route="/v2/models/{model}/infer", model="") == 0
        assert "made-up" not in live.request("GET", "/metrics").body.decode()
