"""Builds a gateway from its settings: the one place where all parts meet.

Order matters at the start and at the end. The log is replayed into the feature state before the
first request, and only one process may own that state: a lock on a file says which.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from gateway.channels.base import Channel
from gateway.channels.registry import ADAPTERS
from gateway.clock import TestClock, wall_clock_us
from gateway.doors import House, build_doors
from gateway.http.asgi import App
from gateway.owner import kept_secret, own
from gateway.payments.context import Context, PaymentConfig
from gateway.payments.route import Health, Routes
from gateway.sandbox.app import Sandbox
from gateway.sandbox.app import build as build_sandbox
from gateway.sandbox.protocols.registry import account
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
from gateway.worker.accounts import AccountKeeper
from gateway.worker.alerts import AlertWriter
from gateway.worker.anchor import Anchor
from gateway.worker.communities import CommunityRefresher
from gateway.worker.feedback import FeedbackPlacer
from gateway.worker.loop import Loop
from gateway.worker.notify import Notifier
from gateway.worker.refresh import Refresher
from gateway.worker.resolve import Resolver
from gateway.worker.rules import RuleKeeper
from gateway.worker.settle import Settler
from gateway.worker.watch import DecisionWatch
from risk import Engine as RiskEngine
from risk.geo import newest

SANDBOX_PATH = "/sandbox"
NOTIFY_PATH = "/api/channel/{channel}/notify"
SNAPSHOT = "risk.snapshot"


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

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncIterator[None]:
        """Start, and stop at the end, as an ASGI server's lifespan does."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

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
        self.context.reads.close()
        self.context.raw_reader.close()
        for lock in self.locks:
            lock.close()


def clock_of(settings: Settings) -> Callable[[], int]:
    """Return the clock of an installation: in a sandbox it can be moved forward."""
    return TestClock(settings.var) if settings.sandbox_mode else wall_clock_us


def build(settings: Settings, *, clock_us: Callable[[], int] | None = None) -> Gateway:
    """Build the gateway: doors, feature state, and (unless told otherwise) the worker.

    Args:
        settings: All settings; `settings.var` is created and migrated when needed.
        clock_us: The time, microseconds since the epoch; replays and tests give their own.

    Raises:
        AlreadyOwned: if another gateway runs on the same folder.
    """
    clock_us = clock_us or clock_of(settings)
    database, locks = _owned(settings)
    seed_database(database, now_us=clock_us())
    metrics, book = Metrics(), AlertBook()
    risk = _restored_engine(settings, database)
    running = start_rules(database, clock_us())
    risk.use_rules(running)
    client = httpx.AsyncClient(follow_redirects=False, trust_env=False)
    context = _context(settings, database, clock_us, risk)
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
    keeper = _accounts(settings, context, vault, client)
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
        "accounts": keeper.run_once,
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
    if settings.sandbox_mode and not settings.sandbox_url:
        gateway.sandbox = _sandbox(settings, clock_us)
        mounts[SANDBOX_PATH] = gateway.sandbox.app
    house = House(
        settings=settings,
        context=context,
        keys=keys,
        metrics=metrics,
        database=database,
        vault=vault,
        admin_token=gateway.admin_token,
        rules=rules,
        accounts=keeper,
    )
    gateway.app = build_doors(house, lifespan=gateway.lifespan, mounts=mounts)
    return gateway


def _owned(settings: Settings) -> tuple[Database, tuple[Lock, ...]]:
    """Take folder and database for this process alone, and bring the database up to date."""
    settings.var.mkdir(parents=True, exist_ok=True)
    database = settings.database
    locks = (own(settings.var), database.own())
    migrate(database)
    return database, locks


def build_worker(settings: Settings, *, clock_us: Callable[[], int] | None = None) -> Gateway:
    """Build a worker of its own: it owns no feature state and hands its facts over."""
    clock_us = clock_us or clock_of(settings)
    settings.var.mkdir(parents=True, exist_ok=True)
    database = settings.database
    migrate(database)
    client = httpx.AsyncClient(follow_redirects=False, trust_env=False)
    context = _context(settings, database, clock_us, None)
    vault = Vault(settings.var)
    keys = KeyRing(context.reader, vault, clock_us)
    keeper = _accounts(settings, context, vault, client)
    work = _worker_tasks(settings, context, client, keys) | {"accounts": keeper.run_once}
    return Gateway(
        settings=settings,
        context=context,
        keys=keys,
        metrics=Metrics(),
        admin_token="",
        loop=Loop(work, poll_s=settings.worker_poll_s),
        client=client,
    )


def build_sandbox_alone(settings: Settings) -> Sandbox:
    """Build the sandbox as a process of its own."""
    settings.var.mkdir(parents=True, exist_ok=True)
    return _sandbox(settings, clock_of(settings))


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
    risk: RiskEngine | None,
) -> Context:
    log = EventLog()
    return Context(
        writer=database.writer(prologue=log.write, committed=log.committed, doubted=log.doubted),
        reader=database.reader(),
        reads=database.reads(),
        raw_reader=database.raw_reader(),
        risk=risk,
        log=log,
        channels={},
        routes=Routes(Health(clock_us)),
        clock_us=clock_us,
        config=PaymentConfig(
            channel_notify_url=settings.gateway_url + NOTIFY_PATH,
            order_timeout_s=settings.order_timeout_s,
            review_hold_s=settings.review_hold_s,
            channel_timeout_s=settings.channel_timeout_s,
            sandbox_mode=settings.sandbox_mode,
        ),
    )


def _accounts(
    settings: Settings, context: Context, vault: Vault, client: httpx.AsyncClient
) -> AccountKeeper:
    """Open the stored accounts and, in a sandbox, one of each kind at the sandbox itself."""
    built_in: dict[str, tuple[Channel, frozenset[str]]] = {}
    if settings.sandbox_mode:
        sandbox_url = settings.sandbox_url or settings.gateway_url + SANDBOX_PATH
        for kind, adapter in ADAPTERS.items():
            serves = adapter.pay_types if kind == "sandbox" else frozenset[str]()
            told = account(kind, settings.var, sandbox_url)
            channel = adapter.open(kind, told, client, context.clock_us)
            built_in[kind] = (channel, serves)
    keeper = AccountKeeper(context, vault, client, built_in, context.clock_us)
    keeper.take()
    return keeper


def _worker_tasks(
    settings: Settings, context: Context, client: httpx.AsyncClient, keys: KeyRing
) -> dict[str, Callable[[], Awaitable[int]]]:
    async def sign_for(merchant_id: str, params: Mapping[str, str]) -> str:
        merchant = keys.find(merchant_id)
        if merchant is None or not (merchant.keys or merchant.notify_key):
            raise ValueError(f"merchant {merchant_id} has no live key to sign with")
        key = merchant.notify_key or merchant.keys[0]
        if key.algorithm.is_shared:
            return sign(key, params)
        return await asyncio.to_thread(sign, key, params)

    notifier = Notifier(context, client, sign_for, timeout_s=settings.notify_timeout_s)
    return {
        "notify": notifier.run_once,
        "resolve": Resolver(context).run_once,
        "settle": Settler(context).run_once,
    }


def _sandbox(settings: Settings, clock_us: Callable[[], int]) -> Sandbox:
    return build_sandbox(settings.var, clock_us, webhook_url=settings.gateway_url + NOTIFY_PATH)
