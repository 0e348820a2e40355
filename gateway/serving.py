"""Serve the gateway's processes until they are told to stop."""

import asyncio
import gc
import logging
import signal
import sys
from types import FrameType

import uvicorn

from gateway.http.asgi import App
from gateway.wiring import Gateway

GRACE_S = 10
# The commit's thread asks for the interpreter when the disk is done; the default of 5 ms would
# make every group wait for that long under load.
SWITCH_INTERVAL_S = 0.000_5
# Young garbage only: requests leave no cycles, and a full collection over what the libraries
# keep for good stops everything for tens of milliseconds.
GC_THRESHOLDS = (50_000, 20, 1_000)
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
    settle_process()
    server.run()
    if not server.started:
        raise SystemExit(1)


def settle_process() -> None:
    """Fit the interpreter to a server: what is loaded stays, threads hand over quickly."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


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
