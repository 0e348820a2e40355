"""The merchants' client and the published shell example, at a real gateway over a real socket."""

import asyncio
import os
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.domain.merchant import Algorithm
from gateway.sdk import (
    Client,
    InsufficientBalance,
    InvalidParameter,
    OrderNotFound,
    SignatureRefused,
)
from gateway.store.keys import rotate_key
from gateway.store.merchants import NewMerchant, create_merchant
from gateway.store.vault import Vault
from tests.stand import Stand, standing, until

NOTIFY_URL = "http://127.0.0.1:9/notify"
PAGE = (Path(__file__).parents[2] / "docs" / "SIGNING.md").read_text("utf-8")


def client_of(stand: Stand, merchant: NewMerchant | None = None, **keys: str) -> Client:
    merchant = merchant or stand.shop.new
    keys = keys or {"secret": merchant.secret}
    return Client(
        stand.shop.gateway_url,
        merchant.merchant_id,
        clock=lambda: stand.clock() / 1e6,
        **keys,  # type: ignore[arg-type]  # names of secrets, all str
    )


def test_create_pay_query_and_refund_by_the_client(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            with client_of(stand) as shop:
                number = shop.new_out_trade_no()
                context = {"payer": {"account_id": "u1"}, "client": {"ip": "203.0.113.9"}}
                order = await asyncio.to_thread(
                    shop.create, number, "12.30", "茶", "alipay", stand.shop.notify_url, context
                )
                again = await asyncio.to_thread(
                    shop.create, number, "12.30", "茶", "alipay", stand.shop.notify_url, context
                )
                await stand.shop.act_as_payer(order.pay_url)
                await until(lambda: stand.shop.heard, what="the notification")
                refund = await asyncio.to_thread(
                    shop.refund, number, Decimal("2.30"), "cold", "R-1"
                )
                repeat = await asyncio.to_thread(
                    shop.refund, number, Decimal("2.30"), "cold", "R-1"
                )
                states = await asyncio.gather(
                    *(asyncio.to_thread(shop.query, number) for _ in range(4))
                )

                assert again.trade_no == order.trade_no
                assert repeat.refund_no == refund.refund_no
                assert {state.trade_status for state in states} == {"SUCCESS"}
                assert states[0].refund_amount == Decimal("2.30")
                assert states[0].refund_status == "PARTIAL"
                with pytest.raises(InsufficientBalance):
                    await asyncio.to_thread(shop.refund, number, "10.01", "too much")
                with pytest.raises(OrderNotFound):
                    await asyncio.to_thread(shop.query, "nothing")
                with pytest.raises(InvalidParameter) as refused:
                    await asyncio.to_thread(shop.create, "N", "0", "茶", "alipay", NOTIFY_URL)
                assert refused.value.field == "total_amount"
                assert refused.value.verified

    asyncio.run(scenario())


def test_an_rsa2_merchant_is_served_and_answered_in_rsa2(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            vault = Vault(tmp_path)
            merchant = await stand.gateway.context.writer.run(
                lambda conn: create_merchant(
                    conn, vault, "RSA shop", Algorithm.RSA2, now_us=stand.clock()
                )
            )
            keys = {
                "private_key_pem": merchant.secret,
                "platform_public_key_pem": merchant.platform_public_key,
            }
            with client_of(stand, merchant, **keys) as shop:
                order = await asyncio.to_thread(
                    shop.create, "N1", "1.00", "茶", "alipay", NOTIFY_URL
                )
            with (
                client_of(stand, merchant, secret=merchant.platform_public_key) as forger,
                pytest.raises(SignatureRefused),
            ):
                await asyncio.to_thread(forger.query, "N1")

            assert order.trade_no

    asyncio.run(scenario())


def test_a_rotation_interrupts_nobody(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            vault, merchant_id = Vault(tmp_path), stand.shop.new.merchant_id
            with client_of(stand) as before:
                await asyncio.to_thread(before.create, "N1", "1.00", "茶", "alipay", NOTIFY_URL)
                new = await stand.gateway.context.writer.run(
                    lambda conn: rotate_key(conn, vault, merchant_id, 60, stand.clock())
                )
                stand.clock.advance_s(1)
                with client_of(stand, secret=new.secret) as after:
                    during = [
                        (await asyncio.to_thread(side.query, "N1")).out_trade_no
                        for side in (before, after)
                    ]
                    stand.clock.advance_s(60)
                    with pytest.raises(SignatureRefused):
                        await asyncio.to_thread(before.query, "N1")
                    at_the_end = await asyncio.to_thread(after.query, "N1")

            assert during == ["N1", "N1"]
            assert at_the_end.out_trade_no == "N1"

    asyncio.run(scenario())


@pytest.mark.skipif(not shutil.which("openssl") or not shutil.which("curl"), reason="no such tool")
def test_the_pages_shell_example_works_as_pasted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            order = await stand.shop.create()
            script = PAGE.split("```sh\n")[1].split("```")[0]
            script = script.replace("http://127.0.0.1:8000", stand.shop.gateway_url)
            done = await asyncio.to_thread(
                subprocess.run,
                ["/bin/sh", "-c", script],
                env={
                    "PATH": os.defpath,
                    "MERCHANT_ID": stand.shop.new.merchant_id,
                    "SECRET": stand.shop.new.secret,
                    "NUMBER": order["out_trade_no"],
                },
                capture_output=True,
                check=True,
                timeout=30,
            )

            assert b'"trade_status":"WAIT_PAY"' in done.stdout

    asyncio.run(scenario())
