"""SIGKILL at any moment loses no acknowledged order, doubles none and leaves the ledger balanced.

The real `yumen serve` (gateway, worker and sandbox channel in one process) is killed again and
again while customers pay and return; each time it is started anew on the same folder. Customers
repeat what was not answered, as the API tells them to. The seed decides when it is killed and
what customers do; `YUMEN_KILL_SEED` chooses another one.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import httpx

from gateway.demo.merchants import Desk, Shop, open_shops, serving
from gateway.demo.payer import payer_page
from gateway.demo.traffic import sparse
from gateway.invariants import check_all
from gateway.offline import enrol
from gateway.queries.reader import open_reader
from gateway.sdk import (
    Busy,
    Declined,
    IllegalStatus,
    InsufficientBalance,
    OutcomeUnknown,
    Payment,
    Refund,
)
from gateway.store.database import embedded
from models.synthetic.payment import SyntheticPayment
from models.synthetic.stream import History, Stream
from tests.stand import free_port, until

KILLS = 20
CUSTOMERS = 6
START_TIMEOUT_S = 120.0
HEAR_TIMEOUT_S = 60.0
HOST = "127.0.0.1"
SEED = int(os.environ.get("YUMEN_KILL_SEED", "20261122"))  # noqa: TID251 - a test's own switch
T = TypeVar("T")


def now_us() -> int:
    return time.time_ns() // 1_000


class Victim:
    """The gateway's process."""

    def __init__(self, var: Path, port: int) -> None:
        self.url = f"http://{HOST}:{port}"
        self.log_path = var.parent / "gateway.log"
        self._command = [sys.executable, "-m", "gateway.cli", "serve", "--port", str(port)]
        self._environ = {
            **os.environ,  # noqa: TID251 - a child needs the machine's own
            "YUMEN_VAR": str(var),
            "YUMEN_NOTIFY_TIMEOUT_S": "2",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environ
            )

    async def ready(self, client: httpx.AsyncClient) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            assert self._process is not None
            assert self._process.poll() is None, self.log_path.read_text("utf-8")[-3_000:]
            try:
                if (await client.get(f"{self.url}/readyz")).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.02)
        raise AssertionError(f"not ready: {self.log_path.read_text('utf-8')[-3_000:]}")

    def end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(30)

    def discard(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@dataclass(slots=True)
class Customers:
    """What customers did and were told; every answer is kept to be compared at the end."""

    shops: list[Shop]
    stream: Stream
    http: httpx.AsyncClient
    dice: random.Random
    sandbox_url: str
    stop: bool = False
    created: dict[str, tuple[Shop, SyntheticPayment, str]] = field(default_factory=dict)
    paid: set[str] = field(default_factory=set)
    refunded: dict[str, tuple[Shop, str, Decimal, Refund]] = field(default_factory=dict)
    repeats: int = 0

    async def shop(self) -> None:
        """Live one customer's life over and over."""
        while not self.stop:
            shop = self.dice.choice(self.shops)
            payment = self.stream.next_payment(now_us())
            number = shop.client.new_out_trade_no()
            created = await self.create(shop, payment, number)
            if created is None or not created.pay_url:
                continue
            action = self.dice.choice(["pay", "pay", "pay", "duplicate"])
            if await self.pay(created.pay_url, action):
                self.paid.add(created.trade_no)
                if self.dice.random() < 0.5:
                    await self.give_back(shop, number, payment)

    async def create(self, shop: Shop, payment: SyntheticPayment, number: str) -> Payment | None:
        async def call() -> Payment | Declined:
            try:
                return await shop.client.create(
                    number,
                    Decimal(payment.amount_minor).scaleb(-2),
                    "kill test",
                    payment.pay_type,
                    shop.notify_url,
                    sparse(payment.context),
                )
            except Declined as refusal:
                return refusal

        answer = await self.until_answered(call)
        self.created[number] = (shop, payment, answer.trade_no)
        return answer if isinstance(answer, Payment) else None

    async def pay(self, pay_url: str, action: str) -> bool:
        async def call() -> dict[str, str]:
            page = await payer_page(self.http, pay_url, self.sandbox_url)
            shown = await self.http.get(page, headers={"accept": "application/json"})
            form = {"action": action, "otp": shown.json().get("otp_hint", "")}
            done = await self.http.post(page, data=form, headers={"accept": "application/json"})
            told: dict[str, str] = done.json()
            return told

        told = await self.until_answered(call)
        # A repeat after an unheard answer is told that the trade is paid already.
        return told.get("status") == "PAID" or told.get("code") == "TRADE_PAID"

    async def give_back(self, shop: Shop, number: str, payment: SyntheticPayment) -> None:
        # Two refunds of 60 % each: never more than one of them may succeed.
        part = Decimal(max(1, payment.amount_minor * 6 // 10)).scaleb(-2)
        for _ in range(2):
            refund_no = shop.client.new_out_trade_no()

            async def call(refund_no: str = refund_no) -> Refund:
                return await shop.client.refund(number, part, "kill test", refund_no)

            try:
                refund = await self.until_answered(call)
            except (IllegalStatus, InsufficientBalance):
                continue  # Not yet known to be paid, or more than is left: the right refusals.
            self.refunded[refund_no] = (shop, number, part, refund)

    async def until_answered(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat the same call until it is answered, as a client must after a broken line."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            try:
                return await call()
            except (Busy, OutcomeUnknown, httpx.HTTPError):
                self.repeats += 1
                await asyncio.sleep(0.05)
        raise AssertionError("no answer in time")


async def kill_again_and_again(victim: Victim, customers: Customers, dice: random.Random) -> None:
    for _ in range(KILLS):
        await victim.ready(customers.http)
        answered = len(customers.created)
        await until(lambda answered=answered: len(customers.created) > answered, what="an order")
        await asyncio.sleep(dice.uniform(0.0, 0.8))  # The moment of the kill is the test's input.
        assert victim.end(signal.SIGKILL) == -signal.SIGKILL
        victim.start()
    await victim.ready(customers.http)


async def everything_is_heard(customers: Customers, desk: Desk) -> None:
    await until(
        lambda: customers.paid <= desk.paid, what="all notifications", timeout_s=HEAR_TIMEOUT_S
    )


async def answers_repeat(customers: Customers) -> None:
    """The same request again gets the number it got first."""
    for number, (shop, payment, trade_no) in list(customers.created.items()):
        await customers.create(shop, payment, number)
        assert customers.created[number][2] == trade_no
    for refund_no, (shop, number, part, first) in customers.refunded.items():
        again = await shop.client.refund(number, part, "kill test", refund_no)
        assert again.refund_no == first.refund_no


async def scenario(var: Path) -> None:
    dice, fate = (random.Random(SEED + place) for place in range(2))  # noqa: S311 - simulated
    victim = Victim(var, free_port())
    merchants = [
        {
            "name": algorithm,
            "merchant_id": made.merchant_id,
            "algorithm": algorithm,
            "secret": made.secret,
            "platform_public_key": made.platform_public_key,
        }
        for algorithm in ("HMAC-SHA256", "RSA2")
        for made in [await asyncio.to_thread(_enrol, var, algorithm)]
    ]
    desk = Desk()
    stream = Stream(History(rows_count=20_000).population(), seed=SEED, now_us=now_us())
    async with (
        serving(desk, HOST) as desk_url,
        httpx.AsyncClient(timeout=10.0, trust_env=False) as http,
    ):
        shops = open_shops(merchants, victim.url, desk_url, http)
        desk.shops = {shop.merchant_id: shop for shop in shops}
        customers = Customers(shops, stream, http, dice, f"{victim.url}/sandbox")
        victim.start()
        try:
            await victim.ready(http)
            at_work = [asyncio.create_task(customers.shop()) for _ in range(CUSTOMERS)]
            await kill_again_and_again(victim, customers, fate)
            customers.stop = True
            await asyncio.gather(*at_work)
            await everything_is_heard(customers, desk)
            await answers_repeat(customers)
            assert victim.end(signal.SIGTERM) == 0
        finally:
            victim.discard()
    judge(var, customers, desk, merchants, victim)


def _enrol(var: Path, algorithm: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - see use
    return enrol(embedded(var), var, algorithm, algorithm, "", now_us=now_us())


def judge(
    var: Path,
    customers: Customers,
    desk: Desk,
    merchants: list[dict[str, str]],
    victim: Victim,
) -> None:
    acknowledged = {
        (shop.merchant_id, number): trade_no
        for number, (shop, _, trade_no) in customers.created.items()
    }
    assert len(acknowledged) >= KILLS
    assert customers.paid
    assert customers.refunded
    assert customers.repeats, "no kill was ever noticed by a customer"
    reader = open_reader(embedded(var))
    try:
        broken = [f for f in check_all(reader, now_us(), acknowledged) if not f.held]
    finally:
        reader.dispose()
    assert broken == []
    assert desk.counts["refused"] == 0
    log = victim.log_path.read_text("utf-8")
    assert "Traceback" not in log
    for merchant in merchants:
        assert merchant["secret"] not in log


def test_killing_the_gateway_twenty_times_loses_nothing(tmp_path: Path) -> None:
    print(f"seed {SEED}")  # noqa: T201 - shown when it fails

    asyncio.run(scenario(tmp_path / "var"))
