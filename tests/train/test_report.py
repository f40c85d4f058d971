from __future__ import annotations

import re

import numpy as np
import pytest

from models.images import Preprocessing
from models.manifest import Calibration, ModelSpec, Normalisation, ResNet18
from train import evaluate, report
from train.data import Images
from train.evaluate import Answers

CLASSES = ("<b>bold</b>", "cat", "dog")
GENERATOR = np.random.default_rng(0)
CALIBRATION = Calibration(temperature=1.5, uncertain_below=0.6)


@pytest.fixture(scope="module")
def answers() -> Answers:
    labels = GENERATOR.integers(0, 3, 90)
    logits = GENERATOR.normal(size=(90, 3)).astype(np.float32)
    logits[np.arange(90), labels] += 2
    pixels = GENERATOR.integers(0, 256, (90, 8, 8, 3), dtype=np.uint8)
    paths = tuple(f"test/{number}.png" for number in range(90))
    return Answers(Images(CLASSES, pixels, labels, paths, paths, ("test",) * 90), logits)


@pytest.fixture(scope="module")
def story(answers: Answers) -> report.Story:
    figures = evaluate.summary(answers, CALIBRATION)
    data = {"source": "pets.zip", "images": {"train": 1}, "seed": 0}
    spec = ModelSpec(
        name="pets",
        version="1",
        network=ResNet18(stem="3x3"),
        classes=CLASSES,
        preprocessing=Preprocessing(size=8, resize="stretch"),
        normalisation=Normalisation(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)),
        calibration=CALIBRATION,
        training={"command": "python -m train scratch --data pets.zip", "data": data, "recipe": {}},
        metrics={
            "test": figures,
            "validation": figures,
            "test_before_calibration": evaluate.summary(answers, Calibration()),
            "target_precision": 0.9995,
        },
    )
    epoch = {"train_loss": 1.0, "val_loss": 0.9, "crop_px": 8, "seconds": 60.0}
    history = [epoch | {"epoch": number, "val_accuracy": 0.4 + number / 10} for number in (1, 2)]
    return report.Story(spec, history, answers)


@pytest.fixture(scope="module")
def page(story: report.Story) -> str:
    return report.page(story)


def test_the_page_needs_no_other_file(page: str) -> None:
    outside = re.findall(r'(?:src|href)="(?!data:|#)([^"]+)"', page)
    assert not outside
    assert "<script" not in page


def test_what_people_call_their_classes_is_text_and_never_markup(page: str) -> None:
    assert "<b>bold</b>" not in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page


def test_the_mistakes_are_shown_surest_first(page: str, answers: Answers) -> None:
    shown = [float(found) for found in re.findall(r"</em>, ([\d.]+) %", page)]
    wrong = int((answers.logits.argmax(1) != answers.images.labels).sum())
    assert len(shown) == min(wrong, report.MISTAKES) > 0
    assert shown == sorted(shown, reverse=True)
    assert page.count("data:image/png") == len(shown)


def test_page_and_card_state_the_figures_of_the_model(page: str, story: report.Story) -> None:
    figures = story.spec.metrics["test"]
    assert f"{100 * figures['accuracy']:.2f} %" in page
    card = report.card(story.spec)
    assert f"| {figures['accuracy']:.4f} |" in card
    assert f"| {figures['ece']:.4f} |" in card
    assert "python -m train evaluate --model path/to/pets/1 --data path/to/pets.zip" in card


def test_page_and_card_state_the_precision_as_it_was_asked_for(page: str, story: report.Story) -> None:
    assert "; 99.95 % asked for" in page
    assert "(for 99.95 % precision)" in report.card(story.spec)


def test_the_same_run_gives_the_same_page(page: str, story: report.Story) -> None:
    assert report.page(story) == page
