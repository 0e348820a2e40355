"""A payment's whole life through the real doors: create, pay, hear, refund, close, late money."""

import asyncio
import json
from pathlib import Path

import pytest

from gateway.signing import sign
from gateway.store.database import Database
from tests.stand import Stand, standing, until

DAY_S = 86_400


def paid(stand: Stand) -> bool:
    return any(told["trade_status"] == "SUCCESS" for told in stand.shop.heard)


async def pay(stand: Stand, **changes: str) -> dict[str, str]:
    """Create an order, pay it, and wait until the shop has heard."""
    order = await stand.shop.create(**changes)
    await stand.shop.act_as_payer(order["pay_url"])
    heard_count = len(stand.shop.heard)
    await until(lambda: len(stand.shop.heard) > heard_count or paid(stand), what="the notification")
    return order


def test_a_payment_is_created_paid_heard_of_and_booked(tmp_path: Path, database: Database) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, database_url=database.url) as stand:
            order = await pay(stand)
            told = stand.shop.heard[0]
            found = await stand.shop.ok("query", out_trade_no=order["out_trade_no"])

            assert told["trade_no"] == order["trade_no"]
            assert (told["total_amount"], told["receipt_amount"]) == ("12.30", "12.30")
            assert (found["trade_status"], found["receipt_amount"]) == ("SUCCESS", "12.30")
            assert found["pay_time"]
            assert stand.is_balanced
            accounts = dict(stand.rows("SELECT account, amount_minor FROM ledger_postings"))
            assert accounts == {
                "channel:sandbox": 1230,
                f"merchant:{stand.shop.new.merchant_id}": -1230,
            }

    asyncio.run(scenario())


def test_wechat_orders_are_opened_at_the_channel_and_have_a_prepay_id(
    tmp_path: Path, database: Database
) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, database_url=database.url) as stand:
            order = await pay(stand, pay_type="wechat")

            assert order["prepay_id"]
            assert await stand.shop.status(order["out_trade_no"]) == "SUCCESS"

    asyncio.run(scenario())


def test_the_same_request_gets_the_first_answer_and_another_body_is_refused(
    tmp_path: Path, database: Database
) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, database_url=database.url) as stand:
            params = stand.shop.params()
            first = await stand.shop.ok("create", **params)
            stand.clock.advance_s(2)
            again = await stand.shop.ok("create", **params)
            other = await stand.shop.post("create", params | {"total_amount": "12.31"})

            assert again == first
            assert other.status_code == 409
            assert other.json()["error_code"] == "1001"
            assert other.json()["field"] == "out_trade_no"
            assert stand.rows("SELECT count(*) FROM orders") == [(1,)]
            assert stand.rows("SELECT count(*) FROM risk_events") == [(1,)]

    asyncio.run(scenario())


def test_64_simultaneous_identical_creates_give_one_order_and_one_answer(
    tmp_path: Path, database: Database
) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, database_url=database.url) as stand:
            params = stand.shop.params()
            answers = await asyncio.gather(*(stand.shop.ok("create", **params) for _ in range(64)))

            assert len({json.dumps(answer) for answer in answers}) == 1
            assert stand.rows("SELECT count(*) FROM orders") == [(1,)]
            assert stand.rows("SELECT count(*) FROM decisions") == [(1,)]

    asyncio.run(scenario())


def test_simultaneous_refunds_never_exceed_what_was_paid(
    tmp_path: Path, database: Database
) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, database_url=database.url) as stand:
            order = await pay(stand)
            number = order["out_trade_no"]
            base = {
                "merchant_id": stand.shop.new.merchant_id,
                "out_trade_no": number,
                "refund_amount": "1.00",
                "refund_reason": "broken cup",
            }
            answers = await asyncio.gather(
                *(
                    stand.shop.post("refund", base | {"out_refund_no": f"R{n:04d}"})
                    for n in range(20)
                )
            )
            codes = [answer.json().get("error_code", "SUCCESS") for answer in answers]

            assert codes.count("SUCCESS") == 12
            assert codes.count("1005") == 8
            assert stand.rows("SELECT paid_minor, refund_reserved_minor FROM orders") == [
                (1230, 1200)
            ]
            assert stand.is_balanced

    asyncio.run(scenario())


