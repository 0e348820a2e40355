"""What a channel's word changes: one function for notifications, query answers and refunds.

State is read inside the writer's transaction, never before it, so a callback and a query that
race each other can't both act. A fact that arrives twice is recorded once and changes nothing;
money for an order that is already closed is held in suspense and sent back.
"""

from enum import StrEnum

from sqlalchemy import Connection, bindparam, update

from gateway.channels.base import ChannelReply, Outcome
from gateway.domain.ledger import late_entry, late_refund_entry, payment_entry, refund_entry
from gateway.domain.money import to_major
from gateway.domain.numbers import new_number
from gateway.domain.order import Status
from gateway.domain.refund import RefundStatus
from gateway.payments import charges
from gateway.payments.close import close_order
from gateway.store import orders, outbox
from gateway.store.orders import Order, Refund
from gateway.store.schema import upsert
from gateway.store.tables import channel_facts
from risk.decision import Feedback

_RECORD = upsert(channel_facts).on_conflict_do_nothing().returning(channel_facts.c.event_id)
_JUDGE = (
    update(channel_facts)
    .where(
        channel_facts.c.merchant_id == bindparam("whose"),
        channel_facts.c.channel == bindparam("by"),
        channel_facts.c.event_id == bindparam("event"),
    )
    .values(verdict=bindparam("verdict"))
)


class Verdict(StrEnum):
    """What became of a channel's fact."""

    APPLIED = "APPLIED"
    REPEATED = "REPEATED"
    LATE = "LATE"  # Money for a closed order: in suspense, on its way back.
    MISMATCH = "MISMATCH"  # Another amount or currency: kept for a person, nothing changed.
    UNKNOWN_ORDER = "UNKNOWN_ORDER"  # Not recorded: our own commit may still be under way.
    IGNORED = "IGNORED"  # Says nothing that changes anything.


def apply_fact(conn: Connection, channel: str, fact: ChannelReply, now_us: int) -> Verdict:
    """Apply what a channel is known to have done, in the caller's transaction.

    Args:
        conn: The writer's connection.
        channel: Who says so.
        fact: What is said; `event_id` identifies it, and a repeat carries the same one.
        now_us: The time.

    Returns:
        What became of it. Everything but UNKNOWN_ORDER is recorded and may be acknowledged.
    """
    order = orders.hold(conn, fact.trade_no)
    if order is None or order.channel != channel:
        return Verdict.UNKNOWN_ORDER
    if not _record(conn, order, fact, now_us):
        return Verdict.REPEATED
    verdict = _apply(conn, order, fact, now_us)
    conn.execute(
        _JUDGE,
        {
            "whose": order.merchant_id,
            "by": channel,
            "event": fact.event_id,
            "verdict": verdict.value,
        },
    )
    return verdict


def _record(conn: Connection, order: Order, fact: ChannelReply, now_us: int) -> bool:
    written = conn.execute(
        _RECORD,
        {
            "merchant_id": order.merchant_id,
            "channel": order.channel,
            "event_id": fact.event_id,
            "trade_no": fact.trade_no,
            "outcome": fact.outcome.value,
            "amount_minor": fact.amount_minor,
            "verdict": "",
            "raw": fact.raw,
            "received_at_us": now_us,
        },
    )
    return written.first() is not None


def _apply(conn: Connection, order: Order, fact: ChannelReply, now_us: int) -> Verdict:
    if fact.outcome is Outcome.PAID:
        return _paid(conn, order, fact, now_us)
    if fact.outcome is Outcome.REFUNDED:
        return _refunded(conn, order, fact, now_us)
    if fact.outcome is Outcome.ACCEPTED and fact.received_minor is not None:
        return _received(conn, order, fact, fact.received_minor, now_us)
    if fact.outcome is Outcome.CLOSED and order.status in (Status.CREATED, Status.WAIT_PAY):
        closed = close_order(conn, order, "CLOSED_AT_CHANNEL", now_us)
        return Verdict.APPLIED if closed is not None else Verdict.IGNORED
    return Verdict.IGNORED


