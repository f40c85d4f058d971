"""A real browser on the real page; every step waits for what it says, and none for a time."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

ROOT = Path(__file__).parent.parent.parent
CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--force-prefers-reduced-motion",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
PATIENCE_SECONDS = 60


@contextmanager
def started_page(*flags: str, environment: dict[str, str] | None = None) -> Iterator[str]:
    """`python -m ui` on a free port; its URL."""
    command = [sys.executable, "-m", "ui", "--port", "0", *flags]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    printed = ""
    try:
        while (found := re.search(r"http://127\.0\.0\.1:\d+", printed)) is None:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        yield found[0]
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        process.stdout.close()


@contextmanager
def chromium() -> Iterator[Chrome]:
    """A headless browser, closed at the end."""
    options = ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in FLAGS:
        options.add_argument(flag)
    browser = Chrome(options=options, service=Driver(CHROMEDRIVER))
    try:
        yield browser
    finally:
        browser.quit()


class Page:
    """What a person does on the page, and what they read."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser = browser
        self.url = url

    def open(self, query: str = "?language=en") -> None:
        self.browser.get(self.url + "/" + query)
        self.wait_for_element("[data-testid=stFileUploaderDropzoneInput]")

    def upload(self, *files: Path) -> None:
        self.wait_for_element("[data-testid=stFileUploaderDropzoneInput]").send_keys(
            "\n".join(map(str, files))
        )

    def click(self, text: str) -> None:
        """The button, tab or switch with this text."""
        path = f"//*[self::button or self::label or @role='tab'][normalize-space()={text!r}]"
        self._wait(
            lambda browser: [each for each in browser.find_elements(By.XPATH, path) if each.is_displayed()]
        )[0].click()

    def wait_for(self, text: str) -> str:
        """Until the page shows it; everything it shows then."""
        return self._wait(lambda _: text in self.text() and self.text(), text)

    def wait_until_gone(self, text: str) -> None:
        self._wait(lambda _: text not in self.text(), f"no {text}")

    def wait_for_element(self, selector: str) -> WebElement:
        return self._wait(lambda browser: browser.find_elements(By.CSS_SELECTOR, selector), selector)[0]

    def text(self) -> str:
        return str(self.browser.execute_script("return document.body.innerText"))  # type: ignore[no-untyped-call]

    def cards(self) -> Sequence[str]:
        """What each image's card says."""
        cards = self.browser.find_elements(By.CSS_SELECTOR, "[class*=st-key-card]")
        return [card.text for card in cards]

    def screenshot(self, path: Path, width: int, dark: bool) -> None:
        """The whole page, as tall as it is."""
        scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
        ...

    def _wait(self, condition, what: str = ""):
        return WebDriverWait(self.browser, PATIENCE_SECONDS, poll_frequency=0.1).until(condition, what)
