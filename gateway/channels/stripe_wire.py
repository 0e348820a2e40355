"""How Stripe's requests are made, its answers read and its events verified.

What is asked, and when, is in `stripe`.
"""

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

import httpx

from gateway.channels.base import ChannelProtocolError, ChannelReply, Notice, Outcome
from gateway.channels.exchange import ask
from gateway.channels.json_object import JsonObject
from gateway.domain.money import MINOR_DIGITS

API_VERSION: Final = "2026-10-28.endive"
CLOCK_TOLERANCE_S: Final = 300

# Where Stripe's unit isn't the currency's smallest one: decimals sent, and how many of them may
# be other than zero (docs.stripe.com/currencies: zero-decimal, special cases, three-decimal).
_DECIMALS: Final[dict[str, tuple[int, int]]] = {
    "ISK": (2, 0),
    "UGX": (2, 0),
    "MGA": (0, 0),
    **dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), (3, 2)),
}

_INTENTS: Final = {
    "requires_payment_method": Outcome.ACCEPTED,
    "requires_confirmation": Outcome.ACCEPTED,
    "requires_action": Outcome.ACCEPTED,
    "requires_capture": Outcome.ACCEPTED,
    "processing": Outcome.ACCEPTED,
    "succeeded": Outcome.PAID,
    "canceled": Outcome.CLOSED,
}
_REFUNDS: Final = {
    "pending": Outcome.ACCEPTED,
    "requires_action": Outcome.ACCEPTED,
    "succeeded": Outcome.REFUNDED,
    "failed": Outcome.REJECTED,  # Also after it had succeeded: the bank sent the money back.
    "canceled": Outcome.REJECTED,
}

_BODY_BYTES_MAX: Final = 262_144
_PAGE_COUNT: Final = 100
_SECRET_KEY: Final = re.compile(r"[sr]k_(test|live)_[0-9A-Za-z]+", re.ASCII)
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
# A twin is under way, or it was too early: nothing is known about what becomes of it.
_UNKNOWN_STATUSES: Final = frozenset({409, 424, 425})
_NOT_ABOUT_THE_PAYMENT: Final = frozenset({401, 403})


def to_units(amount_minor: int, currency: str) -> int | None:
    """Return what Stripe calls an amount of minor units; None if it can't express it.

    Examples:
        >>> to_units(1230, "USD"), to_units(500, "ISK"), to_units(1230, "KWD")
        (1230, 50000, 1230)
        >>> to_units(1231, "KWD") is None
        True
    """
    digits = MINOR_DIGITS[currency]
    sent, used = _DECIMALS.get(currency, (digits, digits))
    if amount_minor % 10 ** max(digits - used, 0):
        return None
    sent_per_whole: int = 10**sent
    minor_per_whole: int = 10**digits
    return amount_minor * sent_per_whole // minor_per_whole


def to_minor(units: int, currency: str) -> int:
    """Return the minor units of an amount as Stripe writes it.

    Raises:
        ChannelProtocolError: if it isn't a whole number of them.
    """
    digits = MINOR_DIGITS[currency]
    sent, _ = _DECIMALS.get(currency, (digits, digits))
    sent_per_whole: int = 10**sent
    minor_per_whole: int = 10**digits
    amount_minor, rest = divmod(units * minor_per_whole, sent_per_whole)
    if rest:
        raise ChannelProtocolError(f"stripe: {units} isn't a whole amount of {currency}")
    return amount_minor


def money(body: JsonObject, name: str) -> tuple[int, str]:
    """Return an amount of an object, minor units, and its currency."""
    currency = body.text("currency").upper()
    if currency not in MINOR_DIGITS:
        raise ChannelProtocolError(f"stripe: unknown currency {currency[:8]!r}")
    return to_minor(body.number(name), currency), currency


