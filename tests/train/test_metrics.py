from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.manifest import Calibration
from models.predictor import softmax
from train import metrics

GENERATOR = np.random.default_rng(0)


def calibrated(count: int) -> tuple[metrics.Confidences, metrics.Correct]:
    """Answers that are right exactly as often as they say."""
    confidences = GENERATOR.uniform(0.5, 1, count)
    return confidences, GENERATOR.uniform(size=count) < confidences


def test_answers_that_are_right_as_often_as_they_say_have_no_calibration_error() -> None:
    assert metrics.ece(*calibrated(200_000)) < 0.005


def test_answers_that_are_always_sure_and_half_right_are_half_wrong_in_confidence() -> None:
    assert metrics.ece(np.ones(100), np.arange(100) < 50) == pytest.approx(0.5)


def test_a_perfect_classifier_has_no_calibration_error() -> None:
    assert metrics.ece(np.ones(10), np.ones(10, bool)) == 0


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_the_bins_hold_every_image_once(answers: list[tuple[float, bool]]) -> None:
    confidences, correct = np.array([a[0] for a in answers]), np.array([a[1] for a in answers])
    filled = metrics.bins(confidences, correct)
    assert sum(b["share"] for b in filled) == pytest.approx(1)
    assert sum(b["share"] * b["accuracy"] for b in filled) == pytest.approx(correct.mean())


def test_the_likelihood_is_that_of_the_probabilities_served() -> None:
    logits = GENERATOR.normal(size=(50, 3)).astype(np.float32)
    labels = GENERATOR.integers(0, 3, 50)
    calibration = Calibration(temperature=1.7, exponent=1.3)
    served = softmax(logits, calibration)[np.arange(50), labels]
    assert metrics.nll(logits, labels, calibration) == pytest.approx(-np.log(served).mean(), rel=1e-5)


def test_rows_of_the_confusion_are_labels_and_columns_answers() -> None:
    counts = metrics.confusion(np.array([1, 1, 0]), np.array([0, 1, 0]), 2)
    assert counts.tolist() == [[1, 1], [0, 1]]


def test_coverage_and_precision_are_of_the_answers_at_or_above_the_threshold() -> None:
    confidences, correct = np.array([0.9, 0.8, 0.3, 0.2]), np.array([True, False, True, True])
    assert metrics.at_threshold(confidences, correct, 0.8) == {"coverage": 0.5, "precision": 0.5}


def test_the_most_confident_are_judged_alone() -> None:
    confidences = np.array([0.9, 0.2, 0.8, 0.7])
    correct = np.array([True, False, True, True])
    assert metrics.at_coverage(confidences, correct, 0.75) == 1
    assert metrics.at_coverage(confidences, correct, 1.0) == 0.75


def test_auroc_counts_the_pairs_in_the_right_order() -> None:
    confidences, correct = calibrated(300)
    confidences = confidences.round(2)  # with ties
    pairs = [(r > w) + (r == w) / 2 for r in confidences[correct] for w in confidences[~correct]]
    assert metrics.auroc(confidences, correct) == pytest.approx(np.mean(pairs))


def test_auroc_is_nothing_where_all_are_right() -> None:
    assert metrics.auroc(np.ones(3), np.ones(3, bool)) is None
