"""Whether a webhook is PayPal's.

It is signed by a certificate that it names itself, so two things are checked before its key is:
that the address is where PayPal keeps certificates, and that the chain leads to a root we trust
and to PayPal's own name. Source: developer.paypal.com/api/rest/webhooks.
"""

import base64
import binascii
import re
import ssl
import warnings
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from gateway.channels.base import ChannelProtocolError, Notice
from gateway.channels.exchange import ask
from gateway.channels.json_object import JsonObject

CERTIFICATE_NAME: Final = "messageverificationcerts.paypal.com"
_BODY_BYTES_MAX: Final = 262_144
_CERTIFICATES_MAX: Final = 8
_CERTIFICATE_ID: Final = re.compile(r"[0-9A-Za-z_-]{1,80}", re.ASCII)
# A webhook is repeated for three days under its first time; its id keeps it from counting twice.
_AGE_MAX_S: Final = 4 * 86_400
_AHEAD_MAX_S: Final = 300


class Verifier:
    """Verifies the webhooks of one account."""

    def __init__(
        self, settings: Mapping[str, str], client: httpx.AsyncClient, clock_us: Callable[[], int]
    ) -> None:
        """Take the webhook's id, and whose certificates are believed.

        Raises:
            ValueError: naming a setting that can't be.
        """
        if not settings["webhook_id"] or "|" in settings["webhook_id"]:
            raise ValueError("webhook_id must not be empty")
        self._webhook_id = settings["webhook_id"]
        self._certificates_url = settings["certificates_url"]
        self._roots = _roots(settings["roots_pem"])
        self._client = client
        self._clock_us = clock_us
        self._certificates: dict[str, x509.Certificate] = {}

    async def verified(self, notice: Notice, *, timeout_s: float) -> JsonObject:
        """Return the event of a webhook that PayPal signed for our endpoint.

        Raises:
            ChannelProtocolError: if it didn't, or its certificate can't be had.
        """
        if len(notice.body) > _BODY_BYTES_MAX:
            raise ChannelProtocolError("paypal: notification is too large")
        head = {
            name: notice.headers.get(f"paypal-{name}", "")
            for name in ("auth-algo", "cert-url", "transmission-id", "transmission-time")
        }
        if head["auth-algo"] != "SHA256withRSA":
            raise ChannelProtocolError("paypal: only SHA256withRSA is believed")
        self._check_time(head["transmission-time"])
        certificate = await self._certificate(head["cert-url"], timeout_s)
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            raise ChannelProtocolError("paypal: the certificate has no RSA key")
        signed = "|".join(
            (
                head["transmission-id"],
                head["transmission-time"],
                self._webhook_id,
                str(zlib.crc32(notice.body)),
            )
        )
        try:
            given = base64.b64decode(
                notice.headers.get("paypal-transmission-sig", ""), validate=True
            )
            key.verify(given, signed.encode(), PKCS1v15(), SHA256())
        except (binascii.Error, ValueError, InvalidSignature) as error:
            raise ChannelProtocolError("paypal: wrong signature") from error
        return JsonObject.read(notice.body)

    def _check_time(self, written: str) -> None:
        try:
            at = datetime.fromisoformat(written)
        except ValueError as error:
            raise ChannelProtocolError("paypal: no transmission time") from error
        if at.tzinfo is None:
            raise ChannelProtocolError("paypal: no transmission time")
        age_s = self._clock_us() / 1_000_000 - at.timestamp()
        if not -_AHEAD_MAX_S <= age_s <= _AGE_MAX_S:
            raise ChannelProtocolError("paypal: stale notification")

    async def _certificate(self, url: str, timeout_s: float) -> x509.Certificate:
        """Return the certificate at an address of PayPal's, once its chain was checked."""
        number = url.removeprefix(self._certificates_url)
        if number == url or _CERTIFICATE_ID.fullmatch(number) is None:
            raise ChannelProtocolError("paypal: the certificate isn't at PayPal's address")
        now = datetime.fromtimestamp(self._clock_us() // 1_000_000, tz=UTC)
        known = self._certificates.get(number)
        if known is not None and now <= known.not_valid_after_utc:
            return known
        response = await ask(self._client, "GET", url, timeout_s=timeout_s)
        if response is None or response.status_code != httpx.codes.OK:
            raise ChannelProtocolError("paypal: the certificate can't be had now")
        certificate = _checked_chain(response.content, self._roots, now)
        if len(self._certificates) >= _CERTIFICATES_MAX:
            self._certificates.clear()
        self._certificates[number] = certificate
        return certificate


def _checked_chain(pem: bytes, roots: Store, now: datetime) -> x509.Certificate:
    try:
        first, *rest = x509.load_pem_x509_certificates(pem)
        verifier = PolicyBuilder().store(roots).time(now)
        verifier.build_server_verifier(x509.DNSName(CERTIFICATE_NAME)).verify(first, rest)
    except (ValueError, VerificationError) as error:
        raise ChannelProtocolError(f"paypal: the certificate isn't PayPal's: {error}") from error
    return first


def _roots(pem: str) -> Store:
    """Return the roots to trust: the given ones, or those of the machine."""
    if pem:
        try:
            return Store(x509.load_pem_x509_certificates(pem.encode()))
        except ValueError as error:
            raise ValueError("roots_pem must hold certificates") from error
    known = map(_root, ssl.create_default_context().get_ca_certs(binary_form=True))
    return Store([root for root in known if root is not None])


def _root(der: bytes) -> x509.Certificate | None:
    """Read a root of the machine; None if it isn't as RFC 5280 has it, as some old ones aren't."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return x509.load_der_x509_certificate(der)
        except (ValueError, UserWarning):
            return None
