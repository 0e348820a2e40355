"""Stripe on the sandbox's side: Checkout Sessions, refunds, events, report runs.

Strict where Stripe is: an idempotency key belongs to one request for good, a twin that comes while
the first is under way is told so, a kept answer is replayed, and what was refused before it was
tried is not kept. Looser in one thing: a report may cover a day that isn't over.
"""

import asyncio
import binascii
import hashlib
import hmac
import json
import re
import secrets
import sqlite3
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.sandbox import bill, refunds
from gateway.sandbox.callbacks import Message
from gateway.sandbox.keys import Keys
from gateway.sandbox.protocols import stripe_objects as objects
from gateway.sandbox.protocols.base import Desk, Handler, WireProtocol, base_of, read_body
from gateway.sandbox.protocols.stripe_objects import Params, Problem
from gateway.sandbox.protocols.stripe_verbs import NAME, Call, Verbs, Work, missing
from gateway.sandbox.trades import Event, Refusal

KEY_LENGTH_MAX: Final = 255


class Stripe(WireProtocol):
    """See docs.stripe.com/api; what is spoken of it is listed in `docs/CHANNELS.md`."""

    name = NAME
    schema = """
CREATE TABLE IF NOT EXISTS stripe_keys (
  key TEXT PRIMARY KEY,
  asked TEXT NOT NULL,                 -- path and parameters
  http_status INTEGER NOT NULL,
  answer TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS stripe_reports (
  id TEXT PRIMARY KEY,
  day TEXT NOT NULL,
  columns TEXT NOT NULL                -- JSON
) STRICT;
"""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._keys_under_way: set[str] = set()

    @staticmethod
    def account(keys: Keys, base_url: str) -> Mapping[str, str]:
        return {
            "secret_key": _secret_key(keys),
            "webhook_secret": _webhook_secret(keys).decode(),
            "return_url": base_url,
            "base_url": f"{base_url}/stripe",
            "files_url": f"{base_url}/stripe",
        }

    def routes(self) -> list[Route]:
        file = Route("/stripe/v1/files/{id}/contents", self._file, methods=["GET"])
        return [
            *(
                Route(f"/stripe{path}", self.desk.faulty(self._api(known, work)), methods=[method])
                for method, path, known, work in Verbs(self.desk).table()
            ),
            file,
        ]

    # What every request goes through.

    def _api(self, known: re.Pattern[str], work: Work) -> Handler:
        async def answer(request: Request) -> Response:
            key = request.headers.get("idempotency-key", "")
            key = key if request.method == "POST" else ""
            headers = {"Request-Id": f"req_{secrets.token_hex(7)}"}
            if key:
                headers["Idempotency-Key"] = key
            try:
                self._authenticate(request)
                params = Params(await _form_of(request), known)
                http_status, body, replayed = await self._once(request, key, params, work)
            except Problem as problem:
                http_status, body, replayed = (
                    problem.http_status,
                    json.dumps({"error": problem.error}),
                    False,
                )
            if replayed:
                headers["Idempotent-Replayed"] = "true"
            return Response(body, http_status, headers, "application/json")

        return answer

    def _authenticate(self, request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            try:
                given = b64decode(given, validate=True).decode("latin-1").removesuffix(":")
            except binascii.Error:
                given = ""
        known = _secret_key(self.desk.keys)
        if not hmac.compare_digest(known.encode(), given.encode()):
            raise Problem(f"Invalid API Key provided: {given[:8]}****", http_status=401)

    async def _once(
        self, request: Request, key: str, params: Params, work: Work
    ) -> tuple[int, str, bool]:
        """Do the work, or answer as before if its key was used; say which."""
        if len(key) > KEY_LENGTH_MAX:
            raise Problem("Idempotency-Key is longer than 255 characters")
        asked = f"{request.method} {request.url.path} {params.fingerprint}"
        if key in self._keys_under_way:
            raise Problem(
                "There is currently another in-progress request using this Idempotent Key.",
                http_status=409,
                kind="idempotency_error",
                code="idempotency_key_in_use",
            )
        base_url, now_us = base_of(request), self.desk.clock_us()

        def job(connection: sqlite3.Connection) -> tuple[int, str, bool]:
            kept = connection.execute(
                "SELECT asked, http_status, answer FROM stripe_keys WHERE key = ?", (key,)
            ).fetchone()
            if kept is not None:
                if kept["asked"] != asked:
                    message = "Keys for idempotent requests can only be used with the same"
                    raise Problem(f"{message} parameters.", kind="idempotency_error")
                return kept["http_status"], kept["answer"], True
            call = Call(
                connection=connection,
                params=params,
                named=request.path_params,
                base_url=base_url,
                now_us=now_us,
            )
            http_status, body = _tried(work, call)
            if key:
                connection.execute(
                    "INSERT INTO stripe_keys VALUES (?, ?, ?, ?)", (key, asked, http_status, body)
                )
            return http_status, body, False

        if not key:
            return await self.desk.run(job)
        self._keys_under_way.add(key)
        try:
            return await self.desk.run(job)
        finally:
            self._keys_under_way.discard(key)

    # Downloads.

    async def _file(self, request: Request) -> Response:
        number = request.path_params["id"].replace("file_", "frr_", 1)

        def job(connection: sqlite3.Connection) -> tuple[list[bill.BillRow], list[str]]:
            row = connection.execute(
                "SELECT day, columns FROM stripe_reports WHERE id = ?", (number,)
            ).fetchone()
            if row is None:
                raise missing("file", number)
            return bill.rows_of(connection, self.name, row["day"], UTC), json.loads(row["columns"])

        try:
            self._authenticate(request)
            rows, columns = await self.desk.run(job)
        except Problem as problem:
            return JSONResponse({"error": problem.error}, problem.http_status)
        faulty = bill.with_faults(rows, self.desk.dice)
        return Response(await asyncio.to_thread(objects.report, faulty, columns), 200)

    # Events.

    def compose(self, connection: sqlite3.Connection, event: Event) -> bytes:
        about: Mapping[str, object]
        if event.refund_no:
            refund = refunds.find(connection, event.trade, event.refund_no)
            at_once = refund.refunded_at_us == refund.created_at_us
            kind = "refund.created" if at_once else "refund.updated"
            kind = "refund.failed" if event.event == "REFUND_FAILED" else kind
            about = objects.refund_object(refund)
            amount = "amount"
        else:
            kind = f"checkout.session.{'completed' if event.event == 'PAID' else 'expired'}"
            about = objects.session_object(event.trade, "", with_intent=False)
            amount = "amount_total"
        about = {**about, amount: objects.units_of(event.amount_minor, event.trade.currency)}
        written = objects.event_object(event.event_id, kind, about, event.at_us)
        return json.dumps(written, ensure_ascii=False, indent=2).encode()

    def dress(self, body: bytes, event_id: str, now_us: int, *, valid: bool) -> Message:  # noqa: ARG002 - it is in the body
        written = str(now_us // 1_000_000)
        secret = _webhook_secret(self.desk.keys) if valid else b"whsec_another"
        sign = hmac.new(secret, written.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": f"t={written},v1={sign},v0={'0' * 64}",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }
        return Message(headers, body)

    def heard(self, http_status: int, body: bytes) -> bool:  # noqa: ARG002 - the status says it
        return 200 <= http_status < 300  # noqa: PLR2004 - any success.


def _tried(work: Work, call: Call) -> tuple[int, str]:
    try:
        return 200, json.dumps(work(call), ensure_ascii=False)
    except Problem as problem:
        if not problem.executed:
            raise
        return problem.http_status, json.dumps({"error": problem.error})
    except Refusal as refusal:
        raise missing("object", refusal.message_en) from refusal


async def _form_of(request: Request) -> str:
    if request.method == "GET":
        return request.url.query
    try:
        return (await read_body(request)).decode("ascii")
    except (UnicodeDecodeError, Refusal) as error:
        raise Problem("Invalid request: the form can't be read") from error


def _secret_key(keys: Keys) -> str:
    return f"sk_test_{keys.secret_hex('stripe.key')}"


def _webhook_secret(keys: Keys) -> bytes:
    return f"whsec_{keys.secret_hex('stripe.webhook')}".encode()
