"""The console in a real browser: drawn, in both languages, and asking nobody but its own server."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.wait import WebDriverWait

from dashboard.launch import command
from gateway import screens
from tests.seeded import seed
from tests.stand import free_port

pytestmark = pytest.mark.skipif(
    shutil.which("chromium") is None or shutil.which("chromedriver") is None,
    reason="needs Chromium and its driver",
)
WAIT_S = 60.0


@pytest.fixture(scope="module")
def console_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the console, as `yumen console` does, over synthetic rows."""
    var = tmp_path_factory.mktemp("var")
    seed(var, now_us=time.time_ns() // 1_000)
    port = free_port()
    process = subprocess.Popen(
        command(sys.executable, var, "http://127.0.0.1:9", port),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    deadline_s = time.monotonic() + WAIT_S
    try:
        while True:
            try:
                httpx.get(f"{url}/_stcore/health", trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def browser() -> Iterator[WebDriver]:
    with screens.open_browser() as opened:
        yield opened


def title(browser: WebDriver) -> str:
    heading: str = browser.find_element(By.CSS_SELECTOR, '[data-testid="stMain"] h2').text
    return heading


def until_titled(browser: WebDriver, expected: str) -> None:
    # A heading may be replaced between finding and reading it.
    waiting = WebDriverWait(browser, WAIT_S, ignored_exceptions=[StaleElementReferenceException])
    waiting.until(lambda page: title(page) == expected, f"the title never was {expected}")


def requested_hosts(browser: WebDriver) -> set[str]:
    found: list[str] = browser.execute_script(
        "return performance.getEntriesByType('resource').map(entry => entry.name)"
    )
    return {host for name in found if (host := urlsplit(name).hostname)}


@pytest.mark.parametrize(
    ("path", "language", "expected"),
    [
        ("reconciliation", "en", "Reconciliation"),  # First: a link on a fresh server.
        ("", "zh", "实时监控"),
        ("", "en", "Monitoring"),
        ("review", "zh", "风险审核"),
    ],
)
def test_an_address_opens_its_area_in_its_language(
    console_url: str, browser: WebDriver, path: str, language: str, expected: str
) -> None:
    address = f"{console_url}/{path}?lang={language}"
    browser.get(address)
    screens.wait_until_drawn(browser, address)

    assert title(browser) == expected
    assert not browser.find_elements(By.CSS_SELECTOR, '[data-testid="stException"]')
    assert requested_hosts(browser) == {"127.0.0.1"}


def test_switching_the_language_and_the_area_keeps_the_language_in_the_address(
    console_url: str, browser: WebDriver
) -> None:
    browser.get(f"{console_url}/?lang=zh")
    screens.wait_until_drawn(browser, console_url)

    browser.find_element(By.XPATH, "//button[normalize-space()='English']").click()
    until_titled(browser, "Monitoring")
    browser.find_element(By.XPATH, "//a[contains(@href, '/review')]").click()
    until_titled(browser, "Review")

    assert "lang=en" in browser.current_url
    assert urlsplit(browser.current_url).path == "/review"


def test_every_area_is_photographed_in_both_languages(console_url: str, tmp_path: Path) -> None:
    pictures = list(screens.shoot(console_url, tmp_path))

    assert sorted(picture.name for picture in pictures) == sorted(
        f"console-{area}-{language}.png"
        for area, _ in screens.AREAS
        for language in screens.LANGUAGES
    )
    for picture in pictures:
        header = picture.read_bytes()[:24]
        assert header[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(header[16:20]) == screens.WIDTH_PX
    # A page that failed to draw would be a plain sheet of a few kilobytes.
    sizes = {picture.name: picture.stat().st_size for picture in pictures}
    assert min(sizes.values()) > 30_000, json.dumps(sizes)
