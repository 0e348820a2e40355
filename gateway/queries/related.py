"""Other payments of the same people and things: same payer, device, card, address or payee.

The event log holds each payment's identities as hashes, so that the console can compare them
without ever seeing an account or card number. Only the newest part of the log is searched.
"""

from dataclasses import dataclass

import numpy as np
from sqlalchemy import select

from gateway.queries.reader import Reader, fetch, fetch_named
from gateway.store import tables
from risk.features import event as events

SEARCHED_COUNT = 20_000
RELATED_COUNT_MAX = 50
# A merchant, a town or a trade is shared by strangers; these hardly are.
LINKS: tuple[str, ...] = ("user", "device", "card", "ip", "payee")


@dataclass(frozen=True, slots=True)
class RelatedOrder:
    """An earlier or later payment, and what it shares with the one in question.

    Attributes:
        shared: Names of the identities both have, of `LINKS`.
        label: FRAUD, GENUINE or empty: what is known of it by now.
    """

    trade_no: str
    at_us: int
    amount_minor: int
    currency: str
    status: str
    outcome: str
    score: float
    shared: tuple[str, ...]
    label: str


def related_orders(reader: Reader, trade_no: str) -> tuple[RelatedOrder, ...]:
    """Find payments that share an identity with this one, most shared first, then newest.

    Args:
        reader: From `open_reader`.
        trade_no: The payment in question.

    Returns:
        At most `RELATED_COUNT_MAX`, from the last `SEARCHED_COUNT` events of the log.

    Raises:
        ReaderError: if the database can't be read.
    """
    log = tables.risk_events.c
    own = fetch(
        reader,
        select(log.payload).where(log.trade_no == trade_no, log.kind == "ATTEMPT").limit(1),
    )
    if not own:
        return ()
    recent = fetch(
        reader,
        select(log.trade_no, log.kind, log.payload).order_by(log.seq.desc()).limit(SEARCHED_COUNT),
    )
    attempts = [(number, payload) for number, kind, payload in recent if kind == "ATTEMPT"]
    shared = _shared(own[0][0], [payload for _, payload in attempts])
    found = {
        attempts[row][0]: tuple(name for name, hit in zip(LINKS, shared[row], strict=True) if hit)
        for row in np.argsort(-shared.sum(axis=1), kind="stable")
        if shared[row].any() and attempts[row][0] != trade_no
    }
    chosen = dict(list(found.items())[:RELATED_COUNT_MAX])
    return _described(reader, chosen)


def _shared(own: bytes, others: list[bytes]) -> "np.ndarray[tuple[int, int], np.dtype[np.bool_]]":
    """Say for each other payment and each link whether it is the same and present."""
    mine = events.decode(own)
    stack = events.stack(others)
    columns = [
        (events.column(stack, name) == mine[events.INDEX[name]]) & (mine[events.INDEX[name]] != 0)
        for name in LINKS
    ]
    return np.stack(columns, axis=1)


def _described(reader: Reader, shared: dict[str, tuple[str, ...]]) -> tuple[RelatedOrder, ...]:
    """Look up what became of the payments found, keeping their order."""
    if not shared:
        return ()
    orders, decisions, log = tables.orders.c, tables.decisions.c, tables.risk_events.c
    known = {
        row["trade_no"]: row
        for row in fetch_named(
            reader,
            select(
                orders.trade_no,
                orders.created_at_us.label("at_us"),
                orders.amount_minor,
                orders.currency,
                orders.status,
                decisions.outcome,
                decisions.score,
            )
            .join_from(tables.orders, tables.decisions, decisions.trade_no == orders.trade_no)
            .where(orders.trade_no.in_(shared)),
        )
    }
    # Oldest first: of several labels the last one stands.
    labels = {
        number: str(events.feedback_of(events.decode(payload)) or "")
        for number, payload in fetch(
            reader,
            select(log.trade_no, log.payload)
            .where(log.trade_no.in_(shared), log.kind == "LABEL")
            .order_by(log.seq),
        )
    }
    return tuple(
        RelatedOrder(**known[number], shared=links, label=labels.get(number, ""))
        for number, links in shared.items()
        if number in known
    )
