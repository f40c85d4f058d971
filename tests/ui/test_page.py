"""A person at the page: a real browser, a real page, a real service with the shipped model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from models import catalog, loader
from models.engines.choice import Wish
from models.predictor import Predictor
from tests.conftest import SAMPLES
from tests.live import TOKEN, LiveService, multipart, serve
from tests.ui.browser import CHROMEDRIVER, CHROMIUM, Page, chromium, started_page

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and CHROMEDRIVER),
    reason="no chromium and chromedriver (Debian: chromium-driver) on the PATH",
)


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return loader.load(catalog.locate(catalog.SHIPPED_MODELS, "cifar10"), Wish(), threads=2)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    with chromium() as browser:
        yield browser


def running(shipped: Predictor, port: int = 0) -> AbstractContextManager[LiveService]:
    return serve([shipped], port=port)


@pytest.fixture(scope="module")
def service(shipped: Predictor) -> Iterator[LiveService]:
    with running(shipped) as live:
        yield live


@pytest.fixture(scope="module")
def url(service: LiveService) -> Iterator[str]:
    with started_page("--url", f"http://127.0.0.1:{service.port}") as url:
        yield url


@pytest.fixture
def page(browser: Chrome, url: str) -> Page:
    """As a person finds it who comes anew, in English, in a wide window."""
    page = Page(browser, url)
    page.look(1440, dark=False)
    page.open("?language=en")
    return page


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A photograph that was cut off on its way."""
    path = tmp_path / "broken *photo*.jpg"
    path.write_bytes((SAMPLES / "cat.jpg").read_bytes()[:3000])
    return path


def test_an_image_is_chosen_and_its_answer_read(page: Page) -> None:
    page.wait_for("10MB per file")
    page.upload(SAMPLES / "cat.jpg")
    (card,) = page.wait_for_cards(1)
    name, answer, confidence = card.split("\n")[:3]
    assert (name, answer) == ("cat.jpg", "cat")
    assert re.fullmatch(r"Confidence: (> )?9\d(\.\d)?\s%", confidence)
    assert "Next likeliest" in card
    assert re.search(r"Decoding [\d.]+\sms · waiting [\d.]+\sms · model [\d.]+\sms · batch of 1\n", card)
    assert "cifar10, version 1" in card


def test_a_bad_image_among_good_ones_harms_only_itself(page: Page, broken: Path) -> None:
    page.upload(SAMPLES / "cat.jpg", broken, SAMPLES / "coffee.jpg")
    cat, bad, coffee = page.wait_for_cards(3)
    assert cat.split("\n")[1] == "cat"
    assert bad.split("\n")[0] == broken.name
    assert "The image is broken or incomplete" in bad
    assert "Status 422" in bad
    assert re.search(r"Request id: [0-9a-f]{32}", bad)
    assert "Cannot tell" in coffee  # the model knows no coffee
    assert page.wait_for("Images: 3. Answered: 1. Cannot tell: 1. Without an answer: 1.")


def test_of_very_many_images_the_first_are_taken_and_the_page_says_so(page: Page, tmp_path: Path) -> None:
    files = [tmp_path / f"{number:02}.png" for number in range(65)]
    for file in files:
        file.write_bytes((SAMPLES / "cat-32.png").read_bytes())
    page.upload(*files)
    page.wait_for("Images chosen: 65. Only the first 64 are taken.")
    page.wait_for("Images: 64. Answered: 64.")


def test_a_sample_is_one_click_away(page: Page) -> None:
    page.click("Rocket")
    (card,) = page.wait_for_cards(1)
    assert card.startswith("Rocket\n")


def test_a_photo_of_the_camera_is_answered(page: Page) -> None:
    page.click("Use the camera")
    page.take_photo()
    (card,) = page.wait_for_cards(1)
    assert card.startswith("Photo\n")
    assert "cifar10, version 1" in card


def test_the_page_speaks_portuguese_and_keeps_what_was_chosen(page: Page) -> None:
    page.upload(SAMPLES / "cat.jpg", SAMPLES / "coffee.jpg")
    page.wait_for_cards(2)
    assert page.language() == "en"
    page.click("The model")
    page.wait_for("Accuracy class by class")
    page.click("Português")
    page.wait_for("Acurácia classe por classe")
    page.click("Classificar")
    page.wait_for("Imagens: 2. Respondidas: 1. Não dá para dizer: 1. Sem resposta: 0.")
    cat, coffee = page.wait_for_cards(2)
    assert cat.split("\n")[1] == "gato"
    assert "Confiança: " in cat
    assert "Não dá para dizer" in coffee
    assert page.language() == "pt-BR"


