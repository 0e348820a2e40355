"""PayPal on the sandbox's side: tokens, orders, captures, refunds, webhooks, reports.

The payer's page approves an order; money moves when the gateway captures it. Webhooks are signed
under a certificate whose root is the sandbox's own. Looser than the real one in two things: a
transaction stands in the report at once, and not up to three hours late; and an order whose time is
over is gone, also if it was approved.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import sqlite3
import zlib
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.sandbox import refunds, trades
from gateway.sandbox.callbacks import Message
from gateway.sandbox.keys import Keys
from gateway.sandbox.protocols import paypal_objects as objects
from gateway.sandbox.protocols.base import Desk, Handler, WireProtocol, base_of, read_body
from gateway.sandbox.protocols.paypal_objects import Problem
from gateway.sandbox.protocols.paypal_verbs import NAME, Call, Done, Verbs, Work
from gateway.sandbox.trades import Announce, Event, Refusal, Trade, TradeStatus

TOKEN_LIFE_S: Final = 32_400
CERTIFICATE_ID: Final = "CERT-360caa42-sandbox"
_EVENTS: Final = "/v1/notifications/webhooks-events"
_REQUEST_ID_LENGTH_MAX: Final = 108


class PayPal(WireProtocol):
    """See developer.paypal.com/docs/api; what is spoken of it is listed in `docs/CHANNELS.md`."""

    name = NAME
    schema = """
