"""Accounts at payment systems, fees, failover, ledger and settlement, through the real doors."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.channels.base import ChannelReply, Outcome, PayRequest
from gateway.channels.sandbox import SandboxChannel
from gateway.clock import TestClock
from gateway.payments.settlement import business_day
from gateway.sandbox.protocols.registry import account as told
from tests.stand import Stand, standing, until

DAY_S = 86_400


class Operator:
    """Somebody with the token."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self._headers = {
            "Authorization": f"Bearer {stand.gateway.admin_token}",
            "X-Actor": "Li",
        }

    async def do(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        answer = await self._stand.shop.client.request(
            method,
            f"{self._stand.shop.gateway_url}/admin{path}",
            json=body,
            headers=self._headers,
        )
        assert answer.status_code == status, answer.text
        return answer.json()


def account(var: Path, stand: Stand, **changes: Any) -> dict[str, Any]:
    settings = dict(told("sandbox", var, f"{stand.shop.gateway_url}/sandbox"))
    return {
        "merchant_id": stand.shop.new.merchant_id,
        "kind": "sandbox",
        "settings": settings,
        "pay_types": ["alipay", "wechat"],
        "priority": 10,
        "fee_ppm": 6_000,
        "cost_ppm": 2_000,
        "reason": "contract signed",
    } | changes


async def paid(stand: Stand, **changes: str) -> dict[str, str]:
    order = await stand.shop.create(**changes)
    await stand.shop.act_as_payer(order["pay_url"])
    number = order["out_trade_no"]
    await until(
        lambda: (
            stand.rows("SELECT status FROM orders WHERE out_trade_no = ?", number) == [("SUCCESS",)]
        ),
        what="the payment",
    )
    return order


def balances(stand: Stand) -> dict[str, int]:
    return dict(stand.rows("SELECT account, sum(amount_minor) FROM ledger_postings GROUP BY 1"))


def test_an_account_serves_its_merchant_and_charges_its_fee(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            operator = Operator(stand)
            await operator.do("POST", "/channel-accounts/tea-own", account(tmp_path, stand))
            order = await paid(stand, total_amount="100.00")
            half = await stand.shop.ok(
                "refund",
                out_trade_no=order["out_trade_no"],
                refund_amount="50.00",
                refund_reason="cold",
            )
            merchant = f"merchant:{stand.shop.new.merchant_id}"
            after_half = balances(stand)
            await stand.shop.ok(
                "refund",
                out_trade_no=order["out_trade_no"],
                refund_amount="50.00",
                refund_reason="also cold",
            )

            assert half["refund_status"] == "SUCCESS"
            assert after_half == {
                "channel:tea-own": 50_00,
                merchant: -(50_00 - 30),
                "income:fees": -30,
                "expense:tea-own": 10,
                "payable:tea-own": -10,
            }
            assert set(balances(stand).values()) == {0}
            listed = await operator.do("GET", "/channel-accounts")
            (shown,) = listed["accounts"]
            assert shown["settings"]["secret_hex"] == "***"  # noqa: S105 - that none is shown
            trial = await operator.do("GET", "/ledger/trial-balance")
            assert trial["balanced"]

    asyncio.run(scenario())


def test_a_paused_account_takes_no_new_payment_and_finishes_the_old(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            operator = Operator(stand)
            body = account(tmp_path, stand)
            await operator.do("POST", "/channel-accounts/tea-own", body)
            old = await stand.shop.create()
            hidden = {**body, "settings": body["settings"] | {"secret_hex": "***"}}
            paused = {**hidden, "active": False, "version": 1, "reason": "audit"}
            await operator.do("PUT", "/channel-accounts/tea-own", paused)
            await operator.do("PUT", "/channel-accounts/tea-own", paused, status=409)
            new = await stand.shop.create()
            await stand.shop.act_as_payer(old["pay_url"])
            await until(
                lambda: ("SUCCESS", "tea-own") in stand.rows("SELECT status, channel FROM orders"),
                what="the old payment",
            )

            by_number = dict(stand.rows("SELECT out_trade_no, channel FROM orders"))
            assert by_number[new["out_trade_no"]] == "sandbox"

    asyncio.run(scenario())


def test_a_silent_account_is_left_only_when_it_holds_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            operator = Operator(stand)
            dead = account(tmp_path, stand, priority=1)
            dead["settings"]["base_url"] = "http://127.0.0.1:9"
            await operator.do("POST", "/channel-accounts/tea-dead", dead)
            first = await stand.shop.post("create", stand.shop.params(pay_type="wechat"))
            for _ in range(4):
                await stand.shop.post("create", stand.shop.params(pay_type="wechat"))
            out = (await operator.do("GET", "/channel-accounts"))["out"]
            later = await stand.shop.create(pay_type="wechat")

            assert first.status_code == 503
            assert out == ["tea-dead"]
            channels = stand.rows("SELECT channel, status FROM orders ORDER BY created_at_us")
            # Whose outcome is unknown stays where it was asked; the next one goes elsewhere.
            assert channels[:5] == [("tea-dead", "CREATED")] * 5
            assert channels[5] == ("sandbox", "WAIT_PAY")
            assert later["pay_url"]

    asyncio.run(scenario())


class Refusing(SandboxChannel):
    """An account that refuses every payment for good."""

    asked = 0

    async def pay(self, request: PayRequest, *, timeout_s: float) -> ChannelReply:
        self.asked += 1
        return ChannelReply(outcome=Outcome.REJECTED, trade_no=request.trade_no)


def test_an_account_that_refuses_for_good_is_followed_by_the_next(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            context = stand.gateway.context
            refusing = Refusing(
                "http://127.0.0.1:9",
                b"secret",
                stand.shop.client,
                clock_us=stand.clock,
                name="tea-refusing",
            )
            context.channels["tea-refusing"] = refusing
            context.routes.use([("", "wechat", "tea-refusing"), ("", "wechat", "sandbox")])
            order = await stand.shop.create(pay_type="wechat")
            context.routes.use([("", "wechat", "tea-refusing")])
            alone = await stand.shop.post("create", stand.shop.params(pay_type="wechat"))

            assert refusing.asked == 2
            rows = stand.rows(
                "SELECT channel, tried_channels, status FROM orders ORDER BY created_at_us"
            )
            assert rows == [
                ("sandbox", "tea-refusing", "WAIT_PAY"),
                ("tea-refusing", "", "CLOSED"),
            ]
            assert order["prepay_id"]
            assert alone.json()["pay_url"] == ""

    asyncio.run(scenario())


def test_a_day_is_settled_once_paid_out_once_and_debts_carry_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, worker=False) as stand:
            operator = Operator(stand)
            await operator.do("POST", "/channel-accounts/tea-own", account(tmp_path, stand))
            await paid(stand, total_amount="100.00")
            second = await paid(stand, total_amount="10.00")
            stand.clock.advance_s(DAY_S)
            await stand.shop.ok(
                "refund",
                out_trade_no=second["out_trade_no"],
                refund_amount="10.00",
                refund_reason="cold",
            )
            settled = await operator.do("POST", "/settlements/run", {"day": _day(stand, -1)})
            again = await operator.do("POST", "/settlements/run", {"day": _day(stand, -1)})
            await operator.do("POST", "/settlements/run", {"day": _day(stand, 0)}, status=400)
            (row,) = (await operator.do("GET", "/settlements"))["settlements"]
            number, merchant_id = row["settlement_no"], row["merchant_id"]
            path = f"/settlements/{merchant_id}/{number}/paid-out"
            await operator.do("POST", path, {"reference": "BANK-1"})
            await operator.do("POST", path, {"reference": "BANK-2"}, status=409)
            stand.clock.advance_s(DAY_S)
            in_debt = await operator.do("POST", "/settlements/run", {"day": _day(stand, -1)})
            await paid(stand, total_amount="50.00")
            stand.clock.advance_s(DAY_S)
            third = await operator.do("POST", "/settlements/run", {"day": _day(stand, -1)})
            rows = (await operator.do("GET", "/settlements"))["settlements"]

            assert (settled["made"], again["made"], in_debt["made"], third["made"]) == (1, 0, 0, 1)
            assert (row["paid_minor"], row["fees_minor"], row["net_minor"]) == (
                110_00,
                66,
                110_00 - 66,
            )
            newest = rows[0]
            # The refund (10.00 less its fee of 0.06 given back) was owed to us meanwhile.
            assert newest["net_minor"] == 50_00 - 30 - (10_00 - 6)
            assert newest["net_minor"] == (
                newest["carried_minor"]
                + newest["paid_minor"]
                - newest["refunded_minor"]
                - newest["fees_minor"]
            )
            assert stand.is_balanced
            assert balances(stand)[f"merchant:{merchant_id}"] == 0
            assert balances(stand)["bank:settlement"] == -(110_00 - 66)
            now_us = stand.clock()
            span = f"from_us={now_us - 9 * DAY_S * 1_000_000}&until_us={now_us}"
            statement = await operator.do("GET", f"/ledger/statements/{merchant_id}?{span}")
            assert (statement["opening_minor"], statement["closing_minor"]) == (0, 0)
            assert sum(line["change_minor"] for line in statement["lines"]) == 0

    asyncio.run(scenario())


def _day(stand: Stand, offset: int) -> str:
    return business_day(stand.gateway.context.clock_us() + offset * DAY_S * 1_000_000)


def test_the_test_clock_moves_every_process_on_the_folder_and_only_forward(tmp_path: Path) -> None:
    one, other = TestClock(tmp_path), TestClock(tmp_path)
    before_us = other()
    one.advance(DAY_S)
    other._look_at_ns = 0

    assert other() - before_us >= DAY_S * 1_000_000
    assert TestClock(tmp_path)() - before_us >= DAY_S * 1_000_000
    for seconds in (-1, 500 * DAY_S):
        with pytest.raises(ValueError, match="forward"):
            one.advance(seconds)


def test_where_money_is_real_there_is_no_sandbox_and_no_account_at_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, sandbox_mode=False) as stand:
            base = stand.shop.gateway_url
            sandbox = await stand.shop.client.get(f"{base}/sandbox/healthz")
            told = await Operator(stand).do("GET", "/channel-accounts")

            assert sandbox.status_code == 404
            assert stand.gateway.context.channels == {}
            assert told["accounts"] == []
            await Operator(stand).do("POST", "/test-clock/advance", {"seconds": 1}, status=404)

    asyncio.run(scenario())
