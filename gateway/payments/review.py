"""What a person decides: held orders and waiting merchants, each decided once, each audited.

An analyst decides on what is on the screen, which may be old. Every decision therefore names the
version it was made on; if the order or merchant has moved on, nothing is written and the analyst
is told by whom it was changed. The decision and its audit row are one transaction.
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from gateway.domain.errors import (
    Busy,
    IllegalMerchantMove,
    InvalidParameter,
    OrderNotFound,
    StaleVersion,
)
from gateway.domain.merchant import MerchantStatus
from gateway.domain.order import Status
from gateway.payments.close import close_order
from gateway.payments.context import Context
from gateway.payments.open import open_at_channel
from gateway.store import applications, audit, orders, outbox
from gateway.store.applications import Standing
from gateway.store.orders import Order
from risk.decision import Feedback


class Verdict(StrEnum):
    """What an analyst may say."""

    APPROVE = "approve"
    REJECT = "reject"
    MORE = "more"  # Of an applicant alone: asks for what is missing.


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """One analyst's decision about one thing.

    Attributes:
        actor: Who decides.
        verdict: What.
        reason: Why, in their words; kept in the audit trail.
        version: The version of the order or merchant that was on the screen.
    """

    actor: str
    verdict: Verdict
    reason: str
    version: int


async def review_order(context: Context, trade_no: str, opinion: Opinion) -> Order:
    """Decide on an order that is held for review.

    Approval starts the payer's time anew and opens the order at its channel; if the channel does
    not answer now, the approval stands and the worker goes on asking. Rejection closes the order
    and tells the merchant. Neither is a label: whether it was fraud is said by `report_label`.

    Args:
        context: What to work with.
        trade_no: The gateway's number of the order.
        opinion: Who says what, on which version.

    Returns:
        The order as it then stands.

    Raises:
        InvalidParameter: (1001) if it asks for more: there is nobody to ask.
        OrderNotFound: (1003) if there is no such order.
        StaleVersion: (1010) if somebody else was faster, or the order is no longer held.
    """
    if opinion.verdict is Verdict.MORE:
        raise InvalidParameter("verdict", "an order is approved or rejected")
    now_us = context.clock_us()

    def decide(conn: Connection) -> Order:
        order = orders.hold(conn, trade_no)
        if order is None:
            raise OrderNotFound(trade_no)
        if not _is_held(order) or order.version != opinion.version:
            stands = f"{order.status}{f' ({order.status_reason})' if order.status_reason else ''}"
            raise StaleVersion(trade_no, stands, order.version, audit.last_actor(conn, trade_no))
        if opinion.verdict is Verdict.APPROVE:
            expires_at_us = now_us + context.config.order_timeout_s * 1_000_000
            decided = orders.change(conn, order, status_reason="", expires_at_us=expires_at_us)
        else:
            decided = close_order(conn, order, "REJECTED", now_us)
        if decided is None:
            raise RuntimeError(f"order {trade_no} moved inside the writer's own transaction")
        _audit(conn, f"order.{opinion.verdict}", trade_no, opinion, order, decided, now_us)
        return decided

    decided = await context.writer.run(decide)
    if opinion.verdict is Verdict.REJECT:
        return decided
    try:
        return await open_at_channel(context, trade_no)
    except Busy:
        return decided  # Approved and on disk; opening it is the worker's task from here.


async def review_merchant(context: Context, merchant_id: str, opinion: Opinion) -> Standing:
    """Admit, refuse or ask for more in a transaction of its own: see `decide_merchant`."""
    now_us = context.clock_us()
    return await context.writer.run(
        lambda conn: decide_merchant(conn, merchant_id, opinion, now_us)
    )


def decide_merchant(conn: Connection, merchant_id: str, opinion: Opinion, now_us: int) -> Standing:
    """Decide on an application, in a transaction of the caller's.

    Whoever applied has an agreement to accept first, and gets its keys then; a merchant whom an
    operator entered has its keys and becomes active at once.

    Raises:
        ObjectNotFound: (1009) if there is no such merchant.
        StaleVersion: (1010) if the application was changed or decided meanwhile.
        IllegalMerchantMove: (1004) if the merchant's status allows no such decision.
        InvalidParameter: (1001) if more is asked of somebody who has no application.
    """
    before = applications.standing(conn, merchant_id)
    applied = applications.find_application(conn, merchant_id) is not None
    match opinion.verdict:
        case Verdict.APPROVE:
            target = MerchantStatus.APPROVED if applied else MerchantStatus.ACTIVE
        case Verdict.REJECT:
            target = MerchantStatus.REJECTED
        case _:
            target = MerchantStatus.INCOMPLETE
    if before.version != opinion.version:
        last = audit.last_actor(conn, merchant_id)
        raise StaleVersion(merchant_id, before.status, before.version, last)
    # Unfreezing is not an admission: only an application that waits is decided here.
    if before.status is not MerchantStatus.PENDING:
        raise IllegalMerchantMove(before.status, target)
    if not applied and opinion.verdict is Verdict.MORE:
        raise InvalidParameter("verdict", "this merchant has no application to complete")
    after = applications.move(conn, before, target)
    if applied:
        applications.change_application(conn, merchant_id, message=opinion.reason)
    _audit(conn, f"merchant.{opinion.verdict}", merchant_id, opinion, before, after, now_us)
    return after


async def report_label(
    context: Context,
    trade_no: str,
    label: Feedback,
    *,
    actor: str,
    source: str,
    known_at_us: int | None = None,
) -> None:
    """Say whether a payment was fraud; features and training see it from `known_at_us` on.

    Args:
        context: What to work with.
        trade_no: The payment.
        label: FRAUD or GENUINE.
        actor: Who says so.
        source: chargeback, review, merchant or history.
        known_at_us: When it became known, microseconds since the epoch; None: now.

    Raises:
        OrderNotFound: (1003) if there is no such order.
        ValueError: if `label` is not a label.
    """
    if label not in (Feedback.FRAUD, Feedback.GENUINE):
        raise ValueError(f"a label is FRAUD or GENUINE, was {label}")
    now_us = context.clock_us()
    at_us = now_us if known_at_us is None else known_at_us

    def store(conn: Connection) -> None:
        order = orders.get(conn, trade_no)
        if order is None:
            raise OrderNotFound(trade_no)
        outbox.report(conn, trade_no, label, at_us, source=source, amount_minor=order.amount_minor)
        audit.record(
            conn,
            actor=actor,
            action="order.label",
            object_id=trade_no,
            now_us=now_us,
            detail={"label": label.value, "source": source, "known_at_us": at_us},
        )

    await context.writer.run(store)


def _is_held(order: Order) -> bool:
    return order.status == Status.CREATED and order.status_reason == "REVIEW"


def _audit(
    conn: Connection,
    action: str,
    object_id: str,
    opinion: Opinion,
    before: Order | Standing,
    after: Order | Standing,
    now_us: int,
) -> None:
    audit.record(
        conn,
        actor=opinion.actor,
        action=action,
        object_id=object_id,
        now_us=now_us,
        reason=opinion.reason,
        detail={"before": _state(before), "after": _state(after)},
    )


def _state(thing: Order | Standing) -> dict[str, object]:
    state: dict[str, object] = {"status": thing.status, "version": thing.version}
    if isinstance(thing, Order):
        state["status_reason"] = thing.status_reason
    return state
