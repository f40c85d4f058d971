"""Confidences as HTML: the figure is always there as text, a bar only repeats it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape

from ui.client import Answer, ClassProbability
from ui.formats import exact_percent, percent
from ui.words import Language


def answer_html(answer: Answer, threshold: float | None, language: Language) -> str:
    """The answer, its confidence as a bar, and the classes that come next.

    `threshold` is where the model begins to count as sure; None where it is not known.
    """
    parts = [
        _heading(answer, language),
        f'<p class="rotulo-confidence">{escape(_confidence(answer, threshold, language))}</p>',
        _bar(answer.confidence, threshold, answer.uncertain),
    ]
    if threshold and not answer.uncertain:
        marked = language("threshold", threshold=exact_percent(threshold, language))
        parts.append(f'<p class="rotulo-small">{escape(marked)}</p>')
    rest = answer.top if answer.uncertain else answer.top[1:]
    if rest:
        title = language("likeliest" if answer.uncertain else "next_likeliest")
        parts.append(_table(title, rest, answer.uncertain, language))
    return f'<div class="rotulo-answer">{"".join(parts)}</div>'


def shares_html(title: str, classes: Iterable[ClassProbability], language: Language) -> str:
    """Classes with a share of each, measured and so with a digit more."""
    return f'<div class="rotulo-answer">{_table(title, classes, False, language, exact_percent)}</div>'


def _heading(answer: Answer, language: Language) -> str:
    if not answer.cannot_tell:
        return f'<p class="rotulo-label">{escape(language.label(answer.label))}</p>'
    return (
        f'<p class="rotulo-label rotulo-unsure"><span aria-hidden="true">?</span>'
        f"{escape(language('cannot_tell'))}</p>"
    )


def _confidence(answer: Answer, threshold: float | None, language: Language) -> str:
    figure = percent(answer.confidence, language)
    if not answer.uncertain:
        return language("confidence", percent=figure)
    return language(
        "cannot_tell_why" if threshold else "cannot_tell_short",
        label=language.label(answer.label),
        percent=figure,
        threshold=exact_percent(threshold or 0, language),
    )


def _bar(share: float, threshold: float | None, uncertain: bool) -> str:
    """Hidden from screen readers, which have read the figure already; striped where the model cannot tell."""
    line = f'<span class="rotulo-line" style="left: {threshold * 100:.1f}%"></span>' if threshold else ""
    kind = " rotulo-striped" if uncertain else ""
    width = f"{max(0.0, min(share, 1.0)) * 100:.1f}%"
    return (
        f'<div class="rotulo-bar" aria-hidden="true">'
        f'<span class="rotulo-fill{kind}" style="width: {width}"></span>{line}</div>'
    )


def _table(
    title: str,
    classes: Iterable[ClassProbability],
    striped: bool,
    language: Language,
    figure: Callable[[float, Language], str] = percent,
) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(language.label(each.label))}</th>'
        f"<td>{_bar(each.confidence, None, striped)}</td>"
        f"<td>{escape(figure(each.confidence, language))}</td></tr>"
        for each in classes
    )
    return f'<table class="rotulo-classes"><caption>{escape(title)}</caption><tbody>{rows}</tbody></table>'
