"""The console's entry: arguments, language, who acts, and the way to the areas.

Served by `dashboard.launch`, which passes the folder of state and the gateway's address.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from dashboard.areas import features, monitoring, reconciliation, review
from dashboard.parts import address
from dashboard.parts.console import Console
from dashboard.parts.text import LANGUAGES, Words, language_of

ASSETS = Path(__file__).parent / "assets"
ICON, BRAND = ASSETS / "yumen.svg", ASSETS / "brand.svg"
SIDEBAR_PX = 232
_LANGUAGE = "language"
_LANGUAGE_NAMES = {"zh": "中文", "en": "English"}
_STYLE = """<style>
.stMainBlockContainer { padding-top: 2.2rem; padding-bottom: 3rem; max-width: 1560px; }
[data-testid="stMetricValue"] { font-variant-numeric: tabular-nums; }
[data-testid="stMetricValue"] { font-size: 1.7rem; }
[data-testid="stMain"] h2 { font-size: 1.6rem; }
[data-testid="stHeader"] { background: transparent; }
</style>"""


def arguments(argv: list[str]) -> argparse.Namespace:
    """Read the console's own arguments."""
    parser = argparse.ArgumentParser("yumen console")
    parser.add_argument("--var", type=Path, default=Path("var"))
    parser.add_argument("--database-url", default="")
    parser.add_argument("--api-url", default="http://127.0.0.1:8000")
    return parser.parse_known_args(argv)[0]


def zone(name: str | None) -> ZoneInfo:
    """Return the browser's time zone, or UTC if it names none that we know."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def main() -> None:
    """Show the area that the address names."""
    given = arguments(sys.argv[1:])
    st.set_page_config(
        page_title="玉门 Yumen",
        page_icon=str(ICON),
        layout="wide",
        initial_sidebar_state=SIDEBAR_PX,
    )
    st.html(_STYLE)
    st.logo(str(BRAND), icon_image=str(ICON), size="large")
    # Going to another page empties the address, so the session remembers the language too.
    language = language_of(st.query_params.get("lang") or st.session_state.get(_LANGUAGE))
    st.session_state[_LANGUAGE] = st.query_params["lang"] = language
    words = Words(language)
    console = Console(
        var=given.var,
        api_url=given.api_url,
        database_url=given.database_url,
        clock_us=lambda: time.time_ns() // 1_000,
        words=words,
        zone=zone(st.context.timezone),
        actor=str(st.session_state.get("actor", "")).strip(),
    )

    def page(render: Callable[[Console], None], name: str, icon: str, *, first: bool) -> st.Page:
        # The first page has no path of its own: Streamlit does not find it under one.
        return st.Page(
            lambda: render(console),
            title=words(f"nav.{name}"),
            icon=icon,
            url_path=None if first else name,
            default=first,
        )

    chosen = st.navigation(
        [
            page(monitoring.render, "monitoring", ":material/monitoring:", first=True),
            page(reconciliation.render, "reconciliation", ":material/balance:", first=False),
            page(review.render, "review", ":material/fact_check:", first=False),
            page(features.render, "features", ":material/dataset:", first=False),
        ],
        position="sidebar",
    )
    with st.sidebar:
        _side(words)
    chosen.run()


def _side(words: Words) -> None:
    st.segmented_control(
        words("language"),
        LANGUAGES,
        format_func=_LANGUAGE_NAMES.__getitem__,
        required=True,
        label_visibility="collapsed",
        **address.bound("lang", words.language),
    )
    st.text_input(
        words("actor"),
        key="actor",
        placeholder=words("actor.hint"),
        max_chars=64,
        persist_state="session",
    )


main()
