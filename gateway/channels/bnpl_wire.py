"""How Klarna's requests are made; what is asked, and when, is in `bnpl`."""

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from gateway.channels.base import ChannelProtocolError, ChannelReply, Outcome
from gateway.channels.exchange import ask
from gateway.channels.json_object import JsonObject

_KEYS: Final = uuid.UUID("5bd3c4d6-9c0d-4d0b-8c7b-1f4d4f0e7a52")  # Namespace of our keys.


@dataclass(frozen=True, slots=True)
class Answer:
    """What Klarna answered: an object, or why it refused."""

    http_status: int
    body: JsonObject

    @property
    def ok(self) -> bool:
        """Whether the body is what was asked for."""
        return httpx.codes.is_success(self.http_status)


class Wire:
    """Speaks for one account.

    Attributes:
        base_url: Where the API lives.
    """

    def __init__(self, settings: Mapping[str, str], client: httpx.AsyncClient) -> None:
        """Take the account's keys and address.

        Raises:
            ValueError: naming a setting that can't be.
        """
        for needed in ("username", "password"):
            if not settings[needed] or not settings[needed].isascii():
                raise ValueError(f"{needed} must not be empty")
        self.base_url = settings["base_url"].rstrip("/")
        self._user = settings["username"]
        pair = f"{self._user}:{settings['password']}"
        self._basic = base64.b64encode(pair.encode()).decode()
        self._client = client

    async def call(
        self,
        method: str,
        path: str,
        payload: Mapping[str, object] | None = None,
        *,
        key: str = "",
        timeout_s: float,
    ) -> Answer | None:
        """Ask, or have something done once for each key; None if nothing is known of it.

        Raises:
            ChannelProtocolError: if the account is refused, or the answer is unreadable.
        """
        headers = {"Authorization": f"Basic {self._basic}", "Content-Type": "application/json"}
        if key:
            headers["Klarna-Idempotency-Key"] = str(uuid.uuid5(_KEYS, f"{self._user}:{key}"))
        response = await ask(
            self._client,
            method,
            self.base_url + path,
            timeout_s=timeout_s,
            content=json.dumps(payload, ensure_ascii=False).encode() if payload else b"",
            headers=headers,
        )
        if response is None or response.status_code == httpx.codes.CONFLICT:
            return None  # A conflict: something about it is under way.
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise ChannelProtocolError("klarna: refuses our account")
        body = JsonObject.read(response.content) if response.content else JsonObject({})
        return Answer(response.status_code, body)


def refused(answer: Answer | None, trade_no: str, refund_no: str = "") -> ChannelReply:
    """Say that it was refused, or that nothing is known."""
    outcome = Outcome.UNKNOWN if answer is None else Outcome.REJECTED
    raw = b"" if answer is None else answer.body.raw
    return ChannelReply(outcome=outcome, trade_no=trade_no, refund_no=refund_no, raw=raw)
