"""The house's own simple protocol: what the demo and the tests pay through.

Written from `docs/CHANNELS.md` alone. The sandbox on the other side is written from the same page
and shares no code with this file, so a misreading on one side shows as a refused signature and
doesn't cancel out.
"""

import asyncio
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote

import httpx

from gateway.channels.base import (
    Adapter,
    Channel,
    ChannelProtocolError,
    ChannelReply,
    Notice,
    NoticeAnswer,
    Outcome,
    PayRequest,
    RefundRequest,
    Setting,
    Trade,
)

CLOCK_TOLERANCE_S: Final = 300
_BODY_BYTES_MAX: Final = 65_536
_PREPAID_TYPES: Final = frozenset({"wechat"})  # Opened by asking, since they need a `prepay_id`.
_PAYMENT_OUTCOMES: Final = {
    "WAITING": Outcome.ACCEPTED,
    "PAID": Outcome.PAID,
    "CLOSED": Outcome.CLOSED,
}
_REFUND_OUTCOMES: Final = {"PROCESSING": Outcome.ACCEPTED, "REFUNDED": Outcome.REFUNDED}
_EVENT_OUTCOMES: Final = {
    "PAID": Outcome.PAID,
    "CLOSED": Outcome.CLOSED,
    "REFUNDED": Outcome.REFUNDED,
}
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


class _Fields:
    """A signed JSON object, read field by field; whatever isn't as agreed is refused."""

    def __init__(self, raw: bytes) -> None:
        try:
            parsed: object = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ChannelProtocolError(f"sandbox: not JSON: {error}") from error
        if not isinstance(parsed, dict):
            raise ChannelProtocolError("sandbox: not a JSON object")
        self._parsed: dict[str, object] = parsed
        self.raw = raw

    def text(self, name: str) -> str:
        value = self._parsed.get(name, "")
        if not isinstance(value, str):
            raise ChannelProtocolError(f"sandbox: {name} must be text, was {value!r:.40}")
        return value

    def number(self, name: str) -> int:
        value = self._parsed.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ChannelProtocolError(f"sandbox: {name} must be an integer, was {value!r:.40}")
        return value

    def same(self, name: str, expected: str) -> None:
        if self.text(name) != expected:
            raise ChannelProtocolError(f"sandbox: answered about another {name} than {expected}")

    def word(self, name: str, meanings: Mapping[str, Outcome]) -> Outcome:
        outcome = meanings.get(self.text(name))
        if outcome is None:
            raise ChannelProtocolError(f"sandbox: unknown {name} {self.text(name)[:40]!r}")
        return outcome


@lru_cache(maxsize=256)
def _quoted_address(url: str) -> str:
    """Percent-encode an address that comes with every order and hardly ever changes."""
    return quote(url, safe="")


