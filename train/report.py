"""What a run looks like: one HTML page that needs no other file; and the model's card, in Markdown."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from models.images import Pixels
from models.manifest import ModelSpec
from models.predictor import softmax
from train import metrics
from train.calibrate import UNCALIBRATED
from train.data import Labels
from train.evaluate import Answers

TEMPLATES = Path(__file__).parent / "templates"
MISTAKES = 24
INK, ACCENT, SECOND, GRID = "#1f2933", "#0b6e99", "#c2571a", "#d9e2ec"


@dataclass(frozen=True)
class Story:
    """Everything the report tells."""

    spec: ModelSpec
    history: list[dict[str, Any]]
    test: Answers


def page(story: Story) -> str:
    """The report, in HTML."""
    return _render("report.html.j2", _facts(story))


def card(spec: ModelSpec) -> str:
    """The model card, in Markdown."""
    return _render("card.md.j2", _figures(spec))


def _render(template: str, facts: dict[str, Any]) -> str:
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(template).render(facts)


def _figures(spec: ModelSpec) -> dict[str, Any]:
    return {
        "spec": spec,
        "test": spec.metrics["test"],
        "before": spec.metrics["test_before_calibration"],
        "validation": spec.metrics["validation"],
    }


def _facts(story: Story) -> dict[str, Any]:
    spec, test = story.spec, story.test
    probabilities = softmax(test.logits, spec.calibration)
    raw = softmax(test.logits, UNCALIBRATED)
    answers, labels = probabilities.argmax(axis=1), test.images.labels
    after = metrics.confidence_and_correct(probabilities, labels)
    return {
        **_figures(spec),
        "history": story.history,
        "curves": _curves(story.history),
        "reliability": _reliability(metrics.confidence_and_correct(raw, labels), after),
        "confusion": _confusion_rows(metrics.confusion(answers, labels, len(spec.classes))),
        "mistakes": _mistakes(story, after[0], answers),
    }


def _confusion_rows(counts: NDArray[np.int64]) -> list[list[dict[str, Any]]]:
    """Rows of cells: the count, its share of the row, and whether it is on the diagonal."""
    totals = np.maximum(counts.sum(axis=1), 1)
    return [
        [
            {"count": int(count), "share": float(count / totals[row]), "right": row == column}
            for column, count in enumerate(line)
        ]
        for row, line in enumerate(counts)
    ]


def _mistakes(story: Story, confidences: metrics.Confidences, answers: Labels) -> list[dict[str, Any]]:
    """The wrong answers the network was surest of, with their pictures."""
    images, classes = story.test.images, story.spec.classes
    wrong = np.flatnonzero(answers != images.labels)
    return [
        {
            "picture": _data_uri(images.pixels[i]),
            "path": images.paths[i],
            "label": classes[images.labels[i]],
            "answer": classes[answers[i]],
            "confidence": float(confidences[i]),
        }
        for i in wrong[np.argsort(-confidences[wrong], kind="stable")][:MISTAKES]
    ]


def _data_uri(pixels: Pixels) -> str:
    encoded = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(encoded, "PNG")
    return "data:image/png;base64," + base64.b64encode(encoded.getvalue()).decode()


def _curves(history: list[dict[str, Any]]) -> str:
    figure = Figure(figsize=(9, 3.1), layout="constrained")
    losses, accuracy = figure.subplots(1, 2)
    epochs = [epoch["epoch"] for epoch in history]
    for key, label, colour in (("train_loss", "train", SECOND), ("val_loss", "validation", ACCENT)):
        losses.plot(epochs, [epoch[key] for epoch in history], "o-", ms=3.5, color=colour, label=label)
    losses.set(title="Loss", xlabel="epoch")
    losses.legend(frameon=False, loc="upper right")  # "best" takes so long on a busy machine that it warns
    shares = [100 * epoch["val_accuracy"] for epoch in history]
    accuracy.plot(epochs, shares, "o-", ms=3.5, color=ACCENT)
    accuracy.set(title="Validation accuracy, %", xlabel="epoch")
    accuracy.annotate(
        f"{max(shares):.2f}",
        (epochs[int(np.argmax(shares))], max(shares)),
        (0, -14),
        textcoords="offset points",
        ha="center",
    )
    return _svg(figure)


def _reliability(
    before: tuple[metrics.Confidences, metrics.Correct], after: tuple[metrics.Confidences, metrics.Correct]
) -> str:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, name, (confidences, correct) in zip(
        axes, ("Before calibration", "After calibration"), (before, after), strict=True
    ):
        bins = metrics.bins(confidences, correct)
        width = 1 / metrics.ECE_BINS
        axis.plot([0, 1], [0, 1], "--", color=INK, lw=1, label="perfect")
        axis.bar(
            [b["from"] for b in bins],
            [b["accuracy"] for b in bins],
            width,
            align="edge",
            color=ACCENT,
            edgecolor="white",
            label="accuracy",
        )
        axis.bar(
            [b["from"] for b in bins],
            [b["share"] for b in bins],
            width / 3,
            align="edge",
            color=SECOND,
            label="share of images",
        )
        axis.set(
            title=f"{name}: ECE {metrics.ece(confidences, correct):.4f}",
            xlabel="confidence",
            xlim=(0, 1),
            ylim=(0, 1),
        )
    axes[0].legend(frameon=False, loc="upper left")
    return _svg(figure)


def _svg(figure: Figure) -> str:
    """The figure as an inline SVG element, with text as text and no date, so that runs can be compared."""
    for axis in figure.axes:
        axis.grid(color=GRID, lw=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    drawn = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "rotulo"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    text = drawn.getvalue()
    return text[text.index("<svg") :]
