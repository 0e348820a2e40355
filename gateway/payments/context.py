"""What the verbs work with, put together once by `gateway.wiring` and passed in."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Engine

from gateway.channels.base import Channel
from gateway.payments.route import Routes
from gateway.store.event_log import EventLog
from gateway.store.orders import Order
from gateway.store.raw import Raw
from gateway.store.reads import Reads
from gateway.store.subjects import Subjects
from gateway.store.unit_of_work import Writer
from risk import Decision
from risk import Engine as RiskEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentConfig:
    """The settings the verbs need, with their units.

    `channel_notify_url` is where channels report; ``{channel}`` in it becomes the channel's name.
    """

    channel_notify_url: str
    order_timeout_s: int = 1_800
    review_hold_s: int = 86_400
    channel_timeout_s: float = 5.0
    sandbox_mode: bool = True


@dataclass(slots=True, kw_only=True)
class Context:
    """Store, channels, risk and clock of one gateway process.

    Attributes:
        writer: All changes go through it.
        reader: Read-only SQLAlchemy engine for the event loop's thread.
        reads: Answers questions on the path of every payment without holding up the others.
        raw_reader: A connection for what is asked now and then.
        risk: The engine, if this process owns the feature state; a worker of its own has none.
        subjects: Pseudonyms and keys of people; a worker of its own has none.
        log: Where the engine's events wait for their commit.
        channels: By the account's name.
        routes: Which account a payment goes through.
        clock_us: The time, microseconds since the epoch.
        config: Timeouts and addresses.
        on_decision: Told of every decision (metrics, alerts).
        creating: Creates under way, so that a simultaneous twin waits for the first's answer.
    """

    writer: Writer
    reader: Engine
    reads: Reads
    raw_reader: Raw
    risk: RiskEngine | None
    log: EventLog
    channels: dict[str, Channel]
    routes: Routes
    clock_us: Callable[[], int]
    config: PaymentConfig
    subjects: Subjects | None = None
    on_decision: Callable[[Decision], None] = lambda _decision: None
    creating: "dict[tuple[str, str], asyncio.Future[Order | None]]" = field(default_factory=dict)

    def notify_url(self, channel: str) -> str:
        """Where `channel` reports to the gateway."""
        return self.config.channel_notify_url.format(channel=channel)
