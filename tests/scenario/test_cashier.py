"""The cashier: what payers see behind `pay_url`, and that nobody sees it without the key."""

import asyncio
import re
from pathlib import Path

import httpx

from gateway.channels.base import ChannelReply, Outcome, PayRequest
from gateway.channels.sandbox import SandboxChannel
from tests.stand import Stand, standing, until

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148"


async def opened(stand: Stand, url: str, **headers: str) -> httpx.Response:
    return await stand.shop.client.get(url, headers=headers)


def test_the_page_shows_the_order_and_leads_to_the_channel(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            order = await stand.shop.create(subject='<b>茶</b> & "tea"')
            zh = await opened(stand, order["pay_url"], **{"accept-language": "zh-CN"})
            en = await opened(stand, order["pay_url"] + "&lang=en")
            phone = await opened(stand, order["pay_url"], **{"user-agent": PHONE})
            said = (await opened(stand, order["pay_url"], accept="application/json")).json()

            assert zh.status_code == en.status_code == 200
            assert "去支付" in zh.text
            assert "Pay now" in en.text
            assert "12.30" in zh.text
            assert "<b>茶" not in zh.text
            assert said["pay_url"] == order["channel_url"]
            assert said["status"] == "WAIT_PAY"
            assert "<svg" in zh.text
            assert "<svg" not in phone.text
            nonce = re.search(r'<script nonce="([^"]+)"', zh.text)
            assert nonce is not None
            assert f"'nonce-{nonce.group(1)}'" in zh.headers["content-security-policy"]
            await stand.shop.act_as_payer(order["pay_url"])
            await until(
                lambda: stand.rows("SELECT status FROM orders") == [("SUCCESS",)],
                what="the payment",
            )
            paid = await opened(stand, order["pay_url"])
            assert 'data-status="SUCCESS"' in paid.text
            assert "<script" not in paid.text

    asyncio.run(scenario())


def test_without_its_key_there_is_no_such_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            order = await stand.shop.create()
            other = await stand.shop.create()
            base = order["pay_url"].partition("?")[0]
            others_key = other["pay_url"].partition("?")[2]
            for url in (base, f"{base}?key=", f"{base}?key=é", f"{base}?{others_key}"):
                for path in (url, url.replace("?", "/status?", 1)):
                    answer = await opened(stand, path)
                    assert answer.status_code == 404, path
                    assert "12.30" not in answer.text

    asyncio.run(scenario())


class Scanned(SandboxChannel):
    """A channel whose payers scan a code, or whose page wants a form posted."""

    form: dict[str, str] = {}  # noqa: RUF012 - set by the test

    def link(self, request: PayRequest) -> ChannelReply | None:
        return ChannelReply(
            outcome=Outcome.ACCEPTED,
            trade_no=request.trade_no,
            pay_url="https://bank.example/front" if self.form else "weixin://wxpay/bizpayurl?pr=x",
            form=self.form,
        )


def test_a_code_is_drawn_to_scan_and_a_form_is_posted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            context = stand.gateway.context
            channel = Scanned(
                "http://127.0.0.1:9", b"s", stand.shop.client, clock_us=stand.clock, name="scan"
            )
            context.channels["scan"] = channel
            context.routes.use([("", "wechat", "scan")])
            code = await stand.shop.create(pay_type="wechat")
            desk = await opened(stand, code["pay_url"])
            phone = await opened(stand, code["pay_url"], **{"user-agent": PHONE})
            channel.form = {"txnAmt": "1230", "note": 'a"b'}
            form = await stand.shop.create(pay_type="wechat")
            posted = await opened(stand, form["pay_url"])

            assert 'data-code="weixin://wxpay/bizpayurl?pr=x"' in desk.text
            assert 'href="weixin://' not in desk.text
            assert 'href="weixin://' in phone.text
            assert 'action="https://bank.example/front"' in posted.text
            assert 'name="note" value="a&quot;b"' in posted.text
            assert (
                "form-action 'self' https://bank.example"
                in (posted.headers["content-security-policy"])
            )

    asyncio.run(scenario())


def test_payers_go_straight_to_the_channel_where_the_cashier_is_off(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path, cashier=False) as stand:
            order = await stand.shop.create()

            assert order["pay_url"] == order["channel_url"]
            assert "/sandbox/pay?" in order["pay_url"]

    asyncio.run(scenario())