def _paid(conn: Connection, order: Order, fact: ChannelReply, now_us: int) -> Verdict:
    if (fact.amount_minor, fact.currency) != (order.amount_minor, order.currency):
        outbox.publish(
            conn,
            order,
            "MISMATCH",
            now_us,
            amount_minor=fact.amount_minor or 0,
            detail=fact.currency,
        )
        return Verdict.MISMATCH
    if order.status == Status.CREATED:
        # Paid before our own answer about opening it was stored: take both arrows.
        order = orders.move(conn, order, Status.WAIT_PAY) or order
    received_minor = order.amount_minor if fact.received_minor is None else fact.received_minor
    if order.status == Status.WAIT_PAY:
        return _pay(conn, order, fact, received_minor, now_us)
    return _received(conn, order, fact, received_minor, now_us)


def _received(
    conn: Connection, order: Order, fact: ChannelReply, received_minor: int, now_us: int
) -> Verdict:
    """Account for all that has come, where that differs from what is booked.

    Only a payer who chooses the amount can send less or more than was asked for; elsewhere
    `received_minor` is the order's amount, and a repeat finds it booked.
    """
    more_minor = received_minor - order.paid_minor
    if order.status in (Status.CREATED, Status.WAIT_PAY):
        rest = to_major(order.amount_minor - received_minor, order.currency)
        detail = f"remainder {rest} {order.currency}"
        outbox.publish(conn, order, "UNDERPAID", now_us, amount_minor=received_minor, detail=detail)
        return Verdict.APPLIED
    if more_minor == 0:
        return Verdict.REPEATED
    if more_minor > 0 and order.status == Status.CLOSED:
        return _pay_late(conn, order, fact, more_minor, now_us)
    if more_minor > 0 and order.status == Status.SUCCESS:
        return _pay_more(conn, order, more_minor, now_us)
    # Money that is gone again (a chain that took final blocks back), or came after all was
    # refunded: neither may be booked by itself.
    outbox.publish(conn, order, "MISMATCH", now_us, amount_minor=received_minor, detail="received")
    return Verdict.MISMATCH


def _pay(
    conn: Connection, order: Order, fact: ChannelReply, received_minor: int, now_us: int
) -> Verdict:
    charge = charges.of_payment(conn, order)
    paid = orders.move(
        conn,
        order,
        Status.SUCCESS,
        paid_minor=received_minor,
        paid_at_us=now_us,
        channel_trade_no=fact.channel_trade_no or order.channel_trade_no,
        fee_minor=charge.fee_minor,
        cost_minor=charge.cost_minor,
    )
    if paid is None:
        raise RuntimeError(f"order {order.trade_no} moved inside the writer's own transaction")
    outbox.book(
        conn,
        payment_entry(
            merchant_id=paid.merchant_id,
            trade_no=paid.trade_no,
            channel=paid.channel,
            amount_minor=paid.paid_minor,
            currency=paid.currency,
        ),
        now_us,
    )
    charges.book_payment(conn, paid, now_us)
    outbox.publish(conn, paid, "PAID", now_us, amount_minor=paid.paid_minor)
    outbox.notify(conn, paid, now_us)
    outbox.report(
        conn, paid.trade_no, Feedback.PAID, now_us, source="channel", amount_minor=paid.paid_minor
    )
    return Verdict.APPLIED


def _pay_more(conn: Connection, order: Order, more_minor: int, now_us: int) -> Verdict:
    """Book what came for an order that is paid already: it is the merchant's, to give back."""
    paid_minor = order.paid_minor + more_minor
    after = orders.change(conn, order, paid_minor=paid_minor)
    if after is None:
        raise RuntimeError(f"order {order.trade_no} moved inside the writer's own transaction")
    outbox.book(
        conn,
        payment_entry(
            merchant_id=after.merchant_id,
            trade_no=after.trade_no,
            channel=after.channel,
            amount_minor=more_minor,
            currency=after.currency,
            part=f":{paid_minor}",
        ),
        now_us,
    )
    outbox.publish(conn, after, "OVERPAID", now_us, amount_minor=more_minor)
    outbox.notify(conn, after, now_us, news=f"RECEIVED:{paid_minor}")
    return Verdict.APPLIED


