"""The tab that says what the model is, and how well it was measured to do."""

from __future__ import annotations

import streamlit as st

from ui.bars import shares_html
from ui.client import ClassProbability, Measured, Model
from ui.formats import duration, exact_percent, named, number
from ui.problems import plain
from ui.words import Language


def model_view(model: Model, language: Language) -> None:
    """What the service last said of it."""
    split = "test" if model.measured("test") else "validation"
    measured = model.measured(split)
    if measured is None:
        st.info(language("not_measured"))
    else:
        _measured(measured, split, model.rendered, language)
    left, right = st.columns(2, gap="large")
    with left:
        _facts(model, language)
    with right:
        _classes(model, measured, language)


def _measured(measured: Measured, split: str, rendered: bool, language: Language) -> None:
    figures = {
        "accuracy": measured.accuracy,
        "calibration_error": measured.ece,
        "coverage": measured.coverage,
        "precision": measured.precision,
    }
    columns = st.container(key="figures-measured").columns(4)
    for column, (key, share) in zip(columns, figures.items(), strict=True):
        value = language("none") if share is None else exact_percent(share, language)
        column.metric(language(key), value, help=language(f"{key}_help"), border=True)
    if measured.images is not None:
        st.caption(language(f"measured_{split}", images=number(measured.images, language)))
    if rendered:
        st.warning(language("rendered"), icon=":material/warning:")


def _facts(model: Model, language: Language) -> None:
    facts = {
        "version": model.version,
        "engine": f"{model.engine} ({model.engine_reason})",
        "threshold_name": exact_percent(model.calibration.uncertain_below, language),
        "input": language("input_value", size=model.input_size),
        "latency_target": duration(model.latency_target_ms, language),
        "largest_batch": language("batch_images_count", count=model.max_batch_size),
    }
    for key, value in facts.items():
        st.markdown(f"**{language(key)}**  \n{plain(value)}")


def _classes(model: Model, measured: Measured | None, language: Language) -> None:
    accuracies = measured.per_class_accuracy if measured else {}
    if accuracies.keys() >= set(model.classes):
        rows = [ClassProbability(label=label, confidence=accuracies[label]) for label in model.classes]
        st.html(shares_html(language("classes_measured"), rows, language))
    else:
        st.markdown(f"**{language('classes')}**  \n{plain(named(model.classes, language))}")
