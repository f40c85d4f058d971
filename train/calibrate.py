"""What makes a confidence mean something, fitted on validation images alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from models.engines.protocol import Logits
from models.manifest import Calibration
from models.predictor import softmax
from train.data import Labels
from train.metrics import Confidences, Correct, confidence_and_correct, margins

UNCALIBRATED = Calibration()

_GOLDEN = (math.sqrt(5) - 1) / 2
_TEMPERATURES = (0.05, 20.0)
_EXPONENTS = (1.0, 2.5)  # below 1 no margin would be too small to matter, and no label asks for it
# Twice the log-likelihood that one more parameter gains by chance, once in a hundred times (Wilks 1938).
_NOT_BY_CHANCE = 6.63


def fit(logits: Logits, labels: Labels, target_precision: float) -> Calibration:
    """Temperature and exponent first, then the threshold on the confidences that they give."""
    fitted = fit_confidences(logits, labels)
    confidences, correct = confidence_and_correct(softmax(logits, fitted), labels)
    threshold = threshold_for(confidences, correct, target_precision)
    return fitted.model_copy(update={"uncertain_below": threshold})


def fit_confidences(logits: Logits, labels: Labels) -> Calibration:
    """The likeliest temperature, and with it an exponent that is likelier than 1 by more than chance gives.

    Likely by the mean log-likelihood (Guo et al. 2017, arXiv 1706.04599) under targets
    after Platt (1999, "Probabilistic outputs for support vector machines").

    Where every answer is right, the likelihood of the labels themselves has its best at temperature 0, and
    every confidence would be 1. But n images whose label is right say of the next one that it is with
    (n + 1) / (n + 2), by Laplace's rule of succession: that is a label's target, and the other classes share
    the rest. It weighs what one mistake more would. Platt counts each class by itself, having a bias to fit;
    one temperature learns from all images.
    """
    loss = _Loss(logits, labels)
    straight = loss.best_temperature(1.0)
    exponent = _valley(lambda bend: loss.best_temperature(bend, rounds=25)[1], *_EXPONENTS, rounds=20)
    bent = loss.best_temperature(exponent)
    if 2 * len(labels) * (straight[1] - bent[1]) <= _NOT_BY_CHANCE:
        return Calibration(temperature=round(straight[0], 6))
    return Calibration(temperature=round(bent[0], 6), exponent=round(exponent, 6))


class _Loss:
    """Mean cross-entropy of the calibrated probabilities with their targets."""

    def __init__(self, logits: Logits, labels: Labels) -> None:
        self._margins = margins(logits)
        self._labels = labels

    def best_temperature(self, exponent: float, rounds: int = 45) -> tuple[float, float]:
        """The temperature of the least loss, and that loss.

        In temperature ** -exponent the loss is convex, so it has one valley.
        """
        bent = self._margins**exponent
        own = float(bent[np.arange(len(bent)), self._labels].mean())
        others = (float(bent.sum(axis=1).mean()) - own) / (bent.shape[1] - 1)
        target: float = own + (others - own) / (len(bent) + 2)  # cross-entropy is linear in its target

        def loss(temperature: float) -> float:
            scale = math.pow(temperature, -exponent)
            return scale * target + float(np.log(np.exp(-scale * bent).sum(axis=1)).mean())

        best = _valley(loss, *_TEMPERATURES, rounds)
        return best, loss(best)


def _valley(function: Callable[[float], float], low: float, high: float, rounds: int) -> float:
    """Where a function that falls and then rises is least, by golden-section search (Kiefer 1953) of the
    number's logarithm."""
    low, high = math.log(low), math.log(high)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(math.exp(left)), function(math.exp(right))
    for _ in range(rounds):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(math.exp(left))
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(math.exp(right))
    return math.exp((low + high) / 2)


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
