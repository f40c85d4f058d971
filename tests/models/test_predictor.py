"""From pixels to a calibrated answer, on the real engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from models import artifact, networks
from models.engines.protocol import Engine
from models.engines.torch_engine import TorchEngine
from models.errors import BadArtifact, BadOutput
from models.images import prepare
from models.manifest import Calibration
from models.predictor import FEW_CLASSES, Prediction, Predictor, softmax
from tests.conftest import SAMPLES, TOLERANCE, ImageMaker, spec


@pytest.fixture(scope="module")
def predictor(models_dir: Path) -> Predictor:
    loaded = artifact.load(models_dir / "cifar10" / "1")
    return Predictor(loaded.manifest, TorchEngine(loaded, "cpu", threads=1))


def test_the_engine_computes_what_torch_computes(
    models_dir: Path, predictor: Predictor, make_image: ImageMaker
) -> None:
    loaded = artifact.load(models_dir / "cifar10" / "1")
    network = networks.resnet18(10, "stock").eval()
    network.load_state_dict(
        {name: torch.from_numpy(value.astype(np.float32)) for name, value in loaded.weights.items()}
    )
    pixels = np.stack([prepare(make_image(seed), predictor.manifest.preprocessing) for seed in range(5)])
    mean, std = (np.array(values, np.float32) for values in dict(spec().normalisation).values())
    normalised = torch.from_numpy((pixels.astype(np.float32) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = network(normalised).numpy()
    assert np.allclose(predictor.engine.logits(pixels), expected, atol=1e-3)


def test_an_answer_does_not_depend_on_its_company_beyond_its_last_digits(
    predictor: Predictor, make_image: ImageMaker
) -> None:
    pixels = [prepare(make_image(seed), predictor.manifest.preprocessing) for seed in range(33)]
    together = predictor.predict(pixels)
    for image, answer in zip(pixels, together, strict=True):
        (alone,) = predictor.predict([image])
        assert isinstance(alone, Prediction)
        assert isinstance(answer, Prediction)
        assert np.abs(alone.probabilities - answer.probabilities).max() <= TOLERANCE


def test_a_prediction_agrees_with_its_own_probabilities(predictor: Predictor) -> None:
    (prediction,) = predictor.predict(
        [prepare((SAMPLES / "cat.jpg").read_bytes(), predictor.manifest.preprocessing)]
    )
    assert isinstance(prediction, Prediction)
    assert prediction.probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert prediction.confidence == prediction.probabilities.max()
    assert prediction.top(10)[0] == (prediction.index, prediction.confidence)
    assert sorted(prediction.top(10)) == list(enumerate(prediction.probabilities.tolist()))
    assert prediction.top(3) == prediction.top(10)[:3]
    assert prediction.uncertain == (prediction.confidence < 0.3)


@pytest.mark.parametrize("count", [2, FEW_CLASSES, FEW_CLASSES + 1, 1000])
def test_the_likeliest_classes_come_first_and_equals_by_their_index(count: int) -> None:
    probabilities = np.random.default_rng(0).integers(0, count // 2, count).astype(np.float32)
    prediction = Prediction(0, 0.0, uncertain=False, probabilities=probabilities)
    expected = sorted(enumerate(probabilities.tolist()), key=lambda pair: (-pair[1], pair[0]))
    assert prediction.top(5) == expected[:5]
    assert prediction.top(2 * count) == expected


def test_the_temperature_softens_the_confidence_and_keeps_the_order() -> None:
    logits = np.array([[1, 2, 3]], np.float32)
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum()
    assert softmax(logits, Calibration(temperature=2.0)) == pytest.approx(expected, abs=1e-6)
    assert softmax(logits, Calibration(temperature=2.0)).max() < softmax(logits, Calibration()).max()


def test_an_exponent_above_1_makes_the_sure_surer_and_the_unsure_less_sure_and_keeps_the_order() -> None:
    logits = np.array([[0.0, -0.5, -2.0], [0.0, -3.0, -4.0]], np.float32)
    straight, bent = softmax(logits, Calibration()), softmax(logits, Calibration(exponent=2.0))
    weights = np.exp([0.0, -0.25, -4.0])
    assert bent[0] == pytest.approx(weights / weights.sum(), abs=1e-6)
    assert bent[0].max() < straight[0].max() < straight[1].max() < bent[1].max()
    assert (bent.argsort(axis=1) == straight.argsort(axis=1)).all()


def test_huge_logits_do_not_overflow() -> None:
    for exponent in (1.0, 2.5):
        huge = np.array([[1e30, -1e30]], np.float32)
        assert softmax(huge, Calibration(exponent=exponent)).tolist() == [[1, 0]]


class _Engine(Engine):
    name = "test"

    def __init__(self, logits: list[list[float]]) -> None:
        self._logits = np.array(logits, np.float32)

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._logits[: len(pixels)]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_image_whose_logits_are_not_finite_fails_alone(predictor: Predictor, bad: float) -> None:
    engine = _Engine([[0.0] * 10, [bad] + [0.0] * 9, [0.0] * 9 + [5.0]])
    blank = np.zeros((32, 32, 3), np.uint8)
    answers = Predictor(predictor.manifest, engine).predict([blank] * 3)
    assert [isinstance(answer, BadOutput) for answer in answers] == [False, True, False]


def test_weights_of_another_network_are_refused_in_one_line(tmp_path: Path) -> None:
    saved = artifact.save(tmp_path, spec(), {"fc.weight": np.zeros((10, 512), np.float32)})
    with pytest.raises(
        BadArtifact, match=r"cifar10/1/weights\.safetensors: the weights do not fit the network"
    ):
        TorchEngine(artifact.load(saved))


@pytest.mark.parametrize(("stem", "side"), [("3x3", 32), ("stock", 8)])
def test_the_stem_decides_the_size_of_the_first_stage(stem: str, side: int) -> None:
    network = networks.resnet18(3, stem)  # type: ignore[arg-type]
    sizes = []
    network.get_submodule("layer1").register_forward_hook(
        lambda _, __, output: sizes.append(output.shape[-1])
    )
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert sizes == [side]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda_agrees_with_the_cpu(models_dir: Path, make_image: ImageMaker) -> None:
    loaded = artifact.load(models_dir / "cifar10" / "1")
    on_cpu, on_cuda = (Predictor(loaded.manifest, TorchEngine(loaded, each)) for each in ("cpu", "cuda"))
    pixels = [prepare(make_image(seed), on_cpu.manifest.preprocessing) for seed in range(8)]
    for first, second in zip(on_cpu.predict(pixels), on_cuda.predict(pixels), strict=True):
        assert isinstance(first, Prediction)
        assert isinstance(second, Prediction)
        assert np.abs(first.probabilities - second.probabilities).max() <= 1e-2