class SandboxChannel:
    """The adapter to the sandbox; see `gateway.channels.base.Channel` for what it promises."""

    kind = "sandbox"
    poll_s = 0

    def __init__(
        self,
        base_url: str,
        secret: bytes,
        client: httpx.AsyncClient,
        *,
        clock_us: Callable[[], int],
        name: str = "sandbox",
    ) -> None:
        """Bind the adapter to one sandbox.

        Args:
            base_url: Where the sandbox lives, e.g. ``http://127.0.0.1:8000/sandbox``.
            secret: What both sides sign with.
            client: Shared HTTP client; the adapter never closes it.
            clock_us: The time, microseconds since the epoch.
            name: Of the account.
        """
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._secret = secret
        self._client = client
        self._clock_us = clock_us

    def __repr__(self) -> str:  # The secret never reaches a log through a repr.
        return f"SandboxChannel({self._base_url})"

    def link(self, request: PayRequest) -> ChannelReply | None:
        if request.pay_type in _PREPAID_TYPES:
            return None
        query = (
            f"amount_minor={request.amount_minor}"
            f"&challenge={1 if request.challenge else 0}"
            f"&currency={request.currency}"
            f"&expires_at_s={request.expires_at_s}"
            f"&notify_url={_quoted_address(request.notify_url)}"
            f"&pay_type={request.pay_type}"
            f"&return_url={quote(request.return_url, safe='') if request.return_url else ''}"
            f"&subject={quote(request.subject, safe='')}"
            f"&trade_no={request.trade_no}"
        )
        sign = self._sign(b"LINK\n" + query.encode())
        return ChannelReply(
            outcome=Outcome.ACCEPTED,
            trade_no=request.trade_no,
            amount_minor=request.amount_minor,
            currency=request.currency,
            pay_url=f"{self._base_url}/pay?{query}&sign={sign}",
        )

    async def pay(self, request: PayRequest, *, timeout_s: float) -> ChannelReply:
        linked = self.link(request)
        if linked is not None:
            return linked
        payload = {
            "amount_minor": request.amount_minor,
            "challenge": request.challenge,
            "currency": request.currency,
            "expires_at_s": request.expires_at_s,
            "notify_url": request.notify_url,
            "pay_type": request.pay_type,
            "return_url": request.return_url,
            "subject": request.subject,
            "trade_no": request.trade_no,
        }
        reply = await self._ask("prepay", payload, timeout_s=timeout_s)
        if isinstance(reply, Outcome):
            return _without_detail(_refused_for_good(reply), request.trade_no)
        return self._about_payment(reply, request.trade_no)

    async def query(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        trade_no = trade.trade_no
        reply = await self._ask("query", {"trade_no": trade_no}, timeout_s=timeout_s)
        if isinstance(reply, Outcome):
            return _without_detail(_never_rejected(reply), trade_no)
        return self._about_payment(reply, trade_no)

    async def close(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        trade_no = trade.trade_no
        reply = await self._ask("close", {"trade_no": trade_no}, timeout_s=timeout_s)
        if isinstance(reply, Outcome):
            return _without_detail(_never_rejected(reply), trade_no)
        return self._about_payment(reply, trade_no)

    async def refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        trade_no, refund_no = trade.trade_no, refund.refund_no
        payload = {
            "trade_no": trade_no,
            "refund_no": refund_no,
            "amount_minor": refund.amount_minor,
            "currency": refund.currency,
        }
        reply = await self._ask("refund", payload, timeout_s=timeout_s)
        if isinstance(reply, Outcome):
            return _without_detail(_refused_for_good(reply), trade_no, refund_no)
        return self._about_refund(reply, trade_no, refund_no)

    async def query_refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        trade_no, refund_no = trade.trade_no, refund.refund_no
        payload = {"trade_no": trade_no, "refund_no": refund_no}
        reply = await self._ask("query_refund", payload, timeout_s=timeout_s)
        if isinstance(reply, Outcome):
            return _without_detail(reply, trade_no, refund_no)
        return self._about_refund(reply, trade_no, refund_no)

    async def read_notification(self, notice: Notice, *, timeout_s: float) -> ChannelReply:  # noqa: ARG002 - others ask
        body, headers = notice.body, notice.headers
        if len(body) > _BODY_BYTES_MAX:
            raise ChannelProtocolError("sandbox: notification is too large")
        nonce = headers.get("x-sandbox-nonce", "")
        self._check(headers, ("NOTIFY", self._fresh(headers), nonce), body)
        fields = _Fields(body)
        if not fields.text("event_id") or not fields.text("trade_no"):
            raise ChannelProtocolError("sandbox: notification without event_id or trade_no")
        return ChannelReply(
            outcome=fields.word("event", _EVENT_OUTCOMES),
            trade_no=fields.text("trade_no"),
            channel_trade_no=fields.text("channel_trade_no"),
            refund_no=fields.text("refund_no"),
            amount_minor=fields.number("amount_minor"),
            currency=fields.text("currency"),
            event_id=fields.text("event_id"),
            raw=body,
        )

    def notification_answer(self, *, accepted: bool) -> NoticeAnswer:
        if accepted:
            return NoticeAnswer(http_status=200, body=b"success")
        return NoticeAnswer(http_status=503, body=b"again")

    async def bill(self, day: str, *, timeout_s: float) -> bytes:
        path = f"/api/bill?day={quote(day, safe='-')}"
        response = await self._exchange("GET", path, b"", timeout_s)
        if response is None:
            raise ChannelProtocolError(f"sandbox: the bill of {day} can't be had now")
        if response.status_code != httpx.codes.OK:
            raise ChannelProtocolError(
                f"sandbox: no bill of {day}: {_Fields(response.content).text('code')}"
            )
        return response.content

    def _sign(self, message: bytes) -> str:
        return hmac.digest(self._secret, message, "sha256").hex()

    def _check(self, headers: Mapping[str, str], parts: tuple[str, ...], body: bytes) -> None:
        expected = self._sign("\n".join((*parts, "")).encode() + body)
        # Compared as bytes: a header may hold letters that compare_digest refuses as text.
        given = headers.get("x-sandbox-signature", "").encode()
        if not hmac.compare_digest(expected.encode(), given):
            raise ChannelProtocolError("sandbox: wrong signature")

    def _fresh(self, headers: Mapping[str, str]) -> str:
        """Return the timestamp as written, if it is one and near our clock."""
        written = headers.get("x-sandbox-timestamp", "")
        if _TIMESTAMP.fullmatch(written) is None:
            raise ChannelProtocolError("sandbox: no timestamp")
        if abs(int(written) - self._clock_us() // 1_000_000) > CLOCK_TOLERANCE_S:
            raise ChannelProtocolError("sandbox: stale timestamp")
        return written

    async def _exchange(
        self, method: str, path: str, body: bytes, timeout_s: float
    ) -> httpx.Response | None:
        """Send one signed request; None if nothing is known about what became of it.

        Raises:
            ChannelProtocolError: if the answer isn't signed by the sandbox for this request.
        """
        timestamp = str(self._clock_us() // 1_000_000)
        nonce = secrets.token_hex(16)
        head = "\n".join(("REQUEST", method, path, timestamp, nonce, "")).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Sandbox-Timestamp": timestamp,
            "X-Sandbox-Nonce": nonce,
            "X-Sandbox-Signature": self._sign(head + body),
        }
        try:
            async with asyncio.timeout(timeout_s):  # httpx bounds each step, not their sum.
                response = await self._client.request(
                    method,
                    self._base_url + path,
                    content=body,
                    headers=headers,
                    timeout=timeout_s,
                    follow_redirects=False,
                )
        except (TimeoutError, httpx.TransportError):
            return None
        except httpx.RequestError as error:
            raise ChannelProtocolError(f"sandbox: unreadable answer: {error}") from error
        status = response.status_code
        if status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.TOO_MANY_REQUESTS:
            return None
        answered_at = self._fresh(response.headers)
        self._check(response.headers, ("ANSWER", str(status), nonce, answered_at), response.content)
        return response

    async def _ask(
        self, verb: str, payload: Mapping[str, object], *, timeout_s: float
    ) -> "_Fields | Outcome":
        """Return the signed answer, or the outcome where there is nothing to read in it."""
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
        response = await self._exchange("POST", f"/api/{verb}", body, timeout_s)
        if response is None:
            return Outcome.UNKNOWN
        fields = _Fields(response.content)
        match response.status_code:
            case httpx.codes.OK:
                fields.same("code", "OK")
                return fields
            case httpx.codes.NOT_FOUND:
                return Outcome.NOT_FOUND
            case httpx.codes.BAD_REQUEST | httpx.codes.CONFLICT:
                return Outcome.REJECTED
            case status:
                # Our key or our clock is wrong: that says nothing about the payment.
                raise ChannelProtocolError(f"sandbox: {status} {fields.text('code')[:40]}")

    def _about_payment(self, fields: _Fields, trade_no: str) -> ChannelReply:
        fields.same("trade_no", trade_no)
        return ChannelReply(
            outcome=fields.word("status", _PAYMENT_OUTCOMES),
            trade_no=trade_no,
            channel_trade_no=fields.text("channel_trade_no"),
            # 0: closed before it was ever opened, so the sandbox knows no amount.
            amount_minor=fields.number("amount_minor") or None,
            currency=fields.text("currency"),
            pay_url=fields.text("pay_url"),
            prepay_id=fields.text("prepay_id"),
            raw=fields.raw,
        )

    def _about_refund(self, fields: _Fields, trade_no: str, refund_no: str) -> ChannelReply:
        fields.same("trade_no", trade_no)
        fields.same("refund_no", refund_no)
        return ChannelReply(
            outcome=fields.word("status", _REFUND_OUTCOMES),
            trade_no=trade_no,
            channel_trade_no=fields.text("channel_trade_no"),
            refund_no=refund_no,
            amount_minor=fields.number("amount_minor"),
            currency=fields.text("currency"),
            raw=fields.raw,
        )


def _without_detail(outcome: Outcome, trade_no: str, refund_no: str = "") -> ChannelReply:
    return ChannelReply(outcome=outcome, trade_no=trade_no, refund_no=refund_no)


def _refused_for_good(outcome: Outcome) -> Outcome:
    """A trade the sandbox doesn't know can't be refunded, now or later."""
    return Outcome.REJECTED if outcome is Outcome.NOT_FOUND else outcome


def _never_rejected(outcome: Outcome) -> Outcome:
    """A question can't be refused: a refusal means that we asked it wrongly."""
    if outcome is Outcome.REJECTED:
        raise ChannelProtocolError("sandbox: refused a question")
    return outcome


def _open(
    name: str,
    settings: Mapping[str, str],
    client: httpx.AsyncClient,
    clock_us: Callable[[], int],
) -> Channel:
    return SandboxChannel(
        settings["base_url"],
        bytes.fromhex(settings["secret_hex"]),
        client,
        clock_us=clock_us,
        name=name,
    )


ADAPTER: Final = Adapter(
    kind="sandbox",
    pay_types=frozenset(
        {"alipay", "wechat", "unionpay", "stripe", "paypal", "ecny", "crypto", "bnpl"}
    ),
    settings=(
        Setting(name="base_url", meaning_en="Where the sandbox lives.", meaning_zh="沙箱地址"),
        Setting(
            name="secret_hex",
            meaning_en="What both sides sign with, hex.",
            meaning_zh="双方签名密钥(十六进制)",
            secret=True,
        ),
    ),
    open=_open,
)
