"""The Klarna adapter where it differs from the others, and what it must not believe."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.channels.base import ChannelProtocolError, Notice, Outcome
from gateway.channels.registry import ADAPTERS
from gateway.recon.bills import BillRefused, read_bill
from gateway.sandbox.faults import Faults
from tests.contract.channel_world import BASE, World, run
from tests.meddler import Meddler
from tests.sandbox_world import TIMEOUT_S

KIND, DAY = "bnpl", "2025-11-22"


def play(tmp_path: Path, script: Callable[[World], Any], **changes: Any) -> None:
    run(KIND, tmp_path, script, **changes)


@pytest.mark.parametrize("currency", ["JPY", "CNY", "KWD"])
def test_a_currency_klarna_does_not_take_is_refused_unasked(currency: str, tmp_path: Path) -> None:
    async def script(at: World) -> None:
        wanted = at.request(currency=currency)
        reply = await at.channel.pay(wanted, timeout_s=TIMEOUT_S)
        closed = await at.channel.close(at.trade_of(wanted), timeout_s=TIMEOUT_S)

        assert (reply.outcome, closed.outcome) == (Outcome.REJECTED, Outcome.CLOSED)

    play(tmp_path, script)


def test_the_number_becomes_the_orders_and_refunds_need_no_page(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, opened = await at.open()
        await at.payer(opened, action="pay")
        paid = await at.channel.query(trade, timeout_s=TIMEOUT_S)
        known = replace(trade, channel_trade_no=paid.channel_trade_no)
        again = await at.channel.query(known, timeout_s=TIMEOUT_S)
        refund = await at.channel.refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        found = await at.channel.query_refund(known, at.refund_of(2_30), timeout_s=TIMEOUT_S)

        assert opened.channel_trade_no.startswith("hpp.")
        assert not paid.channel_trade_no.startswith("hpp.")
        assert (again.outcome, again.channel_trade_no) == (Outcome.PAID, paid.channel_trade_no)
        assert (refund.outcome, found.outcome) == (Outcome.REFUNDED, Outcome.REFUNDED)
        assert refund.channel_refund_no == found.channel_refund_no != ""

    play(tmp_path, script)


def test_closing_without_klarnas_number_ends_what_was_opened(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, opened = await at.open()
        page = await at.payer_page(opened)
        unnamed = replace(trade, channel_trade_no="")
        closed = await at.channel.close(unnamed, timeout_s=TIMEOUT_S)
        refused = await at.browser.post(page, data={"action": "pay"})
        again = await at.channel.pay(at.request(), timeout_s=TIMEOUT_S)
        after = await at.channel.query(at.trade_of(at.request(), again), timeout_s=TIMEOUT_S)

        assert (closed.outcome, closed.channel_trade_no) == (
            Outcome.CLOSED,
            opened.channel_trade_no,
        )
        assert refused.status_code == 409
        assert after.outcome is Outcome.CLOSED

    play(tmp_path, script)


def test_a_repeated_refund_number_is_the_first_ones_amount(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, opened = await at.open()
        await at.payer(opened, action="pay")
        await at.channel.refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        other = await at.channel.refund(trade, at.refund_of(5_00), timeout_s=TIMEOUT_S)

        # Klarna looks at the key alone; the answer says what it was for.
        assert (other.outcome, other.amount_minor) == (Outcome.REFUNDED, 2_30)

    play(tmp_path, script)


def test_an_order_still_looked_into_is_called_off_when_closed(tmp_path: Path) -> None:
    calls: list[str] = []

    class Pending(httpx.AsyncBaseTransport):
        """Klarna while it hasn't decided yet."""

        def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
            self.inner = inner

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            path = request.url.path
            if path.endswith("/cancel"):
                calls.append(request.headers["klarna-idempotency-key"])
                return httpx.Response(204)
            answer = await self.inner.handle_async_request(request)
            await answer.aread()
            if "/ordermanagement/" not in path:
                return answer
            order = answer.json() | {"captured_amount": 0}
            order["status"] = "CANCELLED" if calls else "AUTHORIZED"
            return httpx.Response(200, json=order)

    async def script(at: World) -> None:
        trade, opened = await at.open()
        await at.payer(opened, action="pay")
        async with httpx.AsyncClient(transport=Pending(at.browser._transport)) as middle:
            channel = ADAPTERS[KIND].open("bnpl", at.told, middle, at.clock)
            waiting = await channel.query(trade, timeout_s=TIMEOUT_S)
            closed = await channel.close(trade, timeout_s=TIMEOUT_S)

        assert (waiting.outcome, closed.outcome) == (Outcome.ACCEPTED, Outcome.CLOSED)
        assert len(calls) == 1

    play(tmp_path, script)


