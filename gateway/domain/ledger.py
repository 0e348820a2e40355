"""Double entry: an unbalanced entry can't be built, so it can't be stored.

Chart of accounts (debit positive, credit negative):

* ``channel:<account>``     what an account at a payment system owes us (asset)
* ``merchant:<merchant_id>`` what we owe a merchant (liability)
* ``suspense:late``         money that arrived for an order already closed, until it is sent back
* ``income:fees``           what merchants are charged
* ``expense:<account>``     what an account at a payment system costs us
* ``payable:<account>``     its costs until the payment system has kept them
* ``payable:settlement``    what was promised to merchants and is not transferred yet (liability)
* ``bank:settlement``       our account that merchants are paid from (asset)
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Posting:
    """One leg of an entry: debit positive, credit negative."""

    account: str
    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        if self.amount_minor == 0:
            raise ValueError(f"posting to {self.account} moves nothing")


@dataclass(frozen=True, slots=True)
class Entry:
    """An indivisible movement of money; its postings sum to zero in every currency.

    `entry_id` is derived from the cause (``PAY:<trade_no>``, ``REFUND:<refund_no>``), so the same
    cause can't be booked twice.
    """

    entry_id: str
    merchant_id: str
    trade_no: str
    kind: str
    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        balance_minor: dict[str, int] = {}
        for posting in self.postings:
            so_far_minor = balance_minor.get(posting.currency, 0)
            balance_minor[posting.currency] = so_far_minor + posting.amount_minor
        unbalanced = {code: minor for code, minor in balance_minor.items() if minor != 0}
        if unbalanced or not self.postings:
            raise ValueError(f"entry {self.entry_id} is not balanced: {unbalanced}")


def _two_legs(debit: str, credit: str, amount_minor: int, currency: str) -> tuple[Posting, ...]:
    if amount_minor <= 0:
        raise ValueError(f"an entry moves a positive amount, was {amount_minor}")
    return (Posting(debit, amount_minor, currency), Posting(credit, -amount_minor, currency))


def payment_entry(
    *,
    merchant_id: str,
    trade_no: str,
    channel: str,
    amount_minor: int,
    currency: str,
    part: str = "",
) -> Entry:
    """A payer paid: the channel owes us, we owe the merchant.

    `part` tells what came later for the same order from what came first.
    """
    return Entry(
        f"PAY:{trade_no}{part}",
        merchant_id,
        trade_no,
        "PAY",
        _two_legs(f"channel:{channel}", f"merchant:{merchant_id}", amount_minor, currency),
    )


def refund_entry(
    *,
    merchant_id: str,
    trade_no: str,
    refund_no: str,
    channel: str,
    amount_minor: int,
    currency: str,
) -> Entry:
    """A refund went through at the channel: the payment's legs in reverse."""
    return Entry(
        f"REFUND:{refund_no}",
        merchant_id,
        trade_no,
        "REFUND",
        _two_legs(f"merchant:{merchant_id}", f"channel:{channel}", amount_minor, currency),
    )


def late_entry(
    *,
    merchant_id: str,
    trade_no: str,
    channel: str,
    amount_minor: int,
    currency: str,
    part: str = "",
) -> Entry:
    """Money came for an order already closed: held in suspense, never given to the merchant."""
    return Entry(
        f"LATE:{trade_no}{part}",
        merchant_id,
        trade_no,
        "LATE",
        _two_legs(f"channel:{channel}", "suspense:late", amount_minor, currency),
    )


def late_refund_entry(
    *,
    merchant_id: str,
    trade_no: str,
    refund_no: str,
    channel: str,
    amount_minor: int,
    currency: str,
) -> Entry:
    """Late money went back to the payer: suspense is empty again."""
    return Entry(
        f"REFUND:{refund_no}",
        merchant_id,
        trade_no,
        "LATE_REFUND",
        _two_legs("suspense:late", f"channel:{channel}", amount_minor, currency),
    )


def fee_entry(*, merchant_id: str, trade_no: str, fee_minor: int, currency: str) -> Entry:
    """A merchant is charged for a payment."""
    return Entry(
        f"FEE:{trade_no}",
        merchant_id,
        trade_no,
        "FEE",
        _two_legs(f"merchant:{merchant_id}", "income:fees", fee_minor, currency),
    )


def fee_return_entry(
    *, merchant_id: str, trade_no: str, refund_no: str, fee_minor: int, currency: str
) -> Entry:
    """A refund gives a merchant a part of the fee back."""
    return Entry(
        f"FEE_RETURN:{refund_no}",
        merchant_id,
        trade_no,
        "FEE_RETURN",
        _two_legs("income:fees", f"merchant:{merchant_id}", fee_minor, currency),
    )


def cost_entry(
    *, merchant_id: str, trade_no: str, account: str, cost_minor: int, currency: str
) -> Entry:
    """A payment system charges us for a payment; it keeps the cost when it settles."""
    return Entry(
        f"COST:{trade_no}",
        merchant_id,
        trade_no,
        "COST",
        _two_legs(f"expense:{account}", f"payable:{account}", cost_minor, currency),
    )


def cost_return_entry(
    *,
    merchant_id: str,
    trade_no: str,
    refund_no: str,
    account: str,
    cost_minor: int,
    currency: str,
) -> Entry:
    """A payment system gives a part of its charge back with a refund."""
    return Entry(
        f"COST_RETURN:{refund_no}",
        merchant_id,
        trade_no,
        "COST_RETURN",
        _two_legs(f"payable:{account}", f"expense:{account}", cost_minor, currency),
    )


def settlement_entry(
    *, merchant_id: str, settlement_no: str, net_minor: int, currency: str
) -> Entry:
    """What we owe a merchant is promised for transfer."""
    return Entry(
        f"SETTLE:{settlement_no}",
        merchant_id,
        "",
        "SETTLE",
        _two_legs(f"merchant:{merchant_id}", "payable:settlement", net_minor, currency),
    )


def payout_entry(*, merchant_id: str, settlement_no: str, net_minor: int, currency: str) -> Entry:
    """The transfer to a merchant has left our bank account."""
    return Entry(
        f"PAYOUT:{settlement_no}",
        merchant_id,
        "",
        "PAYOUT",
        _two_legs("payable:settlement", "bank:settlement", net_minor, currency),
    )
