"""Who sends a request, is it really theirs, and is it fresh: the one order of these questions.

The order is part of the interface: where it comes from, who signed it, when, and how often. A
stranger learns nothing but that the signature is wrong, whether the merchant exists or not, and no
field is judged before the sender is known. A request from an address that the merchant doesn't
call from is refused like a wrong signature, before the signature is looked at; and only what was
truly signed counts against the merchant's rate, so nobody else can use it up.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from gateway.domain.errors import BadSignature, RateLimited
from gateway.domain.limits import SANDBOX_RATE_PER_S, TokenBucket, is_allowed
from gateway.domain.merchant import Algorithm, MerchantKey, Mode
from gateway.http.schemas import Params, check_fresh, read_envelope
from gateway.signing import verify_any
from gateway.store.merchants import MerchantRecord


class Keys(Protocol):
    """Where merchants and their live keys are found."""

    def find(self, merchant_id: str) -> MerchantRecord | None:
        """Return the merchant with its live keys, newest first, or None."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """An authenticated merchant.

    Attributes:
        merchant: Who it is; its status is the caller's to judge.
        key: The key that verified the request, which also signs the answer: during a rotation
            the merchant may not have switched to the newest one yet.
        timestamp_ms: When the request was signed, milliseconds since the epoch.
    """

    merchant: MerchantRecord
    key: MerchantKey
    timestamp_ms: int


class Stale(BadSignature):
    """The signature is right but the timestamp is not; `key` may sign the refusal."""

    def __init__(self, message: str, sender: Sender) -> None:
        super().__init__(message)
        self.sender = sender


class Throttle:
    """How often each merchant called lately; in memory, for this process.

    Args:
        rate_per_s: For live merchants that have no limit of their own; 0: none.
    """

    def __init__(self, rate_per_s: int) -> None:
        self._rate_per_s = rate_per_s
        self._buckets: dict[str, TokenBucket] = {}

    def take(self, merchant: MerchantRecord, now_us: int) -> None:
        """Let one request of a merchant through; a second's worth may come at once.

        Raises:
            RateLimited: (1006) if it came too soon.
        """
        default = SANDBOX_RATE_PER_S if merchant.mode is Mode.SANDBOX else self._rate_per_s
        rate_per_s = merchant.rate_per_s or default
        if not rate_per_s:
            return
        bucket = self._buckets.get(merchant.merchant_id)
        if bucket is None or bucket.burst != rate_per_s:
            bucket = TokenBucket(token_us=-(-1_000_000 // rate_per_s), burst=rate_per_s)
            self._buckets[merchant.merchant_id] = bucket
        wait_us = bucket.take(now_us)
        if wait_us:
            raise RateLimited(-(-wait_us // 1_000_000))


async def admit(
    params: Params, keys: Keys, *, now_us: int, window_s: int, address: str = ""
) -> Sender:
    """Authenticate a request.

    Args:
        params: As `gateway.http.wire.parse` gives them.
        keys: Where to look the merchant up.
        now_us: Our clock, microseconds since the epoch.
        window_s: How far the timestamp may be from it, in seconds.
        address: Where it comes from, as the server sees it.

    Raises:
        InvalidParameter: (1001) merchant_id, timestamp or sign is missing or malformed.
        BadSignature: (1002) unknown merchant, an address it doesn't call from, wrong signature or
            algorithm; as `Stale` for a timestamp outside the window.
    """
    envelope = read_envelope(params)
    merchant = keys.find(envelope.merchant_id)
    key = None
    if merchant is not None and is_allowed(address, merchant.networks):
        key = await _verifying(merchant.keys, params, envelope.sign)
    if merchant is None or key is None:
        raise BadSignature("no such merchant, or not signed with one of its keys from where it may")
    sender = Sender(merchant=merchant, key=key, timestamp_ms=envelope.timestamp_ms)
    try:
        check_fresh(envelope.timestamp_ms, now_us, window_s)
    except BadSignature as error:
        raise Stale(str(error), sender) from None
    return sender


async def _verifying(
    keys: tuple[MerchantKey, ...], params: Params, signature: str
) -> MerchantKey | None:
    """Find the key that verifies; SM2 costs milliseconds of CPU, so it leaves the loop."""
    for key in keys:
        if key.algorithm is Algorithm.SM2:
            return await asyncio.to_thread(verify_any, keys, params, signature)
    return verify_any(keys, params, signature)