@pytest.mark.parametrize(("query", "words"), [("?language=pt", "O modelo"), ("?language=xx", "The model")])
def test_the_address_may_name_the_language(page: Page, query: str, words: str) -> None:
    page.open(query)
    assert page.wait_for(words)


def test_the_model_says_what_it_is_and_how_well_it_does(page: Page) -> None:
    page.click("The model")
    text = page.wait_for("Accuracy class by class")
    assert page.wait_for_figures("Accuracy", "Calibration error") == ["90.9 %", "1.8 %"]
    assert "Measured on 10,000 test images" in text
    assert "airplane" in text


def test_the_live_view_shows_what_is_asked_meanwhile(page: Page, service: LiveService) -> None:
    page.click("Live")
    page.wait_for("Nothing was asked in this time.")
    image = (SAMPLES / "cat-32.jpg").read_bytes()
    for _ in range(20):
        assert service.request("POST", "/predict", *multipart(("file", image))).status == 200
    page.wait_for("Batches by size")
    page.wait_for_element("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg")
    assert page.wait_for_figures("Images a second", "p99 latency", "Mean batch size")


def test_the_record_is_shown_to_who_has_the_admin_token(
    browser: Chrome, shipped: Predictor, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'predictions.db'}"
        live = stack.enter_context(serve([shipped], record_url=url))
        page = Page(browser, stack.enter_context(started_page("--url", f"http://127.0.0.1:{live.port}")))
        page.open("?language=en")
        page.upload(SAMPLES / "cat.jpg", SAMPLES / "coffee.jpg")
        page.wait_for_cards(2)
        page.click("The record")
        page.wait_for("so the service asks for its admin token")
        page.write("Admin token of the service", "çerto")
        page.wait_for("This is not the service's admin token.")
        page.write("Admin token of the service", TOKEN)
        page.wait_for("Newest first. Answers: 2.")
        page.click("Only those it was not sure of")
        page.wait_for("Newest first. Answers: 1.")
        (row,) = page.wait_for_rows(1)
        assert "600 × 400" in row  # the coffee
        page.click("Português")
        page.wait_for("As mais novas primeiro. Respostas: 1.")


def test_a_service_without_a_record_is_said_to_have_none(page: Page) -> None:
    page.click("The record")
    page.write("Admin token of the service", TOKEN)
    page.wait_for("This service keeps no record of its answers.")


def test_a_service_that_is_gone_is_said_so_and_taken_up_again(browser: Chrome, shipped: Predictor) -> None:
    with ExitStack() as stack:
        live = stack.enter_context(running(shipped))
        url = stack.enter_context(started_page("--url", f"http://127.0.0.1:{live.port}"))
        page = Page(browser, url)
        page.open("?language=en")
        live.stop()
        page.upload(SAMPLES / "cat.jpg")
        (card,) = page.wait_for_cards(1)
        assert f"Nobody answers at http://127.0.0.1:{live.port}" in card
        page.click("Live")
        page.wait_for("The figures go on when it is there again.")
        page.click("The model")
        page.wait_for("Accuracy class by class")  # known from before
        page.click("Classify")
        stack.enter_context(running(shipped, live.port))
        page.wait_until_gone("Nobody answers")
        (card,) = page.wait_for_cards(1)
        assert card.split("\n")[1] == "cat"


def test_nothing_is_fetched_from_anywhere_else(page: Page, url: str) -> None:
    page.upload(SAMPLES / "cat.jpg")
    page.wait_for_cards(1)
    page.click("Live")
    page.wait_for_element("[data-testid=stMetric]")
    addresses = page.addresses()
    assert len(addresses) > 10
    assert all(address.startswith((url, "data:", "blob:")) for address in addresses)


@pytest.mark.parametrize("width_px", [390, 1440])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_its_window_and_takes_the_system_s_colours(
    page: Page, broken: Path, width_px: int, dark: bool
) -> None:
    page.look(width_px, dark=dark)
    page.upload(SAMPLES / "cat.jpg", SAMPLES / "coffee.jpg", broken)
    page.wait_for_cards(3)
    content, window = page.widths_px()
    assert content <= window == width_px
    page.wait_for_background("rgb(18, 24, 27)" if dark else "rgb(255, 255, 255)")
