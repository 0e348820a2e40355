"""Which webhooks the PayPal adapter believes: signed for us, by PayPal, not long ago."""

import base64
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from gateway.channels.base import ChannelProtocolError, Notice, Outcome
from gateway.channels.registry import ADAPTERS
from gateway.sandbox.keys import Keys
from gateway.sandbox.protocols import paypal_objects
from tests.contract.channel_world import World, run
from tests.meddler import Meddler
from tests.sandbox_world import TIMEOUT_S

KIND = "paypal"


async def webhook(at: World) -> tuple[dict[str, str], bytes]:
    """A webhook as the sandbox sends it."""
    _, opened = await at.open()
    await at.payer(opened, action="pay")
    await at.until(lambda: bool(at.ear.heard))
    body = at.ear.heard[0].raw
    message = at.sandbox.protocols[KIND].dress(body, "", at.clock(), valid=True)
    return {name.lower(): value for name, value in message.headers.items()}, body


def signed(key: rsa.RSAPrivateKey, head: dict[str, str], told: Any, body: bytes, **how: Any) -> str:
    text = (
        f"{head['paypal-transmission-id']}|{head['paypal-transmission-time']}"
        f"|{told['webhook_id']}|{zlib.crc32(body)}"
    )
    algorithm = how.get("algorithm", SHA256())
    return base64.b64encode(key.sign(text.encode(), PKCS1v15(), algorithm)).decode()


def test_only_what_paypal_signed_for_us_is_believed(tmp_path: Path) -> None:
    async def script(at: World) -> None:
        head, body = await webhook(at)
        key, name = Keys(tmp_path / "sandbox.keys").rsa("paypal.webhook"), "paypal-transmission-sig"

        async def read(**changes: Any) -> Outcome:
            sent = changes.pop("body", body)
            notice = Notice(headers=head | changes.get("head", {}), body=sent)
            return (await at.channel.read_notification(notice, timeout_s=TIMEOUT_S)).outcome

        def at_time(written: str) -> dict[str, str]:
            other = head | {"paypal-transmission-time": written}
            return other | {name: signed(key, other, at.told, body)}

        assert await read() is Outcome.ASK
        assert await read(head=at_time("2025-11-20T00:00:00Z")) is Outcome.ASK  # A repeat.
        attempts: tuple[dict[str, Any], ...] = (
            {"body": body + b" "},
            {"head": {"paypal-transmission-id": "x"}},
            {"head": {name: "é"}},
            {"head": {name: ""}},
            {"head": {"paypal-auth-algo": "SHA1withRSA"}},
            {"head": {name: signed(key, head, at.told, body, algorithm=SHA1())}},  # noqa: S303 - it must be refused.
            {"head": {name: signed(key, head, {"webhook_id": "WHOTHER"}, body)}},
            {"head": at_time("2025-11-17T00:00:00Z")},
            {"head": at_time("2025-11-23T00:00:00Z")},
            {"head": at_time("2025-11-22T08:26:40")},
            {"head": at_time("yesterday")},
            {"body": b"x" * 300_000},
            *(
                {"head": {"paypal-cert-url": url}}
                for url in (
                    "",
                    "http://evil.test/v1/notifications/certs/CERT-360caa42-sandbox",
                    at.told["certificates_url"],
                    at.told["certificates_url"] + "../../x",
                    at.told["certificates_url"] + "CERT-unknown",
                    at.told["certificates_url"].replace("sandbox.test", "sandbox.test@evil.test")
                    + "CERT-360caa42-sandbox",
                )
            ),
        )
        for changes in attempts:
            with pytest.raises(ChannelProtocolError):
                await read(**changes)
        for odd in (b"[]", b"{", b"{}"):
            with pytest.raises(ChannelProtocolError):
                await read(body=odd, head={name: signed(key, head, at.told, odd)})

    run(KIND, tmp_path, script)


def serving(pem: bytes) -> Callable[[httpx.Response], httpx.Response]:
    return lambda _: httpx.Response(200, content=pem)


def forged(name: str, key: rsa.RSAPrivateKey) -> bytes:
    """A certificate that signs itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2049, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM)


def test_a_certificate_that_does_not_lead_to_a_trusted_root_is_refused(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    keys = Keys(tmp_path / "sandbox.keys")

    async def script(at: World) -> None:
        head, body = await webhook(at)
        root, whole = paypal_objects.root_pem(keys), paypal_objects.chain_pem(keys)
        fine = head["paypal-transmission-sig"]
        by_key = signed(key, head, at.told, body)
        by_root = signed(keys.rsa("paypal.root"), head, at.told, body)
        fake = forged(paypal_objects.CERTIFICATE_NAME, key)
        for pem, sign in ((fake, by_key), (fake + root, by_key), (root, by_root), (b"", fine)):
            other = Meddler(at.browser._transport, serving(pem))
            async with httpx.AsyncClient(transport=other) as middle:
                channel = ADAPTERS[KIND].open("paypal", at.told, middle, at.clock)
                notice = Notice(headers=head | {"paypal-transmission-sig": sign}, body=body)
                with pytest.raises(ChannelProtocolError, match="PayPal's"):
                    await channel.read_notification(notice, timeout_s=TIMEOUT_S)
        # The same chain under other roots, and after its time.
        stranger = at.told | {"roots_pem": forged("root.test", key).decode()}
        channel = ADAPTERS[KIND].open("paypal", stranger, at.browser, at.clock)
        with pytest.raises(ChannelProtocolError, match="PayPal's"):
            await channel.read_notification(Notice(headers=head, body=body), timeout_s=TIMEOUT_S)
        assert whole.count(b"BEGIN CERTIFICATE") == 2

    run(KIND, tmp_path, script)
