"""What merchants ask beside create, query and refund: close, lists, bills, notifications."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

from gateway.payments.settlement import business_day
from tests.stand import Stand, standing, until

DAY_S = 86_400


async def paid(stand: Stand, **changes: str) -> dict[str, str]:
    order = await stand.shop.create(**changes)
    await stand.shop.act_as_payer(order["pay_url"])
    heard_count = len(stand.shop.heard)
    await until(lambda: len(stand.shop.heard) > heard_count, what="the notification")
    return order


async def asked(stand: Stand, route: str, **params: Any) -> dict[str, Any]:
    stand.clock.advance_s(0.001)  # The same bytes twice are refused.
    return await stand.shop.ok(route, **params)


async def refused(stand: Stand, route: str, **params: Any) -> str:
    stand.clock.advance_s(0.001)
    answer = await stand.shop.post(route, {"merchant_id": stand.shop.new.merchant_id} | params)
    assert answer.status_code in range(400, 504), answer.text
    code: str = answer.json()["error_code"]
    return code


def test_an_unpaid_order_is_closed_for_good_and_a_paid_one_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            open_order = await stand.shop.create()
            page = await stand.shop.payer_page(open_order["pay_url"])
            closed = await asked(stand, "close", out_trade_no=open_order["out_trade_no"])
            again = await asked(stand, "close", out_trade_no=open_order["out_trade_no"])
            payer = await stand.shop.client.post(
                page, data={"action": "pay"}, headers={"accept": "application/json"}
            )
            paid_order = await paid(stand)

            assert (closed["trade_status"], closed["status_reason"]) == ("CLOSED", "MERCHANT")
            assert again["trade_status"] == "CLOSED"
            assert payer.status_code == 409
            assert await refused(stand, "close", out_trade_no=paid_order["out_trade_no"]) == "1004"
            assert await refused(stand, "close", out_trade_no="nobody") == "1003"
            released = stand.rows("SELECT count(*) FROM order_events WHERE kind = 'RELEASED'")
            assert released == [(1,)]

    asyncio.run(scenario())


def test_a_payment_that_came_first_wins_over_the_closing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            order = await stand.shop.create()
            both = await asyncio.gather(
                stand.shop.act_as_payer(order["pay_url"]),
                asked(stand, "query", out_trade_no=order["out_trade_no"]),
            )
            assert both[0]["status"] == "PAID"
            assert await refused(stand, "close", out_trade_no=order["out_trade_no"]) == "1004"
            assert await stand.shop.status(order["out_trade_no"]) == "SUCCESS"

    asyncio.run(scenario())


def test_a_refund_is_found_by_either_number_and_only_by_its_merchant(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            order = await paid(stand)
            made = await stand.shop.ok(
                "refund",
                out_trade_no=order["out_trade_no"],
                refund_amount="2.30",
                refund_reason="cold",
                out_refund_no="MINE-1",
            )
            ours = await asked(stand, "refund/query", refund_no=made["refund_no"])
            theirs = await asked(stand, "refund/query", out_refund_no="MINE-1")

            assert ours["out_refund_no"] == theirs["out_refund_no"] == "MINE-1"
            assert (ours["refund_status"], ours["refund_amount"]) == ("SUCCESS", "2.30")
            assert ours["out_trade_no"] == order["out_trade_no"]
            assert await refused(stand, "refund/query", refund_no="R0") == "1009"
            assert await refused(stand, "refund/query") == "1001"

    asyncio.run(scenario())


def test_orders_are_listed_page_by_page_none_twice_none_missing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            made = [(await stand.shop.create())["out_trade_no"] for _ in range(7)]
            await paid(stand)
            seen: list[str] = []
            cursor = ""
            while True:
                further = {"cursor": cursor} if cursor else {}
                page = await asked(stand, "list", limit=3, trade_status="WAIT_PAY", **further)
                rows = json.loads(page["orders"])
                seen += [row["out_trade_no"] for row in rows]
                cursor = page["next_cursor"]
                if not cursor:
                    break

            assert seen == made[::-1]
            assert await refused(stand, "list", cursor="x") == "1001"
            assert await refused(stand, "list", limit=0) == "1001"
            assert await refused(stand, "list", trade_status="LOST") == "1001"
            assert await refused(stand, "list", start_time=1_000_000_000) == "1001"

    asyncio.run(scenario())


def test_the_bill_of_a_day_adds_up_and_proves_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            order = await paid(stand, total_amount="12.30")
            await stand.shop.ok(
                "refund",
                out_trade_no=order["out_trade_no"],
                refund_amount="2.30",
                refund_reason="cold",
                out_refund_no="MINE-1",
            )
            day = business_day(stand.clock())
            assert await refused(stand, "bill", day=day) == "1001"
            stand.clock.advance_s(DAY_S)
            answer = await asked(stand, "bill", day=day)
            file = answer["bill"].encode()
            first, _, rest = file.partition(b"\n")
            lines = rest.decode().splitlines()

            assert hashlib.sha256(file).hexdigest() == answer["sha256"]
            assert hashlib.sha256(rest).hexdigest() in first.decode()
            assert lines[1] == "#OPENING,CNY,0.00"
            assert f",PAY,{order['trade_no']},{order['out_trade_no']},,,12.30,12.30,CNY" in lines[2]
            assert lines[3].endswith(",MINE-1,-2.30,10.00,CNY")
            assert lines[4:] == ["#CLOSING,CNY,10.00", "#END,2"]
            assert await refused(stand, "bill", day="yesterday") == "1001"

    asyncio.run(scenario())


def test_notifications_are_shown_and_sent_again_on_demand(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            order = await paid(stand)
            log = await asked(stand, "notification/list", out_trade_no=order["out_trade_no"])
            (row,) = json.loads(log["notifications"])
            heard_count = len(stand.shop.heard)
            await asked(stand, "notification/resend", event_id=row["event_id"])
            await until(lambda: len(stand.shop.heard) > heard_count, what="the repeat")
            told_first, told_again = stand.shop.heard[0], stand.shop.heard[-1]

            assert (row["status"], row["attempts"], row["trade_status"]) == (
                "DELIVERED",
                "1",
                "SUCCESS",
            )
            assert told_first["event_id"] == told_again["event_id"] == row["event_id"]
            assert await refused(stand, "notification/resend", event_id="x") == "1009"
            assert await refused(stand, "notification/list", status="LOST") == "1001"

    asyncio.run(scenario())
