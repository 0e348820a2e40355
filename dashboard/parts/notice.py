"""States that are not data: nothing there yet, can't be read, can't be changed, was changed."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from dashboard.parts.api import ApiError, ApiUnreachable
from dashboard.parts.console import Console
from gateway.queries.reader import DatabaseMissing, ReaderError

_FLASH = "flash"


def empty(title: str, how: str = "") -> None:
    """Say that there is nothing, and what would change that."""
    with st.container(border=True, horizontal_alignment="center"):
        st.markdown(f"**{title}**", text_alignment="center")
        if how:
            st.caption(how, text_alignment="center")


def unreadable(console: Console, error: ReaderError) -> None:
    """Say that the database is missing or can't be read now."""
    words = console.words
    if isinstance(error, DatabaseMissing):
        empty(words("empty.database"), words("empty.database.how", path=error.name))
    else:
        st.error(words("error.database", why=error), icon=":material/database_off:")


def api_health(console: Console) -> dict[str, Any] | None:
    """Ask how the gateway is; show a banner and return None if it does not answer."""
    try:
        return console.api().health()
    except (ApiUnreachable, ApiError):
        st.warning(console.words("error.api"), icon=":material/cloud_off:")
        return None


def act(console: Console, action: Callable[[], Any], done: str = "") -> bool:
    """Do something through the admin API and keep what came of it for `flash`.

    Args:
        console: What the page works with.
        action: Calls the admin API.
        done: What to say if it worked; may be said later instead, with `say`.

    Returns:
        Whether it worked.
    """
    words = console.words
    try:
        action()
    except ApiUnreachable:
        say("error", words("error.api"))
        return False
    except ApiError as error:
        key = "error.conflict" if error.is_conflict else "error.refused"
        level = "warning" if error.is_conflict else "error"
        say(level, words(key, message=error.message))
        return False
    say("success", done)
    return True


def say(level: str, message: str) -> None:
    """Keep a message (success, warning or error) for the next `flash`."""
    st.session_state[_FLASH] = (level, message)


def flash() -> None:
    """Show, once, what came of the last action."""
    kept = st.session_state.pop(_FLASH, None)
    if kept is None:
        return
    level, message = kept
    icons = {
        "success": ":material/check_circle:",
        "warning": ":material/group:",
        "error": ":material/error:",
    }
    show = {"success": st.success, "warning": st.warning, "error": st.error}[level]
    show(message, icon=icons[level])
