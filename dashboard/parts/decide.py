"""The form by which a person decides: a reason first, then approve or reject, on one version."""

from collections.abc import Callable

import streamlit as st

from dashboard.parts import notice
from dashboard.parts.console import Console


def decision_form(
    console: Console,
    object_id: str,
    version: int,
    *,
    can_act: bool,
    is_order: bool,
    after: Callable[[], None],
) -> None:
    """Show the form and carry a decision out through the admin API.

    Args:
        console: What the page works with.
        object_id: The order's or merchant's number.
        version: What is on the screen; the gateway refuses a decision on anything older.
        can_act: Whether the gateway answers.
        is_order: An order (which may be labelled as fraud too) or a merchant.
        after: Called when it was decided; not when it was refused, so that it stays in view.
    """
    words = console.words
    st.markdown(f"**{words('review.decide')}**")
    if not console.actor:
        st.caption(words("actor.needed"))
    # The key holds the object: a reason typed for one order never moves to the next.
    reason = st.text_area(
        words("review.reason"),
        placeholder=words("review.reason.hint"),
        max_chars=500,
        height=110,
        key=f"reason.{object_id}",
    )
    also_fraud = is_order and st.checkbox(
        words("review.fraud"), help=words("review.fraud.help"), key=f"fraud.{object_id}"
    )
    off = not can_act or not console.actor
    with st.container(horizontal=True):
        approved = st.button(
            words("review.approve"),
            type="primary",
            icon=":material/check:",
            shortcut="A",
            disabled=off,
            key=f"approve.{object_id}",
            width="stretch",
        )
        rejected = st.button(
            words("review.reject"),
            icon=":material/block:",
            shortcut="D",
            disabled=off,
            key=f"reject.{object_id}",
            width="stretch",
        )
    if not (approved or rejected):
        return
    if not (reason or "").strip():
        st.error(words("review.reason.needed"))
        return
    decided = decide(
        console,
        object_id,
        version,
        verdict="approve" if approved else "reject",
        reason=str(reason).strip(),
        is_order=is_order,
        also_fraud=bool(also_fraud) and rejected,
    )
    if decided:
        after()
    st.rerun()


def decide(
    console: Console,
    object_id: str,
    version: int,
    *,
    verdict: str,
    reason: str,
    is_order: bool,
    also_fraud: bool = False,
) -> bool:
    """Carry a decision out; what came of it is shown by `notice.flash`.

    Returns:
        Whether the gateway accepted it.
    """
    words, api = console.words, console.api()

    def send() -> None:
        review = api.review_order if is_order else api.review_merchant
        review(object_id, verdict=verdict, reason=reason, version=version)
        if also_fraud:
            api.label(object_id, "FRAUD")

    key = "review.approved" if verdict == "approve" else "review.rejected"
    return notice.act(console, send, words(key, what=object_id))
