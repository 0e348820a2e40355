"""Entries balance or don't exist."""

import pytest

from gateway.domain.ledger import (
    Entry,
    Posting,
    late_entry,
    late_refund_entry,
    payment_entry,
    refund_entry,
)


def balances(*entries: Entry) -> dict[str, int]:
    total: dict[str, int] = {}
    for posting in (posting for entry in entries for posting in entry.postings):
        total[posting.account] = total.get(posting.account, 0) + posting.amount_minor
    return total


def payment(amount_minor: int = 1000) -> Entry:
    return payment_entry(
        merchant_id="M1",
        trade_no="T1",
        channel="sandbox",
        amount_minor=amount_minor,
        currency="CNY",
    )


def test_an_unbalanced_entry_cannot_be_built() -> None:
    legs = (Posting("a", 5, "CNY"), Posting("b", -4, "CNY"))

    with pytest.raises(ValueError, match="not balanced"):
        Entry("E", "M", "T", "PAY", legs)


def test_currencies_do_not_balance_each_other() -> None:
    legs = (Posting("a", 5, "CNY"), Posting("b", -5, "USD"))

    with pytest.raises(ValueError, match="not balanced"):
        Entry("E", "M", "T", "PAY", legs)


def test_an_entry_without_postings_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="not balanced"):
        Entry("E", "M", "T", "PAY", ())


def test_a_posting_moves_something() -> None:
    with pytest.raises(ValueError, match="moves nothing"):
        Posting("a", 0, "CNY")


@pytest.mark.parametrize("amount_minor", [0, -1])
def test_a_payment_is_positive(amount_minor: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        payment(amount_minor)


def test_a_payment_and_its_refund_leave_nothing() -> None:
    refund = refund_entry(
        merchant_id="M1",
        trade_no="T1",
        refund_no="R1",
        channel="sandbox",
        amount_minor=1000,
        currency="CNY",
    )

    assert balances(payment()) == {"channel:sandbox": 1000, "merchant:M1": -1000}
    assert set(balances(payment(), refund).values()) == {0}
    assert refund.entry_id == "REFUND:R1"


def test_late_money_never_reaches_the_merchant() -> None:
    late = late_entry(
        merchant_id="M1", trade_no="T1", channel="sandbox", amount_minor=70, currency="CNY"
    )
    back = late_refund_entry(
        merchant_id="M1",
        trade_no="T1",
        refund_no="R1",
        channel="sandbox",
        amount_minor=70,
        currency="CNY",
    )

    assert balances(late) == {"channel:sandbox": 70, "suspense:late": -70}
    assert balances(late, back) == {"channel:sandbox": 0, "suspense:late": 0}
