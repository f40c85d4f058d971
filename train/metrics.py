"""Figures of merit: pure functions of probabilities and labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.engines.protocol import Logits
from models.manifest import Calibration
from train.data import Labels

Probabilities = NDArray[np.float32]
Confidences = NDArray[np.floating[Any]]
Correct = NDArray[np.bool_]

ECE_BINS = 15


def confidence_and_correct(probabilities: Probabilities, labels: Labels) -> tuple[Confidences, Correct]:
    """Of each answer given: its probability (n,), and whether it is the label (n,)."""
    answers = probabilities.argmax(axis=1)
    return probabilities[np.arange(len(labels)), answers], answers == labels


def bins(confidences: Confidences, correct: Correct, count: int = ECE_BINS) -> list[dict[str, float]]:
    """Equal-width bins of confidence, the filled ones: mean confidence, accuracy, share of the images."""
    places = np.clip(np.ceil(confidences * count).astype(int) - 1, 0, count - 1)
    return [
        {
            "from": place / count,
            "confidence": float(confidences[places == place].mean()),
            "accuracy": float(correct[places == place].mean()),
            "share": float((places == place).mean()),
        }
        for place in range(count)
        if (places == place).any()
    ]


def ece(confidences: Confidences, correct: Correct) -> float:
    """Expected calibration error over 15 bins (Guo et al. 2017, arXiv 1706.04599, equation 3)."""
    return sum(b["share"] * abs(b["accuracy"] - b["confidence"]) for b in bins(confidences, correct))


def nll(logits: Logits, labels: Labels, calibration: Calibration) -> float:
    """Mean negative log-likelihood of the labels under the calibrated probabilities."""
    scaled = (margins(logits) / calibration.temperature) ** calibration.exponent
    chosen = scaled[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(-scaled).sum(axis=1)) + chosen))


def margins(logits: Logits) -> NDArray[np.float64]:
    """How far each logit is below the largest of its row, (n, classes)."""
    exact = logits.astype(np.float64)
    below: NDArray[np.float64] = exact.max(axis=1, keepdims=True) - exact
    return below


def confusion(answers: Labels, labels: Labels, num_classes: int) -> NDArray[np.int64]:
    """Counts (classes, classes): rows are the labels, columns the answers."""
    counts = np.bincount(labels * num_classes + answers, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def at_threshold(confidences: Confidences, correct: Correct, threshold: float) -> dict[str, float]:
    """Coverage: the share of answers not marked uncertain; precision: the accuracy of those.

    Compared as the service does, in float64: in float32 a confidence just below the threshold is equal to it.
    """
    kept = confidences.astype(np.float64) >= threshold
    precision = float(correct[kept].mean()) if kept.any() else 1.0
    return {"coverage": float(kept.mean()), "precision": precision}


def at_coverage(confidences: Confidences, correct: Correct, coverage: float) -> float:
    """Accuracy of the `coverage` share of the answers with the highest confidence (ties in their order)."""
    count = max(1, int(coverage * len(confidences)))
    return float(correct[np.argsort(-confidences, kind="stable")[:count]].mean())


def auroc(confidences: Confidences, correct: Correct) -> float | None:
    """How often a right answer has a higher confidence than a wrong one, ties counting half.

    The area under the ROC curve of telling them apart (Mann and Whitney 1947); None where all are alike.
    """
    right, wrong = int(correct.sum()), int((~correct).sum())
    if not right or not wrong:
        return None
    _, place, count = np.unique(confidences, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[correct].sum() - right * (right + 1) / 2) / (right * wrong))
