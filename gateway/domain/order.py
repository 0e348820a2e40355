"""An order's statuses and the one table that says where each may go.

The table is the specification's. Two of its arrows are exceptional and ordinary traffic never
takes them: WAIT_PAY to REFUND is money that came after we had decided to close, and SUCCESS to
CLOSED ends the time in which a refund may be asked for.
"""

from enum import StrEnum

from gateway.domain.errors import IllegalTransition


class Status(StrEnum):
    """Where an order stands."""

    CREATED = "CREATED"
    WAIT_PAY = "WAIT_PAY"
    SUCCESS = "SUCCESS"
    REFUND = "REFUND"
    CLOSED = "CLOSED"


class PayType(StrEnum):
    """The payment systems; the specification's three first."""

    ALIPAY = "alipay"
    WECHAT = "wechat"
    UNIONPAY = "unionpay"
    STRIPE = "stripe"
    PAYPAL = "paypal"
    ECNY = "ecny"
    CRYPTO = "crypto"
    BNPL = "bnpl"


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.CREATED: frozenset({Status.WAIT_PAY, Status.CLOSED}),
    Status.WAIT_PAY: frozenset({Status.SUCCESS, Status.CLOSED, Status.REFUND}),
    Status.SUCCESS: frozenset({Status.REFUND, Status.CLOSED}),
    Status.REFUND: frozenset(),
    Status.CLOSED: frozenset(),
}


def advance(status: Status, target: Status) -> Status:
    """Return `target` if an order in `status` may move there, else raise 1004."""
    if target not in TRANSITIONS[status]:
        raise IllegalTransition(status, target)
    return target