CREATE TABLE IF NOT EXISTS paypal_requests (
  verb TEXT NOT NULL,
  request_id TEXT NOT NULL,
  number TEXT NOT NULL,                -- of the trade or refund that it made
  PRIMARY KEY (verb, request_id)
) STRICT;
"""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._requests_under_way: set[str] = set()

    @staticmethod
    def account(keys: Keys, base_url: str) -> Mapping[str, str]:
        return {
            "client_id": _client_id(keys),
            "client_secret": keys.secret_hex("paypal.secret"),
            "webhook_id": _webhook_id(keys),
            "return_url": base_url,
            "base_url": f"{base_url}/paypal",
            "certificates_url": f"{base_url}/paypal/v1/notifications/certs/",
            "roots_pem": objects.root_pem(keys).decode(),
        }

    def routes(self) -> list[Route]:
        notifications = "/paypal/v1/notifications"
        return [
            Route("/paypal/v1/oauth2/token", self.desk.faulty(self._token), methods=["POST"]),
            *(
                Route(f"/paypal{path}", self.desk.faulty(self._api(work)), methods=[method])
                for method, path, work in Verbs(self.desk).table()
            ),
            Route(
                f"{notifications}/verify-webhook-signature",
                self._api(self._verify),
                methods=["POST"],
            ),
            Route(notifications + "/certs/{id}", self._certificate, methods=["GET"]),
        ]

    # What every request goes through.

    async def _token(self, request: Request) -> Response:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        keys = self.desk.keys
        pair = f"{_client_id(keys)}:{keys.secret_hex('paypal.secret')}".encode()
        expected = base64.b64encode(pair)
        if scheme != "Basic" or not hmac.compare_digest(expected, given.encode()):
            return JSONResponse(
                {"error": "invalid_client", "error_description": "Client Authentication failed"},
                401,
            )
        if await read_body(request) != b"grant_type=client_credentials":
            return JSONResponse({"error": "unsupported_grant_type"}, 400)
        until_s = self.desk.clock_us() // 1_000_000 + TOKEN_LIFE_S
        return JSONResponse(
            {
                "scope": "https://uri.paypal.com/services/payments/payment",
                "access_token": f"A21AA-{until_s}-{self._mac(until_s)}",
                "token_type": "Bearer",
                "expires_in": TOKEN_LIFE_S,
                "nonce": secrets.token_hex(8),
            }
        )

    def _mac(self, until_s: int) -> str:
        secret = bytes.fromhex(self.desk.keys.secret_hex("paypal.tokens"))
        return hmac.new(secret, str(until_s).encode(), hashlib.sha256).hexdigest()

    def _knows(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        _, _, rest = token.partition("-")
        written, _, mac = rest.partition("-")
        if scheme != "Bearer" or not (written.isascii() and written.isdigit()):
            return False
        fresh = int(written) > self.desk.clock_us() // 1_000_000
        return fresh and hmac.compare_digest(self._mac(int(written)).encode(), mac.encode())

    def _api(self, work: Work) -> Handler:
        async def answer(request: Request) -> Response:
            debug = {"Paypal-Debug-Id": secrets.token_hex(7)}
            if not self._knows(request):
                refused = {"error": "invalid_token", "error_description": "Token is invalid"}
                return JSONResponse(refused, 401, debug)
            try:
                http_status, body = await self._done(request, work)
            except Problem as problem:
                named = problem.body | {"debug_id": debug["Paypal-Debug-Id"]}
                return JSONResponse(named, problem.http_status, debug)
            if body is None:
                return Response(status_code=http_status, headers=debug)
            return JSONResponse(body, http_status, debug)

        return answer

    async def _done(self, request: Request, work: Work) -> Done:
        body: object = None
        if request.method != "GET":
            try:
                body = json.loads(await read_body(request) or b"{}")
            except (ValueError, RecursionError, Refusal) as error:
                raise objects.invalid("/", "MALFORMED_REQUEST_JSON") from error
        request_id = request.headers.get("paypal-request-id", "")
        if len(request_id) > _REQUEST_ID_LENGTH_MAX:
            raise objects.invalid("PayPal-Request-Id")
        base_url, now_us = base_of(request), self.desk.clock_us()
        named, query = request.path_params, dict(request.query_params)
        under_way = f"{request.url.path} {request_id}"

        def job(connection: sqlite3.Connection) -> Done:
            return work(
                Call(
                    connection=connection,
                    body=body,
                    query=query,
                    named=named,
                    request_id=request_id,
                    base_url=base_url,
                    now_us=now_us,
                )
            )

        if not request_id:
            return await self.desk.run(job)
        if under_way in self._requests_under_way:
            issue = "PREVIOUS_REQUEST_IN_PROGRESS"
            raise Problem(409, "RESOURCE_CONFLICT", issue, "A previous request is in progress.")
        self._requests_under_way.add(under_way)
        try:
            return await self.desk.run(job)
        finally:
            self._requests_under_way.discard(under_way)

    # The payer.

    def pay(
        self,
        connection: sqlite3.Connection,
        trade: Trade,
        now_us: int,
        announce: Announce,
        copies: int,
        late: bool,  # noqa: ARG002 - nothing arrives by itself.
    ) -> Trade:
        """Approve the order; the money waits for the capture."""
        if trade.status is not TradeStatus.WAITING:
            raise Refusal(409, "TRADE_CLOSED", f"the order is {trade.status}", "订单已关闭或已支付")
        kept = json.loads(trade.extra)
        if "approved" not in kept:
            approved = kept | {"approved": objects.when(now_us)}
            trades.keep(connection, trade, json.dumps(approved, ensure_ascii=False))
            trade = trades.find(connection, NAME, trade.trade_no, now_us)
            announce(
                connection,
                Event(
                    event_id=f"A{trade.channel_trade_no}",
                    event="APPROVED",
                    trade=trade,
                    refund_no="",
                    amount_minor=trade.amount_minor,
                    at_us=now_us,
                    copies=copies,
                ),
            )
        return trade

    # Webhooks.

    def compose(self, connection: sqlite3.Connection, event: Event) -> bytes:
        trade = event.trade
        about: dict[str, object]
        amount = objects.money(event.amount_minor, trade.currency)
        match event.event:
            case "PAID":
                kind, about = "PAYMENT.CAPTURE.COMPLETED", objects.capture_object(trade)
            case "REFUNDED":
                refund = refunds.find(connection, trade, event.refund_no)
                kind, about = "PAYMENT.CAPTURE.REFUNDED", objects.refund_object(refund)
            case _:
                voided = event.event == "CLOSED"
                kind = f"CHECKOUT.ORDER.{'VOIDED' if voided else 'APPROVED'}"
                number = json.loads(trade.extra)["custom_id"]
                unit = {"reference_id": "default", "amount": amount, "custom_id": number}
                about = {"id": trade.channel_trade_no, "purchase_units": [unit]}
                about["status"] = "VOIDED" if voided else "APPROVED"
        written = {
            "id": f"WH-{event.event_id}",
            "event_version": "1.0",
            "create_time": objects.when(event.at_us),
            "resource_type": kind.split(".")[1].lower(),
            "resource_version": "2.0",
            "event_type": kind,
            "summary": kind,
            "resource": about | {"amount": amount} if "amount" in about else about,
            "links": [
                {
                    "href": f"{json.loads(trade.extra)['api_url']}{_EVENTS}/WH-{event.event_id}",
                    "rel": "self",
                    "method": "GET",
                }
            ],
        }
        return json.dumps(written, ensure_ascii=False).encode()

    def dress(self, body: bytes, event_id: str, now_us: int, *, valid: bool) -> Message:  # noqa: ARG002 - it is in the body
        api_url = json.loads(body)["links"][0]["href"].partition(_EVENTS)[0]
        number, at = secrets.token_hex(16), objects.when(now_us)
        checksum = zlib.crc32(body if valid else body + b" ")
        signed = f"{number}|{at}|{_webhook_id(self.desk.keys)}|{checksum}"
        key = self.desk.keys.rsa("paypal.webhook")
        sign = key.sign(signed.encode(), PKCS1v15(), SHA256())
        headers = {
            "Content-Type": "application/json",
            "Paypal-Auth-Algo": "SHA256withRSA",
            "Paypal-Cert-Url": f"{api_url}/v1/notifications/certs/{CERTIFICATE_ID}",
            "Paypal-Transmission-Id": number,
            "Paypal-Transmission-Sig": base64.b64encode(sign).decode(),
            "Paypal-Transmission-Time": at,
        }
        return Message(headers, body)

    def heard(self, http_status: int, body: bytes) -> bool:  # noqa: ARG002 - the status says it
        return 200 <= http_status < 300  # noqa: PLR2004 - any success.

    async def _certificate(self, request: Request) -> Response:
        if request.path_params["id"] != CERTIFICATE_ID:
            return Response(status_code=404)
        return Response(objects.chain_pem(self.desk.keys), media_type="application/x-pem-file")

    def _verify(self, call: Call) -> Done:
        """Say whether a webhook is ours; its event must be as the sandbox wrote it."""
        given = call.fields()
        names = ("auth_algo", "cert_url", "transmission_id", "transmission_sig", "webhook_id")
        known = {name: objects.text(given, name, 500) for name in (*names, "transmission_time")}
        body = json.dumps(given.get("webhook_event"), ensure_ascii=False).encode()
        signed = "|".join(
            (
                known["transmission_id"],
                known["transmission_time"],
                known["webhook_id"],
                str(zlib.crc32(body)),
            )
        )
        key = self.desk.keys.rsa("paypal.webhook").public_key()
        try:
            sign = base64.b64decode(known["transmission_sig"], validate=True)
            key.verify(sign, signed.encode(), PKCS1v15(), SHA256())
        except (binascii.Error, InvalidSignature):
            return 200, {"verification_status": "FAILURE"}
        is_ours = known["webhook_id"] == _webhook_id(self.desk.keys)
        return 200, {"verification_status": "SUCCESS" if is_ours else "FAILURE"}


def _client_id(keys: Keys) -> str:
    return f"A{keys.secret_hex('paypal.client')}"


def _webhook_id(keys: Keys) -> str:
    return f"WH{keys.secret_hex('paypal.webhook_id', length_bytes=8).upper()}"
