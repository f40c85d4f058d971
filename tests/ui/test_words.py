"""The two languages say the same things."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from models import catalog
from models.manifest import Manifest
from service.contract import ERRORS
from service.errors import PROBLEMS, HeadersTooLarge, KeyRequired, TooManyRequests, UnknownHost
from ui import words
from ui.pictures import samples
from ui.words import ENGLISH, LANGUAGES, PORTUGUESE, preferred

SOURCES = "\n".join(
    path.read_text() for path in Path(words.__file__).parent.glob("*.py") if path.stem != "words"
)
ASKED = ("/v1/models", "/v1/models/{model}/predict", "/v1/predictions", "/metrics")
ANYWHERE = (UnknownHost, KeyRequired, TooManyRequests, HeadersTooLarge)
KINDS = {PROBLEMS[error].kind for path in ASKED for error in (*ERRORS[path], *ANYWHERE)}


def placeholders(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def test_both_languages_have_the_same_keys_in_the_same_order() -> None:
    assert list(ENGLISH) == list(PORTUGUESE)


@pytest.mark.parametrize("key", ENGLISH)
def test_both_languages_leave_room_for_the_same_values(key: str) -> None:
    assert placeholders(ENGLISH[key]) == placeholders(PORTUGUESE[key])


@pytest.mark.parametrize("key", ENGLISH)
def test_no_word_is_missing_in_either_language(key: str) -> None:
    assert ENGLISH[key].strip()
    assert PORTUGUESE[key].strip()


def test_every_word_that_the_page_says_is_there() -> None:
    said = set(re.findall(r"""language\(\s*["']([\w-]+)["']""", SOURCES))
    assert len(said) > 30
    assert said <= ENGLISH.keys()


def test_every_word_is_said_somewhere() -> None:
    names = {f"sample_{name}" for name in samples()} | {
        f"tab_{view}" for view in ("classify", "live", "model", "record")
    }
    classes = {key for key in ENGLISH if key.startswith("class_")}
    composed = names | KINDS | classes | {"measured_test", "measured_validation"}
    for key in ENGLISH.keys() - composed:
        assert re.search(rf"""["']{key.removesuffix("_help")}["']""", SOURCES), key


def test_every_class_of_the_shipped_models_has_a_name_and_no_other_has() -> None:
    manifests = [catalog.locate(catalog.SHIPPED_MODELS, name) for name in ("bottle", "cifar10")]
    classes = {
        each
        for path in manifests
        for each in Manifest.model_validate_json((path / "model.json").read_text()).classes
    }
    assert {key.removeprefix("class_") for key in ENGLISH if key.startswith("class_")} == classes


@pytest.mark.parametrize(
    ("code", "name", "said"),
    [
        ("en", "cat", "cat"),
        ("en", "unknown", "cannot tell"),
        ("pt", "open", "aberta"),
        ("pt", "plum", "plum"),
    ],
)
def test_a_class_has_the_name_that_a_person_gives_it_or_else_its_own(code: str, name: str, said: str) -> None:
    assert LANGUAGES[code].label(name) == said


def test_every_problem_of_the_routes_that_the_page_asks_has_a_sentence_and_no_other_has() -> None:
    problems = {problem.kind for problem in PROBLEMS.values()}
    assert ENGLISH.keys() & problems == KINDS


@pytest.mark.parametrize(
    ("locale", "code"),
    [("pt-BR", "pt"), ("pt", "pt"), ("PT-pt", "pt"), ("en-GB", "en"), ("de", "en"), (None, "en")],
)
def test_a_browser_is_answered_in_its_language_where_it_is_one_of_the_two(
    locale: str | None, code: str
) -> None:
    assert preferred(locale) == code
