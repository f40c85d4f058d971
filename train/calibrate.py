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
    """The temperature of least negative log-likelihood (Guo et al. 2017, arXiv 1706.04599) under targets
    after Platt (1999, "Probabilistic outputs for support vector machines").

    Where every answer is right, the likelihood of the labels themselves has its best at temperature 0, and
    every confidence would be 1. But n images whose label is right say of the next one that it is with
    (n + 1) / (n + 2), by Laplace's rule of succession: that is a label's target, and the other classes share
    the rest. It weighs what one mistake more would. Platt counts each class by itself, having a bias to fit;
    one temperature learns from all images. In 1/T the loss is convex, so in log(T) it has one valley, which
    golden-section search (Kiefer 1953) finds.
    """
    doubt = _mean_margin(logits, labels) / (len(labels) + 2)
    low, high = _LOG_RANGE
    for _ in range(_ROUNDS):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if _loss(logits, labels, doubt, math.exp(left)) < _loss(logits, labels, doubt, math.exp(right)):
            high = right
        else:
            low = left
    return round(math.exp((low + high) / 2), 6)


def _loss(logits: Logits, labels: Labels, doubt: float, temperature: float) -> float:
    """Cross-entropy is linear in its target: what moves from the labels to the others costs the margin."""
    return nll(logits, labels, temperature) + doubt / temperature


def _mean_margin(logits: Logits, labels: Labels) -> float:
    """How far the label's logit is above the mean of the other classes', over all images."""
    own = logits[np.arange(len(labels)), labels].astype(np.float64)
    others = (logits.sum(axis=1, dtype=np.float64) - own) / (logits.shape[1] - 1)
    return float((own - others).mean())


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
