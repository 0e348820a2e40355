"""Photographs of the console: every area, both languages, from the running thing itself.

The pictures in the manual come from here, so they show what is there and not what once was. Needs
a Chromium with its driver (Debian: ``chromium chromium-driver``) and ``selenium``.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.refusal import Refused

if TYPE_CHECKING:
    from selenium.webdriver.remote.webdriver import WebDriver

AREAS: tuple[tuple[str, str], ...] = (
    ("monitoring", ""),
    ("reconciliation", "reconciliation"),
    ("review", "review"),
)
LANGUAGES = ("zh", "en")
WIDTH_PX, HEIGHT_PX = 1_480, 1_180
PAGE_TIMEOUT_S = 60.0
# Nothing of the browser's own may reach for the network, and one process keeps it small.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
_HEIGHT_MAX_PX = 2_000
# How much is on the page; null while it is not a page yet. Unchanged for a while means drawn.
_PROGRESS = """
const main = document.querySelector('[data-testid="stMain"]');
if (!main || !main.querySelector('h2')) return null;
if (main.querySelector('[data-testid="stSkeleton"], [data-testid="stSpinner"]')) return null;
return main.querySelectorAll('*').length + ':' + main.querySelectorAll('canvas').length;
"""
_PAGE_HEIGHT = """
const block = document.querySelector('[data-testid="stMainBlockContainer"]');
return Math.ceil(block.getBoundingClientRect().height);
"""
_STEADY_S = 1.6
ACTOR = "demo"
_ACTOR_FIELD = '[data-testid="stSidebar"] [data-testid="stTextInput"] input'


def shoot(console_url: str, output: Path) -> Iterator[Path]:
    """Photograph every area of a running console in every language.

    Args:
        console_url: Where the console answers.
        output: Folder of the pictures; made if it isn't there.

    Yields:
        The path of each picture once it is written: ``console-<area>-<language>.png``.

    Raises:
        Refused: if there is no browser, or a page does not come up in time.
    """
    output.mkdir(parents=True, exist_ok=True)
    with open_browser() as browser:
        for language in LANGUAGES:
            for area, path in AREAS:
                address = f"{console_url.rstrip('/')}/{path}?lang={language}"
                picture = output / f"console-{area}-{language}.png"
                _photograph(browser, address, picture)
                yield picture


@contextmanager
def open_browser() -> "Iterator[WebDriver]":
    """Start a headless browser with a profile of its own, and end it afterwards.

    Raises:
        Refused: if there is none, or it does not start.
    """
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise Refused("photographs need Chromium and its driver: apt install chromium-driver")
    with tempfile.TemporaryDirectory(prefix="yumen-browser-") as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*_FLAGS, f"--window-size={WIDTH_PX},{HEIGHT_PX}"):
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={profile}")
        try:
            browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
        except WebDriverException as error:
            raise Refused(f"Chromium did not start: {error.msg}") from error
        try:
            yield browser
        finally:
            browser.quit()


def _photograph(browser: "WebDriver", address: str, picture: Path) -> None:
    browser.set_window_size(WIDTH_PX, HEIGHT_PX)
    browser.get(address)
    wait_until_drawn(browser, address)
    _sign_in(browser)
    wait_until_drawn(browser, address)
    height_px = int(browser.execute_script(_PAGE_HEIGHT))
    browser.set_window_size(WIDTH_PX, max(HEIGHT_PX, min(height_px + 40, _HEIGHT_MAX_PX)))
    wait_until_drawn(browser, address)
    if not browser.save_screenshot(str(picture)):
        raise Refused(f"could not write {picture}")


def _sign_in(browser: "WebDriver") -> None:
    """Name somebody who acts: a picture of switched-off buttons would show nothing."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    for field in browser.find_elements(By.CSS_SELECTOR, _ACTOR_FIELD):
        field.send_keys(ACTOR, Keys.ENTER)


def wait_until_drawn(browser: "WebDriver", address: str) -> None:
    """Wait until a page of the console has been drawn and stays as it is for a while.

    Raises:
        Refused: if it does not within `PAGE_TIMEOUT_S`.
    """
    from selenium.common.exceptions import TimeoutException
    from selenium.webdriver.support.wait import WebDriverWait

    polls_needed = int(_STEADY_S / 0.2)
    seen: list[str | None] = []

    def is_steady(page: "WebDriver") -> bool:
        seen.append(page.execute_script(_PROGRESS))
        recent = seen[-polls_needed:]
        return len(recent) == polls_needed and recent[0] is not None and len(set(recent)) == 1

    try:
        WebDriverWait(browser, PAGE_TIMEOUT_S, poll_frequency=0.2).until(is_steady)
    except TimeoutException as error:
        raise Refused(f"{address} was not drawn within {PAGE_TIMEOUT_S:.0f} s") from error
