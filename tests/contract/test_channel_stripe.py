"""The Stripe adapter where it differs from the others, and what it must not believe."""

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.base import ChannelProtocolError, Notice, Outcome
from gateway.channels.registry import ADAPTERS
from gateway.channels.stripe import REPORT_COLUMNS
from gateway.channels.stripe_wire import to_minor, to_units
from gateway.domain.money import MINOR_DIGITS
from gateway.recon.bills import BillRefused, read_bill
from gateway.recon.formats.stripe import COLUMNS
from gateway.sandbox.faults import Faults
from gateway.sandbox.protocols import stripe_objects
from tests.contract.channel_world import BASE, World, run
from tests.meddler import Meddler
from tests.sandbox_world import TIMEOUT_S

KIND, DAY = "stripe", "2025-11-22"


def play(tmp_path: Path, script: Callable[[World], Any], **changes: Any) -> None:
    run(KIND, tmp_path, script, **changes)


@given(amount_minor=st.integers(1, 10**12), currency=st.sampled_from(sorted(MINOR_DIGITS)))
def test_an_amount_is_sent_exactly_or_not_at_all(amount_minor: int, currency: str) -> None:
    units = to_units(amount_minor, currency)
    if units is None:
        assert currency in {"MGA", "BHD", "JOD", "KWD", "OMR", "TND"}
    else:
        assert to_minor(units, currency) == amount_minor
        # The other side has a table of its own.
        assert stripe_objects.minor_of(units, currency, "amount") == amount_minor


@pytest.mark.parametrize(
    ("amount_minor", "currency", "units"),
    [
        (1230, "USD", 1230),
        (500, "JPY", 500),
        (5, "ISK", 500),
        (5, "UGX", 500),
        (1230, "TWD", 1230),
        (1230, "KWD", 1230),
        (1235, "KWD", None),
        (300, "MGA", 3),
        (301, "MGA", None),
    ],
)
def test_units_are_stripes_own(amount_minor: int, currency: str, units: int | None) -> None:
    assert to_units(amount_minor, currency) == units


