"""Serve the gateway's processes until they are told to stop."""

import asyncio
import logging
import signal
import sys
from types import FrameType

import uvicorn

from gateway.http.asgi import App
from gateway.wiring import Gateway

GRACE_S = 10
_log = logging.getLogger("yumen.serving")


def serve(app: App, host: str, port: int) -> None:
    """Serve an ASGI app on one event loop; its lifespan starts and stops what is behind it.

    Args:
        app: The application.
        host: Address to bind to.
        port: Port to bind to.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    # uvicorn raises the signal again once it has shut down: being told to stop is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _already_heeded)
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        raise SystemExit(1)


def _already_heeded(_number: int, _frame: FrameType | None) -> None:
    return


def work(gateway: Gateway) -> None:
    """Run a worker of its own until SIGINT or SIGTERM."""
    asyncio.run(_work(gateway))


async def _work(gateway: Gateway) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    await gateway.start()
    _log.info("worker runs on %s", gateway.settings.var)
    await told.wait()
    await gateway.stop()
