"""The route of the old bottle service, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models import artifact, loader, networks
from models.engines.choice import Wish
from models.images import Preprocessing
from models.manifest import Calibration, Sequential
from models.predictor import Prediction, Predictor
from service.contract import _ACCESS, ERRORS
from service.errors import PROBLEMS
from service.flask_app.portuguese import SENTENCES
from service.flask_app.routes import _status
from tests.conftest import ImageMaker, png_header, spec
from tests.live import LiveService, multipart, serve
from train.publish import to_numpy

CLASSES = ("closed", "open", "unknown")


@pytest.fixture(scope="module")
def bottle_predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A tiny seeded network with the bottle model's name and classes, whose answers differ between images."""
    torch.manual_seed(1)
    described = spec("bottle").model_copy(
        update={
            "network": Sequential(stages=((8,), (8,)), dense=8),
            "classes": CLASSES,
            "preprocessing": Preprocessing(size=16, resize="stretch"),
            "calibration": Calibration(temperature=0.3, uncertain_below=0.6),
        }
    )
    network = networks.build(described.network, 3).train()
    smooth = nn.functional.interpolate(torch.randn(64, 3, 8, 8), size=16, mode="bilinear")
    with torch.no_grad():  # every class is the likeliest now and then
        network(smooth)
        last, logits = network.eval().get_submodule("fc"), network(smooth)
        last.get_parameter("bias").sub_(logits.mean(dim=0))
        for parameter in last.parameters():
            parameter.div_(logits.std())
    weights = to_numpy(network.state_dict())
    directory = artifact.save(tmp_path_factory.mktemp("models"), described, weights)
    return loader.load(directory, Wish(engine="torch"))


@pytest.fixture(scope="module")
def bottles(bottle_predictor: Predictor, predictor: Predictor) -> Iterator[LiveService]:
    with serve([bottle_predictor, predictor]) as running:
        yield running


def test_the_answer_is_the_likelier_of_open_and_closed_with_its_own_probability(
    bottles: LiveService, make_image: ImageMaker
) -> None:
    seen = set()
    for seed in range(24):
        image = make_image(seed)
        answer = bottles.request("POST", "/classificar", *multipart(("image", image))).json()
        native = bottles.request("POST", "/v1/models/bottle/predict?top_k=3", image).json()
        probability = {entry["label"]: entry["confidence"] for entry in native["top"]}
        likelier = max(("open", "closed"), key=lambda label: probability[label])
        assert answer["status"] == {"open": "aberta", "closed": "fechada"}[likelier]
        assert answer["confidence"] == pytest.approx(probability[likelier], abs=2e-4)
        assert answer.get("incerto", False) == (native["uncertain"] or native["label"] == "unknown")
        seen.add((answer["status"], "incerto" in answer))
    assert len(seen) >= 3  # or the images would have shown too little


@pytest.mark.parametrize(
    ("probabilities", "uncertain", "expected"),
    [
        ((0.97, 0.02, 0.01), False, {"status": "fechada", "confidence": 0.97}),
        ((0.02, 0.97, 0.01), False, {"status": "aberta", "confidence": 0.97}),
        ((0.55, 0.40, 0.05), True, {"status": "fechada", "confidence": 0.55, "incerto": True}),
        ((0.02, 0.04, 0.94), False, {"status": "aberta", "confidence": 0.04, "incerto": True}),
    ],
)
def test_the_model_that_cannot_tell_says_so_and_its_confidence_is_low(
    probabilities: tuple[float, ...], uncertain: bool, expected: dict[str, object]
) -> None:
    given = np.array(probabilities, np.float32)
    prediction = Prediction(int(given.argmax()), float(given.max()), uncertain, given)
    assert _status(CLASSES, prediction) == expected


@pytest.mark.parametrize(
    ("files", "status", "sentence"),
    [
        ((("image", b"text"),), 415, SENTENCES["unsupported-image"]),
        ((("image", b"\xff\xd8\xff"),), 422, SENTENCES["undecodable-image"]),
        ((("image", png_header(9400, 9400)),), 413, SENTENCES["image-too-large"]),
        ((("image", b""),), 400, SENTENCES["malformed-request"]),
        ((("other", b"x"),), 400, SENTENCES["malformed-request"]),
        ((("image", b"x"), ("image", b"y")), 400, SENTENCES["malformed-request"]),
    ],
)
def test_errors_are_in_portuguese_with_the_statuses_of_the_one_table(
    bottles: LiveService, files: tuple[tuple[str, bytes], ...], status: int, sentence: str
) -> None:
    response = bottles.request("POST", "/classificar", *multipart(*files))
    assert (response.status, response.json()) == (status, {"error": sentence})


def test_what_is_refused_before_flask_is_in_portuguese_too(bottles: LiveService) -> None:
    for headers, status, kind in (
        ({"Content-Encoding": "gzip"}, 415, "unsupported-encoding"),
        ({"X-Timeout-Ms": "soon"}, 400, "malformed-request"),
    ):
        response = bottles.request("POST", "/classificar", b"x", headers)
        assert (response.status, response.json()) == (status, {"error": SENTENCES[kind]})
    response = bottles.request("GET", "/classificar")
    assert (response.status, response.json()) == (405, {"error": "Método não permitido"})


def test_more_parts_than_a_form_for_images_has_is_refused_in_portuguese(bottles: LiveService) -> None:
    field = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n'
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    response = bottles.request("POST", "/classificar", field * 1001 + b"--b--\r\n", form)
    assert (response.status, response.json()) == (400, {"error": SENTENCES["malformed-request"]})


def test_without_a_bottle_model_the_route_says_so_and_the_other_route_goes_on(
    live: LiveService, make_image: ImageMaker
) -> None:
    response = live.request("POST", "/classificar", *multipart(("image", make_image())))
    assert (response.status, response.json()) == (404, {"error": SENTENCES["unknown-model"]})
    assert live.request("POST", "/predict", *multipart(("file", make_image()))).status == 200


def test_a_model_of_that_name_with_other_classes_is_not_the_bottle_model(
    models_dir: Path, make_image: ImageMaker
) -> None:
    other = loader.load(models_dir / "cifar10" / "1", Wish(engine="torch"))
    other.manifest = other.manifest.model_copy(update={"name": "bottle"})
    with serve([other]) as running:
        response = running.request("POST", "/classificar", *multipart(("image", make_image())))
        assert (response.status, response.json()) == (404, {"error": SENTENCES["unknown-model"]})


def test_every_problem_of_the_route_has_its_sentence_and_no_other() -> None:
    documented = {PROBLEMS[error].kind for error in (*ERRORS["/classificar"], *_ACCESS)}
    assert set(SENTENCES) == documented | {"client-left", "draining", "internal-error"}
