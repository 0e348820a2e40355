"""The merchants' three requests and the channels' notifications, as the specification's tables.

Each handler reads bytes, finds out who speaks, calls one verb and signs the answer; it decides
nothing. Every refusal leaves as its code with a remedy in two languages and without a trace of
the inside.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from gateway.channels.base import Channel, ChannelProtocolError, Notice, Outcome
from gateway.domain.errors import (
    BadSignature,
    Busy,
    Forbidden,
    GatewayError,
    OrderNotFound,
    RateLimited,
    RiskDeclined,
)
from gateway.domain.merchant import MerchantKey, MerchantStatus, Mode
from gateway.domain.money import to_major
from gateway.domain.numbers import utc_text
from gateway.domain.order import Status
from gateway.domain.refund import refund_state
from gateway.http.admission import Keys, Sender, Stale, Throttle, admit
from gateway.http.asgi import Disconnected, Receive, Scope, Send, header, read_body, respond
from gateway.http.cashier import Addresses
from gateway.http.schemas import Params, read_create, read_query, read_refund
from gateway.http.wire import parse
from gateway.payments.context import Context
from gateway.payments.create import create
from gateway.payments.learn import look_into
from gateway.payments.refund import refund
from gateway.payments.settle import Verdict, apply_fact
from gateway.signing import sign
from gateway.store.orders import Order, find_by_number, find_reasons
from gateway.telemetry import Metrics
from risk.decision import RiskOutcome

_log = logging.getLogger("yumen.api")
_encode = msgspec.json.Encoder().encode
Answer = dict[str, str | int]


class SeenSigns:
    """Signatures of queries seen within the timestamp window: each is accepted once.

    Creates and refunds need no such memory: a repeat of one finds the order or refund it made.
    A query changes nothing, so forgetting on restart costs nothing but one more look.
    """

    def __init__(self, window_s: int) -> None:
        self._window_us = 2 * window_s * 1_000_000
        self._seen: set[tuple[str, str]] = set()
        self._order: deque[tuple[int, tuple[str, str]]] = deque()

    def accept(self, merchant_id: str, signature: str, now_us: int) -> None:
        """Note a signature.

        Raises:
            BadSignature: (1002) if it was seen before.
        """
        while self._order and self._order[0][0] < now_us - self._window_us:
            self._seen.discard(self._order.popleft()[1])
        pair = (merchant_id, signature.lower())
        if pair in self._seen:
            raise BadSignature("this very request was answered before; sign it afresh")
        self._seen.add(pair)
        self._order.append((now_us, pair))


@dataclass(slots=True, kw_only=True)
class MerchantApi:
    """The hot routes.

    Attributes:
        context: What the verbs work with.
        keys: Where merchants and their keys are found.
        metrics: Where requests are counted.
        body_bytes_max: Larger bodies are refused.
        timestamp_window_s: Older or more future requests are refused.
        rate_per_s: How often a merchant may call that has no limit of its own; 0: no limit.
        cashier: Makes the addresses of the payers' page; None sends payers to the channel itself.
    """

    context: Context
    keys: Keys
    metrics: Metrics
    body_bytes_max: int
    timestamp_window_s: int
    rate_per_s: int = 0
    cashier: Addresses | None = None
    seen: SeenSigns = field(init=False)
    throttle: Throttle = field(init=False)

    def __post_init__(self) -> None:
        self.seen = SeenSigns(self.timestamp_window_s)
        self.throttle = Throttle(self.rate_per_s)

    async def create(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /api/payment/create`."""
        await self.serve(scope, receive, send, "create", self._create)

    async def query(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /api/payment/query`."""
        await self.serve(scope, receive, send, "query", self._query)

    async def refund(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /api/payment/refund`."""
        await self.serve(scope, receive, send, "refund", self._refund)

    async def notified(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /api/channel/<name>/notify`: what a payment system reports."""
        name = scope["path"].split("/")[3]
        channel = self.context.channels.get(name)
        if channel is None:
            await respond(send, 404, b"no such channel", content_type=b"text/plain")
            return
        try:
            body = await read_body(scope, receive, self.body_bytes_max)
            verdict = await self._learned(name, channel, _notice(scope, body))
        except (ChannelProtocolError, GatewayError) as error:
            _log.warning("a notification of %s is refused: %s", name, error)
            await _answer_channel(send, channel, accepted=False)
            return
        self.metrics.channel_facts.labels(name, verdict.value).inc()
        await _answer_channel(send, channel, accepted=verdict is not Verdict.UNKNOWN_ORDER)

    async def _learned(self, name: str, channel: Channel, notice: Notice) -> Verdict:
        timeout_s = self.context.config.channel_timeout_s
        fact = await channel.read_notification(notice, timeout_s=timeout_s)
        if fact.outcome is Outcome.ASK:
            verdict = await look_into(self.context, name, fact)
        else:
            now_us = self.context.clock_us()
            verdict = await self.context.writer.run(
                lambda conn: apply_fact(conn, name, fact, now_us)
            )
        if verdict in (Verdict.MISMATCH, Verdict.LATE):
            _log.warning("%s: %s says %s", fact.trade_no, name, verdict)
        return verdict

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        route: str,
        verb: Callable[[Params], Awaitable[Answer]],
    ) -> None:
        """Admit a request, let `verb` answer it, sign the answer; `route` names it in metrics."""
        started_s = time.perf_counter()
        sender: Sender | None = None
        try:
            body = await read_body(scope, receive, self.body_bytes_max)
            params = parse(header(scope, b"content-type"), body)
            now_us = self.context.clock_us()
            sender = await admit(
                params,
                self.keys,
                now_us=now_us,
                window_s=self.timestamp_window_s,
                address=_address(scope),
            )
            self.throttle.take(sender.merchant, now_us)
            self._check_served(sender)
            status, answer = 200, await verb(params)
        except GatewayError as error:
            sender = error.sender if isinstance(error, Stale) else sender
            status, answer = error.http_status, self._refusal(error)
        except Disconnected:
            return
        except Exception:  # noqa: BLE001 - a merchant gets a code, never a trace; we get the log
            _log.exception("a %s failed", route)
            status, answer = Busy.http_status, self._refusal(Busy("not answered; nothing is lost"))
        code = str(answer.get("error_code", "SUCCESS"))
        self.metrics.answered(route, code, time.perf_counter() - started_s)
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if status == RateLimited.http_status:
            headers = ((b"retry-after", str(answer["retry_after_s"]).encode()),)
        # An excess must cost little to turn away, so a private key does not sign that.
        if sender is not None and (not headers or sender.key.algorithm.is_shared):
            answer["sign"] = await signed(sender.key, answer)
        await respond(send, status, _encode(answer), headers=headers)

    def _check_served(self, sender: Sender) -> None:
        merchant = sender.merchant
        if merchant.status is not MerchantStatus.ACTIVE:
            raise Forbidden(f"the merchant is {merchant.status.value}")
        if merchant.mode is Mode.SANDBOX and not self.context.config.sandbox_mode:
            raise Forbidden("sandbox credentials move no real money; use the live ones here")

    def _refusal(self, error: GatewayError) -> Answer:
        answer: Answer = {
            "code": "FAIL",
            "error_code": error.code,
            "msg": f"{error.title_zh} / {error.title_en}: {error}",
            "remedy": f"{error.remedy_zh} / {error.remedy_en}",
            "timestamp": self.context.clock_us() // 1000,
        }
        if error.field:
            answer["field"] = error.field
        if isinstance(error, RateLimited):
            answer["retry_after_s"] = error.retry_after_s
        return answer

    async def _create(self, params: Params) -> Answer:
        command = read_create(params, sandbox_mode=self.context.config.sandbox_mode)
        order = await create(self.context, command)
        declined = order.status == Status.CLOSED and order.status_reason == "DECLINED"
        answer: Answer = (
            self._refusal(RiskDeclined("the payment was not accepted"))
            if declined
            else {
                "code": "SUCCESS",
                "msg": "下单成功 / order created",
            }
        )
        return answer | {
            "trade_no": order.trade_no,
            "out_trade_no": order.out_trade_no,
            "pay_url": self.pay_url(order),
            "channel_url": order.pay_url,
            "prepay_id": order.prepay_id,
            "currency": order.currency,
            "risk_outcome": order.risk_outcome,
            "risk_reasons": await self._reasons(order),
            "degraded": order.risk_degraded,
            # The order's own time, so that a repeat gets the first answer to the last byte.
            "timestamp": order.created_at_us // 1000,
        }

    def pay_url(self, order: Order) -> str:
        """Return where the payer goes: the cashier's page, or the channel's own."""
        if self.cashier is None or not order.pay_url:
            return order.pay_url
        return self.cashier.url_of(order.trade_no)

    async def _reasons(self, order: Order) -> str:
        if order.risk_outcome == RiskOutcome.APPROVE:
            return ""
        return ",".join(
            await self.context.reads.ask(
                lambda raw: find_reasons(raw, order.merchant_id, order.decision_id)
            )
        )

    async def _query(self, params: Params) -> Answer:
        command = read_query(params)
        now_us = self.context.clock_us()
        self.seen.accept(command.merchant_id, str(params["sign"]), now_us)
        order = await self.context.reads.ask(
            lambda raw: find_by_number(raw, command.merchant_id, command.out_trade_no)
        )
        if order is None:
            raise OrderNotFound(command.out_trade_no)
        return order_answer(order) | {"timestamp": now_us // 1000}

    async def _refund(self, params: Params) -> Answer:
        command = read_refund(params)
        done = await refund(self.context, command)
        return {
            "code": "SUCCESS",
            "msg": "退款受理成功 / refund accepted",
            "refund_no": done.refund_no,
            "out_trade_no": command.out_trade_no,
            "refund_status": done.status,
            "refund_amount": str(to_major(done.amount_minor, done.currency)),
            "timestamp": self.context.clock_us() // 1000,
        }


def _notice(scope: Scope, body: bytes) -> Notice:
    headers = {str(k, "latin-1").lower(): str(v, "latin-1") for k, v in scope["headers"]}
    return Notice(headers=headers, body=body, query=str(scope["query_string"], "latin-1"))


async def _answer_channel(send: Send, channel: Channel, *, accepted: bool) -> None:
    answer = channel.notification_answer(accepted=accepted)
    await respond(send, answer.http_status, answer.body, content_type=answer.content_type.encode())


def _address(scope: Scope) -> str:
    """Where a request comes from, as the server in front of us says."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def order_answer(order: Order) -> Answer:
    """Write an order as the answer to a query; CREATED is ours alone, merchants read WAIT_PAY."""
    status = Status.WAIT_PAY.value if order.status == Status.CREATED else order.status
    return {
        "code": "SUCCESS",
        "msg": "查询成功 / order found",
        "trade_status": status,
        "trade_no": order.trade_no,
        "out_trade_no": order.out_trade_no,
        "total_amount": str(to_major(order.amount_minor, order.currency)),
        "receipt_amount": str(to_major(order.paid_minor, order.currency)),
        "currency": order.currency,
        "pay_time": utc_text(order.paid_at_us) if order.paid_at_us else "",
        "refund_amount": str(to_major(order.refunded_minor, order.currency)),
        "refund_status": refund_state(order.paid_minor, order.refunded_minor).value,
        "status_reason": order.status_reason,
    }


async def signed(key: MerchantKey, answer: Mapping[str, str | int]) -> str:
    """Sign an answer with the merchant's algorithm; a private key's signature leaves the loop."""
    text = {name: str(value) for name, value in answer.items()}
    if key.algorithm.is_shared:
        return sign(key, text)
    return await asyncio.to_thread(sign, key, text)
