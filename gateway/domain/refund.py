"""How much may still be refunded: never more than was paid, counting what is under way."""

from enum import StrEnum

from gateway.domain.errors import InsufficientBalance


class RefundStatus(StrEnum):
    """Where a refund stands; the specification's three words."""

    PROCESSING = "PROCESSING"
    SUCCESS = "SUCCESS"
    FAIL = "FAIL"


class RefundState(StrEnum):
    """How much of an order has been given back."""

    NONE = "NONE"
    PARTIAL = "PARTIAL"
    FULL = "FULL"


def reserve(paid_minor: int, reserved_minor: int, amount_minor: int) -> int:
    """Return what is reserved after also reserving `amount_minor`.

    Args:
        paid_minor: What the payer paid, in minor units.
        reserved_minor: Refunds done or under way, in minor units.
        amount_minor: The refund asked for, in minor units, positive.

    Raises:
        InsufficientBalance: (1005) if the refunds would exceed what was paid.

    Examples:
        >>> reserve(1000, 400, 600)
        1000
    """
    if amount_minor <= 0 or reserved_minor + amount_minor > paid_minor:
        raise InsufficientBalance(
            f"refund of {amount_minor} exceeds what is left of the payment: "
            f"paid {paid_minor}, refunded or under way {reserved_minor}"
        )
    return reserved_minor + amount_minor


def refund_state(paid_minor: int, refunded_minor: int) -> RefundState:
    """Say how much of a payment has been given back.

    Examples:
        >>> refund_state(1000, 400).value
        'PARTIAL'
    """
    if refunded_minor == 0:
        return RefundState.NONE
    return RefundState.FULL if refunded_minor == paid_minor else RefundState.PARTIAL
