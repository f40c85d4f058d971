"""What makes a confidence mean something, fitted on validation images alone."""

from __future__ import annotations

import math

import numpy as np

from models.engines.protocol import Logits
from models.manifest import Calibration
from models.predictor import softmax
from train.data import Labels
from train.metrics import Confidences, Correct, confidence_and_correct, nll

_GOLDEN = (math.sqrt(5) - 1) / 2
_LOG_RANGE = (math.log(0.05), math.log(20.0))
_ROUNDS = 60


def fit(logits: Logits, labels: Labels, target_precision: float) -> Calibration:
    """Temperature first, then the threshold on the confidences that it gives."""
    temperature = fit_temperature(logits, labels)
    confidences, correct = confidence_and_correct(softmax(logits, temperature), labels)
    return Calibration(
        temperature=temperature, uncertain_below=threshold_for(confidences, correct, target_precision)
    )


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature of least negative log-likelihood (Guo et al. 2017, arXiv 1706.04599).

    In log(T) the likelihood has one valley, so golden-section search (Kiefer 1953) finds it.
    """
    low, high = _LOG_RANGE
    for _ in range(_ROUNDS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if nll(logits, labels, math.exp(left)) < nll(logits, labels, math.exp(right)):
            high = right
        else:
            low = left
    return round(math.exp((low + high) / 2), 6)


def threshold_for(confidences: Confidences, correct: Correct, target_precision: float) -> float:
    """The confidence from which on answers are right with `target_precision`, for the widest coverage.

    Half-way between the least sure of them and the next answer, since the last digits of a confidence depend
    on the batch and the engine. Answers of one confidence are sure together or not at all. Where no
    threshold reaches the target, only those of the highest confidence are sure.
    """
    thresholds, place = np.unique(-confidences.astype(np.float64), return_inverse=True)  # the surest first
    right = np.cumsum(np.bincount(place, weights=correct))
    reached = np.flatnonzero(right / np.cumsum(np.bincount(place)) >= target_precision)
    last = reached[-1] if len(reached) else 0
    return float(-thresholds[last : last + 2].mean())
