"""A real browser on the real page; every step waits for what it says, and none for a time."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
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
CARD = "[class*=st-key-card]"


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

    def open(self, query: str) -> None:
        self.browser.get(self.url + "/" + query)
        self.wait_for_element("[data-testid=stFileUploaderDropzoneInput]")

    def upload(self, *files: Path) -> None:
        self.wait_for_element("[data-testid=stFileUploaderDropzoneInput]").send_keys(
            "\n".join(map(str, files))
        )

    def click(self, text: str) -> None:
        """The button, tab or switch with this text."""
        path = f"//*[self::button or self::label or @role='tab'][normalize-space()={text!r}]"

        def clicked(browser: WebDriver) -> bool:
            shown = [each for each in browser.find_elements(By.XPATH, path) if each.is_displayed()]
            if shown:
                shown[0].click()
            return bool(shown)

        # The page may be drawn anew between the finding and the click.
        self._waiter(StaleElementReferenceException).until(clicked, text)

    def write(self, label: str, text: str) -> None:
        """Into the field with this label, in place of what is there; then the Enter key."""

        def typed(browser: WebDriver) -> bool:
            for field in browser.find_elements(By.CSS_SELECTOR, f"input[aria-label={label!r}]"):
                field.send_keys(Keys.CONTROL, "a")
                field.send_keys(text, Keys.ENTER)
                return True
            return False

        self._waiter(WebDriverException).until(typed, label)

    def wait_for_rows(self, count: int) -> list[str]:
        """Until the table has so many; what each says. It is drawn on a canvas, and in it stands as text."""
        script = (
            "return [...document.querySelectorAll('[data-testid=stDataFrame] canvas tbody tr')]"
            ".map(row => row.textContent)"
        )

        def drawn(_: WebDriver) -> list[str]:
            rows = [str(row) for row in self._run(script)]
            return rows if len(rows) == count else []

        return self._waiter().until(drawn, f"{count} rows")

    def wait_for(self, text: str) -> str:
        """Until the page shows it; everything it shows then."""

        def shown(_: WebDriver) -> str:
            found = self.text()
            return found if text in found else ""

        return self._waiter().until(shown, f"{text!r} is not shown")

    def wait_until_gone(self, text: str) -> None:
        self._waiter().until(lambda _: text not in self.text(), f"{text!r} is still shown")

    def wait_for_element(self, selector: str) -> WebElement:
        found = self._waiter().until(
            lambda browser: browser.find_elements(By.CSS_SELECTOR, selector), selector
        )
        return found[0]

    def wait_for_cards(self, count: int) -> list[str]:
        """Until there are so many images' cards, each drawn to its end; what each says."""

        def drawn(_: WebDriver) -> list[str]:
            done = self._texts(f"{CARD}:has(.rotulo-timing, [data-testid=stAlert])")
            return done if len(done) == count and self._idle() else []

        return self._waiter(StaleElementReferenceException).until(drawn, f"{count} cards")

    def wait_for_figures(self, *names: str) -> list[str]:
        """Until there are boxes with these names; the figure in each."""

        def drawn(_: WebDriver) -> list[str]:
            boxes = (text.split("\n") for text in self._texts("[data-testid=stMetric]"))
            figures = {box[0]: box[-1] for box in boxes}
            return [figures[name] for name in names] if figures.keys() >= set(names) else []

        return self._waiter(StaleElementReferenceException).until(drawn, f"figures: {names}")

    def text(self) -> str:
        return str(self._run("return document.body.innerText"))

    def language(self) -> str:
        """What screen readers are told."""
        return str(self._run("return document.documentElement.lang"))

    def addresses(self) -> list[str]:
        """Of everything that the browser fetched."""
        found = self._run("return performance.getEntriesByType('resource').map(entry => entry.name)")
        return [str(address) for address in found]

    def look(self, width_px: int, *, dark: bool) -> None:
        """A window so wide, and the colours that the person's system asks for."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        size = {"width": width_px, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._tell("Emulation.setEmulatedMedia", {"features": [scheme]})
        self._tell("Emulation.setDeviceMetricsOverride", size)

    def take_photo(self) -> None:
        """Until there is one: the camera's button does nothing before its picture moves."""
        button = "//button[normalize-space()='Take Photo']"

        def taken(browser: WebDriver) -> bool:
            for each in browser.find_elements(By.XPATH, button):
                each.click()
            return "Clear photo" in self.text()

        self._waiter(WebDriverException).until(taken, "no photo")

    def wait_for_background(self, colour: str) -> None:
        """Until this colour, as CSS says it, is behind everything."""
        script = "return getComputedStyle(document.querySelector('.stApp')).backgroundColor"
        self._waiter().until(lambda _: self._run(script) == colour, colour)

    def widths_px(self) -> tuple[int, int]:
        """Of what is on the page, and of the window."""
        found = self._run("return [document.documentElement.scrollWidth, window.innerWidth]")
        return int(found[0]), int(found[1])

    def _texts(self, selector: str) -> list[str]:
        return [element.text for element in self.browser.find_elements(By.CSS_SELECTOR, selector)]

    def _idle(self) -> bool:
        return bool(
            self._run("return !document.querySelector('[data-test-script-state=running], [data-stale=true]')")
        )

    def _run(self, script: str) -> Any:
        return self.browser.execute_script(script)

    def _tell(self, command: str, parameters: dict[str, Any]) -> None:
        self.browser.execute_cdp_cmd(command, parameters)

    def _waiter(self, *ignored: type[Exception]) -> WebDriverWait[WebDriver]:
        return WebDriverWait(self.browser, PATIENCE_SECONDS, poll_frequency=0.1, ignored_exceptions=ignored)