def _pay_late(
    conn: Connection, order: Order, fact: ChannelReply, late_minor: int, now_us: int
) -> Verdict:
    refund_no = new_number("R", now_us)
    part = f":{order.paid_minor + late_minor}" if order.paid_minor else ""
    late = orders.change(
        conn,
        order,
        status_reason="LATE",
        paid_minor=order.paid_minor + late_minor,
        paid_at_us=now_us,
        refund_reserved_minor=order.refund_reserved_minor + late_minor,
        channel_trade_no=fact.channel_trade_no or order.channel_trade_no,
    )
    if late is None:
        raise RuntimeError(f"order {order.trade_no} moved inside the writer's own transaction")
    outbox.book(
        conn,
        late_entry(
            merchant_id=late.merchant_id,
            trade_no=late.trade_no,
            channel=late.channel,
            amount_minor=late_minor,
            currency=late.currency,
            part=part,
        ),
        now_us,
    )
    orders.insert_refund(
        conn,
        Refund(
            merchant_id=late.merchant_id,
            refund_no=refund_no,
            out_refund_no=refund_no,
            request_sha256=b"",
            trade_no=late.trade_no,
            amount_minor=late_minor,
            currency=late.currency,
            reason="paid after the order was closed",
            kind="LATE",
            status=RefundStatus.PROCESSING.value,
            attempts=0,
            next_try_at_us=now_us,
            created_at_us=now_us,
            finished_at_us=0,
        ),
    )
    outbox.publish(conn, late, "LATE_PAYMENT", now_us, amount_minor=late_minor)
    outbox.notify(conn, late, now_us, refund_no=f"LATE:{refund_no}")
    return Verdict.LATE


def _refunded(conn: Connection, order: Order, fact: ChannelReply, now_us: int) -> Verdict:
    refund = orders.get_refund(conn, fact.refund_no)
    if refund is None or refund.trade_no != order.trade_no:
        outbox.publish(conn, order, "MISMATCH", now_us, detail=f"unknown refund {fact.refund_no}")
        return Verdict.MISMATCH
    if fact.amount_minor is not None and fact.amount_minor != refund.amount_minor:
        outbox.publish(conn, order, "MISMATCH", now_us, amount_minor=fact.amount_minor)
        return Verdict.MISMATCH
    done = finish_refund(conn, refund, now_us)
    return Verdict.APPLIED if done else Verdict.REPEATED


def _held(conn: Connection, refund: Refund) -> Order:
    """The refund's order, locked before the refund itself: everybody locks in this order."""
    order = orders.hold(conn, refund.trade_no)
    if order is None:
        raise RuntimeError(f"refund {refund.refund_no} has no order")
    return order


def finish_refund(conn: Connection, refund: Refund, now_us: int) -> bool:
    """Book a refund that the channel has made; False if that was done before."""
    order = _held(conn, refund)
    if not orders.settle_refund(conn, refund, RefundStatus.SUCCESS, now_us):
        return False
    refunded_minor = order.refunded_minor + refund.amount_minor
    back = charges.of_refund(conn, order, refunded_minor)
    returned = {
        "refunded_minor": refunded_minor,
        "fee_returned_minor": order.fee_returned_minor + back.fee_minor,
        "cost_returned_minor": order.cost_returned_minor + back.cost_minor,
    }
    if order.status == Status.SUCCESS and refunded_minor == order.paid_minor:
        after = orders.move(conn, order, Status.REFUND, **returned)
    else:
        after = orders.change(conn, order, **returned)
    if after is None:
        raise RuntimeError(f"order {order.trade_no} moved inside the writer's own transaction")
    entry = late_refund_entry if refund.kind == "LATE" else refund_entry
    outbox.book(
        conn,
        entry(
            merchant_id=after.merchant_id,
            trade_no=after.trade_no,
            refund_no=refund.refund_no,
            channel=after.channel,
            amount_minor=refund.amount_minor,
            currency=after.currency,
        ),
        now_us,
    )
    charges.book_refund(conn, after, refund.refund_no, back, now_us)
    outbox.publish(
        conn, after, "REFUNDED", now_us, amount_minor=refund.amount_minor, detail=refund.refund_no
    )
    outbox.notify(conn, after, now_us, refund_no=refund.refund_no)
    outbox.report(
        conn,
        after.trade_no,
        Feedback.REFUNDED,
        now_us,
        source="channel",
        amount_minor=refund.amount_minor,
    )
    return True


def fail_refund(conn: Connection, refund: Refund, now_us: int) -> bool:
    """Give back what a refund had reserved, once the channel refused it for good."""
    order = _held(conn, refund)
    if not orders.settle_refund(conn, refund, RefundStatus.FAIL, now_us):
        return False
    orders.change(
        conn, order, refund_reserved_minor=order.refund_reserved_minor - refund.amount_minor
    )
    outbox.publish(
        conn,
        order,
        "REFUND_FAILED",
        now_us,
        amount_minor=refund.amount_minor,
        detail=refund.refund_no,
    )
    return True
