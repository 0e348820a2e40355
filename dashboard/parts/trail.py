"""The audit trail: who did what, when, why, and what it changed."""

from collections.abc import Mapping

import streamlit as st

from dashboard.parts import notice, table
from dashboard.parts.console import Console
from gateway.queries.audit import audit_trail
from gateway.queries.reader import Reader, ReaderError

SHOWN_COUNT = 200


def show(console: Console, reader: Reader) -> None:
    """Show the newest acts, or those about one order or merchant."""
    words = console.words
    wanted = st.text_input(words("audit.find"), key="audit.object", type="search")
    try:
        entries = audit_trail(reader, object_id=(wanted or "").strip() or None, limit=SHOWN_COUNT)
    except ReaderError as error:
        notice.unreadable(console, error)
        return
    if not entries:
        notice.empty(words("audit.empty"))
        return
    rows = (
        {
            "time": console.date_text(entry.at_us),
            "actor": entry.actor,
            "action": words.known("action", entry.action),
            "object": entry.object_id,
            "reason": entry.reason,
            "change": _change(entry.detail),
        }
        for entry in entries
    )
    st.dataframe(
        table.frame(rows, ("time", "actor", "action", "object", "reason", "change")),
        hide_index=True,
        height=480,
        column_config={
            "time": words("col.time"),
            "actor": words("audit.actor"),
            "action": words("audit.action"),
            "object": words("audit.object"),
            "reason": st.column_config.TextColumn(words("audit.reason"), width="medium"),
            "change": st.column_config.TextColumn(words("audit.change"), width="medium"),
        },
    )


def _change(detail: Mapping[str, object]) -> str:
    """Write what was before and after; anything else as it is."""
    before, after = detail.get("before"), detail.get("after")
    if isinstance(before, dict) and isinstance(after, dict):
        names = [name for name in after if before.get(name) != after[name]]
        return ", ".join(
            f"{name}: {before.get(name) or '–'} → {after[name] or '–'}" for name in names
        )
    return ", ".join(f"{name}: {value}" for name, value in detail.items())
