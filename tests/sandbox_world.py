"""A sandbox, its adapter, a payer's browser and the gateway's ear, without a network."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from gateway.channels.base import (
    ChannelProtocolError,
    ChannelReply,
    Notice,
    PayRequest,
    RefundRequest,
    Trade,
)
from gateway.channels.registry import ADAPTERS
from gateway.channels.sandbox import SandboxChannel
from gateway.sandbox.app import Sandbox, build
from gateway.sandbox.faults import NO_FAULTS, Faults
from gateway.sandbox.protocols.registry import account

BASE = "http://sandbox.test/sandbox"
NOTIFY = "http://gateway.test/api/channel/sandbox/notify"
START_US = 1_763_800_000_000_000  # 2025-11-22T16:26:40+08:00
JSON = {"Accept": "application/json"}
TIMEOUT_S = 60.0  # Only an end to hanging: a busy disk may hold a commit for seconds.


@dataclass
class Clock:
    """A clock that moves when it is told to."""

    now_us: int = START_US

    def __call__(self) -> int:
        return self.now_us

    def forward(self, seconds: float) -> None:
        self.now_us += int(seconds * 1_000_000)


def house(var: Path, base: str, client: httpx.AsyncClient, clock: Clock) -> SandboxChannel:
    """The house's adapter, told what the sandbox in `var` tells it."""
    told = account("sandbox", var, base)
    channel = ADAPTERS["sandbox"].open("sandbox", told, client, clock)
    assert isinstance(channel, SandboxChannel)
    return channel


@dataclass
class Gateway:
    """The far end of the callbacks: reads them with the adapter under test."""

    channel: SandboxChannel | None = None
    accepts: bool = True
    heard: list[ChannelReply] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def notified(self, request: Request) -> Response:
        assert self.channel is not None
        try:
            notice = Notice(headers=request.headers, body=await request.body())
            fact = await self.channel.read_notification(notice, timeout_s=TIMEOUT_S)
        except ChannelProtocolError as error:
            self.refused.append(str(error))
            return Response(status_code=401)
        self.heard.append(fact)
        answer = self.channel.notification_answer(accepted=self.accepts)
        return Response(answer.body, answer.http_status)

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[Route("/api/channel/sandbox/notify", self.notified, methods=["POST"])]
        )


@dataclass
class World:
    """A sandbox, its adapter, a payer's browser and the gateway's ear."""

    sandbox: Sandbox
    channel: SandboxChannel
    browser: httpx.AsyncClient
    gateway: Gateway
    clock: Clock

    async def act(self, pay_url: str, **form: str) -> dict[str, Any]:
        answer = await self.browser.post(pay_url, data=form, headers=JSON)
        shown: dict[str, Any] = answer.json()
        return shown | {"http": answer.status_code}

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.01)

    def link(self, trade_no: str = "T0000000001", **changes: object) -> str:
        reply = self.channel.link(request(trade_no, **changes))
        assert reply is not None
        return reply.pay_url

    async def query(self, trade_no: str = "T0000000001") -> ChannelReply:
        return await self.channel.query(trade(trade_no), timeout_s=TIMEOUT_S)


def request(trade_no: str = "T0000000001", **changes: object) -> PayRequest:
    asked: dict[str, object] = {
        "trade_no": trade_no,
        "created_at_us": START_US,
        "pay_type": "alipay",
        "amount_minor": 12_30,
        "currency": "CNY",
        "subject": "茶 & <b>biscuits</b> = 100%+",
        "notify_url": NOTIFY,
        "return_url": "",
        "expires_at_s": START_US // 1_000_000 + 1_800,
    }
    return PayRequest(**cast("Any", asked | changes))


def trade(trade_no: str = "T0000000001", **changes: object) -> Trade:
    known: dict[str, object] = {
        "trade_no": trade_no,
        "channel_trade_no": "",
        "amount_minor": 12_30,
        "currency": "CNY",
        "created_at_us": START_US,
    }
    return Trade(**cast("Any", known | changes))


def refund_of(
    amount_minor: int, refund_no: str = "R0000000001", **changes: object
) -> RefundRequest:
    wanted: dict[str, object] = {
        "refund_no": refund_no,
        "channel_refund_no": "",
        "amount_minor": amount_minor,
        "currency": "CNY",
        "reason": "cold 凉了",
        "notify_url": NOTIFY,
        "created_at_us": START_US,
    }
    return RefundRequest(**cast("Any", wanted | changes))


@asynccontextmanager
async def world(
    var: Path, *, faults: Faults = NO_FAULTS, clock: Clock | None = None
) -> AsyncIterator[World]:
    clock = clock or Clock()
    gateway = Gateway()
    to_gateway = httpx.AsyncClient(transport=httpx.ASGITransport(gateway.app))
    sandbox = build(var, clock, faults=faults, client=to_gateway)
    host = Starlette(routes=[Mount("/sandbox", sandbox.app)])
    browser = httpx.AsyncClient(transport=httpx.ASGITransport(host))
    gateway.channel = channel = house(var, BASE, browser, clock)
    await sandbox.start()
    try:
        yield World(sandbox, channel, browser, gateway, clock)
    finally:
        await sandbox.stop()
        await browser.aclose()
        await to_gateway.aclose()


def run(
    var: Path,
    play: Callable[[World], Awaitable[None]],
    *,
    faults: Faults = NO_FAULTS,
    clock: Clock | None = None,
) -> None:
    async def main() -> None:
        async with world(var, faults=faults, clock=clock) as at:
            await play(at)

    asyncio.run(main())
