"""The gateway's door from inside the process: the whole ASGI path without sockets between.

A history of a million payments would spend most of its time in a loopback socket and an HTTP
client. Here the application is called as its server would call it, with the same bytes; parsing,
signature, risk, storage and commit are the served ones.
"""

import hmac
import json
import secrets
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from gateway.http.asgi import App, Message
from gateway.sandbox.protocols.sandbox import Wire
from gateway.signing import canonical
from gateway.store.merchants import NewMerchant

_CREATE: Final = "/api/payment/create"
_NOTIFY: Final = "/api/channel/sandbox/notify"


class EventClock:
    """The history's time: each request sees its own, everything else the latest seen.

    Requests run at once, each in a task of its own; a context variable keeps their times apart.
    """

    def __init__(self, start_us: int) -> None:
        self._latest_us = start_us
        self._own: ContextVar[int | None] = ContextVar("event_time_us", default=None)

    def __call__(self) -> int:
        """The time, microseconds since the epoch."""
        own_us = self._own.get()
        return self._latest_us if own_us is None else own_us

    def advance(self, at_us: int) -> None:
        """Let the time outside of requests be at least `at_us`."""
        self._latest_us = max(self._latest_us, at_us)

    def enter(self, at_us: int) -> None:
        """Set the time of the present task."""
        self._own.set(at_us)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said: HTTP status and the JSON object (empty if it isn't one)."""

    http_status: int
    fields: Mapping[str, Any]


class Door:
    """Merchants and the sandbox channel, talking to an application in this process.

    Args:
        app: The gateway's ASGI application.
        clock: The history's time.
        channel_secret: What the sandbox signs its notifications with.
    """

    def __init__(self, app: App, clock: EventClock, channel_secret: bytes) -> None:
        self._app = app
        self._clock = clock
        self._wire = Wire(channel_secret, clock)

    async def create(self, merchant: NewMerchant, params: dict[str, str], at_us: int) -> Answer:
        """Send a create request, signed by the merchant at its event time."""
        self._clock.enter(at_us)
        params["merchant_id"] = merchant.merchant_id
        params["timestamp"] = str(at_us // 1_000)
        secret = merchant.secret.encode()
        message = canonical(params).encode() + secret
        params["sign"] = hmac.digest(secret, message, "sha256").hex()
        body = json.dumps(params, ensure_ascii=False).encode()
        return await self._post(_CREATE, {"content-type": "application/json"}, body)

    async def paid(self, trade_no: str, amount_minor: int, currency: str, at_us: int) -> Answer:
        """Report a payment as the sandbox does: its own notification, signed by its own code."""
        self._clock.enter(at_us)
        body = {
            "event_id": f"E{secrets.token_hex(12)}",
            "event": "PAID",
            "trade_no": trade_no,
            "channel_trade_no": f"S{trade_no}",
            "refund_no": "",
            "amount_minor": amount_minor,
            "currency": currency,
            "at_us": at_us,
        }
        written = json.dumps(body, ensure_ascii=False).encode()
        return await self._post(
            _NOTIFY, self._wire.sign_notification(written, at_us, True), written
        )

    async def _post(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        status = 0
        parts: list[bytes] = []
        request: Message = {"type": "http.request", "body": body, "more_body": False}

        async def receive() -> Message:
            return request

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))

        scope: Message = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 1),
        }
        await self._app(scope, receive, send)
        said = b"".join(parts)
        fields = json.loads(said) if said.startswith(b"{") else {}
        return Answer(status, fields)
