"""What the gateway asks of a payment system. One adapter file per system, nothing shared but this.

An adapter translates; it decides nothing, stores nothing and retries nothing. Retrying is
the worker's task, because only the worker knows whether an outcome is still unknown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

import httpx


class ChannelProtocolError(Exception):
    """A channel's message is malformed or wrongly signed; nothing in it may be believed."""


class Outcome(StrEnum):
    """What the channel is known to have done. UNKNOWN is a fact, not an error."""

    ACCEPTED = "ACCEPTED"  # The channel knows the payment or refund and waits.
    PAID = "PAID"
    REFUNDED = "REFUNDED"
    CLOSED = "CLOSED"  # Never paid and never will be.
    NOT_FOUND = "NOT_FOUND"  # The channel never heard of it: asking again is safe.
    REJECTED = "REJECTED"  # The channel refused for good.
    UNKNOWN = "UNKNOWN"
    ASK = "ASK"  # A notification that proves nothing by itself: query to learn what happened.


@dataclass(frozen=True, slots=True, kw_only=True)
class PayRequest:
    """A payment to be opened; `trade_no` is the idempotency key on the channel's side.

    Attributes:
        trade_no: 8 to 32 letters and digits.
        created_at_us: When the order was made, microseconds since the epoch; the same each time.
        pay_type: The merchant's choice, e.g. ``wechat`` (needs a `prepay_id`).
        notify_url: Where the channel tells the gateway (not the merchant) what happened.
        return_url: Where the payer's browser goes afterwards; may be empty.
        expires_at_s: Unix time, seconds.
        challenge: Risk asks the channel for step-up authentication of the payer.
        payer_id: The payer's id in the channel's own world (an openid), where it asks for one.
        payer_ip: The payer's address, where the channel asks for it.
    """

    trade_no: str
    created_at_us: int
    pay_type: str
    amount_minor: int
    currency: str
    subject: str
    notify_url: str
    return_url: str
    expires_at_s: int
    challenge: bool = False
    payer_id: str = ""
    payer_ip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A payment as the gateway knows it, for every question about it.

    Attributes:
        trade_no: Our number, the idempotency key on the channel's side.
        channel_trade_no: The channel's own number; '' until the channel told it.
        amount_minor: What is to be paid, minor units of `currency`.
        currency: ISO 4217 code.
        created_at_us: When the order was made, microseconds since the epoch.
        expires_at_s: When the payment dies by itself, Unix time, seconds; 0 if nobody knows.
    """

    trade_no: str
    channel_trade_no: str
    amount_minor: int
    currency: str
    created_at_us: int
    expires_at_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """A refund as the gateway knows it; `refund_no` is the idempotency key.

    Attributes:
        refund_no: Our number, 8 to 32 letters and digits.
        channel_refund_no: The channel's own number; '' until the channel told it.
        amount_minor: What goes back, minor units of `currency`.
        currency: ISO 4217 code, the trade's.
        reason: For people.
        notify_url: Where the channel tells the gateway how it ended.
        created_at_us: When the refund was asked for, microseconds since the epoch.
        to_account: Where it goes, at a channel that `PaysOut`; '' elsewhere.
    """

    refund_no: str
    channel_refund_no: str
    amount_minor: int
    currency: str
    reason: str
    notify_url: str
    created_at_us: int
    to_account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notification as it came.

    Attributes:
        headers: Lower-case names.
        body: Every byte.
        query: What stood behind the question mark of the address, undecoded.
    """

    headers: Mapping[str, str]
    body: bytes
    query: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeAnswer:
    """What tells the channel to stop, or to send again."""

    http_status: int
    body: bytes = b""
    content_type: str = "text/plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelReply:
    """A channel's answer in the gateway's words, with the original kept for the audit.

    Attributes:
        outcome: What is known to have happened.
        trade_no: Our number, echoed by the channel.
        channel_trade_no: The channel's own number, if it gave one.
        refund_no: Our refund number, if the answer is about a refund.
        channel_refund_no: The channel's own number of the refund, if it gave one.
        amount_minor: The amount the channel speaks of, if it says one.
        received_minor: All that has come for a payment whose amount the payer chooses (a transfer
            on a chain): less than was asked for while it waits, or more once it is paid. None
            where the channel takes the exact amount or nothing.
        currency: The currency the channel speaks of, if it says one.
        pay_url: What the payer opens or scans (answer to `pay`): an address, or a code's content.
        form: If not empty, the payer's browser must post these fields to `pay_url`; without one,
            they are what the payer's app is called with.
        prepay_id: Prepayment session (answer to `pay` for wechat).
        event_id: Unique id of a notification; the same event repeated has the same id.
        raw: The message as it came.
    """

    outcome: Outcome
    trade_no: str
    channel_trade_no: str = ""
    refund_no: str = ""
    channel_refund_no: str = ""
    amount_minor: int | None = None
    received_minor: int | None = None
    currency: str = ""
    pay_url: str = ""
    form: Mapping[str, str] = field(default_factory=dict)
    prepay_id: str = ""
    event_id: str = ""
    raw: bytes = b""