def test_partial_refunds_leave_the_order_paid_until_the_last_one(
    tmp_path: Path, database: Database
) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, database_url=database.url) as stand:
            number = (await pay(stand))["out_trade_no"]
            refund = {"out_trade_no": number, "refund_reason": "二手"}
            first = await stand.shop.ok("refund", **refund, refund_amount="2.30")
            halfway = await stand.shop.ok("query", out_trade_no=number)
            await stand.shop.ok("refund", **refund, refund_amount="10")
            await until(
                lambda: stand.rows("SELECT status FROM orders") == [("REFUND",)], what="REFUND"
            )
            too_much = await stand.shop.post(
                "refund",
                {"merchant_id": stand.shop.new.merchant_id, **refund, "refund_amount": "1"},
            )

            assert first["refund_status"] == "SUCCESS"
            assert (halfway["trade_status"], halfway["refund_status"]) == ("SUCCESS", "PARTIAL")
            assert halfway["refund_amount"] == "2.30"
            assert (too_much.status_code, too_much.json()["error_code"]) == (409, "1004")
            assert stand.is_balanced

    asyncio.run(scenario())


def test_a_refund_repeated_byte_for_byte_is_the_same_refund(
    tmp_path: Path, database: Database
) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, database_url=database.url) as stand:
            number = (await pay(stand))["out_trade_no"]
            params = {
                "merchant_id": stand.shop.new.merchant_id,
                "out_trade_no": number,
                "refund_amount": "1.00",
                "refund_reason": "late",
                "timestamp": str(stand.clock() // 1000),
            }
            params["sign"] = sign(stand.shop.key, params)
            body = json.dumps(params).encode()
            first = (await stand.shop.send("refund", body)).json()
            again = (await stand.shop.send("refund", body)).json()

            assert first["refund_no"] == again["refund_no"]
            assert stand.rows("SELECT count(*), sum(amount_minor) FROM refunds") == [(1, 100)]

    asyncio.run(scenario())


def test_an_unpaid_order_is_closed_after_its_time_and_the_shop_is_told(
    tmp_path: Path, database: Database
) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, database_url=database.url) as stand:
            order = await stand.shop.create()
            stand.clock.advance_s(1_801)
            await until(lambda: stand.shop.heard, what="the notification of the closing")

            assert stand.shop.heard[0]["trade_status"] == "CLOSED"
            assert await stand.shop.status(order["out_trade_no"]) == "CLOSED"
            assert stand.rows("SELECT kind FROM order_events") == [("RELEASED",)]

    asyncio.run(scenario())


def test_money_that_comes_after_closing_goes_to_suspense_and_back(
    tmp_path: Path, database: Database
) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, database_url=database.url) as stand:
            order = await stand.shop.create()
            stand.clock.advance_s(1_801)
            await until(lambda: stand.shop.heard, what="the closing")
            await stand.shop.act_as_payer(order["pay_url"], "late")
            await until(
                lambda: stand.rows("SELECT kind, status FROM refunds") == [("LATE", "SUCCESS")],
                what="the automatic refund",
            )

            assert await stand.shop.status(order["out_trade_no"]) == "CLOSED"
            assert stand.is_balanced
            suspense = (
                "SELECT sum(amount_minor) FROM ledger_postings WHERE account LIKE 'suspense%'"
            )
            assert stand.rows(suspense) == [(0,)]
            merchant = "SELECT count(*) FROM ledger_postings WHERE account LIKE 'merchant%'"
            assert stand.rows(merchant) == [(0,)]

    asyncio.run(scenario())


