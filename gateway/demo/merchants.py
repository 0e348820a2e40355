"""The demo's merchants: their keys, their clients, and the desk where they are notified."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from gateway.domain.merchant import MerchantStatus
from gateway.sdk import FAIL_ANSWER, SUCCESS_ANSWER, AsyncClient, NotAuthentic
from gateway.store.merchants import NewMerchant

# Name, signature algorithm, merchant category code: synthetic, every one.
MERCHANTS: Final = (
    ("Synthetic Books 合成书店", "HMAC-SHA256", "5942"),
    ("Synthetic Tea House 合成茶馆", "HMAC-SHA256", "5814"),
    ("Synthetic Phones 合成手机店", "RSA2", "5732"),
    ("Synthetic Travel 合成旅行社", "RSA2", "4722"),
    ("Synthetic Games 合成游戏", "HMAC-SHA256", "5816"),
)
# Applications that wait for a person at the console.
APPLICANTS: Final = (
    ("Synthetic Lottery 合成彩票店", "HMAC-SHA256", "7995"),
    ("Synthetic Flowers 合成花店", "HMAC-SHA256", "5992"),
)
_RSA: Final = "RSA2"
Enrol = Callable[[str, str, str, MerchantStatus], NewMerchant]  # (name, algorithm, mcc, status)


@dataclass(slots=True)
class Shop:
    """One demo merchant.

    Attributes:
        name: For people.
        client: Its own signing client.
        notify_url: Where it wants to hear of payments.
    """

    name: str
    client: AsyncClient
    notify_url: str

    @property
    def merchant_id(self) -> str:
        """Its name on the wire."""
        return self.client.merchant_id


def kept_merchants(path: Path, enrol: Enrol) -> list[dict[str, str]]:
    """Return the demo merchants' keys, making merchants on the first run.

    A demo started again on the same data must sign as the same merchants, and the gateway shows
    a secret only once; so the demo keeps them itself, readable by the owner alone.
    """
    if path.is_file():
        kept: list[dict[str, str]] = json.loads(path.read_text("utf-8"))
        return kept
    active, waits = MerchantStatus.ACTIVE, MerchantStatus.PENDING
    made = [{**asdict(enrol(*terms, active)), "name": terms[0]} for terms in MERCHANTS]
    for terms in APPLICANTS:
        enrol(*terms, waits)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(made, ensure_ascii=False, indent=1), "utf-8")
    draft.replace(path)
    return made


def open_shops(
    merchants: Sequence[dict[str, str]], gateway_url: str, desk_url: str, http: httpx.AsyncClient
) -> list[Shop]:
    """Give each merchant a client of the SDK with its own keys."""
    shops = []
    for merchant in merchants:
        keys: dict[str, Any] = {"secret": merchant["secret"]}
        if merchant["algorithm"] == _RSA:
            keys = {
                "private_key_pem": merchant["secret"],
                "platform_public_key_pem": merchant["platform_public_key"],
            }
        merchant_id = merchant["merchant_id"]
        client = AsyncClient(gateway_url, merchant_id, http=http, **keys)
        shops.append(Shop(merchant["name"], client, f"{desk_url}/notify/{merchant_id}"))
    return shops


@dataclass(slots=True)
class Desk:
    """Where notifications arrive: verified with the SDK, acted upon once per event.

    Attributes:
        heard: Events by `event_id`.
        counts: delivered, repeated, refused, and one count for each trade status.
    """

    shops: dict[str, Shop] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    paid: set[str] = field(default_factory=set)  # Trade numbers heard to be paid.
    counts: Counter[str] = field(default_factory=Counter)
    _waiting: dict[str, asyncio.Event] = field(default_factory=dict)

    def app(self) -> Starlette:
        """The merchants' web server."""
        route = Route("/notify/{merchant_id}", self._notified, methods=["POST"])
        return Starlette(routes=[route])

    async def _notified(self, request: Request) -> PlainTextResponse:
        shop = self.shops.get(request.path_params["merchant_id"])
        if shop is None:
            return PlainTextResponse(FAIL_ANSWER, 404)
        try:
            body = await request.body()
        except ClientDisconnect:  # The gateway died in the middle; it will send it again.
            return PlainTextResponse(FAIL_ANSWER, 400)
        try:
            told = shop.client.read_notification(body, request.headers.get("content-type", ""))
        except NotAuthentic:
            self.counts["refused"] += 1
            return PlainTextResponse(FAIL_ANSWER, 400)
        if told.event_id in self.heard:
            self.counts["repeated"] += 1
            return PlainTextResponse(SUCCESS_ANSWER)
        self.heard.add(told.event_id)
        self.counts["delivered"] += 1
        self.counts[told.trade_status] += 1
        if told.trade_status == "SUCCESS":
            self.paid.add(told.trade_no)
            waiting = self._waiting.pop(told.trade_no, None)
            if waiting is not None:
                waiting.set()
        return PlainTextResponse(SUCCESS_ANSWER)

    async def wait_paid(self, trade_no: str, timeout_s: float) -> bool:
        """Wait until the merchant has heard that an order is paid; False if not in time."""
        if trade_no in self.paid:
            return True
        event = self._waiting.setdefault(trade_no, asyncio.Event())
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            self._waiting.pop(trade_no, None)
            return False
        return True


class _QuietServer(uvicorn.Server):
    """A server that leaves the signals to the demo."""

    @contextmanager
    def capture_signals(self) -> Any:  # noqa: ANN401 - uvicorn's own signature
        yield


@asynccontextmanager
async def serving(desk: Desk, host: str) -> AsyncIterator[str]:
    """Serve the desk on a free port; the block gets its base URL."""
    config = uvicorn.Config(
        desk.app(), host=host, port=0, log_config=None, access_log=False, lifespan="off"
    )
    server = _QuietServer(config)
    task = asyncio.create_task(server.serve(), name="merchants")
    while not server.started:
        if task.done():
            await task
            raise RuntimeError("the merchants' server ended before it began")
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        await task
