"""The sandbox behind a real socket on a free loopback port, for other people's clients."""

import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from gateway.clock import wall_clock_us
from gateway.sandbox.app import build
from gateway.sandbox.faults import NO_FAULTS, Faults


@dataclass
class LiveSandbox:
    """Where it is, what it told the merchant, and the payer's browser."""

    base_url: str
    var: Path
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answer: Response = field(default_factory=lambda: Response(b"success"))

    @property
    def notify_url(self) -> str:
        return self.base_url.removesuffix("/sandbox") + "/heard"

    async def notified(self, request: Request) -> Response:
        self.heard.append((dict(request.headers), await request.body()))
        return self.answer

    def payer(self, address: str, form: dict[str, str] | None = None, **deed: str) -> Any:
        """Follow what the payer was given to his page and act there."""
        with httpx.Client(follow_redirects=True, trust_env=False) as browser:
            if not address.startswith("http"):
                address = str(httpx.URL(f"{self.base_url}/scan", params={"code": address}))
            page = browser.post(address, data=form) if form else browser.get(address)
            assert page.status_code == 200, page.text
            acted = browser.post(page.url, data=deed, headers={"Accept": "application/json"})
            return acted.json() | {"http": acted.status_code}

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds, 60 s at most."""
        for _ in range(6000):
            if condition():
                return
            time.sleep(0.01)
        raise AssertionError("waited in vain")


@contextmanager
def live_sandbox(var: Path, *, faults: Faults = NO_FAULTS) -> Iterator[LiveSandbox]:
    """Serve a sandbox under /sandbox and the merchant's ear under /heard until the block ends."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        at = LiveSandbox(f"http://127.0.0.1:{listener.getsockname()[1]}/sandbox", var)
        sandbox = build(var, wall_clock_us, faults=faults, webhook_url=at.notify_url)

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            await sandbox.start()
            yield
            await sandbox.stop()

        host = Starlette(
            routes=[
                Mount("/sandbox", sandbox.app),
                Route("/heard", at.notified, methods=["POST"]),
            ],
            lifespan=lifespan,
        )
        server = uvicorn.Server(uvicorn.Config(host, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            at.wait(lambda: server.started)
            yield at
        finally:
            server.should_exit = True
            thread.join(10)
