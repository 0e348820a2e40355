"""The house's own wire protocol, sandbox side: signed links, signed JSON, signed notifications.

Written from `docs/CHANNELS.md` alone; the adapter on the other side shares no code with it.
"""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

from gateway.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS
from gateway.sandbox.trades import Opening, Refund, Refusal, Trade, bad_request

NAME: Final = "sandbox"
CLOCK_TOLERANCE_S: Final = 300
BODY_BYTES_MAX: Final = 65_536

_NUMBER = re.compile(r"[0-9A-Za-z]{8,32}", re.ASCII)
_NONCE = re.compile(r"[0-9A-Za-z]{16,64}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,16}", re.ASCII)
_LINK_NAMES: Final = (
    "amount_minor",
    "challenge",
    "currency",
    "expires_at_s",
    "notify_url",
    "pay_type",
    "return_url",
    "subject",
    "trade_no",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose signature was good: who asked is known, what he asks isn't yet."""

    nonce: str
    payload: dict[str, object]

    def number(self, name: str) -> str:
        """Return a trade or refund number: 8 to 32 letters and digits."""
        value = self.payload.get(name)
        if not isinstance(value, str) or _NUMBER.fullmatch(value) is None:
            raise bad_request(name, "must be 8 to 32 letters and digits")
        return value

    def amount_minor(self) -> int:
        """Return the amount, a positive integer of minor units."""
        value = self.payload.get("amount_minor")
        if type(value) is not int or not 0 < value <= AMOUNT_MINOR_MAX:
            raise bad_request("amount_minor", "must be a positive integer")
        return value

    def currency(self) -> str:
        """Return the currency, an ISO 4217 code the sandbox takes."""
        value = self.payload.get("currency")
        if not isinstance(value, str) or value not in MINOR_DIGITS:
            raise bad_request("currency", "must be a known ISO 4217 code")
        return value


class Wire:
    """Verifies what comes in and signs what goes out."""

    def __init__(self, secret: bytes, clock_us: Callable[[], int]) -> None:
        """Bind the protocol to the shared secret and the clock (microseconds, epoch)."""
        self._secret = secret
        self._clock_us = clock_us

    def _mac(self, *parts: bytes) -> str:
        return hmac.new(self._secret, b"\n".join(parts), hashlib.sha256).hexdigest()

    def read_link(self, query: bytes) -> Opening:
        """Read the query of a signed link, as the payer's browser sent it.

        Raises:
            Refusal: (401) if it isn't signed; (400) if a field of it is malformed.
        """
        signed, separator, sign = query.rpartition(b"&sign=")
        if not separator or not hmac.compare_digest(self._mac(b"LINK", signed).encode(), sign):
            raise Refusal(401, "BAD_SIGNATURE", "the link isn't signed by the gateway", "签名错误")
        pairs = parse_qsl(signed.decode("ascii"), keep_blank_values=True, strict_parsing=True)
        if tuple(name for name, _ in pairs) != _LINK_NAMES:
            raise bad_request("link", "must hold the agreed fields in order")
        fields = dict(pairs)
        for name in ("amount_minor", "expires_at_s"):
            if _DIGITS.fullmatch(fields[name]) is None:
                raise bad_request(name, "must be digits")
        if fields["challenge"] not in ("0", "1"):
            raise bad_request("challenge", "must be 0 or 1")
        return _opening(
            {
                **fields,
                "amount_minor": int(fields["amount_minor"]),
                "expires_at_s": int(fields["expires_at_s"]),
                "challenge": fields["challenge"] == "1",
            }
        )

    def read_prepay(self, asked: Asked) -> Opening:
        """Read the fields of a `prepay` request; 400 if one is malformed."""
        return _opening(asked.payload)

    def link_query(self, opening: Opening) -> str:
        """Make the signed query under which the payer finds a prepaid trade."""
        query = urlencode(
            {
                "amount_minor": opening.amount_minor,
                "challenge": int(opening.challenge),
                "currency": opening.currency,
                "expires_at_s": opening.expires_at_s,
                "notify_url": opening.notify_url,
                "pay_type": opening.pay_type,
                "return_url": opening.return_url,
                "subject": opening.subject,
                "trade_no": opening.trade_no,
            },
            quote_via=quote,
            safe="",
        )
        return f"{query}&sign={self._mac(b'LINK', query.encode())}"

    def read_request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Asked:
        """Verify a request and read its body.

        Args:
            method: GET or POST.
            path: Below the base URL, with its query.
            headers: Lower-case names.
            body: As it came.

        Raises:
            Refusal: (401) wrongly signed or stale; (400) not a JSON object.
        """
        nonce = headers.get("x-sandbox-nonce", "")
        written = headers.get("x-sandbox-timestamp", "")
        if _NONCE.fullmatch(nonce) is None or _DIGITS.fullmatch(written) is None:
            raise Refusal(401, "BAD_SIGNATURE", "no nonce or timestamp", "签名错误")
        expected = self._mac(
            b"REQUEST", method.encode(), path.encode(), written.encode(), nonce.encode(), body
        )
        given = headers.get("x-sandbox-signature", "").encode()
        if not hmac.compare_digest(expected.encode(), given):
            raise Refusal(401, "BAD_SIGNATURE", "wrong signature", "签名错误")
        if abs(self._clock_us() // 1_000_000 - int(written)) > CLOCK_TOLERANCE_S:
            raise Refusal(401, "STALE", "the timestamp is too far from our clock", "请求已过期")
        return Asked(nonce, _object(body) if body else {})

    def sign_answer(self, http_status: int, request_nonce: str, body: bytes) -> dict[str, str]:
        """Make the headers of an answer to the request with `request_nonce`."""
        written = str(self._clock_us() // 1_000_000)
        nonce = request_nonce if _NONCE.fullmatch(request_nonce) else ""
        sign = self._mac(
            b"ANSWER", str(http_status).encode(), nonce.encode(), written.encode(), body
        )
        return _headers(written, secrets.token_hex(16), sign)

    def sign_notification(self, body: bytes, now_us: int, valid: bool) -> dict[str, str]:
        """Make the headers of a notification; `valid` False signs it wrongly on purpose."""
        written, nonce = str(now_us // 1_000_000), secrets.token_hex(16)
        sign = self._mac(b"NOTIFY", written.encode(), nonce.encode(), body)
        if not valid:
            sign = f"{int(sign[0], 16) ^ 1:x}{sign[1:]}"
        return {"Content-Type": "application/json", **_headers(written, nonce, sign)}

    def one_time_code(self, trade_no: str) -> str:
        """Make the six digits the payer must type when a challenge was asked for."""
        return f"{int(self._mac(b'OTP', trade_no.encode())[:12], 16) % 1_000_000:06d}"


def trade_answer(trade: Trade) -> dict[str, object]:
    """Write a trade as an answer."""
    return {
        "code": "OK",
        "trade_no": trade.trade_no,
        "channel_trade_no": trade.channel_trade_no,
        "status": str(trade.status),
        "amount_minor": trade.amount_minor,
        "currency": trade.currency,
        "refunded_minor": trade.refunded_minor,
    }


def refund_answer(refund: Refund) -> dict[str, object]:
    """Write a refund as an answer."""
    return {
        "code": "OK",
        "trade_no": refund.trade.trade_no,
        "channel_trade_no": refund.trade.channel_trade_no,
        "refund_no": refund.refund_no,
        "status": str(refund.status),
        "amount_minor": refund.amount_minor,
        "currency": refund.trade.currency,
    }


def refusal_answer(refusal: Refusal) -> dict[str, object]:
    """Write a refusal as an answer."""
    return {
        "code": refusal.code,
        "message_en": refusal.message_en,
        "message_zh": refusal.message_zh,
    }


def _headers(written: str, nonce: str, sign: str) -> dict[str, str]:
    return {
        "X-Sandbox-Timestamp": written,
        "X-Sandbox-Nonce": nonce,
        "X-Sandbox-Signature": sign,
    }


def _object(body: bytes) -> dict[str, object]:
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request("body", "must be JSON") from error
    if not isinstance(parsed, dict):
        raise bad_request("body", "must be a JSON object")
    return parsed


def _opening(fields: Mapping[str, object]) -> Opening:
    asked = Asked("", dict(fields))
    text: dict[str, str] = {}
    for name in ("notify_url", "pay_type", "return_url", "subject"):
        value = fields.get(name)
        if not isinstance(value, str):
            raise bad_request(name, "must be text")
        text[name] = value
    for name in ("notify_url", "return_url"):
        if text[name] and not text[name].startswith(("http://", "https://")):
            raise bad_request(name, "must be an http or https address")
    expires_at_s, challenge = fields.get("expires_at_s"), fields.get("challenge")
    if type(expires_at_s) is not int or not 0 <= expires_at_s < 10**11:
        raise bad_request("expires_at_s", "must be seconds since the epoch")
    if not isinstance(challenge, bool):
        raise bad_request("challenge", "must be true or false")
    return Opening(
        protocol=NAME,
        trade_no=asked.number("trade_no"),
        amount_minor=asked.amount_minor(),
        currency=asked.currency(),
        challenge=challenge,
        expires_at_s=expires_at_s,
        **text,
    )
