"""What an analyst chose lives in the address, in words that no language changes.

Streamlit can bind a widget to the address itself, but writes what the widget *shows* there: a link
to ``?window=15 分钟`` would mean nothing to a colleague who reads English.
"""

from collections.abc import Callable, Collection
from typing import Any

import streamlit as st


def read(name: str, options: Collection[str], default: str) -> str:
    """Return what the address says of `name`, or the default if that is none of the options."""
    said = st.query_params.get(name)
    return said if said is not None and said in options else default


def bound(name: str, value: str | None) -> dict[str, Any]:
    """Return the arguments by which a widget shows a value and writes a choice to the address.

    Args:
        name: The address's parameter, and the widget's key.
        value: What the widget shows now, read from the address.
    """
    st.session_state[name] = value or None
    callback: Callable[[str], None] = _write
    return {"key": name, "on_change": callback, "args": (name,)}


def _write(name: str) -> None:
    chosen = st.session_state[name]
    if chosen is None:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = chosen
