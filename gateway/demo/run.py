"""Start everything, stream traffic, stop everything, check everything."""

import asyncio
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
from rich.console import Console

from gateway import doctor
from gateway.demo.display import Display, places
from gateway.demo.merchants import Desk, Enrol, kept_merchants, open_shops, serving
from gateway.demo.processes import Child, Fleet
from gateway.demo.summary import Summary, summarise
from gateway.demo.traffic import Traffic, World
from gateway.queries.reader import open_reader
from gateway.refusal import Refused
from gateway.store.database import Database
from gateway.training import ensure_first_model

BEIJING = timezone(timedelta(hours=8))
START_TIMEOUT_S = 240.0  # A first start compiles the feature kernel.
FINISH_TIMEOUT_S = 20.0
WATCH_S = 0.5
ORDER_TIMEOUT_S = 30  # Short, so that a watcher sees unpaid orders close.
LABEL_DELAY_S = 15.0
FRAUD_SHARE = 0.04  # More than in life, so that a minute shows all of it.


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run the demo.

    Attributes:
        database: What the gateway keeps its tables in.
        var: Folder of the embedded state.
        host: Address everything binds to.
        port: Of the gateway.
        sandbox_port: Of the sandbox channel.
        console_port: Of the console; None runs without it.
        duration_s: End after so many seconds of traffic; None runs until a signal.
        rate_per_s: Payments a second.
        seed: Of the synthetic traffic.
    """

    database: Database
    var: Path
    host: str
    port: int
    sandbox_port: int
    console_port: int | None
    duration_s: float | None
    rate_per_s: float
    seed: int

    @property
    def gateway_url(self) -> str:
        """Base URL of the gateway."""
        return f"http://{self.host}:{self.port}"

    @property
    def sandbox_url(self) -> str:
        """Base URL of the sandbox channel."""
        return f"http://{self.host}:{self.sandbox_port}"

    @property
    def ports(self) -> list[int]:
        """Every port the demo needs."""
        return [self.port, self.sandbox_port] + ([self.console_port] if self.console_port else [])


def run(
    options: Options,
    enrol: Enrol,
    *,
    clock_us: Callable[[], int],
    environ: Mapping[str, str],
    model: Callable[[Path], str] = ensure_first_model,
) -> Summary:
    """Run the whole demo and return its summary.

    Args:
        options: How to run it.
        enrol: Makes a merchant in the gateway's database, creating the database when needed.
        clock_us: The time, microseconds since the epoch.
        environ: Environment of the processes it starts.
        model: Makes sure that a model decides, and names it.

    Raises:
        Refused: if a port is taken, or a process ends by itself.
    """
    console = Console(stderr=True)
    _check_ports(options)
    merchants = kept_merchants(options.var / "demo" / "merchants.json", enrol)
    version = model(options.var)
    with Fleet(options.var / "logs", {**environ, **_environ(options)}) as fleet:
        with console.status("starting 启动中"):
            _start_all(fleet, options)
        session = _Session(options, fleet, merchants, console, clock_us)
        return asyncio.run(session.run(version))


def _check_ports(options: Options) -> None:
    for port in options.ports:
        found = doctor.check_port(options.host, port)
        if found.detail != "free":
            raise Refused(f"port {port} is {found.detail}. {found.mend}")


def _environ(options: Options) -> dict[str, str]:
    return {
        "YUMEN_VAR": str(options.var),
        "YUMEN_HOST": options.host,
        "YUMEN_PORT": str(options.port),
        "YUMEN_SANDBOX_URL": options.sandbox_url,
        "YUMEN_SANDBOX_MODE": "true",
        "YUMEN_ORDER_TIMEOUT_S": str(ORDER_TIMEOUT_S),
    }


def _start_all(fleet: Fleet, options: Options) -> None:
    yumen = [sys.executable, "-m", "gateway.cli"]
    sandbox = fleet.start("sandbox", [*yumen, "sandbox", "--port", str(options.sandbox_port)])
    gateway = fleet.start("gateway", [*yumen, "serve", "--no-worker"])
    consoles: list[Child] = []
    if options.console_port is not None:
        port = str(options.console_port)
        consoles = [fleet.start("console", [*yumen, "console", "--port", port])]
    fleet.wait_ready(sandbox, f"{options.sandbox_url}/healthz", START_TIMEOUT_S)
    fleet.wait_ready(gateway, f"{options.gateway_url}/readyz", START_TIMEOUT_S)
    fleet.start("worker", [*yumen, "worker"])
    for child in consoles:
        url = f"http://{options.host}:{options.console_port}/_stcore/health"
        fleet.wait_ready(child, url, START_TIMEOUT_S)


class _Session:
    """The demo while its processes run."""

    def __init__(
        self,
        options: Options,
        fleet: Fleet,
        merchants: list[dict[str, str]],
        console: Console,
        clock_us: Callable[[], int],
    ) -> None:
        self._options = options
        self._fleet = fleet
        self._merchants = merchants
        self._console = console
        self._clock_us = clock_us

    async def run(self, model_version: str) -> Summary:
        """Stream traffic until the time is over or a signal comes; then stop and check."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        desk = Desk()
        started_us, started_s = self._clock_us(), time.monotonic()
        async with serving(desk, self._options.host) as desk_url, _http() as http:
            traffic = Traffic(self._world(desk, desk_url, http), self._options.rate_per_s)
            self._say_where(model_version)
            display = asyncio.create_task(
                Display(self._console, traffic.counts, desk, started_s).run()
            )
            await self._stream(traffic, stop)
            self._console.print("stopping 正在停止…")
            await traffic.finish(FINISH_TIMEOUT_S)
            bill = await traffic.reconcile(beijing_day(self._clock_us()))
            display.cancel()
            await asyncio.gather(display, return_exceptions=True)
            killed = await asyncio.to_thread(self._fleet.stop)
        if killed:
            traffic.counts.problem("killed", ", ".join(killed))
        reader = open_reader(self._options.database)
        try:
            return summarise(
                reader,
                traffic.counts,
                desk,
                bill,
                started_us=started_us,
                now_us=self._clock_us(),
            )
        finally:
            reader.dispose()

    async def _stream(self, traffic: Traffic, stop: asyncio.Event) -> None:
        """Run the traffic and watch the processes; either ending ends both."""
        flow = asyncio.create_task(traffic.run(stop), name="traffic")
        deadline_s = time.monotonic() + (self._options.duration_s or float("inf"))
        try:
            while not flow.done():
                self._fleet.check()
                if time.monotonic() >= deadline_s:
                    stop.set()
                await asyncio.wait([flow], timeout=WATCH_S)
        finally:
            stop.set()
            await flow

    def _world(self, desk: Desk, desk_url: str, http: httpx.AsyncClient) -> World:
        from models.bootstrap import world
        from models.synthetic.stream import Stream

        options = self._options
        shops = open_shops(self._merchants, options.gateway_url, desk_url, http)
        desk.shops = {shop.merchant_id: shop for shop in shops}
        return World(
            shops=shops,
            desk=desk,
            stream=Stream(
                world().population(),
                seed=options.seed,
                now_us=self._clock_us(),
                payments_per_s=options.rate_per_s,
                fraud_share=FRAUD_SHARE,
                label_delay_s=LABEL_DELAY_S,
            ),
            http=http,
            gateway_url=options.gateway_url,
            sandbox_url=options.sandbox_url,
            admin_token=(options.var / "admin.token").read_text("utf-8").strip(),
            order_timeout_s=ORDER_TIMEOUT_S,
            clock_us=self._clock_us,
            random=random.Random(options.seed),  # noqa: S311 - a simulation's dice
        )

    def _say_where(self, model_version: str) -> None:
        options = self._options
        addresses = {
            "gateway 网关": f"{options.gateway_url}/docs",
            "sandbox 沙箱": options.sandbox_url,
            "model 模型": model_version,
            "data 数据": str(options.var),
        }
        if options.console_port is not None:
            addresses["console 控制台"] = f"http://{options.host}:{options.console_port}"
        end = "Ctrl-C" if options.duration_s is None else f"{options.duration_s:.0f} s"
        self._console.print(f"synthetic payments are flowing 合成交易进行中; ends: {end}")
        for line in places(addresses):
            self._console.print(line, highlight=False, soft_wrap=True)


def beijing_day(at_us: int) -> str:
    """The business day of a time as the sandbox's bills count it, YYYY-MM-DD.

    Examples:
        >>> beijing_day(1_767_283_200_000_000)  # 16:00 UTC on New Year's Day
        '2026-01-02'
    """
    return f"{datetime.fromtimestamp(at_us // 1_000_000, tz=BEIJING):%Y-%m-%d}"


def _http() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=100)
    return httpx.AsyncClient(timeout=15.0, limits=limits, trust_env=False)