def test_a_callback_that_comes_twice_is_booked_once(tmp_path: Path, database: Database) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, database_url=database.url) as stand:
            order = await stand.shop.create()
            await stand.shop.act_as_payer(order["pay_url"], "duplicate")
            await until(lambda: stand.shop.heard, what="the notification")
            await until(
                lambda: 'verdict="REPEATED"' in _metrics(stand), what="the repeated callback"
            )

            assert stand.rows("SELECT count(*) FROM ledger_entries") == [(1,)]
            assert len(stand.shop.heard) == 1

    asyncio.run(scenario())


def _metrics(stand: Stand) -> str:
    from prometheus_client import generate_latest

    return generate_latest(stand.gateway.metrics.registry).decode()


def test_a_shop_that_fails_is_told_again_by_the_schedule_and_then_no_more(
    tmp_path: Path, database: Database
) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, database_url=database.url) as stand:
            stand.shop.answer = "fail"
            order = await stand.shop.create()
            await stand.shop.act_as_payer(order["pay_url"])
            for told_count, delay_s in enumerate(
                (120, 600, 1_800, 3_600, 7_200, 21_600, 43_200), start=1
            ):
                await until(
                    lambda n=told_count: len(stand.shop.heard) == n, what=f"try {told_count}"
                )
                await until(
                    lambda n=told_count: stand.rows("SELECT attempts FROM notifications") == [(n,)],
                    what="the note of the try",
                )
                stand.clock.advance_s(delay_s + 1)
            await until(
                lambda: (
                    stand.rows("SELECT status, attempts FROM notifications") == [("GIVEN_UP", 8)]
                ),
                what="the end of the schedule",
            )

            assert len(stand.shop.heard) == 8
            assert len({told["event_id"] for told in stand.shop.heard}) == 1

    asyncio.run(scenario())


def test_a_query_is_answered_once_and_a_stranger_learns_nothing(
    tmp_path: Path, database: Database
) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, database_url=database.url) as stand:
            number = (await stand.shop.create())["out_trade_no"]
            params = {
                "merchant_id": stand.shop.new.merchant_id,
                "out_trade_no": number,
                "timestamp": str(stand.clock() // 1000),
            }
            params["sign"] = sign(stand.shop.key, params)
            body = json.dumps(params).encode()
            first = await stand.shop.send("query", body)
            replayed = await stand.shop.send("query", body)
            foreign = await stand.shop.post("query", params | {"merchant_id": "M404"})

            assert first.status_code == 200
            assert (replayed.status_code, replayed.json()["error_code"]) == (401, "1002")
            assert (foreign.status_code, foreign.json()["error_code"]) == (401, "1002")

    asyncio.run(scenario())


def test_the_gateway_comes_back_with_the_same_risk_state(
    tmp_path: Path, database: Database
) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, database_url=database.url) as stand:
            for _ in range(5):
                await pay(stand)
        (tmp_path / "risk.snapshot").unlink(missing_ok=True)
        async with standing(tmp_path, database_url=database.url) as stand:
            engine = stand.gateway.context.risk
            assert engine is not None
            (last_seq,) = stand.rows("SELECT max(seq) FROM risk_events")[0]
            assert engine.next_seq == last_seq + 1

    asyncio.run(scenario())


@pytest.mark.parametrize("restart", [False, True])
def test_what_a_slow_channel_left_open_is_opened_by_the_worker(
    tmp_path: Path, database: Database, restart: bool
) -> None:
    async def scenario() -> None:
        async with standing(
            tmp_path, database_url=database.url, worker=not restart, channel_timeout_s=0.000_001
        ) as stand:
            busy = await stand.shop.post("create", stand.shop.params(pay_type="wechat"))

            assert (busy.status_code, busy.json()["error_code"]) == (503, "1006")
            assert stand.rows("SELECT status FROM orders") == [("CREATED",)]
        async with standing(tmp_path, database_url=database.url) as stand:
            stand.clock.advance_s(60)
            await until(
                lambda: stand.rows("SELECT status FROM orders") == [("WAIT_PAY",)],
                what="the worker to open it",
            )

    asyncio.run(scenario())
