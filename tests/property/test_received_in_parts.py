"""Where the payer chooses the amount, all that came is in the ledger, whenever it came.

The channel tells a running total. Looks come late, twice, or after the order has ended; a tiny
model of plain numbers says what must be booked.
"""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, event, insert, text
from sqlalchemy.pool import StaticPool

from gateway.channels.base import ChannelReply, Outcome
from gateway.domain.order import Status
from gateway.payments.close import close_order
from gateway.payments.settle import Verdict, apply_fact, finish_refund
from gateway.store import orders
from gateway.store.tables import metadata
from gateway.store.tables import orders as table

AMOUNT_MINOR = 1_000
steps = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(1, 1_500)),
        st.tuples(st.sampled_from(["look", "look again", "close", "send back"]), st.just(0)),
    ),
    max_size=14,
)


class Chain:
    """One order at a channel that tells running totals, and its model."""

    def __init__(self) -> None:
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        event.listen(self.engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys=ON"))
        metadata.create_all(self.engine)
        self.conn = self.engine.connect()
        row: dict[str, Any] = {
            "merchant_id": "M1",
            "trade_no": "T1",
            "out_trade_no": "O1",
            "request_sha256": b"",
            "channel": "evm",
            "pay_type": "crypto",
            "amount_minor": AMOUNT_MINOR,
            "currency": "USDC",
            "subject": "tea",
            "notify_url": "http://127.0.0.1/",
            "status": "WAIT_PAY",
            "decision_id": "D1",
            "risk_outcome": "APPROVE",
            "created_at_us": 1,
            "expires_at_us": 2,
        }
        self.conn.execute(insert(table).values(row))
        self.came_minor = self.told_minor = self.looks = 0

    def order(self) -> orders.Order:
        order = orders.get(self.conn, "T1")
        assert order is not None
        return order

    def look(self, *, again: bool = False) -> Verdict:
        self.looks += not again
        self.told_minor = self.came_minor if not again else self.told_minor
        is_paid = self.told_minor >= AMOUNT_MINOR
        fact = ChannelReply(
            outcome=Outcome.PAID if is_paid else Outcome.ACCEPTED,
            trade_no="T1",
            amount_minor=AMOUNT_MINOR if is_paid else None,
            received_minor=self.told_minor,
            currency="USDC",
            event_id=f"LOOK{self.looks}",
        )
        return apply_fact(self.conn, "evm", fact, self.looks + 10)

    def send_back(self) -> None:
        """Finish every refund that waits: those of late money."""
        numbers = self.conn.execute(
            text("SELECT refund_no FROM refunds WHERE status = 'PROCESSING'")
        ).scalars()
        for number in list(numbers):
            refund = orders.get_refund(self.conn, number)
            assert refund is not None
            finish_refund(self.conn, refund, 99)

    def sum_minor(self, account: str) -> int:
        statement = "SELECT coalesce(sum(amount_minor), 0) FROM ledger_postings WHERE account = :a"
        return int(self.conn.execute(text(statement), {"a": account}).scalar_one())

    def sound(self) -> None:
        order = self.order()
        waits = order.status == Status.WAIT_PAY
        # Nothing is booked for a waiting order; everything that was told for an ended one.
        assert order.paid_minor == (0 if waits else order.paid_minor)
        held = self.sum_minor("channel:evm")
        assert held == order.paid_minor - order.refunded_minor
        assert held == -self.sum_minor("merchant:M1") - self.sum_minor("suspense:late")
        assert order.refunded_minor <= order.refund_reserved_minor <= order.paid_minor
        if order.status == Status.CLOSED:
            assert self.sum_minor("merchant:M1") == 0  # Late money is never the merchant's.
            assert order.refund_reserved_minor == order.paid_minor


@settings(max_examples=150, deadline=None)
@given(history=steps)
def test_all_that_came_is_booked_once_and_belongs_to_somebody(
    history: list[tuple[str, int]],
) -> None:
    chain = Chain()
    try:
        for what, units in history:
            if what == "come":
                chain.came_minor += units
            elif what == "look":
                chain.look()
            elif what == "look again" and chain.looks:
                assert chain.look(again=True) is Verdict.REPEATED
            elif what == "close" and chain.order().status == Status.WAIT_PAY:
                close_order(chain.conn, chain.order(), "EXPIRED", 50)
            elif what == "send back":
                chain.send_back()
            chain.sound()
        chain.look()
        chain.sound()

        order = chain.order()
        assert order.status != Status.WAIT_PAY or chain.came_minor < AMOUNT_MINOR
        if order.status != Status.WAIT_PAY:
            assert order.paid_minor == chain.came_minor
    finally:
        chain.conn.close()
        chain.engine.dispose()


def test_a_total_that_shrank_is_left_to_a_person() -> None:
    chain = Chain()
    chain.came_minor = 1_200
    assert chain.look() is Verdict.APPLIED
    chain.came_minor = 200

    assert chain.look() is Verdict.MISMATCH
    assert chain.order().paid_minor == 1_200
    chain.sound()
    chain.conn.close()
    chain.engine.dispose()
