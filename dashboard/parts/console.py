"""What a page works with: the database to read, the API to ask, the clock, the words."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path

import httpx
import streamlit as st

from dashboard.parts.api import TOKEN_NAME, AdminClient
from dashboard.parts.text import Words
from gateway.queries.live import LiveTraffic
from gateway.queries.reader import Reader, database_at, identity_of, open_reader


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """One analyst's console.

    Attributes:
        var: The folder of the gateway's state.
        api_url: Base URL of the gateway.
        database_url: Its database; empty: the one in the folder.
        clock_us: The time, microseconds since the epoch.
        words: The analyst's language.
        zone: The analyst's time zone.
        actor: Who acts; empty until they say so.
        http: How to reach the gateway; None: a client that all tabs share.
    """

    var: Path
    api_url: str
    clock_us: Callable[[], int]
    words: Words
    zone: tzinfo
    actor: str = ""
    http: httpx.Client | None = None
    database_url: str = ""

    def reader(self) -> Reader:
        """Return the database, shared by all tabs.

        Raises:
            DatabaseMissing: if the gateway has not created it yet.
        """
        return _reader(self.database_url, str(self.var), self._identity())

    def live(self) -> LiveTraffic:
        """Return the live window, shared by all tabs, as `reader` for errors."""
        return _live(self.database_url, str(self.var), self._identity())

    def api(self) -> AdminClient:
        """Return the admin API as this analyst uses it."""
        return AdminClient(self.api_url, self.var / TOKEN_NAME, self.actor, self.http or _http())

    def at(self, at_us: int) -> datetime:
        """Return a stored time in the analyst's zone."""
        return datetime.fromtimestamp(at_us / 1_000_000, tz=self.zone)

    def clock_text(self, at_us: int) -> str:
        """Write a time of today."""
        return f"{self.at(at_us):%H:%M:%S}"

    def date_text(self, at_us: int) -> str:
        """Write a time with its day."""
        return f"{self.at(at_us):%Y-%m-%d %H:%M:%S}"

    def _identity(self) -> tuple[int | str, ...]:
        return identity_of(database_at(self.database_url, self.var))


Identity = tuple[int | str, ...]


@st.cache_resource(max_entries=2, show_spinner=False)
def _reader(url: str, var: str, identity: Identity) -> Reader:  # noqa: ARG001 - part of the key
    return open_reader(database_at(url, Path(var)))


@st.cache_resource(max_entries=2, show_spinner=False)
def _live(url: str, var: str, identity: Identity) -> LiveTraffic:
    return LiveTraffic(_reader(url, var, identity))


@st.cache_resource(show_spinner=False)
def _http() -> httpx.Client:
    return httpx.Client(trust_env=False)
