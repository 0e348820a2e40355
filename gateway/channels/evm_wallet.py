"""The wallet that holds the keys: it watches deposits, signs refunds and writes the statement.

It is a service of the merchant's (or a custodian's), not of the gateway: whoever breaks into the
gateway finds no key that moves money. Both sides sign with one secret; the protocol is ours and
stands in `docs/CHANNELS.md`.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from gateway.channels.base import ChannelProtocolError
from gateway.channels.exchange import ask

_KNOWN: Final = frozenset({200, 404, 409})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A believable answer: what was asked for, or not there (404), or refused for good (409)."""

    http_status: int
    body: bytes

    def text(self, name: str) -> str:
        """Return a field that must be text.

        Raises:
            ChannelProtocolError: if it isn't.
        """
        try:
            parsed: object = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise ChannelProtocolError(f"evm: the wallet's answer isn't JSON: {error}") from error
        value = parsed.get(name) if isinstance(parsed, dict) else None
        if not isinstance(value, str):
            raise ChannelProtocolError(f"evm: the wallet's {name} must be text")
        return value

    def same(self, name: str, expected: str) -> None:
        """Make sure that a field is what it must be.

        Raises:
            ChannelProtocolError: if it isn't.
        """
        if self.text(name) != expected:
            raise ChannelProtocolError(f"evm: the wallet speaks of another {name} than {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """The wallet's service."""

    client: httpx.AsyncClient
    url: str
    secret: bytes
    clock_us: Callable[[], int]

    def __repr__(self) -> str:  # The secret never reaches a log through a repr.
        return f"Wallet({self.url})"

    async def ask(
        self, method: str, path: str, content: Mapping[str, object] | None, timeout_s: float
    ) -> Answer | None:
        """Send one signed request; None if nothing is known about what became of it.

        Raises:
            ChannelProtocolError: if the answer isn't the wallet's, or we asked wrongly.
        """
        body = b"" if content is None else json.dumps(content).encode()
        timestamp, nonce = str(self.clock_us() // 1_000_000), secrets.token_hex(16)
        response = await ask(
            self.client,
            method,
            self.url + path,
            timeout_s=timeout_s,
            content=body,
            headers={
                "Content-Type": "application/json",
                "X-Wallet-Timestamp": timestamp,
                "X-Wallet-Nonce": nonce,
                "X-Wallet-Signature": self._sign(
                    "REQUEST", method, path, timestamp, nonce, body=body
                ),
            },
        )
        if response is None:
            return None
        expected = self._sign("ANSWER", str(response.status_code), nonce, body=response.content)
        given = response.headers.get("x-wallet-signature", "").encode()
        if not hmac.compare_digest(expected.encode(), given):
            raise ChannelProtocolError("evm: the wallet's signature is wrong")
        if response.status_code not in _KNOWN:
            raise ChannelProtocolError(f"evm: the wallet refused our message: {response.text[:80]}")
        return Answer(http_status=response.status_code, body=response.content)

    def _sign(self, *parts: str, body: bytes) -> str:
        text = "\n".join((*parts, hashlib.sha256(body).hexdigest()))
        return hmac.digest(self.secret, text.encode(), "sha256").hex()
