"""What Streamlit runs for every visitor and every click: the page, top to bottom."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import streamlit as st
from streamlit.elements.lib.mutable_tab_container import TabContainer

from ui.classify_view import classify_view, show_problem
from ui.client import ClientError, Model, ServiceClient
from ui.formats import named
from ui.live_view import live_view
from ui.model_view import model_view
from ui.problems import plain
from ui.record_view import record_view
from ui.settings import read_settings
from ui.words import LANGUAGES, Language, preferred

ICON = Path(__file__).parent / "icon.svg"
STYLE = Path(__file__).parent / "page.css"
LOOK_AGAIN_SECONDS = 3
WIDTH_PX = 420  # of the choice of a model
CLASSES = 10  # named below it
VIEWS = ("classify", "live", "model", "record")


def page() -> None:
    """The service may be gone at any time: what was known of it stays, and a box says so."""
    st.set_page_config("Rótulo", ICON.read_text(), layout="wide")
    st.html(STYLE)
    client = _client()
    language = _header()
    models = _models(client, language)
    if not models:
        return
    model = _choose(models, language)
    tabs = _tabs(language)
    with tabs[
        "classify"
    ]:  # always, even behind another tab: Streamlit forgets the files of what is not drawn
        classify_view(client, model, language)
    if tabs["live"].open:
        with tabs["live"]:
            live_view(client, language)
    if tabs["model"].open:
        with tabs["model"]:
            model_view(model, language)
    if tabs["record"].open:
        with tabs["record"]:
            record_view(client, model, language)


@st.cache_resource
def _client() -> ServiceClient:
    return ServiceClient(read_settings(os.environ))


def _header() -> Language:
    left, right = st.columns([3, 1], vertical_alignment="center")
    with right.container(horizontal_alignment="right"):
        code = st.segmented_control(
            "Language / Idioma",
            list(LANGUAGES),
            required=True,
            default=_first_language(),
            format_func=lambda code: LANGUAGES[code].name,
            key="language",
            label_visibility="collapsed",
        )
    language = LANGUAGES[code]
    left.html(
        f'<div class="rotulo-header"><img src="data:image/svg+xml;base64,{_icon()}" alt="">'
        f"<div><h1>Rótulo</h1><p>{language('tagline')}</p></div></div>"
    )
    # For screen readers and hyphenation; a constant of our own, not anybody's input.
    script = f"<script>document.documentElement.lang = '{language.tag}'</script>"
    st.html(script, unsafe_allow_javascript=True)
    return language


def _first_language() -> str:
    """As the address says, or else the browser."""
    asked = st.query_params.get("language", "")
    return asked if asked in LANGUAGES else preferred(st.context.locale)


def _icon() -> str:
    return base64.b64encode(ICON.read_bytes()).decode()


def _models(client: ServiceClient, language: Language) -> list[Model]:
    """What is served now or, where the service does not answer, what was served last."""
    try:
        st.session_state.models = client.models()
    except ClientError as error:
        show_problem(error, client.url, language)
        _look_again(client)
    else:
        if not st.session_state.models:
            st.warning(language("no_models"))
    known: list[Model] = st.session_state.get("models", [])
    return known


@st.fragment(run_every=LOOK_AGAIN_SECONDS)
def _look_again(client: ServiceClient) -> None:
    try:
        client.models()
    except ClientError:
        return
    if "answers" in st.session_state:
        st.session_state.answers.forget_retryable()
    st.rerun()


def _choose(models: list[Model], language: Language) -> Model:
    by_name = {model.name: model for model in models}
    chosen = by_name[st.selectbox(language("model"), list(by_name), key="model", width=WIDTH_PX)]
    st.caption(f"{language('classes')}: {plain(named(chosen.classes, language, CLASSES))}")
    return chosen


def _tabs(language: Language) -> dict[str, TabContainer]:
    """A change of language keeps the open tab, though its name changes."""
    names = {view: language(f"tab_{view}") for view in VIEWS}
    key = f"tabs-{language.tag}"
    st.session_state.setdefault(key, names[st.session_state.get("view", VIEWS[0])])
    tabs = dict(zip(VIEWS, st.tabs(list(names.values()), key=key, on_change="rerun"), strict=True))
    st.session_state.view = next((view for view, tab in tabs.items() if tab.open), VIEWS[0])
    return tabs


page()
