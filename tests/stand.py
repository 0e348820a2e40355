"""A whole gateway on a free loopback port, for scenarios: real sockets, real files, own clock."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
import uvicorn

from gateway.clock import wall_clock_us
from gateway.demo.payer import payer_page
from gateway.domain.merchant import Algorithm, MerchantKey
from gateway.settings import Settings
from gateway.signing import sign, verify
from gateway.store.merchants import NewMerchant, create_merchant
from gateway.store.vault import Vault
from gateway.wiring import Gateway, build


class MovableClock:
    """The wall clock, moved forward at will."""

    def __init__(self) -> None:
        self.ahead_us = 0

    def __call__(self) -> int:
        return wall_clock_us() + self.ahead_us

    def advance_s(self, seconds: float) -> None:
        self.ahead_us += int(seconds * 1e6)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(condition: Any, *, what: str, timeout_s: float = 20.0) -> None:
    """Poll until a condition holds; fail with its name if it never does."""
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        if asyncio.get_running_loop().time() > deadline_s:
            raise AssertionError(f"waited {timeout_s} s in vain for: {what}")
        await asyncio.sleep(0.01)


@dataclass(slots=True)
class Shop:
    """A merchant: signs requests, hears notifications, answers as told."""

    new: NewMerchant
    gateway_url: str
    client: httpx.AsyncClient
    clock: MovableClock
    notify_url: str = ""
    answer: str = "success"
    heard: list[dict[str, str]] = field(default_factory=list)
    numbers: int = 0

    @property
    def key(self) -> MerchantKey:
        return MerchantKey(
            key_id=self.new.key_id,
            merchant_id=self.new.merchant_id,
            algorithm=Algorithm.HMAC_SHA256,
            secret=self.new.secret.encode(),
            public_key_pem=b"",
            platform_private_key_pem=b"",
            expires_at_us=0,
        )

    def params(self, **changes: Any) -> dict[str, Any]:
        self.numbers += 1
        order: dict[str, Any] = {
            "merchant_id": self.new.merchant_id,
            "out_trade_no": f"{self.new.merchant_id}-{self.numbers:08d}",
            "total_amount": "12.30",
            "subject": "明前龙井",
            "pay_type": "alipay",
            "notify_url": self.notify_url,
        }
        return {name: value for name, value in (order | changes).items() if value is not None}

    async def post(self, route: str, params: dict[str, Any], **changes: Any) -> httpx.Response:
        params = {"timestamp": str(self.clock() // 1000)} | params
        params["sign"] = sign(self.key, {k: str(v) for k, v in params.items()})
        return await self.send(route, json.dumps(params | changes).encode())

    async def send(
        self, route: str, body: bytes, content_type: str = "application/json"
    ) -> httpx.Response:
        return await self.client.post(
            f"{self.gateway_url}/api/payment/{route}",
            content=body,
            headers={"content-type": content_type},
        )

    async def ok(self, route: str, **params: Any) -> dict[str, str]:
        """Send a request that must succeed, and check the answer's signature."""
        response = await self.post(route, {"merchant_id": self.new.merchant_id} | params)
        answer: dict[str, str] = response.json()
        assert response.status_code == 200, answer
        assert verify(self.key, {k: str(v) for k, v in answer.items()}, answer["sign"])
        return answer

    async def create(self, **changes: Any) -> dict[str, str]:
        return await self.ok("create", **self.params(**changes))

    async def payer_page(self, pay_url: str) -> str:
        """Where the payer acts who opens this address."""
        return await payer_page(self.client, pay_url, f"{self.gateway_url}/sandbox")

    async def act_as_payer(self, pay_url: str, action: str = "pay", **form: Any) -> dict[str, Any]:
        response = await self.client.post(
            await self.payer_page(pay_url),
            data={"action": action, **form},
            headers={"accept": "application/json"},
        )
        assert response.status_code == 200, response.text
        shown: dict[str, Any] = response.json()
        return shown

    async def status(self, out_trade_no: str) -> str:
        self.clock.advance_s(0.001)  # A query of its own: the same bytes twice are refused.
        return (await self.ok("query", out_trade_no=out_trade_no))["trade_status"]

    async def hear(self, scope: Any, receive: Any, send: Any) -> None:
        """The merchant's notify_url, as an ASGI app."""
        body = (await receive())["body"]
        told = {name: str(value) for name, value in json.loads(body).items()}
        assert verify(self.key, told, told["sign"])
        self.heard.append(told)
        status = 200 if self.answer == "success" else 500
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": self.answer.encode()})


@dataclass(slots=True)
class Stand:
    """A running gateway and one shop."""

    gateway: Gateway
    shop: Shop
    clock: MovableClock

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return self.gateway.context.raw_reader.execute(sql, values).fetchall()

    @property
    def is_balanced(self) -> bool:
        totals = self.rows("SELECT currency, sum(amount_minor) FROM ledger_postings GROUP BY 1")
        return all(total == 0 for _, total in totals)


@asynccontextmanager
async def _served(app: Any, port: int, *, lifespan: Literal["on", "off"]) -> AsyncIterator[None]:
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=port,
            lifespan=lifespan,
            interface="asgi3",
            log_config=None,
            access_log=False,
        )
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or serving.done(), what="the server's start")
        yield
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def standing(var: Path, **settings: Any) -> AsyncIterator[Stand]:
    """Run a gateway with its embedded sandbox, and a shop that hears notifications."""
    clock = MovableClock()
    port, shop_port = free_port(), free_port()
    quiet = {"worker_poll_s": 0.02, "graph_refresh_interval_s": 0}
    settings = {**quiet, "risk_deadline_us": 1_000_000} | settings
    gateway = build(Settings(var=var, port=port, **settings), clock_us=clock)
    vault = Vault(var)
    made = await gateway.context.writer.run(
        lambda conn: create_merchant(conn, vault, "tea shop", now_us=clock())
    )
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        shop = Shop(made, f"http://127.0.0.1:{port}", client, clock)
        shop.notify_url = f"http://127.0.0.1:{shop_port}/notify"
        async with (
            _served(shop.hear, shop_port, lifespan="off"),
            _served(gateway.app, port, lifespan="on"),
        ):
            yield Stand(gateway, shop, clock)


def path_of(url: str) -> str:
    return urlsplit(url).path
