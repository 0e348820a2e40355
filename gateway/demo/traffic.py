"""Synthetic payers and merchants at work: create, pay or not, refund, complain, review.

The pace is open-loop: a payment is due when it is due, whether or not the last one was answered,
because real payers don't wait for each other. What is under way at once is bounded.
"""

import asyncio
import heapq
import random
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Final

import httpx

from gateway.demo.merchants import Desk, Shop
from gateway.demo.payer import payer_page
from gateway.domain.money import to_major
from gateway.sdk import Busy, Declined, OutcomeUnknown, Payment, YumenError
from models.synthetic.payment import SyntheticPayment
from models.synthetic.stream import Stream
from risk.transaction import RiskContext

IN_FLIGHT_MAX: Final = 400
HEARING_TIMEOUT_S: Final = 20.0
REPEATS_MAX: Final = 3
LABEL_POLL_S: Final = 0.25
# What a payer does at the channel, and how often: honest ones, then fraudsters.
HONEST_ACTS: Final = (
    ("pay", 0.86),
    ("fail_then_pay", 0.04),
    ("delay", 0.03),
    ("duplicate", 0.03),
    ("abandon", 0.025),
    ("late", 0.015),
)
FRAUD_ACTS: Final = (("pay", 0.95), ("fail_then_pay", 0.05))
HONEST_KNOWS_CODE: Final = 0.95
FRAUDSTER_KNOWS_CODE: Final = 0.15
REFUND_SHARE: Final = 0.05
REVIEWED_SHARE: Final = 0.6  # The rest waits for the person at the console.
_JSON: Final = {"accept": "application/json"}


@dataclass(slots=True)
class Counts:
    """What has happened so far, and what was answered."""

    events: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    create_ms: list[float] = field(default_factory=list)
    acknowledged: dict[tuple[str, str], str] = field(default_factory=dict)
    paid: set[str] = field(default_factory=set)  # Trade numbers the payers paid.
    first_problem: str = ""

    def problem(self, kind: str, what: object) -> None:
        """Count something that should not happen, and keep the first of it."""
        self.events[kind] += 1
        self.first_problem = self.first_problem or f"{kind}: {what}"


@dataclass(slots=True, kw_only=True)
class World:
    """What the traffic needs.

    Attributes:
        shops: The merchants.
        desk: Where they hear of payments.
        stream: The payments to come.
        http: For payers and the operators' API.
        gateway_url: Where the operators' API is.
        sandbox_url: Where payers pay.
        admin_token: Lets the demo act as an operator.
        order_timeout_s: After this an unpaid order closes; a late payer pays a little later.
        clock_us: The time, microseconds since the epoch.
        random: Seeded.
    """

    shops: Sequence[Shop]
    desk: Desk
    stream: Stream
    http: httpx.AsyncClient
    gateway_url: str
    sandbox_url: str
    admin_token: str
    order_timeout_s: float
    clock_us: Callable[[], int]
    random: random.Random


