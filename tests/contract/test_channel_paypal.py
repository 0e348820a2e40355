"""The PayPal adapter where it differs from the others, and what it must not believe."""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.base import ChannelProtocolError, Outcome
from gateway.channels.json_object import JsonObject
from gateway.channels.paypal_wire import money, to_value
from gateway.channels.registry import ADAPTERS
from gateway.domain.money import MINOR_DIGITS
from gateway.recon.bills import read_bill
from gateway.sandbox import refunds, trades
from gateway.sandbox.faults import Faults
from gateway.sandbox.protocols import paypal_objects
from tests.contract.channel_world import World, run
from tests.meddler import Meddler
from tests.sandbox_world import START_US, TIMEOUT_S

KIND, DAY = "paypal", "2025-11-22"


def play(tmp_path: Path, script: Callable[[World], Any], **changes: Any) -> None:
    run(KIND, tmp_path, script, **changes)


@given(amount_minor=st.integers(1, 10**12), currency=st.sampled_from(sorted(MINOR_DIGITS)))
def test_an_amount_is_written_exactly_or_not_at_all(amount_minor: int, currency: str) -> None:
    value = to_value(amount_minor, currency)
    written = {"amount": {"currency_code": currency, "value": value}}
    if value is not None:
        assert money(JsonObject(written)) == (amount_minor, currency)
        # The other side has a table of its own.
        assert paypal_objects.amount_of(written) == (amount_minor, currency)
        assert paypal_objects.money(amount_minor, currency) == written["amount"]


@pytest.mark.parametrize(
    ("amount_minor", "currency", "value"),
    [
        (1230, "USD", "12.30"),
        (5, "EUR", "0.05"),
        (500, "JPY", "500"),
        (50000, "HUF", "500"),
        (50050, "HUF", None),
        (1230, "TWD", None),
        (1230, "KWD", None),  # Not taken at all.
    ],
)
def test_values_are_paypals_own(amount_minor: int, currency: str, value: str | None) -> None:
    assert to_value(amount_minor, currency) == value


@pytest.mark.parametrize("value", ["12.345", "-1.00", "1e3", "１.00", "", "01.00", "9" * 17])
def test_an_amount_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ChannelProtocolError):
        money(JsonObject({"amount": {"currency_code": "EUR", "value": value}}))