@dataclass(frozen=True, slots=True)
class Answer:
    """What Stripe answered: an object, or why it refused."""

    http_status: int
    body: JsonObject

    @property
    def ok(self) -> bool:
        """Whether the body is what was asked for."""
        return self.http_status == httpx.codes.OK

    @property
    def key_is_taken(self) -> bool:
        """Whether the idempotency key was used before with other parameters."""
        return self.body.part("error").text("type") == "idempotency_error"


class Wire:
    """Speaks for one account."""

    def __init__(
        self, settings: Mapping[str, str], client: httpx.AsyncClient, clock_us: Callable[[], int]
    ) -> None:
        """Take the account's keys and addresses.

        Raises:
            ValueError: naming a setting that can't be.
        """
        if _SECRET_KEY.fullmatch(settings["secret_key"]) is None:
            raise ValueError("secret_key must be like sk_test_… or rk_live_…")
        if not settings["webhook_secret"].startswith("whsec_"):
            raise ValueError("webhook_secret must be like whsec_…")
        self._key = settings["secret_key"]
        self._webhook_secret = settings["webhook_secret"].encode()
        self._base_url = settings["base_url"].rstrip("/")
        self._files_url = settings["files_url"].rstrip("/")
        self._client = client
        self._clock_us = clock_us

    async def get(self, path: str, *, timeout_s: float) -> Answer | None:
        """Ask; None if there is no answer."""
        return _answer(await self._send("GET", self._base_url + path, b"", "", timeout_s))

    async def post(
        self, path: str, form: Mapping[str, str], *, key: str = "", timeout_s: float
    ) -> Answer | None:
        """Have something done, once for each idempotency key; None if nothing is known of it."""
        body = urlencode(form).encode()
        return _answer(await self._send("POST", self._base_url + path, body, key, timeout_s))

    async def find(
        self, path: str, wanted: Callable[[JsonObject], bool], *, timeout_s: float
    ) -> JsonObject | None:
        """Look through a list, newest first.

        Args:
            path: With a query.
            wanted: Whether this is it.
            timeout_s: For each page.

        Returns:
            The object; an empty one if it isn't there; None if nothing is known.
        """
        after = ""
        while True:
            answer = await self.get(f"{path}&limit={_PAGE_COUNT}{after}", timeout_s=timeout_s)
            if answer is None:
                return None
            if not answer.ok:
                raise ChannelProtocolError(f"stripe: a list is refused: {answer.http_status}")
            listed = answer.body.parts("data")
            for each in listed:
                if wanted(each):
                    return each
            if not listed or not answer.body.says("has_more"):
                return JsonObject({})
            after = f"&starting_after={quote(listed[-1].text('id'), safe='')}"

    async def file(self, file_id: str, *, timeout_s: float) -> bytes:
        """Download a file by its id: an address in an answer is not where our key is sent to."""
        url = f"{self._files_url}/v1/files/{quote(file_id, safe='')}/contents"
        response = await self._send("GET", url, b"", "", timeout_s)
        if response is None or response.status_code != httpx.codes.OK:
            raise ChannelProtocolError(f"stripe: the file {file_id[:64]} can't be had now")
        return response.content

    async def _send(
        self, method: str, url: str, body: bytes, key: str, timeout_s: float
    ) -> httpx.Response | None:
        headers = {"Authorization": f"Bearer {self._key}", "Stripe-Version": API_VERSION}
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if key:
            headers["Idempotency-Key"] = key
        response = await ask(
            self._client, method, url, timeout_s=timeout_s, content=body, headers=headers
        )
        if response is None or response.status_code in _UNKNOWN_STATUSES:
            return None
        if response.status_code in _NOT_ABOUT_THE_PAYMENT:
            raise ChannelProtocolError(f"stripe: refuses our key: {response.status_code}")
        return response

    def verified(self, notice: Notice) -> JsonObject:
        """Return the event of a notification that Stripe signed and sent just now.

        Raises:
            ChannelProtocolError: if it isn't.
        """
        if len(notice.body) > _BODY_BYTES_MAX:
            raise ChannelProtocolError("stripe: notification is too large")
        written, signatures = _signature_parts(notice.headers.get("stripe-signature", ""))
        signed = hmac.digest(
            self._webhook_secret, written.encode() + b"." + notice.body, "sha256"
        ).hex()
        # Several v1 while the secret is being rolled; other schemes are not ours to believe.
        if not any(hmac.compare_digest(signed.encode(), each.encode()) for each in signatures):
            raise ChannelProtocolError("stripe: wrong signature")
        if abs(int(written) - self._clock_us() // 1_000_000) > CLOCK_TOLERANCE_S:
            raise ChannelProtocolError("stripe: stale notification")
        return JsonObject.read(notice.body)


def _signature_parts(header: str) -> tuple[str, list[str]]:
    """Return the timestamp as written and every v1 signature of a Stripe-Signature header."""
    pairs = [part.strip().partition("=") for part in header.split(",")]
    timestamps = [value for name, _, value in pairs if name == "t"]
    if len(timestamps) != 1 or _TIMESTAMP.fullmatch(timestamps[0]) is None:
        raise ChannelProtocolError("stripe: no timestamp in the signature")
    return timestamps[0], [value for name, _, value in pairs if name == "v1"]


def _answer(response: httpx.Response | None) -> Answer | None:
    if response is None:
        return None
    return Answer(response.status_code, JsonObject.read(response.content))


def about_session(session: JsonObject, trade_no: str) -> ChannelReply:
    """Read a Checkout Session, with its PaymentIntent in it where that matters."""
    session.same("client_reference_id", trade_no)
    intent = session.id_of("payment_intent")
    match session.text("status"), session.text("payment_status"):
        case "expired", _:
            outcome = Outcome.CLOSED
        case "complete", "paid":
            outcome = Outcome.PAID
        case "complete", "unpaid":
            # A slow method. The session lets nobody try again, so if it fails, that is the end.
            status = session.whole("payment_intent").text("status")
            failed = status in ("requires_payment_method", "canceled")
            outcome = Outcome.CLOSED if failed else Outcome.ACCEPTED
        case "open", "unpaid":
            outcome = Outcome.ACCEPTED
        case status, paid:
            raise ChannelProtocolError(f"stripe: a session is {status[:20]!r}, {paid[:20]!r}")
    amount_minor, currency = money(session, "amount_total")
    return ChannelReply(
        outcome=outcome,
        trade_no=trade_no,
        channel_trade_no=intent if outcome is Outcome.PAID else session.text("id"),
        amount_minor=amount_minor,
        currency=currency,
        raw=session.raw,
    )


def about_intent(intent: JsonObject, trade_no: str) -> ChannelReply:
    """Read a PaymentIntent."""
    intent.part("metadata").same("trade_no", trade_no)
    outcome = intent.word("status", _INTENTS)
    amount_minor, currency = money(
        intent, "amount_received" if outcome is Outcome.PAID else "amount"
    )
    return ChannelReply(
        outcome=outcome,
        trade_no=trade_no,
        channel_trade_no=intent.text("id"),
        amount_minor=amount_minor,
        currency=currency,
        raw=intent.raw,
    )


def about_refund(refund: JsonObject, trade_no: str, refund_no: str) -> ChannelReply:
    """Read a refund."""
    metadata = refund.part("metadata")
    metadata.same("trade_no", trade_no)
    metadata.same("refund_no", refund_no)
    amount_minor, currency = money(refund, "amount")
    return ChannelReply(
        outcome=refund.word("status", _REFUNDS),
        trade_no=trade_no,
        channel_trade_no=refund.id_of("payment_intent"),
        refund_no=refund_no,
        channel_refund_no=refund.text("id"),
        amount_minor=amount_minor,
        currency=currency,
        raw=refund.raw,
    )
