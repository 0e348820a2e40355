"""A sandbox, the adapter of any kind, a payer and the gateway's ear, without a network."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from gateway.channels.base import (
    Channel,
    ChannelProtocolError,
    ChannelReply,
    Notice,
    Outcome,
    PayRequest,
    RefundRequest,
    Trade,
)
from gateway.channels.registry import ADAPTERS
from gateway.sandbox.app import Sandbox, build
from gateway.sandbox.faults import NO_FAULTS, Faults
from gateway.sandbox.protocols.registry import account
from tests.sandbox_world import JSON, START_US, TIMEOUT_S, Clock

BASE: Final = "http://sandbox.test/sandbox"
NOTIFY: Final = "http://gateway.test/api/channel/{channel}/notify"
# What a kind of channel is paid in; CNY if it isn't here.
CURRENCIES: Final[dict[str, str]] = {
    "bnpl": "EUR",
    "evm": "USDC",
    "paypal": "EUR",
    "stripe": "USD",
}
# Where a kind of channel that pays out sends refunds to.
PAYEES: Final[dict[str, str]] = {"evm": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}


_KEYS: Final = tempfile.TemporaryDirectory()  # Making keys costs more than most of the tests.


def with_keys(kind: str, var: Path) -> dict[str, str]:
    """Put keys of a kind, made once for all tests, into a sandbox's folder; return the account."""
    account(kind, Path(_KEYS.name), BASE)
    shutil.copytree(Path(_KEYS.name) / "sandbox.keys", var / "sandbox.keys", dirs_exist_ok=True)
    return dict(account(kind, var, BASE))


@dataclass
class Ear:
    """The far end of the callbacks: reads them with the adapter under test."""

    channel: Channel | None = None
    accepts: bool = True
    heard: list[ChannelReply] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def notified(self, request: Request) -> Response:
        assert self.channel is not None
        notice = Notice(
            headers=dict(request.headers), body=await request.body(), query=request.url.query
        )
        try:
            fact = await self.channel.read_notification(notice, timeout_s=TIMEOUT_S)
            answer = self.channel.notification_answer(accepted=self.accepts)
            self.heard.append(fact)
        except ChannelProtocolError as error:
            self.refused.append(str(error))
            answer = self.channel.notification_answer(accepted=False)
        return Response(answer.body, answer.http_status, media_type=answer.content_type)


@dataclass
class World:
    """A sandbox, an adapter, a browser and the gateway's ear."""

    kind: str
    sandbox: Sandbox
    channel: Channel
    browser: httpx.AsyncClient
    ear: Ear
    clock: Clock
    told: dict[str, str]

    @property
    def currency(self) -> str:
        return CURRENCIES.get(self.kind, "CNY")

    def request(self, trade_no: str = "T0000000001", **changes: Any) -> PayRequest:
        known: dict[str, Any] = {
            "trade_no": trade_no,
            "created_at_us": self.clock(),
            "pay_type": min(ADAPTERS[self.kind].pay_types),
            "amount_minor": 12_30,
            "currency": self.currency,
            "subject": "茶 & <b>biscuits</b> = 100%+",
            "notify_url": NOTIFY.format(channel=self.kind),
            "return_url": "http://shop.test/back?order=1&x=茶",
            "expires_at_s": self.clock() // 1_000_000 + 1_800,
        }
        return PayRequest(**(known | changes))

    async def open(
        self, trade_no: str = "T0000000001", **changes: Any
    ) -> tuple[Trade, ChannelReply]:
        """Open a payment; return it as the gateway then knows it, and the answer."""
        request = self.request(trade_no, **changes)
        reply = self.channel.link(request) or await self.channel.pay(request, timeout_s=TIMEOUT_S)
        assert reply.outcome is Outcome.ACCEPTED, reply
        return self.trade_of(request, reply), reply

    def trade_of(self, request: PayRequest, reply: ChannelReply | None = None) -> Trade:
        return Trade(
            trade_no=request.trade_no,
            channel_trade_no=reply.channel_trade_no if reply else "",
            amount_minor=request.amount_minor,
            currency=request.currency,
            created_at_us=request.created_at_us,
            expires_at_s=request.expires_at_s,
        )

    def refund_of(
        self, amount_minor: int, refund_no: str = "R0000000001", channel_refund_no: str = ""
    ) -> RefundRequest:
        return RefundRequest(
            refund_no=refund_no,
            channel_refund_no=channel_refund_no,
            amount_minor=amount_minor,
            currency=self.currency,
            reason="cold 凉了",
            notify_url=NOTIFY.format(channel=self.kind),
            created_at_us=self.clock(),
            to_account=PAYEES.get(self.kind, ""),
        )

    async def payer(self, reply: ChannelReply, **form: str) -> dict[str, Any]:
        """Open what the payer was given, follow it to the payer's page, and act there."""
        address = await self.payer_page(reply)
        answer = await self.browser.post(address, data=form, headers=JSON)
        shown: dict[str, Any] = answer.json()
        return shown | {"http": answer.status_code}

    async def payer_page(self, reply: ChannelReply) -> str:
        """Return the address of the payer's page behind what `pay` or `link` answered.

        An address leads there by itself (or by posting the form); a code that isn't an address
        (``weixin://``, ``ethereum:``) is looked up as a phone's scanner would: the sandbox's
        ``/scan?code=`` redirects to the page.
        """
        if reply.form:
            first = await self.browser.post(reply.pay_url, data=dict(reply.form))
        elif reply.pay_url.startswith("http"):
            first = await self.browser.get(reply.pay_url)
        else:
            first = await self.browser.get(f"{BASE}/scan", params={"code": reply.pay_url})
        while first.is_redirect:
            assert first.next_request is not None
            first = await self.browser.send(first.next_request)
        assert first.status_code == 200, first.text
        return str(first.url)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def world(
    kind: str, var: Path, *, faults: Faults = NO_FAULTS, clock: Clock | None = None
) -> AsyncIterator[World]:
    clock, ear, told = clock or Clock(START_US), Ear(), with_keys(kind, var)
    listening = Starlette(
        routes=[Route(f"/api/channel/{kind}/notify", ear.notified, methods=["POST"])]
    )
    to_gateway = httpx.AsyncClient(transport=httpx.ASGITransport(listening))
    sandbox = build(var, clock, faults=faults, client=to_gateway, webhook_url=NOTIFY)
    host = Starlette(routes=[Mount("/sandbox", sandbox.app)])
    browser = httpx.AsyncClient(transport=httpx.ASGITransport(host))
    ear.channel = channel = ADAPTERS[kind].open(kind, told, browser, clock)
    await sandbox.start()
    try:
        yield World(kind, sandbox, channel, browser, ear, clock, told)
    finally:
        await sandbox.stop()
        await browser.aclose()
        await to_gateway.aclose()


def run(
    kind: str,
    var: Path,
    play: Callable[[World], Awaitable[None]],
    *,
    faults: Faults = NO_FAULTS,
    clock: Clock | None = None,
) -> None:
    async def main() -> None:
        async with world(kind, var, faults=faults, clock=clock) as at:
            await play(at)

    asyncio.run(main())
