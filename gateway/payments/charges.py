"""What a payment costs its merchant and us, booked with the payment and undone with its refunds.

The tariff is read when the money arrives and the amounts are kept with the order: a tariff that
changes later changes nothing that was charged.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from gateway.domain.fees import fee_minor, returned_minor
from gateway.domain.ledger import cost_entry, cost_return_entry, fee_entry, fee_return_entry
from gateway.store import outbox
from gateway.store.accounts import terms_of
from gateway.store.orders import Order


@dataclass(frozen=True, slots=True)
class Charge:
    """Minor units of the order's currency: what the merchant pays us, what we pay the channel."""

    fee_minor: int = 0
    cost_minor: int = 0


def of_payment(conn: Connection, order: Order) -> Charge:
    """Return what an order is charged with when it is paid now."""
    fee, cost = terms_of(conn, order.merchant_id, order.channel)
    return Charge(fee_minor(order.amount_minor, fee), fee_minor(order.amount_minor, cost))


def of_refund(conn: Connection, order: Order, refunded_minor: int) -> Charge:
    """Return what goes back of an order's charges once `refunded_minor` in all has gone back."""
    if not order.fee_minor and not order.cost_minor:
        return Charge()
    fee, _ = terms_of(conn, order.merchant_id, order.channel)
    if not fee.is_returned:
        return Charge()
    paid_minor = order.paid_minor
    return Charge(
        returned_minor(order.fee_minor, paid_minor, refunded_minor) - order.fee_returned_minor,
        returned_minor(order.cost_minor, paid_minor, refunded_minor) - order.cost_returned_minor,
    )


def book_payment(conn: Connection, order: Order, now_us: int) -> None:
    """Book the charges of an order that was just paid."""
    if order.fee_minor:
        entry = fee_entry(
            merchant_id=order.merchant_id,
            trade_no=order.trade_no,
            fee_minor=order.fee_minor,
            currency=order.currency,
        )
        outbox.book(conn, entry, now_us)
    if order.cost_minor:
        entry = cost_entry(
            merchant_id=order.merchant_id,
            trade_no=order.trade_no,
            account=order.channel,
            cost_minor=order.cost_minor,
            currency=order.currency,
        )
        outbox.book(conn, entry, now_us)


def book_refund(conn: Connection, order: Order, refund_no: str, back: Charge, now_us: int) -> None:
    """Book what a refund gives back of the charges."""
    if back.fee_minor > 0:
        entry = fee_return_entry(
            merchant_id=order.merchant_id,
            trade_no=order.trade_no,
            refund_no=refund_no,
            fee_minor=back.fee_minor,
            currency=order.currency,
        )
        outbox.book(conn, entry, now_us)
    if back.cost_minor > 0:
        entry = cost_return_entry(
            merchant_id=order.merchant_id,
            trade_no=order.trade_no,
            refund_no=refund_no,
            account=order.channel,
            cost_minor=back.cost_minor,
            currency=order.currency,
        )
        outbox.book(conn, entry, now_us)
