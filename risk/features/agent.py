"""What a browser or app says of itself, held against what else is known of it.

A script that borrows a browser's name forgets the rest: the screen, the hints beside the user
agent, the way a browser opens an encrypted connection. Everything is judged from the request
alone, and only contradictions count: an unusual browser is no fault.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from risk.transaction import Client, Device

# Bits of `agent_mask`; the place of each is for ever.
SYSTEM, SCREEN, NO_SCREEN, AUTOMATED, HINTS, TRANSPORT, CHIMERA, BARE = (1 << n for n in range(8))
AGENT_BITS: Final = {
    "system": SYSTEM,  # The user agent names another system than the device.
    "screen": SCREEN,  # A telephone with a desktop's screen.
    "no_screen": NO_SCREEN,  # A screen that nobody sells.
    "automated": AUTOMATED,  # It calls itself a tool, a robot or a headless browser.
    "hints": HINTS,  # The client hints contradict the user agent.
    "transport": TRANSPORT,  # A browser whose connection (JA4) is not a browser's.
    "chimera": CHIMERA,  # Two systems at once.
    "bare": BARE,  # A browser without JavaScript or colours.
}
_READ_LENGTH: Final = 512
_CACHE_COUNT: Final = 65_536

_SYSTEMS: Final = (
    ("android", ("android",)),
    ("ios", ("iphone", "ipad", "ios", "cfnetwork", "darwin")),
    ("windows", ("windows",)),
    ("macos", ("mac os", "macintosh")),
    ("linux", ("linux", "x11")),
    ("harmony", ("harmony", "openharmony")),
)
_TOOLS: Final = (
    *("headless", "phantomjs", "selenium", "puppeteer", "playwright", "webdriver", "cypress"),
    *("python-", "python/", "aiohttp", "curl/", "wget/", "go-http", "java/", "httpclient"),
    *("node-fetch", "axios/", "scrapy", "libwww", "postman", "bot/", "bot;", "spider", "crawl"),
)
# No honest user agent names two of these; "linux" and "mac os x" are parts of others' names.
_EXCLUSIVE: Final = ("windows nt", "android", "iphone", "ipad", "macintosh", "cros ")
# Landscape sizes of desktops; no telephone reports one of them.
_DESKTOPS: Final = frozenset(
    {
        *((1920, 1080), (1366, 768), (1536, 864), (1440, 900), (1600, 900), (1680, 1050)),
        *((1280, 800), (1280, 1024), (1920, 1200), (3840, 2160), (3440, 1440)),
    }
)
_SIZE: Final = re.compile(r"([0-9]{1,6})\s?[x×*,]\s?([0-9]{1,6})", re.ASCII)
_LEAST_PX, _MOST_PX, _MOST_ASPECT = 120, 16_384, 6
_COLOURLESS_BITS: Final = 8
_TRUE_COLOUR_BITS: Final = 24
# JA4: transport, TLS version, SNI, counts of ciphers and extensions, first and last of ALPN.
_JA4: Final = re.compile(r"[tqd]([0-9s][0-9])([di])[0-9]{4}([0-9a-z]{2})", re.ASCII)
_TLS_LEAST: Final = 12


class _Agent(NamedTuple):
    """What a user agent says, whatever else is known."""

    lowered: str
    mask: int
    mobile: bool
    browser: bool


def _read(user_agent: str) -> _Agent:
    lowered = user_agent.lower()
    mask = AUTOMATED if any(tool in lowered for tool in _TOOLS) else 0
    if sum(name in lowered for name in _EXCLUSIVE) > 1:
        mask |= CHIMERA
    browser = lowered.startswith("mozilla/") and not mask & AUTOMATED
    return _Agent(lowered, mask, "mobi" in lowered, browser)


@lru_cache(maxsize=_CACHE_COUNT)
def screen_size(screen: str) -> tuple[int, int] | None:
    """Return width and height of a screen as clients write it, or None.

    Examples:
        >>> screen_size("1080x2400"), screen_size("1920×1080×24"), screen_size("large")
        ((1080, 2400), (1920, 1080), None)
    """
    found = _SIZE.match(screen)
    return (int(found[1]), int(found[2])) if found else None


def agent_mask(client: Client, device: Device) -> int | None:
    """Return the contradictions as a mask of `AGENT_BITS`; None if nothing could contradict.

    Args:
        client: What the network sees.
        device: What the merchant's SDK sees.
    """
    if not client.user_agent:
        return _screen_mask(client.screen) if client.screen else None
    return _judged(
        client.user_agent[:_READ_LENGTH],
        device.os,
        client.screen,
        client.platform,
        client.mobile,
        client.ja4,
        client.color_depth,
        client.javascript,
    )


@lru_cache(maxsize=_CACHE_COUNT)
def _judged(
    user_agent: str,
    system: str | None,
    screen: str | None,
    platform: str | None,
    mobile: bool | None,
    ja4: str | None,
    color_bits: int | None,
    javascript: bool | None,
) -> int:
    agent = _read(user_agent)
    mask = agent.mask
    if screen:
        mask |= _screen_mask(screen) or 0
        if agent.mobile and screen_size(screen[:_READ_LENGTH]) in _DESKTOPS:
            mask |= SCREEN
    if system and _names_another(agent, system):
        mask |= SYSTEM
    if platform and _names_another(agent, platform.strip('"')):
        mask |= HINTS
    if mobile is not None and mobile != agent.mobile:
        mask |= HINTS
    if agent.browser:
        mask |= _transport(ja4) if ja4 else 0
        bare = javascript is False or (color_bits or _TRUE_COLOUR_BITS) <= _COLOURLESS_BITS
        mask |= BARE if bare else 0
    return mask


def _screen_mask(screen: str) -> int | None:
    size = screen_size(screen[:_READ_LENGTH])
    if size is None:
        return None
    short, long = sorted(size)
    sold = short >= _LEAST_PX and long <= _MOST_PX and long <= short * _MOST_ASPECT
    return 0 if sold else NO_SCREEN


def _names_another(agent: _Agent, system: str) -> bool:
    """Whether a system we know is not the one the user agent names."""
    wanted = system[:_READ_LENGTH].lower()
    for name, marks in _SYSTEMS:
        if wanted.startswith(name):
            return not any(mark in agent.lowered for mark in marks)
    return False


def _transport(ja4: str) -> int:
    """Browsers greet with TLS 1.2 or later, the server's name and a protocol to speak."""
    found = _JA4.match(ja4)
    if found is None:
        return 0
    version, name_sent, protocol = found.groups()
    old = not version.isdigit() or int(version) < _TLS_LEAST
    return TRANSPORT if old or name_sent == "i" or protocol == "00" else 0