def test_a_page_that_klarna_forgot_is_closed_once_its_time_is_over(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, _ = await at.open()
        gone = replace(trade, channel_trade_no="hpp.00000000-0000-0000-0000-000000000000")
        with pytest.raises(ChannelProtocolError):
            await at.channel.query(gone, timeout_s=TIMEOUT_S)
        at.clock.forward(48 * 3_600)
        assert (await at.channel.query(gone, timeout_s=TIMEOUT_S)).outcome is Outcome.CLOSED

    play(tmp_path, script)


def test_only_an_address_with_our_token_is_listened_to(tmp_path: Path) -> None:
    addresses: list[str] = []

    class Spy(httpx.AsyncBaseTransport):
        def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
            self.inner = inner

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            urls = json.loads(request.content or b"{}").get("merchant_urls", {})
            addresses.extend(url for name, url in urls.items() if name == "status_update")
            return await self.inner.handle_async_request(request)

    async def script(at: World) -> None:
        async with httpx.AsyncClient(transport=Spy(at.browser._transport)) as middle:
            channel = ADAPTERS[KIND].open("bnpl", at.told, middle, at.clock)
            for number in ("T0000000001", "T0000000002"):
                await channel.pay(at.request(number), timeout_s=TIMEOUT_S)
        first, second = (address.partition("?")[2] for address in addresses)
        body = b'{"event_id": "E1", "session": {"status": "COMPLETED"}}'

        async def read(query: str, sent: bytes = body) -> Any:
            notice = Notice(headers={}, body=sent, query=query)
            return await at.channel.read_notification(notice, timeout_s=1)

        fact = await read(first)
        assert (fact.outcome, fact.trade_no, fact.event_id) == (Outcome.ASK, "T0000000001", "E1")
        assert (await read(second)).trade_no == "T0000000002"
        for query, sent in (
            (first.replace("T0000000001", "T0000000002"), body),
            (first[:-1] + ("0" if first[-1] != "0" else "1"), body),
            (first.partition("&")[0], body),
            ("trade_no=&token=", body),
            ("trade_no=T0000000001&token=%ff", body),
            ("", body),
            (first, body[:-1]),
            (first, b"[]"),
            (first, b"{}"),
            (first, b"x" * 70_000),
        ):
            with pytest.raises(ChannelProtocolError):
                await read(query, sent)

    play(tmp_path, script)


def _swap(old: bytes, new: bytes) -> Callable[[httpx.Response], httpx.Response]:
    return lambda answer: httpx.Response(
        answer.status_code, content=answer.content.replace(old, new)
    )


@pytest.mark.parametrize(
    "meddle",
    [
        _swap(b'"T0000000001"', b'"T0000000009"'),
        _swap(b'"CAPTURED"', b'"SPLENDID"'),
        _swap(b'"COMPLETED"', b'"SPLENDID"'),
        _swap(b'"captured_amount":1230', b'"captured_amount":"1230"'),
        lambda answer: httpx.Response(200, content=b"<html>"),
        lambda answer: httpx.Response(401),
        lambda answer: httpx.Response(404, content=b"{}"),
    ],
)
def test_an_answer_that_is_not_as_agreed_is_refused(
    meddle: Callable[[httpx.Response], httpx.Response], tmp_path: Path
) -> None:
    async def script(at: World) -> None:
        trade, opened = await at.open()
        await at.payer(opened, action="pay")
        async with httpx.AsyncClient(transport=Meddler(at.browser._transport, meddle)) as middle:
            channel = ADAPTERS[KIND].open("bnpl", at.told, middle, at.clock)
            with pytest.raises(ChannelProtocolError):
                await channel.query(trade, timeout_s=TIMEOUT_S)

    play(tmp_path, script)


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_a_conflict_or_a_fault_leaves_the_outcome_unknown(status: int, tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, _ = await at.open()
        busy = Meddler(at.browser._transport, lambda _: httpx.Response(status, content=b"{}"))
        async with httpx.AsyncClient(transport=busy) as middle:
            channel = ADAPTERS[KIND].open("bnpl", at.told, middle, at.clock)
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


def test_the_sandbox_refuses_who_and_what_it_does_not_know(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        sessions = f"{BASE}/klarna/payments/v1/sessions"
        pair = (at.told["username"], at.told["password"])
        stranger = await at.browser.post(sessions, json={}, auth=(pair[0], "x"))
        line = {"name": "tea", "total_amount": 1229}
        known = {
            "purchase_country": "DE",
            "purchase_currency": "EUR",
            "locale": "en-DE",
            "order_amount": 1230,
            "order_lines": [line],
        }
        wrong = [
            await at.browser.post(sessions, json=body, auth=pair)
            for body in ({}, known, known | {"order_amount": 1229, "purchase_currency": "JPY"})
        ]
        pages = f"{BASE}/klarna/hpp/v1/sessions"
        page = {"payment_session_url": f"{sessions}/unknown", "merchant_urls": {}, "options": {}}
        unplayed = await at.browser.post(pages, json=page, auth=pair)
        page["options"] = {"place_order_mode": "CAPTURE_ORDER"}
        missing = await at.browser.post(pages, json=page, auth=pair)

        assert stranger.status_code == 401
        assert {answer.status_code for answer in (*wrong, unplayed)} == {400}
        assert missing.status_code == 404
        assert missing.json()["error_code"] == "NOT_FOUND"

    play(tmp_path, script)


def test_a_bill_of_several_pages_is_read_and_other_days_are_left_out(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        for number in range(3):
            _, opened = await at.open(f"T000000010{number}")
            await at.payer(opened, action="pay")
        at.clock.forward(86_400)
        _, opened = await at.open("T0000000200")
        await at.payer(opened, action="pay")
        pair = (at.told["username"], at.told["password"])
        pages = [
            await at.browser.get(
                f"{BASE}/klarna/settlements/v1/transactions",
                params={"size": 2, "offset": offset},
                auth=pair,
            )
            for offset in (0, 2)
        ]
        file = b"[" + b",".join(page.content for page in pages) + b"]"
        whole = await at.channel.bill(DAY, timeout_s=TIMEOUT_S)

        assert len(read_bill(KIND, DAY, file).records) == 3
        assert read_bill(KIND, DAY, whole).records == read_bill(KIND, DAY, file).records
        assert len(read_bill(KIND, "2025-11-23", whole).records) == 1

    play(tmp_path, script)


def test_rows_that_stand_twice_or_are_missing_are_breaks_and_no_damage(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        _, opened = await at.open()
        await at.payer(opened, action="pay")
        file = await at.channel.bill(DAY, timeout_s=TIMEOUT_S)
        assert len(read_bill(KIND, DAY, file).records) == 2

    play(tmp_path, script, faults=Faults(bill_duplicate_ratio=1.0))


def row(kind: str, amount: Any, **changes: Any) -> dict[str, Any]:
    known = {
        "type": kind,
        "amount": amount,
        "currency_code": "EUR",
        "order_id": "O1",
        "capture_id": "C1",
        "capture_date": "2025-11-22T08:26:40Z",
        "merchant_reference1": "T0000000001",
    }
    return known | changes


def bill(*rows: Any, **changes: Any) -> bytes:
    pagination = {"count": len(rows), "total": len(rows), "offset": 0} | changes
    return json.dumps([{"transactions": rows, "pagination": pagination}]).encode()


def test_the_reader_knows_what_moves_money_and_what_does_not() -> None:
    file = bill(
        row("SALE", 1230),
        row("RETURN", 230, refund_id="F1", merchant_refund_reference="R1"),
        row("RETURN", 100, refund_id="F2", merchant_reference1=None),
        row("REVERSAL", 900, reversal_reference="krn:dispute:1"),
        row("FEE", 30),
        row("SALE", 50, capture_date="2025-11-21T23:59:59Z"),
    )

    assert [record[:5] for record in read_bill(KIND, DAY, file).records] == [
        ("PAY", "T0000000001", "", 12_30, "EUR"),
        ("REFUND", "T0000000001", "R1", 2_30, "EUR"),
        ("REFUND", "O1", "F2", 1_00, "EUR"),
        ("REFUND", "T0000000001", "krn:dispute:1", 9_00, "EUR"),  # Shows as a break.
    ]


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"{}",
        b"[]",
        b"[1]",
        bill(row("SALE", 1230))[:-1],
        bill(row("SALE", 1230), total=2),
        bill(row("SALE", 1230), count=2),
        bill(row("SALE", 1230), offset=1),
        bill("x"),
        bill(row("SURPRISE", 1230)),
        bill(row("SALE", "12.30")),
        bill(row("SALE", True)),
        bill(row("SALE", 0)),
        bill(row("SALE", 1230, currency_code="ZZZ")),
        bill(row("SALE", 1230, capture_date="2025-11-22T08:26:40")),
        bill(row("SALE", 1230, order_id=7)),
    ],
)
def test_a_damaged_bill_is_refused_whole(file: bytes) -> None:
    with pytest.raises(BillRefused):
        read_bill(KIND, DAY, file)


@pytest.mark.parametrize("name", ["username", "password", "callback_secret_hex", "locale"])
def test_a_setting_that_cannot_be_is_named(name: str, tmp_path: Path) -> None:
    async def script(at: World) -> None:
        for value in ("", "é"):
            if name == "locale" and value:
                continue
            with pytest.raises(ValueError, match=name):
                ADAPTERS[KIND].open("x", at.told | {name: value}, at.browser, at.clock)
        assert at.told["password"] not in str(vars(at.channel))

    play(tmp_path, script)
