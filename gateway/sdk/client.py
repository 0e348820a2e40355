"""The two clients, one waiting and one awaiting; what they say and understand is the same.

Every call is idempotent, so after `OutcomeUnknown` or `Busy` the same call may simply be made
again: an order by its out_trade_no, a refund by its out_refund_no.
"""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

import httpx

from gateway.sdk.answers import Notification, OrderState, Payment, Refund
from gateway.sdk.errors import OutcomeUnknown
from gateway.sdk.signature import Credentials
from gateway.sdk.signature import credentials as chosen_by
from gateway.sdk.wire import Amount, Wire, amount_text, new_out_trade_no

TIMEOUT_S = 15.0
NOTIFICATION_WINDOW_S = 300.0
_CREATE = "/api/payment/create"
_QUERY = "/api/payment/query"
_REFUND = "/api/payment/refund"
_HEADERS = {"content-type": "application/json; charset=utf-8"}


class Keys(TypedDict, total=False):
    """A client's keys and clock, see `Client`."""

    secret: str
    private_key_pem: str
    platform_public_key_pem: str
    algorithm: str
    credentials: Credentials
    clock: Callable[[], float]


class _Side:
    """Keys, clock and the reading and writing that both clients share."""

    def __init__(
        self,
        base_url: str,
        merchant_id: str,
        *,
        secret: str = "",
        private_key_pem: str = "",
        platform_public_key_pem: str = "",
        algorithm: str = "",
        credentials: Credentials | None = None,
        clock: Callable[[], float] = time.time,  # noqa: TID251 - this is the merchant's process
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._wire = Wire(
            merchant_id,
            credentials
            or chosen_by(
                secret=secret,
                private_key_pem=private_key_pem,
                platform_public_key_pem=platform_public_key_pem,
                algorithm=algorithm,
            ),
            clock,
        )

    @property
    def merchant_id(self) -> str:
        """Who this client speaks for."""
        return self._wire.merchant_id

    def new_out_trade_no(self) -> str:
        """Make an order number as the API recommends: merchant id, time, random."""
        return new_out_trade_no(self.merchant_id, self._wire.clock())

    def read_notification(
        self,
        body: bytes | str,
        content_type: str = "application/json",
        *,
        window_s: float = NOTIFICATION_WINDOW_S,
    ) -> Notification:
        """Verify and read what the gateway posted to notify_url; then answer `SUCCESS_ANSWER`.

        Args:
            body: As it came, unparsed.
            content_type: As it came.
            window_s: How far its timestamp may be from this machine's clock, in seconds.

        Raises:
            NotAuthentic: if it is not signed by the gateway, stale, malformed or for another.
        """
        raw = body.encode() if isinstance(body, str) else body
        return self._wire.notification(raw, content_type, window_s)

    def _url(self, path: str) -> str:
        return self._base_url + path

    def _refund_params(
        self,
        out_trade_no: str,
        refund_amount: Amount,
        refund_reason: str,
        out_refund_no: str,
        refund_account: str,
    ) -> dict[str, str]:
        optional = {"refund_account": refund_account} if refund_account else {}
        return optional | {
            "out_trade_no": out_trade_no,
            "refund_amount": amount_text(refund_amount),
            "refund_reason": refund_reason,
            # Never left out: a second try must be the same refund.
            "out_refund_no": out_refund_no or self.new_out_trade_no(),
        }


def _create_params(
    out_trade_no: str,
    total_amount: Amount,
    subject: str,
    pay_type: str,
    notify_url: str,
    risk_context: Mapping[str, Any] | str | None,
    optional: Mapping[str, str],
) -> dict[str, str]:
    if risk_context is None:
        known = ""
    elif isinstance(risk_context, str):
        known = risk_context
    else:
        text = json.dumps(risk_context, ensure_ascii=False, separators=(",", ":"))
        # Inside JSON an '&' has a second spelling, which can't be taken for a separator.
        known = text.replace("&", "\\u0026")
    return {
        **optional,
        "out_trade_no": out_trade_no,
        "total_amount": amount_text(total_amount),
        "subject": subject,
        "pay_type": pay_type,
        "notify_url": notify_url,
        "risk_context": known,
    }


def _query_params(out_trade_no: str) -> dict[str, str]:
    # Two questions in one millisecond are two requests: the gateway answers no bytes twice.
    return {"out_trade_no": out_trade_no, "nonce": secrets.token_hex(8)}


class Client(_Side):
    """Calls the gateway and waits.

    Args:
        base_url: Where the gateway is, e.g. ``http://127.0.0.1:8000``.
        merchant_id: As given at onboarding.
        secret: The shared secret, if the key has one.
        private_key_pem: RSA2: the merchant's private key.
        platform_public_key_pem: RSA2: the gateway's public key.
        algorithm: That of the key; may be left out for HMAC-SHA256 and RSA2.
        credentials: Instead of the four above: an `ExternalKey` (SM2), or `SharedSecret` with
            earlier secrets.
        clock: Unix time in seconds.
        timeout_s: Longest wait for an answer, in seconds.
        http: A client of your own, e.g. with a proxy; it stays yours to close.

    Examples:
        >>> shop = Client("http://127.0.0.1:8000", "M1001", secret="s" * 64)
        >>> len(shop.new_out_trade_no())
        35
    """

    def __init__(
        self,
        base_url: str,
        merchant_id: str,
        *,
        timeout_s: float = TIMEOUT_S,
        http: httpx.Client | None = None,
        **keys: Unpack[Keys],
    ) -> None:
        super().__init__(base_url, merchant_id, **keys)
        self._http = http or httpx.Client(timeout=timeout_s)
        self._owns_http = http is None

    def create(
        self,
        out_trade_no: str,
        total_amount: Amount,
        subject: str,
        pay_type: str,
        notify_url: str,
        risk_context: Mapping[str, Any] | str | None = None,
        **optional: str,
    ) -> Payment:
        """Create an order, or get the first answer again for the same number and contents.

        Args:
            out_trade_no: The merchant's number, unique for each order.
            total_amount: Major units, e.g. yuan; never a float.
            subject: What is bought.
            pay_type: ``alipay``, ``wechat``, ``unionpay``, …
            notify_url: Where the outcome is reported.
            risk_context: What is known about payer, device and place.
            **optional: ``currency``, ``body``, ``return_url``.

        Raises:
            Refused: in one of its kinds; `Declined` if risk control said no.
            OutcomeUnknown: no answer came.
            NotAuthentic: the answer is not the gateway's.
        """
        return Payment.read(
            self._call(
                _CREATE,
                _create_params(
                    out_trade_no,
                    total_amount,
                    subject,
                    pay_type,
                    notify_url,
                    risk_context,
                    optional,
                ),
            )
        )

    def query(self, out_trade_no: str) -> OrderState:
        """Ask where an order stands; raises as `create`."""
        return OrderState.read(self._call(_QUERY, _query_params(out_trade_no)))

    def refund(
        self,
        out_trade_no: str,
        refund_amount: Amount,
        refund_reason: str,
        out_refund_no: str = "",
        refund_account: str = "",
    ) -> Refund:
        """Give back part or all of a payment; raises as `create`.

        Args:
            out_trade_no: The merchant's number of the order.
            refund_amount: Major units; never a float.
            refund_reason: Why.
            out_refund_no: The merchant's number of the refund; made up if empty (then
                `OutcomeUnknown.params` has it).
            refund_account: Where the customer wants it; for a stablecoin, an address.
        """
        params = self._refund_params(
            out_trade_no, refund_amount, refund_reason, out_refund_no, refund_account
        )
        return Refund.read(self._call(_REFUND, params), params["out_refund_no"])

    def close(self) -> None:
        """Close the connections, unless they came from outside."""
        if self._owns_http:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _call(self, path: str, params: dict[str, str]) -> dict[str, str]:
        body = self._wire.request(params)
        try:
            got = self._http.post(self._url(path), content=body, headers=_HEADERS)
        except httpx.TransportError as error:
            raise OutcomeUnknown(f"no answer: {error!r}", params) from error
        return self._wire.answer(got.status_code, got.content)


class AsyncClient(_Side):
    """Calls the gateway and awaits; otherwise the same as `Client`, argument for argument."""

    def __init__(
        self,
        base_url: str,
        merchant_id: str,
        *,
        timeout_s: float = TIMEOUT_S,
        http: httpx.AsyncClient | None = None,
        **keys: Unpack[Keys],
    ) -> None:
        super().__init__(base_url, merchant_id, **keys)
        self._http = http or httpx.AsyncClient(timeout=timeout_s)
        self._owns_http = http is None

    async def create(
        self,
        out_trade_no: str,
        total_amount: Amount,
        subject: str,
        pay_type: str,
        notify_url: str,
        risk_context: Mapping[str, Any] | str | None = None,
        **optional: str,
    ) -> Payment:
        """As `Client.create`."""
        return Payment.read(
            await self._call(
                _CREATE,
                _create_params(
                    out_trade_no,
                    total_amount,
                    subject,
                    pay_type,
                    notify_url,
                    risk_context,
                    optional,
                ),
            )
        )

    async def query(self, out_trade_no: str) -> OrderState:
        """As `Client.query`."""
        return OrderState.read(await self._call(_QUERY, _query_params(out_trade_no)))

    async def refund(
        self,
        out_trade_no: str,
        refund_amount: Amount,
        refund_reason: str,
        out_refund_no: str = "",
        refund_account: str = "",
    ) -> Refund:
        """As `Client.refund`."""
        params = self._refund_params(
            out_trade_no, refund_amount, refund_reason, out_refund_no, refund_account
        )
        return Refund.read(await self._call(_REFUND, params), params["out_refund_no"])

    async def aclose(self) -> None:
        """Close the connections, unless they came from outside."""
        if self._owns_http:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _call(self, path: str, params: dict[str, str]) -> dict[str, str]:
        body = self._wire.request(params)
        try:
            got = await self._http.post(self._url(path), content=body, headers=_HEADERS)
        except httpx.TransportError as error:
            raise OutcomeUnknown(f"no answer: {error!r}", params) from error
        return self._wire.answer(got.status_code, got.content)
