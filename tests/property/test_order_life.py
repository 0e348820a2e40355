"""Whatever a channel says, in whatever order and however often, money stays exact.

Random sequences of facts, refunds and closings drive the real functions on a real database; a
small model of plain numbers says what must have come of them.
"""

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import create_engine, event, insert, text
from sqlalchemy.pool import StaticPool

from gateway.channels.base import ChannelReply, Outcome
from gateway.domain.errors import InsufficientBalance
from gateway.domain.order import TRANSITIONS, Status
from gateway.domain.refund import reserve
from gateway.payments.close import close_order
from gateway.payments.settle import Verdict, apply_fact, fail_refund, finish_refund
from gateway.store import orders
from gateway.store.orders import Refund
from gateway.store.tables import metadata
from gateway.store.tables import orders as table

AMOUNT_MINOR = 1_000


class OrderLife(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        event.listen(self.engine, "connect", lambda raw, _: raw.execute("PRAGMA foreign_keys=ON"))
        metadata.create_all(self.engine)
        self.conn = self.engine.connect()
        self.now_us = 1
        self.statuses = [Status.WAIT_PAY.value]
        self.paid = self.late = False
        self.refunds: dict[str, Refund] = {}
        self.refunded_minor = 0
        self.facts: list[ChannelReply] = []
        row: dict[str, Any] = {
            "merchant_id": "M1",
            "trade_no": "T1",
            "out_trade_no": "O1",
            "request_sha256": b"",
            "channel": "sandbox",
            "pay_type": "alipay",
            "amount_minor": AMOUNT_MINOR,
            "currency": "CNY",
            "subject": "tea",
            "notify_url": "http://127.0.0.1/",
            "status": "WAIT_PAY",
            "decision_id": "D1",
            "risk_outcome": "APPROVE",
            "created_at_us": 1,
            "expires_at_us": 2,
        }
        self.conn.execute(insert(table).values(row))

    def teardown(self) -> None:
        self.conn.close()
        self.engine.dispose()

    def order(self) -> orders.Order:
        order = orders.get(self.conn, "T1")
        assert order is not None
        return order

    def tell(self, fact: ChannelReply) -> Verdict:
        self.now_us += 1
        verdict = apply_fact(self.conn, "sandbox", fact, self.now_us)
        if verdict is not Verdict.UNKNOWN_ORDER:
            self.facts.append(fact)
        return verdict

    def fact(self, outcome: Outcome, **changes: Any) -> ChannelReply:
        fact = ChannelReply(
            outcome=outcome,
            trade_no="T1",
            amount_minor=AMOUNT_MINOR,
            currency="CNY",
            event_id=f"E{len(self.facts)}",
        )
        return replace(fact, **changes)

    @rule()
    def is_paid(self) -> None:
        verdict = self.tell(self.fact(Outcome.PAID))
        if self.paid or self.late:
            assert verdict is Verdict.REPEATED
        elif self.order().status == Status.CLOSED:
            assert verdict is Verdict.LATE
            self.late = True
            (number,) = self.conn.execute(
                text("SELECT refund_no FROM refunds WHERE kind = 'LATE'")
            ).one()
            late = orders.get_refund(self.conn, number)
            assert late is not None
            self.refunds[number] = late
        else:
            assert verdict is Verdict.APPLIED
            self.paid = True

    @rule(amount_minor=st.sampled_from([1, 999, 1_001, None]), currency=st.just("CNY"))
    def is_paid_wrongly(self, amount_minor: int | None, currency: str) -> None:
        before = self.order()
        verdict = self.tell(self.fact(Outcome.PAID, amount_minor=amount_minor, currency=currency))
        assert verdict is Verdict.MISMATCH
        assert self.order() == before

    @precondition(lambda self: self.facts)
    @rule(data=st.data())
    def is_told_again(self, data: st.DataObject) -> None:
        before = self.order()
        assert self.tell(data.draw(st.sampled_from(self.facts))) is Verdict.REPEATED
        assert self.order() == before

    @rule()
    def is_closed_at_the_channel(self) -> None:
        self.tell(self.fact(Outcome.CLOSED))

    @precondition(lambda self: self.order().status == Status.WAIT_PAY)
    @rule()
    def expires(self) -> None:
        close_order(self.conn, self.order(), "EXPIRED", self.now_us)

    @rule(amount_minor=st.sampled_from([1, 300, 700, 1_000]))
    def is_asked_to_refund(self, amount_minor: int) -> None:
        order = self.order()
        reserved = orders.reserve_refund(self.conn, order, amount_minor)
        try:
            reserve(order.paid_minor, order.refund_reserved_minor, amount_minor)
            fits = order.status == Status.SUCCESS
        except InsufficientBalance:
            fits = False
        assert reserved == fits
        if reserved:
            number = f"R{len(self.refunds)}"
            refund = Refund(
                merchant_id="M1",
                refund_no=number,
                out_refund_no=number,
                request_sha256=b"",
                trade_no="T1",
                amount_minor=amount_minor,
                currency="CNY",
                reason="why",
                kind="MERCHANT",
                status="PROCESSING",
                attempts=0,
                next_try_at_us=0,
                created_at_us=self.now_us,
                finished_at_us=0,
            )
            orders.insert_refund(self.conn, refund)
            self.refunds[number] = refund

    @precondition(lambda self: self.refunds)
    @rule(data=st.data(), how=st.sampled_from(["fact", "answer", "refusal"]))
    def a_refund_ends(self, data: st.DataObject, how: str) -> None:
        number = data.draw(st.sampled_from(sorted(self.refunds)))
        refund = orders.get_refund(self.conn, number)
        assert refund is not None
        is_open = refund.status == "PROCESSING"
        if how == "fact":
            fact = self.fact(Outcome.REFUNDED, refund_no=number, amount_minor=refund.amount_minor)
            done = self.tell(fact) is Verdict.APPLIED
        elif how == "answer":
            done = finish_refund(self.conn, refund, self.now_us)
        else:
            assert fail_refund(self.conn, refund, self.now_us) == is_open
            return
        assert done == is_open
        self.refunded_minor += refund.amount_minor if done else 0

    @invariant()
    def the_status_followed_an_arrow(self) -> None:
        status = self.order().status
        if status != self.statuses[-1]:
            assert Status(status) in TRANSITIONS[Status(self.statuses[-1])]
            self.statuses.append(status)

    @invariant()
    def money_is_exact(self) -> None:
        order = self.order()
        assert order.paid_minor == (AMOUNT_MINOR if self.paid or self.late else 0)
        assert order.refunded_minor == self.refunded_minor
        assert order.refunded_minor <= order.refund_reserved_minor <= order.paid_minor
        accounts: dict[str, int] = dict(
            self.conn.execute(
                text("SELECT account, sum(amount_minor) FROM ledger_postings GROUP BY 1")
            ).all()
        )
        assert sum(accounts.values()) == 0
        assert accounts.get("channel:sandbox", 0) == order.paid_minor - order.refunded_minor
        holder = "suspense:late" if self.late else "merchant:M1"
        assert accounts.get(holder, 0) == order.refunded_minor - order.paid_minor

    @invariant()
    def all_news_is_queued_once(self) -> None:
        ids = [row[0] for row in self.conn.execute(text("SELECT event_id FROM notifications"))]
        assert len(ids) == len(set(ids))
        if self.paid:
            assert "T1:SUCCESS" in ids
        if self.order().status == Status.CLOSED:
            assert "T1:CLOSED" in ids


TestOrderLife = OrderLife.TestCase
TestOrderLife.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
