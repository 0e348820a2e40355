"""Which orders and refunds wait for a worker: overdue, half opened, unheard of, under way.

The conditions on the status are written as the partial indexes say them, word for word: with
parameters in their place a database reads every order there ever was.
"""

from collections.abc import Collection
from dataclasses import fields

from sqlalchemy import Boolean, RowMapping, literal_column

from gateway.domain.order import Status
from gateway.store.claims import Due
from gateway.store.orders import Order, Refund
from gateway.store.tables import orders, refunds

_OPEN = literal_column("orders.status IN ('CREATED','WAIT_PAY')", Boolean)
_BY_TRANSFER = literal_column("orders.pay_type = 'crypto'", Boolean)
_UNDER_WAY = literal_column("refunds.status = 'PROCESSING'", Boolean)


def overdue_orders(now_us: int) -> Due[Order]:
    """Unpaid orders whose time is over, oldest first."""
    return Due(
        table=orders,
        where=(_OPEN, orders.c.expires_at_us <= now_us),
        order_by=orders.c.expires_at_us,
        read=_order,
    )


def unopened_orders(before_us: int) -> Due[Order]:
    """Approved orders that a crash or a silent channel left in CREATED, oldest first.

    Args:
        before_us: Only those that were created by then: others are just being opened.
    """
    return Due(
        table=orders,
        where=(
            _OPEN,
            orders.c.status == Status.CREATED.value,
            orders.c.status_reason == "",
            orders.c.created_at_us <= before_us,
        ),
        order_by=orders.c.created_at_us,
        read=_order,
    )


def waiting_orders(channels: Collection[str]) -> Due[Order]:
    """Orders that wait for their payer at some of the channels, newest first."""
    return Due(
        table=orders,
        where=(
            _OPEN,
            orders.c.status == Status.WAIT_PAY.value,
            orders.c.channel.in_(channels),
        ),
        order_by=orders.c.created_at_us.desc(),
        read=_order,
    )


def ended_transfers(channels: Collection[str], since_us: int) -> Due[Order]:
    """Orders at some of the channels that have ended but could still receive a transfer.

    Args:
        channels: Accounts on chains.
        since_us: Only those that were made since then.
    """
    return Due(
        table=orders,
        where=(
            _BY_TRANSFER,
            orders.c.status.in_([Status.SUCCESS.value, Status.CLOSED.value]),
            orders.c.channel.in_(channels),
            orders.c.pay_url != "",
            orders.c.created_at_us >= since_us,
        ),
        order_by=orders.c.created_at_us.desc(),
        read=_order,
    )


def due_refunds(now_us: int) -> Due[Refund]:
    """Refunds under way whose channel should be asked now, oldest first."""
    return Due(
        table=refunds,
        where=(_UNDER_WAY, refunds.c.next_try_at_us <= now_us),
        order_by=refunds.c.next_try_at_us,
        read=_refund,
    )


def _order(row: RowMapping) -> Order:
    return Order(**{field.name: row[field.name] for field in fields(Order)})


def _refund(row: RowMapping) -> Refund:
    return Refund(**{field.name: row[field.name] for field in fields(Refund)})
