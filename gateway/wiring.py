"""Builds a gateway from its settings: the one place where all parts meet.

Order matters at the start and at the end. The log is replayed into the feature state before the
first request, and only one process may own that state: a lock on a file says which.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from gateway.channels.base import Channel, ChannelProtocolError
from gateway.channels.registry import ADAPTERS
from gateway.domain.errors import BillUnavailable, InvalidParameter, ObjectNotFound
from gateway.domain.order import PayType
from gateway.http.admin_api import AdminDeps, admin_router
from gateway.http.app import build_app
from gateway.http.asgi import App
from gateway.http.merchant_api import MerchantApi
from gateway.http.rules_api import RulesDeps, rules_router
from gateway.owner import kept_secret, own
from gateway.payments.context import Context, PaymentConfig
from gateway.recon import run as recon
from gateway.recon.bills import BillRefused
from gateway.recon.record import window_of
from gateway.recon.run import Comparison
from gateway.sandbox.app import Sandbox
from gateway.sandbox.app import build as build_sandbox
from gateway.sandbox.protocols.registry import accounts
from gateway.settings import Settings
from gateway.signing import sign
from gateway.store.alerts import AlertBook
from gateway.store.database import Database, Lock
from gateway.store.event_log import EventLog, read_log
from gateway.store.merchants import KeyRing
from gateway.store.migrate import migrate
from gateway.store.policies import seed_database
from gateway.store.rules import start as start_rules
from gateway.store.subjects import Subjects
from gateway.store.vault import Vault
from gateway.telemetry import Metrics
from gateway.worker.alerts import AlertWriter
from gateway.worker.anchor import Anchor
from gateway.worker.communities import CommunityRefresher
from gateway.worker.feedback import FeedbackPlacer
from gateway.worker.loop import Loop
from gateway.worker.notify import Notifier
from gateway.worker.refresh import Refresher
from gateway.worker.resolve import Resolver
from gateway.worker.rules import RuleKeeper
from gateway.worker.watch import DecisionWatch
from risk import Engine as RiskEngine
from risk.geo import newest

SANDBOX_PATH = "/sandbox"
SNAPSHOT = "risk.snapshot"


def wall_clock_us() -> int:
    """The time, microseconds since the epoch."""
    return time.time_ns() // 1000


@dataclass(slots=True, kw_only=True)
class Gateway:
    """A gateway process, or a worker's: start it on an event loop, and stop it there.

    Attributes:
        settings: What it was built from.
        context: Store, channels, risk and clock.
        app: The ASGI app (None for a worker of its own); its lifespan starts and stops this.
        keys: Merchants' keys (for the replay and the demo).
        metrics: What it counts.
        admin_token: What operators show.
        sandbox: The sandbox this process serves itself, if it does.
        place_feedback: Gives waiting facts their place in the log now (owner only).
        alerts: Writes the alerts that wait.
        anchor: Logs the chain's head, daily and at the end (owner only).
        communities: Looks for communities of users (owner only).
    """

    settings: Settings
    context: Context
    keys: KeyRing
    metrics: Metrics
    admin_token: str
    loop: Loop
    client: httpx.AsyncClient
    app: App | None = None
    sandbox: Sandbox | None = None
    place_feedback: FeedbackPlacer | None = None
    alerts: AlertWriter | None = None
    anchor: Anchor | None = None
    communities: CommunityRefresher | None = None
    locks: tuple[Lock, ...] = ()
    started: bool = field(default=False, init=False)

    async def start(self) -> None:
        """Begin the work behind the doors."""
        if self.started:
            return
        self.started = True
        if self.sandbox is not None:
            await self.sandbox.start()
        self.loop.start()

    async def stop(self) -> None:
        """Finish what is under way, keep a snapshot of the feature state, let go of the files."""
        if not self.started:
            return
        self.started = False
        await self.loop.stop()
        if self.sandbox is not None:
            await self.sandbox.stop()
        await self.client.aclose()
        if self.alerts is not None:
            await self.alerts.run_once()
        if len(self.context.log):
            self.context.writer.nudge()
        await self.context.writer.close()
        if self.context.risk is not None and not len(self.context.log):
            self.context.risk.save_snapshot(self.settings.var / SNAPSHOT)
        if self.anchor is not None:
            self.anchor.log()
        self.context.reader.dispose()
        self.context.raw_reader.close()
        for lock in self.locks:
            lock.close()


def build(settings: Settings, *, clock_us: Callable[[], int] = wall_clock_us) -> Gateway:
    """Build the gateway: doors, feature state, and (unless told otherwise) the worker.

    Args:
        settings: All settings; `settings.var` is created and migrated when needed.
        clock_us: The time, microseconds since the epoch; replays give their own.

    Raises:
        AlreadyOwned: if another gateway runs on the same folder.
    """
    database, locks = _owned(settings)
    seed_database(database, now_us=clock_us())
    metrics, book = Metrics(), AlertBook()
    risk = _restored_engine(settings, database)
    running = start_rules(database, clock_us())
    risk.use_rules(running)
    client = httpx.AsyncClient(follow_redirects=False, trust_env=False)
    context = _context(settings, database, clock_us, client, risk)
    context.on_decision = DecisionWatch(metrics, book, clock_us)
    refresher = Refresher(risk, context.reader, book, clock_us)
    refresher.take_policy()
    alerts = AlertWriter(book, context.writer)
    vault = Vault(settings.var)
    context.subjects = Subjects(context.raw_reader, vault)
    keys = KeyRing(context.reader, vault, clock_us)
    placer = FeedbackPlacer(context)
    communities = CommunityRefresher(
        context,
        settings.var,
        database,
        interval_s=settings.graph_refresh_interval_s,
    )
    anchor = Anchor(context.raw_reader, clock_us)
    rules = RuleKeeper(context, database, running, book)
    work: dict[str, Callable[[], Awaitable[int]]] = {
        "feedback": placer.run_once,
        "model": refresher.models,
        "policy": refresher.policy,
        "rules": rules.run_once,
        "alerts": alerts.run_once,
        "erasures": context.subjects.run_once,
        "anchor": anchor.run_once,
        "communities": communities.run_once,
    }
    if settings.worker:
        work |= _worker_tasks(settings, context, client, keys)
    gateway = Gateway(
        settings=settings,
        context=context,
        keys=keys,
        metrics=metrics,
        admin_token=kept_secret(settings.var / "admin.token").decode(),
        loop=Loop(work, poll_s=settings.worker_poll_s),
        client=client,
        place_feedback=placer,
        alerts=alerts,
        anchor=anchor,
        communities=communities,
        locks=locks,
    )
    mounts: dict[str, App] = {}
    if not settings.sandbox_url:
        gateway.sandbox = _sandbox(settings, clock_us)
        mounts[SANDBOX_PATH] = gateway.sandbox.app
    api = MerchantApi(
        context=context,
        keys=keys,
        metrics=metrics,
        body_bytes_max=settings.body_bytes_max,
        timestamp_window_s=settings.timestamp_window_s,
    )
    admin = AdminDeps(
        context=context, token=gateway.admin_token, reconcile=_reconciler(database, context)
    )

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        await gateway.start()
        try:
            yield
        finally:
            await gateway.stop()

    gateway.app = build_app(
        api,
        admin_router(admin),
        rules_router(_rule_desk(gateway, vault, rules)),
        lifespan=lifespan,
        mounts=mounts,
    )
    return gateway


def _owned(settings: Settings) -> tuple[Database, tuple[Lock, ...]]:
    """Take folder and database for this process alone, and bring the database up to date."""
    settings.var.mkdir(parents=True, exist_ok=True)
    database = settings.database
    locks = (own(settings.var), database.own())
    migrate(database)
    return database, locks


def _rule_desk(gateway: Gateway, vault: Vault, rules: RuleKeeper) -> RulesDeps:
    subjects = gateway.context.subjects
    if subjects is None:
        raise RuntimeError("only the owner of the feature state changes rules by request")
    return RulesDeps(
        context=gateway.context,
        token=gateway.admin_token,
        numbers=subjects.number_of,
        vault=vault,
        refresh=rules.refresh,
        running=lambda: rules.running,
    )


def build_worker(settings: Settings, *, clock_us: Callable[[], int] = wall_clock_us) -> Gateway:
    """Build a worker of its own: it owns no feature state and hands its facts over."""
    settings.var.mkdir(parents=True, exist_ok=True)
    database = settings.database
    migrate(database)
    client = httpx.AsyncClient(follow_redirects=False, trust_env=False)
    context = _context(settings, database, clock_us, client, None)
    keys = KeyRing(context.reader, Vault(settings.var), clock_us)
    return Gateway(
        settings=settings,
        context=context,
        keys=keys,
        metrics=Metrics(),
        admin_token="",
        loop=Loop(_worker_tasks(settings, context, client, keys), poll_s=settings.worker_poll_s),
        client=client,
    )


def build_sandbox_alone(settings: Settings) -> Sandbox:
    """Build the sandbox as a process of its own."""
    settings.var.mkdir(parents=True, exist_ok=True)
    return _sandbox(settings, wall_clock_us)


def _restored_engine(settings: Settings, database: Database) -> RiskEngine:
    risk = RiskEngine(
        bundle_dir=settings.var / "bundles",
        deadline_us=settings.risk_deadline_us,
        fallback=settings.risk_fallback,
        geo=newest(settings.var / "geo"),
    )
    raw = database.raw_reader()
    try:
        last_seq = raw.execute("SELECT coalesce(max(seq), 0) FROM risk_events").fetchone()[0]
        stands_at = risk.load_snapshot(settings.var / SNAPSHOT)
        if stands_at > last_seq:  # A snapshot of another database: the log alone is the truth.
            (settings.var / SNAPSHOT).unlink()
            return _restored_engine(settings, database)
        risk.restore(read_log(raw, after_seq=stands_at))
    finally:
        raw.close()
    risk.refresh_model()
    return risk


def _context(
    settings: Settings,
    database: Database,
    clock_us: Callable[[], int],
    client: httpx.AsyncClient,
    risk: RiskEngine | None,
) -> Context:
    log = EventLog()
    told = accounts(settings.var, settings.sandbox_url or settings.gateway_url + SANDBOX_PATH)
    channels: dict[str, Channel] = {
        kind: ADAPTERS[kind].open(kind, told[kind], client, clock_us) for kind in ADAPTERS
    }
    return Context(
        writer=database.writer(prologue=log.write, committed=log.committed, doubted=log.doubted),
        reader=database.reader(),
        raw_reader=database.raw_reader(),
        risk=risk,
        log=log,
        channels=channels,
        route=dict.fromkeys((pay_type.value for pay_type in PayType), "sandbox"),
        clock_us=clock_us,
        config=PaymentConfig(
            channel_notify_url=settings.gateway_url + "/api/channel/{channel}/notify",
            order_timeout_s=settings.order_timeout_s,
            review_hold_s=settings.review_hold_s,
            channel_timeout_s=settings.channel_timeout_s,
            sandbox_mode=settings.sandbox_mode,
        ),
    )


def _worker_tasks(
    settings: Settings, context: Context, client: httpx.AsyncClient, keys: KeyRing
) -> dict[str, Callable[[], Awaitable[int]]]:
    async def sign_for(merchant_id: str, params: Mapping[str, str]) -> str:
        merchant = keys.find(merchant_id)
        if merchant is None or not merchant.keys:
            raise ValueError(f"merchant {merchant_id} has no live key to sign with")
        key = merchant.keys[0]
        if key.algorithm.is_shared:
            return sign(key, params)
        return await asyncio.to_thread(sign, key, params)

    notifier = Notifier(context, client, sign_for, timeout_s=settings.notify_timeout_s)
    return {"notify": notifier.run_once, "resolve": Resolver(context).run_once}


def _sandbox(settings: Settings, clock_us: Callable[[], int]) -> Sandbox:
    return build_sandbox(settings.var, clock_us)


def _reconciler(
    database: Database, context: Context
) -> Callable[[str, str], Awaitable[Mapping[str, object]]]:
    def compare(channel: str, day: str, bill: bytes) -> Comparison:
        engine = database.reader()  # A connection of the comparing thread's own.
        try:
            with engine.connect() as conn:
                return recon.compare(conn, channel, day, bill)
        finally:
            engine.dispose()

    async def reconcile(channel: str, day: str) -> Mapping[str, object]:
        if channel not in context.channels:
            raise ObjectNotFound(f"no channel {channel[:32]}")
        try:
            window_of(channel, day)
        except ValueError as error:
            raise InvalidParameter("day", str(error)) from error
        try:
            bill = await context.channels[channel].bill(
                day, timeout_s=context.config.channel_timeout_s
            )
            comparison = await asyncio.to_thread(compare, channel, day, bill)
        except (ChannelProtocolError, BillRefused) as error:
            raise BillUnavailable(str(error)) from error
        now_us = context.clock_us()
        summary = await context.writer.run(lambda conn: recon.store(conn, comparison, now_us))
        return summary.as_json()

    return reconcile
