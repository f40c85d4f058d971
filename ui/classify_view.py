"""The tab where images are chosen and their answers shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape

import streamlit as st

from ui.answers import Answers, Outcome
from ui.bars import answer_html
from ui.client import Answer, ClientError, Model, ServiceClient
from ui.formats import duration
from ui.pictures import Gallery, Picture, Source, samples
from ui.problems import plain, problem_of
from ui.timing import Timing
from ui.words import Language

TYPES = ("jpg", "jpeg", "png", "webp")
MOST = 64  # images at once, as the service's own default for one request


def classify_view(client: ServiceClient, model: Model, language: Language) -> None:
    """Images in, a card for each out."""
    pictures = _chosen(language)
    answers: Answers = st.session_state.setdefault("answers", Answers())
    with st.spinner(language("asking")):
        outcomes = answers.of(client, model, pictures)
    if not pictures:
        st.info(language("nothing_yet"), icon=":material/image:")
        return
    _summary(outcomes, language)
    if answers.any_retryable():
        st.button(language("try_again"), icon=":material/refresh:", on_click=answers.forget_retryable)
    for place, (picture, outcome) in enumerate(zip(pictures, outcomes, strict=True)):
        if place % 2 == 0:
            columns = st.columns(2)
        with columns[place % 2].container(border=True, key=f"card-{place}"):
            _card(client, model, picture, outcome, language)


def show_problem(error: ClientError, url: str, language: Language) -> None:
    """An error as a box: its title, then what else is known."""
    problem = problem_of(error, url, language)
    lines = [f"**{plain(problem.title)}**", *map(plain, problem.sentences)]
    st.error("  \n".join(lines), icon=":material/error:")


def _chosen(language: Language) -> list[Picture]:
    """The first of what was chosen; a line on the page where there is more."""
    gallery: Gallery = st.session_state.setdefault("gallery", Gallery())
    sources = list(_sources(language))
    if len(sources) > MOST:
        st.warning(language("too_many", chosen=len(sources), taken=MOST), icon=":material/stacks:")
    return gallery.of(dict(sources[:MOST]))


def _sources(language: Language) -> Iterator[tuple[Source, Callable[[], bytes]]]:
    """Uploaded files, then samples, then a photo."""
    left, right = st.columns([3, 2], gap="large")
    files = left.file_uploader(language("images"), TYPES, accept_multiple_files=True, key="files")
    yield from (((file.file_id, file.name), file.getvalue) for file in files)
    with right:
        yield from _from_samples(language)
        if st.toggle(language("use_camera"), key="use_camera"):
            photo = st.camera_input(language("camera"), key="camera")
            if photo is not None:
                yield (photo.file_id, language("photo")), photo.getvalue


def _from_samples(language: Language) -> Iterator[tuple[Source, Callable[[], bytes]]]:
    found = samples()
    if found:
        names = {name: language(f"sample_{name}") for name in found}
        chosen = st.pills(
            language("samples"),
            list(found),
            selection_mode="multi",
            key="samples",
            format_func=names.__getitem__,
        )
        yield from (((name, names[name]), found[name].read_bytes) for name in chosen)


def _summary(outcomes: Sequence[Outcome], language: Language) -> None:
    answers = [outcome.result for outcome in outcomes if isinstance(outcome.result, Answer)]
    cannot_tell = sum(answer.cannot_tell for answer in answers)
    text = language(
        "summary",
        images=len(outcomes),
        answered=len(answers) - cannot_tell,
        cannot_tell=cannot_tell,
        failed=len(outcomes) - len(answers),
    )
    st.html(f'<p role="status" class="rotulo-summary">{escape(text)}</p>')


def _card(
    client: ServiceClient, model: Model, picture: Picture, outcome: Outcome, language: Language
) -> None:
    st.html(f'<p class="rotulo-name">{escape(picture.name)}</p>')
    if isinstance(outcome.result, Answer):
        _answer(outcome.result, model, picture.name, outcome.preview, language)
    else:
        show_problem(outcome.result, client.url, language)


def _answer(answer: Answer, model: Model, name: str, preview: bytes | None, language: Language) -> None:
    left, right = st.columns([2, 3])
    if preview is not None:
        left.image(preview, width="stretch", alt=language("picture_of", name=name))
    same = (answer.model, answer.version) == (model.name, model.version)
    right.html(answer_html(answer, model.calibration.uncertain_below if same else None, language))
    lines = [_timing(answer.timing, language)] if answer.timing else []
    lines.append(language("answered_by", model=answer.model, version=answer.version))
    st.html("".join(f'<p class="rotulo-timing">{escape(line)}</p>' for line in lines))


def _timing(timing: Timing, language: Language) -> str:
    return language(
        "timing",
        decode=duration(timing.decode_ms, language),
        queue=duration(timing.queue_ms, language),
        infer=duration(timing.infer_ms, language),
        batch=timing.batch_size,
    )