def test_an_amount_that_stripe_cannot_say_is_refused_unasked(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        wanted = at.request(amount_minor=1235, currency="KWD")
        reply = await at.channel.pay(wanted, timeout_s=TIMEOUT_S)
        closed = await at.channel.close(at.trade_of(wanted), timeout_s=TIMEOUT_S)

        assert (reply.outcome, closed.outcome) == (Outcome.REJECTED, Outcome.CLOSED)

    play(tmp_path, script)


def test_closing_without_stripes_number_ends_what_was_opened(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, opened = await at.open()
        page = await at.payer_page(opened)
        for number in range(120):  # More than a page of others, all newer.
            at.clock.forward(0.001)
            await at.open(f"T1{number:08}")
        unnamed = replace(trade, channel_trade_no="")
        closed = await at.channel.close(unnamed, timeout_s=TIMEOUT_S)
        refused = await at.browser.post(page, data={"action": "pay"})

        assert (closed.outcome, closed.channel_trade_no) == (
            Outcome.CLOSED,
            opened.channel_trade_no,
        )
        assert refused.status_code == 409

    play(tmp_path, script)


def test_closing_without_stripes_number_finds_what_was_paid(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, opened = await at.open()
        await at.payer(opened, action="pay")
        unnamed = replace(trade, channel_trade_no="")
        assert (await at.channel.close(unnamed, timeout_s=TIMEOUT_S)).outcome is Outcome.PAID

    play(tmp_path, script)


def test_a_number_closed_before_it_was_opened_stays_dead(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        wanted = at.request()
        closed = await at.channel.close(at.trade_of(wanted), timeout_s=TIMEOUT_S)
        late = await at.channel.pay(wanted, timeout_s=TIMEOUT_S)

        assert (closed.outcome, late.outcome) == (Outcome.CLOSED, Outcome.REJECTED)

    play(tmp_path, script)


def test_a_refund_that_fails_after_it_succeeded_is_told_as_refused(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, opened = await at.open()
        await at.payer(opened, action="pay")
        known = await at.channel.query(trade, timeout_s=TIMEOUT_S)
        trade = replace(trade, channel_trade_no=known.channel_trade_no)
        done = await at.channel.refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        await at.browser.post(
            f"{BASE}/stripe/v1/test_helpers/refunds/{done.channel_refund_no}/expire",
            headers={"Authorization": f"Bearer {at.told['secret_key']}"},
        )
        await at.until(lambda: any(fact.outcome is Outcome.ASK for fact in at.ear.heard))
        (hint,) = [fact for fact in at.ear.heard if fact.outcome is Outcome.ASK]
        named = at.refund_of(2_30, channel_refund_no=done.channel_refund_no)
        after = await at.channel.query_refund(trade, named, timeout_s=TIMEOUT_S)

        assert done.outcome is Outcome.REFUNDED
        assert (hint.trade_no, hint.refund_no) == ("T0000000001", "R0000000001")
        assert after.outcome is Outcome.REJECTED

    play(tmp_path, script)


def test_a_slow_refund_is_found_by_our_number_and_told_when_done(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, opened = await at.open()
        await at.payer(opened, action="pay")
        first = await at.channel.refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        found = await at.channel.query_refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        at.clock.forward(3)
        await at.until(lambda: any(f.outcome is Outcome.REFUNDED for f in at.ear.heard))

        assert (first.outcome, found.outcome) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
        assert found.channel_refund_no == first.channel_refund_no != ""

    play(tmp_path, script, faults=Faults(slow_refund_ratio=1.0))


def signed(secret: str, body: bytes, at_s: int, scheme: str = "v1") -> str:
    return f"{scheme}={hmac.digest(secret.encode(), f'{at_s}.'.encode() + body, 'sha256').hex()}"


def test_only_what_stripe_signed_just_now_is_believed(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        _, opened = await at.open()
        await at.payer(opened, action="pay")
        await at.until(lambda: bool(at.ear.heard))
        body, now_s, secret = (
            at.ear.heard[0].raw,
            at.clock() // 1_000_000,
            at.told["webhook_secret"],
        )
        good = signed(secret, body, now_s)
        old_s = now_s - 301

        async def read(header: str, sent: bytes = body) -> Outcome:
            notice = Notice(headers={"stripe-signature": header}, body=sent)
            return (await at.channel.read_notification(notice, timeout_s=1)).outcome

        assert await read(f"t={now_s},{good}") is Outcome.PAID
        assert await read(f"t={now_s},v1={'0' * 64},{good},v0=x") is Outcome.PAID  # Being rolled.
        for header, sent in (
            (f"t={now_s},{good}", body.replace(b"1230", b"1231")),
            (f"t={now_s + 1},{good}", body),
            (f"t={old_s},{signed(secret, body, old_s)}", body),
            (f"t={now_s + 301},{signed(secret, body, now_s + 301)}", body),
            (f"t={now_s},{signed(secret, body, now_s, 'v0')}", body),
            (f"t={now_s},v1=", body),
            (f"t={now_s}", body),
            (f"t=1,t={now_s},{good}", body),
            (f"t=٣,{good}", body),
            ("", body),
            (f"t={now_s},{signed('whsec_other', body, now_s)}", body),
            (f"t={now_s},{signed(secret, b'[]', now_s)}", b"[]"),
            (f"t={now_s},{signed(secret, b'{}', now_s)}", b"{}"),
            (f"t={now_s},{signed(secret, b'x' * 300_000, now_s)}", b"x" * 300_000),
        ):
            with pytest.raises(ChannelProtocolError):
                await read(header, sent)

    play(tmp_path, script)


def test_events_that_prove_nothing_are_asked_about(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        secret, now_s = at.told["webhook_secret"], at.clock() // 1_000_000
        session = {
            "object": "checkout.session",
            "id": "cs_test_1",
            "client_reference_id": "T0000000001",
            "status": "complete",
            "payment_status": "unpaid",
            "payment_intent": "pi_1",
            "amount_total": 1230,
            "currency": "usd",
        }
        intent = {"object": "payment_intent", "metadata": {"trade_no": "T0000000001"}}
        for about in (session, intent):
            body = json.dumps({"id": "evt_1", "object": "event", "data": {"object": about}})
            header = f"t={now_s},{signed(secret, body.encode(), now_s)}"
            notice = Notice(headers={"stripe-signature": header}, body=body.encode())
            fact = await at.channel.read_notification(notice, timeout_s=1)
            assert (fact.outcome, fact.trade_no) == (Outcome.ASK, "T0000000001")

    play(tmp_path, script)


def _swap(old: bytes, new: bytes) -> Callable[[httpx.Response], httpx.Response]:
    return lambda answer: httpx.Response(
        answer.status_code, content=answer.content.replace(old, new)
    )


@pytest.mark.parametrize(
    "meddle",
    [
        _swap(b'"T0000000001"', b'"T0000000009"'),
        _swap(b'"open"', b'"splendid"'),
        _swap(b'"usd"', b'"zzz"'),
        _swap(b"1230", b'"1230"'),
        lambda answer: httpx.Response(200, content=b"<html>"),
        lambda answer: httpx.Response(401, content=b"{}"),
        lambda answer: httpx.Response(404, content=b"{}"),
    ],
)
def test_an_answer_that_is_not_as_agreed_is_refused(
    meddle: Callable[[httpx.Response], httpx.Response], tmp_path: Path
) -> None:
    async def script(at: World) -> None:
        trade, _ = await at.open()
        async with httpx.AsyncClient(transport=Meddler(at.browser._transport, meddle)) as middle:
            channel = ADAPTERS[KIND].open("stripe", at.told, middle, at.clock)
            with pytest.raises(ChannelProtocolError):
                await channel.query(trade, timeout_s=TIMEOUT_S)

    play(tmp_path, script)


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_a_conflict_or_a_fault_leaves_the_outcome_unknown(status: int, tmp_path: Path) -> None:
    async def script(at: World) -> None:
        trade, _ = await at.open()
        busy = Meddler(at.browser._transport, lambda _: httpx.Response(status, content=b"{}"))
        async with httpx.AsyncClient(transport=busy) as middle:
            channel = ADAPTERS[KIND].open("stripe", at.told, middle, at.clock)
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


@pytest.mark.parametrize(("name", "value"), [("secret_key", "pk_test_1"), ("webhook_secret", "x")])
def test_a_setting_that_cannot_be_is_named(name: str, value: str, tmp_path: Path) -> None:
    async def script(at: World) -> None:
        with pytest.raises(ValueError, match=name):
            ADAPTERS[KIND].open("x", at.told | {name: value}, at.browser, at.clock)
        assert at.told["secret_key"] not in repr(at.channel) + str(vars(at.channel))

    play(tmp_path, script)


HEAD = ",".join(COLUMNS)
CHARGE = "txn_1,2025-11-22 08:26:40,usd,12.30,0.66,11.64,charge,ch_1,12.30,usd,pi_1,T0000000001,"
REFUND = "txn_2,2025-11-22 09:00:00,usd,-2.30,0.00,-2.30,refund,re_1,-2.30,usd,pi_1,T0000000001,R1"


def bill(*rows: str) -> bytes:
    return "".join(f"{row}\n" for row in (HEAD, *rows)).encode()


def test_reader_and_adapter_agree_on_the_columns() -> None:
    assert COLUMNS == REPORT_COLUMNS


def test_the_reader_knows_what_moves_money_and_what_does_not() -> None:
    rows = read_bill(
        KIND,
        DAY,
        bill(
            CHARGE,
            REFUND,
            "txn_3,2025-11-22 09:00:00,usd,-50.00,0.00,-50.00,payout,po_1,,,,,",
            "txn_4,2025-11-22 09:00:01,usd,-3.00,15.00,-18.00,dispute,dp_1,-3.00,usd,pi_1,T1,",
            "txn_5,2025-11-22 09:00:02,usd,2.30,0.00,2.30,refund_failure,re_1,2.30,usd,pi_1,T1,R1",
            "txn_6,2025-11-22 09:00:03,usd,9.10,0.00,9.10,charge,ch_6,1000,jpy,pi_6,,",
            "txn_7,2025-11-22 09:00:04,usd,-1.00,0.00,-1.00,refund,re_7,-1.00,usd,pi_6,,",
        ),
    ).records

    assert [record[:5] for record in rows] == [
        ("PAY", "T0000000001", "", 12_30, "USD"),
        ("REFUND", "T0000000001", "R1", 2_30, "USD"),
        ("REFUND", "T1", "dp_1", 3_00, "USD"),  # Under Stripe's number: shows as a break.
        ("PAY", "T1", "re_1", 2_30, "USD"),
        ("PAY", "pi_6", "", 1000, "JPY"),  # What the payer saw, not what was settled.
        ("REFUND", "pi_6", "re_7", 1_00, "USD"),
    ]


@pytest.mark.parametrize(
    "file",
    [
        b"",
        bill(CHARGE)[:-1],
        bill(CHARGE).replace(b"gross", b"grass"),
        bill(CHARGE.replace("11.64", "11.65")),
        bill(CHARGE.replace("12.30,usd", "12.3,usd")),
        bill(CHARGE.replace("12.30,usd", "0.00,usd")),
        bill(CHARGE.replace("11-22", "11-21")),
        bill(CHARGE.replace(" 08:26:40", "T08:26:40")),
        bill(CHARGE.replace("charge", "surprise")),
        bill(CHARGE.replace("usd", "zzz")),
        bill(CHARGE[: CHARGE.rindex(",")]),
        bill(CHARGE).replace(b"T0000000001", b"T\xff"),
        bill(CHARGE.replace("T0000000001", '"T0000000001')),
    ],
)
def test_a_damaged_bill_is_refused_whole(file: bytes) -> None:
    with pytest.raises(BillRefused):
        read_bill(KIND, DAY, file)


def test_an_empty_day_is_a_bill_and_a_row_that_stands_twice_is_seen_twice() -> None:
    assert read_bill(KIND, DAY, bill()).records == ()
    assert len(read_bill(KIND, DAY, bill(CHARGE, CHARGE)).records) == 2


def test_the_sandbox_keeps_the_amounts_of_special_currencies(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        for number, currency in enumerate(("ISK", "KWD", "JPY", "MGA", "UGX")):
            wanted: Mapping[str, Any] = {"amount_minor": 1200, "currency": currency}
            trade, opened = await at.open(f"T000000010{number}", **wanted)
            await at.payer(opened, action="pay")
            known = await at.channel.query(trade, timeout_s=TIMEOUT_S)
            assert (known.amount_minor, known.currency) == (1200, currency)
        records = read_bill(KIND, DAY, await at.channel.bill(DAY, timeout_s=TIMEOUT_S)).records
        assert {record.amount_minor for record in records} == {1200}
        assert len(records) == 5

    play(tmp_path, script)
