"""Klarna on the sandbox's side: sessions, the hosted page, orders, refunds, settlements.

The payer's consent places and captures the order. Callbacks are as unsigned as the real ones; what
a bad signature is elsewhere is a garbled body here.
"""

import base64
import hmac
import json
import sqlite3
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.sandbox.callbacks import Message
from gateway.sandbox.keys import Keys
from gateway.sandbox.protocols.base import Handler, WireProtocol, base_of, read_body
from gateway.sandbox.protocols.bnpl_verbs import (
    NAME,
    Call,
    Done,
    Problem,
    Verbs,
    Work,
    bad_value,
    page_status,
    when,
)
from gateway.sandbox.trades import Event, Refusal


class Klarna(WireProtocol):
    """See docs.klarna.com; what is spoken of it is listed in `docs/CHANNELS.md`."""

    name = NAME
    schema = """
CREATE TABLE IF NOT EXISTS klarna_sessions (
  id TEXT PRIMARY KEY,
  session TEXT NOT NULL                -- JSON, as it was asked for
) STRICT;
CREATE TABLE IF NOT EXISTS klarna_keys (
  verb TEXT NOT NULL,
  key TEXT NOT NULL,
  number TEXT NOT NULL,                -- of what it made
  PRIMARY KEY (verb, key)
) STRICT;
"""

    @staticmethod
    def account(keys: Keys, base_url: str) -> Mapping[str, str]:
        return {
            "username": "PK00000_sandbox",
            "password": keys.secret_hex("bnpl.password"),
            "callback_secret_hex": keys.secret_hex("bnpl.callbacks"),
            "purchase_country": "DE",
            "locale": "en-DE",
            "return_url": base_url,
            "base_url": f"{base_url}/klarna",
        }

    def routes(self) -> list[Route]:
        return [
            Route(f"/klarna{path}", self.desk.faulty(self._api(work)), methods=[method])
            for method, path, work in Verbs(self.desk).table()
        ]

    def _api(self, work: Work) -> Handler:
        async def answer(request: Request) -> Response:
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            pair = f"PK00000_sandbox:{self.desk.keys.secret_hex('bnpl.password')}"
            expected = base64.b64encode(pair.encode())
            if scheme != "Basic" or not hmac.compare_digest(expected, given.encode()):
                return Response(status_code=401)
            try:
                http_status, body, headers = await self._done(request, work)
            except Problem as problem:
                return JSONResponse(problem.body, problem.http_status)
            if body is None:
                return Response(status_code=http_status, headers=headers)
            return JSONResponse(body, http_status, headers)

        return answer

    async def _done(self, request: Request, work: Work) -> Done:
        try:
            body = json.loads(await read_body(request) or b"{}")
        except (ValueError, RecursionError, Refusal) as error:
            raise bad_value("Bad value: body") from error
        key, base_url = request.headers.get("klarna-idempotency-key", ""), base_of(request)
        named, query, now_us = (
            request.path_params,
            dict(request.query_params),
            self.desk.clock_us(),
        )

        def job(connection: sqlite3.Connection) -> Done:
            return work(
                Call(
                    connection=connection,
                    body=body,
                    query=query,
                    named=named,
                    key=key,
                    base_url=base_url,
                    now_us=now_us,
                )
            )

        return await self.desk.run(job)

    def compose(self, connection: sqlite3.Connection, event: Event) -> bytes:  # noqa: ARG002 - others look up
        session = page_status(event.trade) | {"updated_at": when(event.at_us)}
        if event.event == "CLOSED":
            session["status"] = "CANCELLED"
        return json.dumps({"event_id": event.event_id, "session": session}).encode()

    def dress(self, body: bytes, event_id: str, now_us: int, *, valid: bool) -> Message:  # noqa: ARG002 - it is in the body
        return Message({"Content-Type": "application/json"}, body if valid else body[:-1])

    def heard(self, http_status: int, body: bytes) -> bool:  # noqa: ARG002 - the status says it
        return 200 <= http_status < 300  # noqa: PLR2004 - any success.
