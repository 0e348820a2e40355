"""Tell the merchant until he has heard, or a day has passed.

Why an outbox and not a call after commit: the process can die between the two, and a paid
order that nobody hears of is the costliest bug a gateway can have. The row is written in
the order's own transaction; this module only reads rows that are due and moves them on.

At-least-once by design: a merchant may hear twice, and is told so in the API reference. A lease
keeps two workers from telling him at the same time; it runs out if its holder dies.
"""

import asyncio
import ipaddress
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from urllib.parse import urlsplit

import httpx
from sqlalchemy import Boolean, Connection, literal_column, update

from gateway.domain.urls import address_allowed, check_url
from gateway.payments.context import Context
from gateway.store.claims import Due as DueRows
from gateway.store.tables import notifications

RETRY_DELAYS_S = (120, 600, 1_800, 3_600, 7_200, 21_600, 43_200)  # Binding: spec, "通知重试".
GIVE_UP_AFTER_S = 24 * 3_600
BATCH_COUNT = 64
ANSWER_BYTES_MAX = 1_024
LEASE_SLACK_S = 5.0

Sign = Callable[[str, Mapping[str, str]], Awaitable[str]]
_log = logging.getLogger("yumen.notify")


def next_attempt_at_s(first_attempt_at_s: int, attempts: int) -> int | None:
    """Return when to notify again, or None when the schedule is exhausted.

    Args:
        first_attempt_at_s: Unix time of the first, immediate attempt, in seconds.
        attempts: Attempts made so far, at least 1.

    Examples:
        >>> next_attempt_at_s(1_000, attempts=1)
        1120
        >>> next_attempt_at_s(1_000, attempts=8) is None
        True
    """
    if attempts > len(RETRY_DELAYS_S):
        return None
    due_at_s = first_attempt_at_s + sum(RETRY_DELAYS_S[:attempts])
    return due_at_s if due_at_s <= first_attempt_at_s + GIVE_UP_AFTER_S else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A notification that is to be sent now."""

    merchant_id: str
    event_id: str
    notify_url: str
    payload: str
    attempts: int
    first_attempt_at_us: int


_NAMES = tuple(field.name for field in fields(Due))
_PENDING = literal_column(
    "notifications.status = 'PENDING'", Boolean
)  # As the partial index says it.


class Notifier:
    """Sends what is due, each try signed afresh, and writes down how it went."""

    def __init__(
        self, context: Context, client: httpx.AsyncClient, sign: Sign, *, timeout_s: float
    ) -> None:
        self._context = context
        self._client = client
        self._sign = sign
        self._timeout_s = timeout_s

    async def run_once(self) -> int:
        """Send all that is due, up to a batch; return how many were tried."""
        now_us = self._context.clock_us()
        with self._context.reader.connect() as conn:
            if not due_notifications(now_us).is_any(conn, now_us):
                return 0
        lease_until_us = now_us + int((self._timeout_s + LEASE_SLACK_S) * 1e6)
        batch = await self._context.writer.run(
            lambda conn: due_notifications(now_us).claim(
                conn, now_us=now_us, lease_until_us=lease_until_us, limit=BATCH_COUNT
            )
        )
        problems = await asyncio.gather(*(self._tell(due) for due in batch))
        done_us = self._context.clock_us()
        await self._context.writer.run(
            lambda conn: _note(
                conn, list(zip(batch, problems, strict=True)), lease_until_us, done_us
            )
        )
        return len(batch)

    async def _tell(self, due: Due) -> str:
        """Send one notification; return '' or what went wrong."""
        params = {name: str(value) for name, value in json.loads(due.payload).items()}
        params["timestamp"] = str(self._context.clock_us() // 1000)
        params["sign"] = await self._sign(due.merchant_id, params)
        body = json.dumps(params, ensure_ascii=False).encode()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(due.notify_url, body)
        except TimeoutError:
            return "timeout"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"[:200]

    async def _post(self, url: str, body: bytes) -> str:
        target, headers, extensions = await self._pin(url)
        headers["content-type"] = "application/json; charset=utf-8"
        async with self._client.stream(
            "POST", target, content=body, headers=headers, extensions=extensions
        ) as answer:
            said = b""
            async for chunk in answer.aiter_bytes():
                said += chunk
                if len(said) > ANSWER_BYTES_MAX:
                    return "the answer is too long"
            if answer.status_code != httpx.codes.OK:
                return f"HTTP {answer.status_code}"
        heard = said.strip().lower() == b"success"
        return "" if heard else f"answered {said[:40]!r} instead of success"

    async def _pin(self, url: str) -> tuple[str, dict[str, str], dict[str, str]]:
        """Resolve the host once, refuse what is not public, and connect to that very address.

        Checking a name and then connecting by name would let its owner answer differently the
        second time (DNS rebinding).
        """
        check_url(url, field="notify_url", sandbox_mode=self._context.config.sandbox_mode)
        if self._context.config.sandbox_mode:
            return url, {}, {}
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        address = ipaddress.ip_address(found[0][4][0])
        if not address_allowed(str(address)):
            raise ValueError("notify_url leads to an address that is not public")
        shown = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - IPv6
        pinned = parts._replace(netloc=f"{shown}:{port}").geturl()
        return pinned, {"host": parts.netloc}, {"sni_hostname": host}


def due_notifications(now_us: int) -> DueRows[Due]:
    """Notifications whose time has come, the one that waits longest first."""
    return DueRows(
        table=notifications,
        where=(_PENDING, notifications.c.next_attempt_at_us <= now_us),
        order_by=notifications.c.next_attempt_at_us,
        read=lambda row: Due(**{name: row[name] for name in _NAMES}),
    )


def _note(conn: Connection, tried: list[tuple[Due, str]], lease_until_us: int, now_us: int) -> None:
    """Write down how it went, unless the lease ran out and another worker took over."""
    for due, problem in tried:
        attempts = due.attempts + 1
        first_us = due.first_attempt_at_us or now_us
        changes: dict[str, object] = {
            "attempts": attempts,
            "first_attempt_at_us": first_us,
            "lease_until_us": 0,
            "last_error": problem,
        }
        if not problem:
            changes |= {"status": "DELIVERED", "delivered_at_us": now_us}
        else:
            next_s = next_attempt_at_s(first_us // 1_000_000, attempts)
            if next_s is None:
                changes["status"] = "GIVEN_UP"
                _log.warning("gave up notifying %s: %s", due.event_id, problem)
            else:
                changes["next_attempt_at_us"] = next_s * 1_000_000
        mine = (
            notifications.c.merchant_id == due.merchant_id,
            notifications.c.event_id == due.event_id,
            notifications.c.lease_until_us == lease_until_us,
        )
        if conn.execute(update(notifications).where(*mine).values(**changes)).rowcount != 1:
            _log.warning("%s took longer than its lease; another worker tells it", due.event_id)
