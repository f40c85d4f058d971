"""Confidences as HTML."""

from __future__ import annotations

import re

from ui.bars import answer_html, shares_html
from ui.client import Answer, ClassProbability
from ui.words import LANGUAGES

EN = LANGUAGES["en"]


def answer(label: str = "cat", confidence: float = 0.97, uncertain: bool = False) -> Answer:
    top = [
        ClassProbability(label=label, confidence=confidence),
        ClassProbability(label="dog", confidence=0.02),
    ]
    return Answer(model="m", version="1", label=label, confidence=confidence, uncertain=uncertain, top=top)


def heading(html: str) -> str:
    (found,) = re.findall(r'<p class="rotulo-label[^"]*">(.*?)</p>', html)
    return re.sub(r"<[^>]+>", "", found)


def test_an_answer_names_the_class_and_how_sure_the_model_is() -> None:
    html = answer_html(answer(), 0.9, EN)
    assert heading(html) == "cat"
    assert "Confidence: 97\u00a0%" in html
    assert "width: 97.0%" in html
    assert "left: 90.0%" in html


def test_an_uncertain_answer_is_not_shown_as_an_answer() -> None:
    html = answer_html(answer(confidence=0.42, uncertain=True), 0.9, EN)
    assert heading(html) == "?Cannot tell"
    assert "The likeliest class, cat, has a confidence of 42\u00a0%" in html
    assert "rotulo-striped" in html  # told apart by more than a colour
    assert html.count("<tr>") == 2  # the likeliest is one candidate among others


def test_an_answer_that_it_cannot_be_told_is_no_class_however_sure() -> None:
    html = answer_html(answer("unknown"), 0.6, EN)
    assert heading(html) == "?Cannot tell"
    assert "Confidence: 97\u00a0%" in html
    assert "rotulo-striped" not in html  # it is sure of that


def test_the_rest_does_not_repeat_the_answer() -> None:
    html = answer_html(answer(), 0.9, EN)
    assert re.findall(r'<th scope="row">(.*?)</th>', html) == ["dog"]


def test_a_threshold_that_is_not_known_is_not_drawn() -> None:
    for threshold in (None, 0.0):
        assert "rotulo-line" not in answer_html(answer(), threshold, EN)
        assert "rotulo-line" not in answer_html(answer(uncertain=True), threshold, EN)


def test_a_class_may_have_any_name() -> None:
    name = '<script>alert("&")</script>'
    html = answer_html(answer(name), 0.9, EN) + answer_html(answer(name, 0.4, True), 0.9, EN)
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_bars_are_kept_from_screen_readers_which_read_the_figures() -> None:
    html = shares_html("Accuracy", [ClassProbability(label="cat", confidence=0.788)], EN)
    assert "78.8\u00a0%" in html
    assert html.count('class="rotulo-bar" aria-hidden="true"') == html.count("rotulo-bar") == 1