class Traffic:
    """Streams payments until told to stop; see `counts`."""

    def __init__(self, world: World, rate_per_s: float) -> None:
        self.counts = Counts()
        self._world = world
        self._rate_per_s = rate_per_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._labels: list[tuple[int, str, str]] = []  # known_at_us, trade_no, label

    async def run(self, stop: asyncio.Event) -> None:
        """Send payments at the rate until `stop` is set."""
        labels = asyncio.create_task(self._deliver_labels(), name="labels")
        due_s = time.monotonic()
        try:
            while not stop.is_set():
                due_s = max(due_s + 1.0 / self._rate_per_s, time.monotonic() - 1.0)
                await _wait(stop, due_s - time.monotonic())
                if stop.is_set():
                    break
                if len(self._tasks) >= IN_FLIGHT_MAX:
                    self.counts.events["held_back"] += 1
                    continue
                self._start(self._world.stream.next_payment(self._world.clock_us()))
        finally:
            labels.cancel()
            await asyncio.gather(labels, return_exceptions=True)

    async def finish(self, timeout_s: float) -> None:
        """Let what is under way come to its end, then leave the rest to the gateway's schedule."""
        if self._tasks:
            _, unfinished = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
        desk = self._world.desk
        unheard = self.counts.paid - desk.paid
        await asyncio.gather(*(desk.wait_paid(trade_no, timeout_s) for trade_no in unheard))

    def _start(self, payment: SyntheticPayment) -> None:
        task = asyncio.create_task(self._guarded(payment))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, payment: SyntheticPayment) -> None:
        try:
            await self._live(payment)
        except (YumenError, httpx.HTTPError) as problem:
            self.counts.problem("failed", f"{type(problem).__name__}: {problem}")

    async def _live(self, payment: SyntheticPayment) -> None:
        """One payment's whole life, as merchant and payer see it."""
        shops = self._world.shops
        shop = shops[zlib.crc32(payment.merchant.encode()) % len(shops)]
        created = await self._create(shop, payment)
        if created is None:
            return
        pay_url = created.pay_url
        if created.risk_outcome == "REVIEW":
            pay_url = await self._review(created.trade_no, payment)
        if not pay_url:
            return
        if await self._pay(created.trade_no, pay_url, payment):
            await self._perhaps_refund(shop, created, payment)

    async def _create(self, shop: Shop, payment: SyntheticPayment) -> Payment | None:
        number = shop.client.new_out_trade_no()
        self.counts.events["created"] += 1
        amount = to_major(payment.amount_minor, payment.currency)
        started_s = time.perf_counter()
        for attempt in range(REPEATS_MAX):
            try:
                created = await shop.client.create(
                    number,
                    amount,
                    f"Synthetic order 合成订单 {number[-6:]}",
                    payment.pay_type,
                    shop.notify_url,
                    sparse(payment.context),
                    currency=payment.currency,
                )
            except Declined as refusal:
                self._answered(shop, number, refusal.trade_no, "DECLINE", started_s, payment)
                return None
            except (Busy, OutcomeUnknown) as problem:
                self.counts.events["repeated_creates"] += 1
                if attempt == REPEATS_MAX - 1:
                    self.counts.problem("unanswered", problem)
                await asyncio.sleep(0.2 * 2**attempt)
                continue
            self._answered(shop, number, created.trade_no, created.risk_outcome, started_s, payment)
            return created
        return None

    def _answered(
        self,
        shop: Shop,
        number: str,
        trade_no: str,
        outcome: str,
        started_s: float,
        payment: SyntheticPayment,
    ) -> None:
        counts = self.counts
        counts.create_ms.append((time.perf_counter() - started_s) * 1e3)
        counts.acknowledged[shop.merchant_id, number] = trade_no
        counts.outcomes[outcome] += 1
        counts.events["fraud" if payment.is_fraud else "honest"] += 1
        if payment.is_fraud and outcome != "APPROVE":
            counts.events["fraud_stopped"] += 1
        if payment.label_known_at_us is not None:
            label = "FRAUD" if payment.is_fraud else "GENUINE"
            heapq.heappush(self._labels, (payment.label_known_at_us, trade_no, label))

    async def _pay(self, trade_no: str, pay_url: str, payment: SyntheticPayment) -> bool:
        """Act as the payer at the channel; True if it was paid while we looked."""
        dice = self._world.random
        acts = FRAUD_ACTS if payment.is_fraud else HONEST_ACTS
        (act,) = dice.choices([name for name, _ in acts], [share for _, share in acts])
        await asyncio.sleep(dice.uniform(0.1, 1.5))
        if act == "abandon":
            self.counts.events["abandoned"] += 1
            return False
        page = await payer_page(self._world.http, pay_url, self._world.sandbox_url)
        code = await self._one_time_code(page, payment)
        if act == "fail_then_pay":
            self.counts.events["payment_failed"] += 1
            await self._post(page, {"action": "fail"})
            act = "pay"
        form = {"action": act, "otp": code}
        if act == "delay":
            form["delay_s"] = f"{dice.uniform(1.0, 5.0):.1f}"
        elif act == "late":
            form["delay_s"] = f"{self._world.order_timeout_s + dice.uniform(3.0, 8.0):.1f}"
        shown = await self._post(page, form)
        if shown.get("status") != "PAID":
            self.counts.events[act if "status" in shown else "payment_refused"] += 1
            return False
        self.counts.events["paid"] += 1
        self.counts.paid.add(trade_no)
        return True

    async def _one_time_code(self, page: str, payment: SyntheticPayment) -> str:
        """Open the payer's page; answer its challenge if the payer can."""
        shown = (await self._world.http.get(page, headers=_JSON)).json()
        if not shown.get("challenge"):
            return ""
        self.counts.events["challenged"] += 1
        knows = FRAUDSTER_KNOWS_CODE if payment.is_fraud else HONEST_KNOWS_CODE
        return str(shown["otp_hint"]) if self._world.random.random() < knows else "000000"

    async def _post(self, page: str, form: Mapping[str, str]) -> dict[str, Any]:
        answer = await self._world.http.post(page, data=dict(form), headers=_JSON)
        shown: dict[str, Any] = answer.json()
        return shown

    async def _perhaps_refund(
        self, shop: Shop, created: Payment, payment: SyntheticPayment
    ) -> None:
        dice = self._world.random
        if not await self._world.desk.wait_paid(created.trade_no, HEARING_TIMEOUT_S):
            return
        if dice.random() >= REFUND_SHARE:
            return
        await asyncio.sleep(dice.uniform(0.5, 3.0))
        for amount_minor in _refund_parts(dice, payment.amount_minor):
            amount: Decimal = to_major(amount_minor, payment.currency)
            await shop.client.refund(created.out_trade_no, amount, "synthetic return 合成退货")
            self.counts.events["refunds"] += 1

    async def _review(self, trade_no: str, payment: SyntheticPayment) -> str:
        """Decide a held order as an operator would, or leave it to the person at the console."""
        dice = self._world.random
        if dice.random() > REVIEWED_SHARE:
            return ""
        await asyncio.sleep(dice.uniform(2.0, 6.0))
        verdict = "reject" if payment.is_fraud else "approve"
        answer = await self._admin(
            f"/admin/orders/{trade_no}/review",
            {"verdict": verdict, "reason": "synthetic reviewer 合成审核员", "version": 1},
        )
        if answer.status_code == httpx.codes.CONFLICT:
            return ""  # A person at the console was faster.
        if answer.status_code != httpx.codes.OK:
            self.counts.problem("review_failed", answer.text)
            return ""
        self.counts.events[f"review_{verdict}"] += 1
        return str(answer.json()["pay_url"])

    async def _deliver_labels(self) -> None:
        """Report what became known, when it became known."""
        while True:
            while self._labels and self._labels[0][0] <= self._world.clock_us():
                known_at_us, trade_no, label = heapq.heappop(self._labels)
                await self._label(known_at_us, trade_no, label)
            await asyncio.sleep(LABEL_POLL_S)

    async def _label(self, known_at_us: int, trade_no: str, label: str) -> None:
        body = {
            "trade_no": trade_no,
            "label": label,
            "source": "chargeback" if label == "FRAUD" else "merchant",
            "known_at_us": known_at_us,
        }
        try:
            answer = await self._admin("/admin/labels", body)
        except httpx.HTTPError as problem:
            self.counts.problem("label_failed", problem)
            return
        if answer.status_code == httpx.codes.OK:
            self.counts.events["labels"] += 1
        else:
            self.counts.problem("label_failed", answer.text)

    async def reconcile(self, day: str) -> dict[str, Any]:
        """Compare the sandbox's bill of a day (YYYY-MM-DD, Beijing) with the ledger."""
        answer = await self._admin("/admin/recon/run", {"channel": "sandbox", "day": day})
        if answer.status_code != httpx.codes.OK:
            self.counts.problem("reconciliation_failed", answer.text)
            return {}
        run: dict[str, Any] = answer.json()
        return run

    async def _admin(self, path: str, body: Mapping[str, object]) -> httpx.Response:
        return await self._world.http.post(
            self._world.gateway_url + path,
            json=dict(body),
            headers={"authorization": f"Bearer {self._world.admin_token}", "x-actor": "demo"},
        )


async def _wait(stop: asyncio.Event, delay_s: float) -> None:
    if delay_s <= 0:
        await asyncio.sleep(0)
        return
    try:
        async with asyncio.timeout(delay_s):
            await stop.wait()
    except TimeoutError:
        return


def _refund_parts(dice: random.Random, amount_minor: int) -> Iterator[int]:
    """All of it, a part of it, or two parts of it."""
    if amount_minor < 10 or dice.random() < 0.5:  # noqa: PLR2004 - half of the refunds are full
        yield amount_minor
        return
    first_minor = dice.randrange(1, amount_minor // 2)
    yield first_minor
    if dice.random() < 0.5:  # noqa: PLR2004 - half of the partial ones come again
        yield dice.randrange(1, amount_minor - first_minor + 1)


def sparse(context: RiskContext) -> dict[str, Any]:
    """Return a risk context as JSON values without what is missing.

    Examples:
        >>> sparse(RiskContext())
        {}
    """
    groups = {
        group: {name: value for name, value in fields.items() if value is not None}
        for group, fields in asdict(context).items()
    }
    return {group: fields for group, fields in groups.items() if fields}
