from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import artifact
from models.engines.protocol import Engine, Logits
from models.images import Pixels
from models.manifest import Calibration
from models.predictor import Prediction, Predictor, softmax
from train import calibrate, metrics

GENERATOR = np.random.default_rng(0)


def drawn(temperature: float, count: int = 20_000, exponent: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their probabilities: what calibration must find again."""
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 4, (count, 5)).astype(np.float32)
    chances = softmax(logits, Calibration(temperature=temperature, exponent=exponent)).cumsum(axis=1)
    return logits, (generator.uniform(size=(count, 1)) > chances).sum(axis=1).clip(max=4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    fitted = calibrate.fit_confidences(*drawn(temperature))
    assert fitted.temperature == pytest.approx(temperature, rel=0.05)
    assert fitted.exponent == 1.0


@pytest.mark.parametrize(("temperature", "exponent"), [(1.4, 1.7), (3.0, 1.3)])
def test_so_is_the_exponent(temperature: float, exponent: float) -> None:
    fitted = calibrate.fit_confidences(*drawn(temperature, exponent=exponent))
    assert fitted.temperature == pytest.approx(temperature, rel=0.05)
    assert fitted.exponent == pytest.approx(exponent, rel=0.05)


def test_a_few_images_are_no_reason_for_an_exponent() -> None:
    logits, labels = drawn(1.4, 20_000, exponent=1.3)
    assert calibrate.fit_confidences(logits[:40], labels[:40]).exponent == 1.0


@pytest.mark.parametrize("count", [4, 30, 200])
def test_where_every_answer_is_right_confidence_is_what_so_many_of_them_allow(count: int) -> None:
    logits = np.tile(np.array([6, 0], np.float32), (count, 1))
    fitted = calibrate.fit_confidences(logits, np.zeros(count, np.int64))
    assert softmax(logits, fitted)[0, 0] == pytest.approx((count + 1) / (count + 2), abs=1e-4)


def test_right_answers_of_all_margins_are_no_reason_for_an_exponent() -> None:
    margins = np.linspace(1, 20, 2_500, dtype=np.float32)
    logits = np.stack([margins, np.zeros_like(margins)], axis=1)
    assert calibrate.fit_confidences(logits, np.zeros(2_500, np.int64)).exponent == 1.0


def test_a_few_right_answers_keep_a_moderate_temperature() -> None:
    logits = GENERATOR.normal(0, 1, (30, 3)).astype(np.float32)
    labels = GENERATOR.integers(0, 3, 30)
    logits[np.arange(30), labels] += 9
    fitted = calibrate.fit_confidences(logits, labels)
    assert 1 < fitted.temperature < 4
    assert softmax(logits, fitted).max() < 0.999


@pytest.mark.parametrize("temperature", [0.65, 1.5])
def test_thousands_of_images_with_mistakes_among_them_give_the_temperature_of_their_likelihood(
    temperature: float,
) -> None:
    logits, labels = drawn(temperature, 5_000)
    fitted = calibrate.fit_confidences(logits, labels).temperature
    around = fitted * np.linspace(0.95, 1.05, 201)
    likeliest = min(around, key=lambda each: metrics.nll(logits, labels, Calibration(temperature=each)))
    assert fitted == pytest.approx(likeliest, rel=0.01)


def test_calibration_brings_the_error_down_and_changes_no_answer() -> None:
    logits, labels = drawn(2.5)
    fitted = calibrate.fit(logits, labels, 0.9)
    before, after = softmax(logits, Calibration()), softmax(logits, fitted)
    assert (before.argmax(1) == after.argmax(1)).all()
    error_before, error_after = (
        metrics.ece(*metrics.confidence_and_correct(p, labels)) for p in (before, after)
    )
    assert error_after < 0.015 < error_before


def test_sure_answers_have_the_precision_asked_for() -> None:
    logits, labels = drawn(2.0)
    fitted = calibrate.fit(logits, labels, 0.9)
    answers = metrics.confidence_and_correct(softmax(logits, fitted), labels)
    sure = metrics.at_threshold(*answers, fitted.uncertain_below)
    assert sure["precision"] >= 0.9
    assert 0.1 < sure["coverage"] < 0.95


def test_a_lower_threshold_would_miss_the_precision() -> None:
    confidences, correct = np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, True, False])
    assert 0.6 < calibrate.threshold_for(confidences, correct, 0.99) < 0.7


def test_answers_of_one_confidence_are_sure_together_or_not_at_all() -> None:
    confidences, correct = np.array([0.9, 0.8, 0.8, 0.8]), np.array([True, True, False, False])
    assert 0.8 < calibrate.threshold_for(confidences, correct, 0.9) < 0.9
    assert calibrate.threshold_for(confidences, correct, 0.5) == 0.8


def test_where_no_threshold_is_precise_enough_only_the_surest_answer_is_sure() -> None:
    confidences, correct = np.array([0.9, 0.8]), np.array([False, False])
    assert 0.8 < calibrate.threshold_for(confidences, correct, 0.99) < 0.9


def test_answers_next_to_the_threshold_are_as_sure_in_another_engines_last_digits() -> None:
    confidences = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    threshold = calibrate.threshold_for(confidences, np.array([True, True, True, False]), 0.99)
    for shifted in (confidences * np.float32(0.9999), confidences, confidences * np.float32(1.0001)):
        assert (shifted >= threshold).tolist() == [True, True, True, False]


class _Replay(Engine):
    """An engine that answers with given logits."""

    name = "replay"

    def __init__(self, logits: Logits) -> None:
        self._logits = logits

    def logits(self, batch: Pixels) -> Logits:  # noqa: ARG002
        return self._logits


def test_an_answer_is_uncertain_in_the_report_exactly_where_the_service_says_so(recorded: Path) -> None:
    logits = GENERATOR.normal(0, 2, (200, 3)).astype(np.float32)
    labels = np.zeros(200, np.int64)
    confidences, correct = metrics.confidence_and_correct(softmax(logits, Calibration()), labels)
    manifest = artifact.load_manifest(recorded)
    nothing = np.zeros((200, 8, 8, 3), np.uint8)
    for threshold in {round(float(c), places) for c in confidences for places in (1, 2, 3, 7, 17)}:
        service = Predictor(manifest, _Replay(logits), Calibration(uncertain_below=threshold))
        sure = [isinstance(p, Prediction) and not p.uncertain for p in service.predict(list(nothing))]
        assert metrics.at_threshold(confidences, correct, threshold)["coverage"] == np.mean(sure)