class Channel(Protocol):
    """An account at a payment system. Every method is idempotent in our number and bounded.

    A timeout or a 5xx answers `Outcome.UNKNOWN`; the caller resolves it with `query` before it
    tries anything else. A malformed or wrongly signed answer raises `ChannelProtocolError`.

    Attributes:
        name: Of the account; stands in orders, ledger and notification addresses.
        kind: Of the payment system, the key of `gateway.channels.registry.ADAPTERS`.
        poll_s: Pause between two questions about a waiting payment; 0 if notifications suffice.
    """

    name: str
    kind: str
    poll_s: int

    def link(self, request: PayRequest) -> ChannelReply | None:
        """Open the payment without asking the channel, where its protocol allows it.

        Returns:
            ACCEPTED with a signed `pay_url`, made by arithmetic alone; or None if this kind of
            payment must be opened by `pay`.
        """
        ...

    async def pay(self, request: PayRequest, *, timeout_s: float) -> ChannelReply:
        """Open the payment at the channel: ACCEPTED, REJECTED or UNKNOWN."""
        ...

    async def query(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        """Ask about a payment: ACCEPTED (waiting), PAID, CLOSED, NOT_FOUND or UNKNOWN.

        Where the channel moves money only when told to (a capture), the question tells it to.
        """
        ...

    async def close(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        """Close an unpaid payment: CLOSED (also if never heard of), PAID (too late) or UNKNOWN."""
        ...

    async def refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        """Give money back, idempotent in `refund_no`: REFUNDED, ACCEPTED, REJECTED or UNKNOWN."""
        ...

    async def query_refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        """Ask about a refund: REFUNDED, ACCEPTED, REJECTED, NOT_FOUND or UNKNOWN."""
        ...

    async def read_notification(self, notice: Notice, *, timeout_s: float) -> ChannelReply:
        """Verify and translate a notification: PAID, CLOSED, REFUNDED or ASK, with `event_id`.

        Raises:
            ChannelProtocolError: if it is malformed or not sent by the channel.
        """
        ...

    def notification_answer(self, *, accepted: bool) -> NoticeAnswer:
        """Return what tells the channel to stop, or to send again."""
        ...

    async def bill(self, day: str, *, timeout_s: float) -> bytes:
        """Download the bill of `day` (YYYY-MM-DD, the channel's own time zone), as it comes.

        Raises:
            ChannelProtocolError: if it can't be had or is damaged.
        """
        ...


@runtime_checkable
class PaysOut(Protocol):
    """A channel that can't send money back to where it came from.

    A refund is a payment of its own there, to an account that the customer states.
    """

    def payee(self, text: str) -> str:
        """Return an account as the channel writes it.

        Raises:
            ValueError: saying what is wrong with it.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing an account must be told, for forms and checks.

    Attributes:
        name: Its key, e.g. ``app_id``.
        meaning_en: What it is, in English.
        meaning_zh: The same in Chinese.
        secret: Never shown again once it was entered.
        default: What holds when it isn't given; None if it must be.
    """

    name: str
    meaning_en: str
    meaning_zh: str
    secret: bool = False
    default: str | None = None


Open = Callable[[str, Mapping[str, str], httpx.AsyncClient, Callable[[], int]], Channel]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A kind of payment system.

    Attributes:
        kind: Its name.
        pay_types: The merchants' words for it.
        settings: What an account of it must be told.
        open: Makes the channel of an account: name, settings, HTTP client (never closed by it),
            clock (microseconds since the epoch). Raises ValueError naming a setting that can't be.
    """

    kind: str
    pay_types: frozenset[str]
    settings: tuple[Setting, ...]
    open: Open
