"""A load generator that costs less than what it measures: raw HTTP/1.1 over loopback.

Requests are prepared bytes; connections are kept alive; an answer is read to its last byte. A
general HTTP client costs several times the CPU of the gateway's own create and would measure
itself.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length: "


class BadAnswer(Exception):
    """An answer that isn't a 200: the measurement would be of something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFigures:
    """What a run measured.

    Attributes:
        requests_per_s: Answers a second over the whole run.
        p50_ms: Median time from sending to the last byte; in a paced run, from the moment the
            request was due (a late start counts).
        p99_ms: 99th percentile of the same.
        count: How many requests.
    """

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    count: int


def http_post(path: str, body: bytes, *, content_type: str = "application/json") -> bytes:
    """Return the bytes of a POST request."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed by the server"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(_END_OF_HEAD)
        if head_end < 0 or self._answer is None:
            return
        at = self._buffer.lower().find(_LENGTH, 0, head_end) + len(_LENGTH)
        length_bytes = int(self._buffer[at : self._buffer.find(b"\r", at)])
        if len(self._buffer) >= head_end + 4 + length_bytes:
            whole, self._buffer = self._buffer, b""
            self._answer.set_result(whole)

    async def ask(self, request: bytes) -> bytes:
        if self._transport is None:
            raise ConnectionError("not connected")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        answer = await self._answer
        if not answer.startswith(b"HTTP/1.1 200"):
            raise BadAnswer(answer[:400].decode(errors="replace"))
        return answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def run_load(
    port: int, requests: Sequence[bytes], *, connections: int, requests_per_s: float | None = None
) -> LoadFigures:
    """Send every request once and measure.

    Args:
        port: On 127.0.0.1.
        requests: Prepared requests.
        connections: How many at once.
        requests_per_s: None: as fast as the answers come (closed loop). Otherwise each request
            has a time at which it is due (open loop), and waiting for a connection counts.

    Raises:
        BadAnswer: on the first answer that isn't a 200.
    """
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(_Connection, "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    waiting = iter(enumerate(requests))
    latencies_s: list[float] = []
    started_s = time.perf_counter()

    async def work(connection: _Connection) -> None:
        for place, request in waiting:
            due_s = time.perf_counter()
            if requests_per_s is not None:
                due_s = started_s + place / requests_per_s
                await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            await connection.ask(request)
            latencies_s.append(time.perf_counter() - due_s)

    try:
        await asyncio.gather(*(work(connection) for connection in opened))
    finally:
        for connection in opened:
            connection.close()
    elapsed_s = time.perf_counter() - started_s
    p50_s, p99_s = np.percentile(latencies_s, [50, 99])
    return LoadFigures(
        requests_per_s=len(requests) / elapsed_s,
        p50_ms=float(p50_s) * 1e3,
        p99_ms=float(p99_s) * 1e3,
        count=len(requests),
    )
