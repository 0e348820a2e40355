"""Every adapter against the sandbox through real sockets: opened, paid, known, given back."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.channels.base import Outcome, PayRequest, RefundRequest, Trade
from gateway.channels.registry import ADAPTERS
from gateway.clock import wall_clock_us
from gateway.sandbox.protocols.registry import account
from tests.contract.channel_world import CURRENCIES
from tests.live_sandbox import LiveSandbox, live_sandbox
from tests.sandbox_world import TIMEOUT_S

KINDS = ("bnpl", "paypal", "stripe")


@pytest.fixture
def at(tmp_path: Path) -> Iterator[LiveSandbox]:
    with live_sandbox(tmp_path) as sandbox:
        yield sandbox


@pytest.mark.parametrize("kind", KINDS)
def test_a_payment_is_opened_paid_and_given_back(kind: str, at: LiveSandbox) -> None:
    now_us, currency = wall_clock_us(), CURRENCIES[kind]
    request = PayRequest(
        trade_no="T0000000001",
        created_at_us=now_us,
        pay_type=kind,
        amount_minor=12_30,
        currency=currency,
        subject="茶 & biscuits",
        notify_url=at.notify_url,
        return_url="http://shop.test/back",
        expires_at_s=now_us // 1_000_000 + 1_800,
    )
    refund = RefundRequest(
        refund_no="R0000000001",
        channel_refund_no="",
        amount_minor=2_30,
        currency=currency,
        reason="cold 凉了",
        notify_url=at.notify_url,
        created_at_us=now_us,
    )

    async def main() -> list[Any]:
        async with httpx.AsyncClient(trust_env=False) as client:
            told = account(kind, at.var, at.base_url)
            channel = ADAPTERS[kind].open(kind, told, client, wall_clock_us)
            opened = await channel.pay(request, timeout_s=TIMEOUT_S)
            await asyncio.to_thread(at.payer, opened.pay_url, action="pay")
            trade = Trade(
                trade_no=request.trade_no,
                channel_trade_no=opened.channel_trade_no,
                amount_minor=request.amount_minor,
                currency=currency,
                created_at_us=now_us,
            )
            return [
                opened,
                await channel.query(trade, timeout_s=TIMEOUT_S),
                await channel.refund(trade, refund, timeout_s=TIMEOUT_S),
                await channel.query_refund(trade, refund, timeout_s=TIMEOUT_S),
                await channel.close(trade, timeout_s=TIMEOUT_S),
            ]

    outcomes = [reply.outcome for reply in asyncio.run(main())]
    at.wait(lambda: bool(at.heard))

    assert outcomes == [
        Outcome.ACCEPTED,
        Outcome.PAID,
        Outcome.REFUNDED,
        Outcome.REFUNDED,
        Outcome.PAID,
    ]