def test_money_moves_when_asked_and_only_once(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, opened = await at.open()
        await at.payer(opened, action="pay")
        await at.until(lambda: bool(at.ear.heard))
        (hint,) = at.ear.heard
        replies = [await at.channel.query(trade, timeout_s=TIMEOUT_S) for _ in range(3)]
        await at.until(lambda: any(fact.outcome is Outcome.PAID for fact in at.ear.heard))

        assert (hint.outcome, hint.trade_no) == (Outcome.ASK, "T0000000001")
        assert {reply.outcome for reply in replies} == {Outcome.PAID}
        (paid,) = [fact for fact in at.ear.heard if fact.outcome is Outcome.PAID]
        assert (paid.amount_minor, paid.currency) == (12_30, "EUR")
        assert paid.channel_trade_no == opened.channel_trade_no

    play(tmp_path, script)


def test_an_order_that_was_closed_is_never_captured(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, opened = await at.open()
        page = await at.payer_page(opened)
        closed = await at.channel.close(trade, timeout_s=TIMEOUT_S)
        approved = await at.browser.post(page, data={"action": "pay"})
        await at.until(lambda: bool(at.ear.heard))  # The approval still names our payment.
        after = await at.channel.query(trade, timeout_s=TIMEOUT_S)
        again = await at.channel.pay(at.request(), timeout_s=TIMEOUT_S)

        assert approved.status_code < 400
        assert at.ear.heard[0].trade_no == "T0000000001"
        assert (closed.outcome, after.outcome) == (Outcome.CLOSED, Outcome.CLOSED)
        assert again.outcome is Outcome.REJECTED

    play(tmp_path, script)


def test_closing_without_paypals_number_ends_what_was_opened(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, opened = await at.open()
        unnamed = replace(trade, channel_trade_no="")
        closed = await at.channel.close(unnamed, timeout_s=TIMEOUT_S)
        await at.payer(opened, action="pay")
        after = await at.channel.query(trade, timeout_s=TIMEOUT_S)
        never = at.trade_of(at.request("T0000000002"))
        before = await at.channel.close(never, timeout_s=TIMEOUT_S)
        late = await at.channel.pay(at.request("T0000000002"), timeout_s=TIMEOUT_S)

        assert (closed.outcome, after.outcome) == (Outcome.CLOSED, Outcome.CLOSED)
        assert (before.outcome, late.outcome) == (Outcome.CLOSED, Outcome.REJECTED)

    play(tmp_path, script)


def test_an_order_that_paypal_forgot_is_closed_once_its_time_is_over(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, _ = await at.open()
        at.clock.forward(3 * 3_600)
        assert (await at.channel.query(trade, timeout_s=TIMEOUT_S)).outcome is Outcome.CLOSED
        # Earlier it can't be: then we ask with another account's keys.
        young = replace(trade, created_at_us=at.clock())
        with pytest.raises(ChannelProtocolError):
            await at.channel.query(young, timeout_s=TIMEOUT_S)

    play(tmp_path, script)


def test_a_token_is_used_until_it_is_old_and_renewed_when_withdrawn(tmp_path: Path) -> None:
    tokens: list[str] = []

    def watched(answer: httpx.Response) -> httpx.Response:
        if b"access_token" in answer.content:
            tokens.append(answer.json()["access_token"])
        return answer

    async def script(at: World) -> None:
        trade, _ = await at.open()
        spy = Meddler(at.browser._transport, watched)
        async with httpx.AsyncClient(transport=spy) as middle:
            channel: Any = ADAPTERS[KIND].open("paypal", at.told, middle, at.clock)
            for _ in range(3):
                await channel.query(trade, timeout_s=TIMEOUT_S)
            assert len(tokens) == 1
            channel._wire._token = ("A21AA-withdrawn-00", channel._wire._token[1])
            await channel.query(trade, timeout_s=TIMEOUT_S)
            assert len(tokens) == 2
            at.clock.forward(9 * 3_600 - 59)
            await channel.query(trade, timeout_s=TIMEOUT_S)
            assert len(tokens) == 3

    play(tmp_path, script)


def test_a_slow_refund_is_found_by_our_number_and_told_when_done(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, opened = await at.open()
        await at.payer(opened, action="pay")
        await at.channel.query(trade, timeout_s=TIMEOUT_S)
        first = await at.channel.refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        found = await at.channel.query_refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        at.clock.forward(3)
        await at.until(lambda: any(f.outcome is Outcome.REFUNDED for f in at.ear.heard))
        (told,) = [fact for fact in at.ear.heard if fact.outcome is Outcome.REFUNDED]

        assert (first.outcome, found.outcome) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
        assert found.channel_refund_no == first.channel_refund_no != ""
        assert (told.trade_no, told.refund_no) == ("T0000000001", "R0000000001")

    play(tmp_path, script, faults=Faults(slow_refund_ratio=1.0))


def _swap(old: bytes, new: bytes) -> Callable[[httpx.Response], httpx.Response]:
    return lambda answer: httpx.Response(
        answer.status_code, content=answer.content.replace(old, new)
    )


@pytest.mark.parametrize(
    "meddle",
    [
        _swap(b'"custom_id":"T0000000001"', b'"custom_id":"T0000000009"'),
        _swap(b'"PAYER_ACTION_REQUIRED"', b'"SPLENDID"'),
        _swap(b'"EUR"', b'"ZZZ"'),
        _swap(b'"12.30"', b'"12.3000001"'),
        _swap(b"Bearer", b"Mac"),
        lambda answer: httpx.Response(200, content=b"<html>"),
        lambda answer: httpx.Response(403, content=b"{}"),
    ],
)
def test_an_answer_that_is_not_as_agreed_is_refused(
    meddle: Callable[[httpx.Response], httpx.Response], tmp_path: Path
) -> None:
    async def script(at: World) -> None:
        trade, _ = await at.open()
        async with httpx.AsyncClient(transport=Meddler(at.browser._transport, meddle)) as middle:
            channel = ADAPTERS[KIND].open("paypal", at.told, middle, at.clock)
            with pytest.raises(ChannelProtocolError):
                await channel.query(trade, timeout_s=TIMEOUT_S)

    play(tmp_path, script)


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_a_conflict_or_a_fault_leaves_the_outcome_unknown(status: int, tmp_path: Path) -> None:
    def busy(answer: httpx.Response) -> httpx.Response:
        is_token = b"access_token" in answer.content
        return answer if is_token else httpx.Response(status, content=b"{}")

    async def script(at: World) -> None:
        trade, _ = await at.open()
        async with httpx.AsyncClient(transport=Meddler(at.browser._transport, busy)) as middle:
            channel = ADAPTERS[KIND].open("paypal", at.told, middle, at.clock)
            wanted, refund = at.request(), at.refund_of(1)
            replies = [
                await channel.pay(wanted, timeout_s=1),
                await channel.query(trade, timeout_s=1),
                await channel.close(trade, timeout_s=1),
                await channel.refund(trade, refund, timeout_s=1),
                await channel.query_refund(trade, refund, timeout_s=1),
            ]
            assert {reply.outcome for reply in replies} == {Outcome.UNKNOWN}
            with pytest.raises(ChannelProtocolError):
                await channel.bill(DAY, timeout_s=1)

    play(tmp_path, script)


def many_refunds(conn: sqlite3.Connection, order: str) -> None:
    """More than a page of the report holds."""
    trade = trades.find_by_channel_no(conn, KIND, order, START_US)
    for number in range(510):
        kept = json.dumps({"custom_id": f"T0000000001:R1{number:08}", "invoice_id": ""})
        refunds.refund(conn, trade, f"R1{number:08}", 1, "EUR", START_US, extra=kept)


def test_a_long_bill_is_read_page_by_page_and_only_when_complete(tmp_path: Path) -> None:
    def stale(answer: httpx.Response) -> httpx.Response:
        return httpx.Response(
            answer.status_code, content=answer.content.replace(b"2025-11-23T", b"2025-11-22T")
        )

    async def script(at: World) -> None:
        trade, opened = await at.open(amount_minor=1_000_00)
        await at.payer(opened, action="pay")
        await at.channel.query(trade, timeout_s=TIMEOUT_S)
        await at.sandbox._database.run(lambda conn: many_refunds(conn, trade.channel_trade_no))
        file = await at.channel.bill(DAY, timeout_s=TIMEOUT_S)

        assert len(json.loads(file)) == 2
        assert len(read_bill(KIND, DAY, file).records) == 511
        at.clock.forward(timedelta(hours=20).total_seconds())
        async with httpx.AsyncClient(transport=Meddler(at.browser._transport, stale)) as middle:
            channel = ADAPTERS[KIND].open("paypal", at.told, middle, at.clock)
            with pytest.raises(ChannelProtocolError, match="complete"):
                await channel.bill(DAY, timeout_s=TIMEOUT_S)
        assert read_bill(KIND, DAY, await at.channel.bill(DAY, timeout_s=TIMEOUT_S)).records

    play(tmp_path, script)


@pytest.mark.parametrize(
    ("name", "value"), [("client_id", ""), ("webhook_id", ""), ("roots_pem", "x")]
)
def test_a_setting_that_cannot_be_is_named(name: str, value: str, tmp_path: Path) -> None:
    async def script(at: World) -> None:
        with pytest.raises(ValueError, match=name):
            ADAPTERS[KIND].open("x", at.told | {name: value}, at.browser, at.clock)
        # Without roots of its own, those of the machine are trusted.
        assert ADAPTERS[KIND].open("x", at.told | {"roots_pem": ""}, at.browser, at.clock).name

    play(tmp_path, script)
