"""What can be done to a merchant that is in: its status, keys, limits and settlement account.

The same verbs serve the merchant, with its application's token, and operators; the actor's name in
the audit trail says who it was.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from sqlalchemy import Connection, update

from gateway.domain.errors import IllegalMerchantMove, InvalidParameter, ObjectNotFound
from gateway.domain.limits import read_networks
from gateway.domain.merchant import Algorithm, KeyPurpose, MerchantStatus
from gateway.domain.onboarding import Details
from gateway.payments.onboard import Desk
from gateway.signing import BadPublicKey, read_public_key
from gateway.store import applications, audit, keys
from gateway.store.applications import Standing
from gateway.store.keys import KeyRecord, NewKey
from gateway.store.tables import merchants

T = TypeVar("T")
OVERLAP_S_MAX = 90 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyOrder:
    """A key that somebody wants.

    Attributes:
        algorithm: Of the new key; None: as the newest of this purpose, HMAC-SHA256 if none is.
        public_key: RSA2, SM2: the merchant's own, PEM or (SM2) hex; empty: a pair is made.
        replaces: The key it replaces; empty: none, or with `rotate_all` all of its purpose.
        rotate_all: Replace every key of this purpose.
        overlap_s: How long what it replaces goes on verifying, in seconds.
        purpose: What it is for.
    """

    algorithm: Algorithm | None
    public_key: str
    replaces: str
    rotate_all: bool
    overlap_s: int
    purpose: KeyPurpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Who does something, and why."""

    actor: str
    reason: str


async def set_status(
    desk: Desk, merchant_id: str, target: MerchantStatus, version: int, change: Change
) -> Standing:
    """Suspend an active merchant, let it go on, or close it for good (all its keys end).

    Raises:
        ObjectNotFound: (1009) if there is no such merchant.
        StaleVersion: (1010) if it changed meanwhile.
        IllegalMerchantMove: (1004) if its status does not allow it.
    """

    def move(conn: Connection, now_us: int) -> Standing:
        before = applications.standing(conn, merchant_id)
        reviewed = before.status in (MerchantStatus.ACTIVE, MerchantStatus.FROZEN)
        if not reviewed and target is not MerchantStatus.CLOSED:
            # Admission is the review's alone.
            raise IllegalMerchantMove(before.status.value, target.value)
        after = applications.move(conn, before, target, version=version)
        if target is MerchantStatus.CLOSED:
            keys.revoke_all(conn, merchant_id, now_us)
        detail = {"before": before.status.value, "after": target.value, "version": after.version}
        _note(conn, merchant_id, f"merchant.{target.value.lower()}", change, now_us, detail)
        return after

    return await _run(desk, move)


async def order_key(desk: Desk, merchant_id: str, order: KeyOrder, change: Change) -> NewKey:
    """Give an active merchant a new key.

    Raises:
        ObjectNotFound: (1009) if there is no such merchant, or no live key to replace.
        IllegalMerchantMove: (1004) if it isn't active.
        InvalidParameter: (1001) for a public key that can't be used, MD5 without the operator's
            leave, or too many keys.
    """
    if not 0 <= order.overlap_s <= OVERLAP_S_MAX:
        raise InvalidParameter("overlap_s", f"must be 0 to {OVERLAP_S_MAX}")
    algorithm = order.algorithm or _present_algorithm(desk, merchant_id, order.purpose)
    public_key_pem = b""
    if order.public_key:
        try:
            public_key_pem = read_public_key(algorithm, order.public_key)
        except BadPublicKey as error:
            raise InvalidParameter("public_key", str(error)) from None
    fresh = await asyncio.to_thread(keys.make_key, algorithm, public_key_pem)

    def give(conn: Connection, now_us: int) -> NewKey:
        status = applications.standing(conn, merchant_id).status
        if status is not MerchantStatus.ACTIVE:
            raise IllegalMerchantMove(status.value, MerchantStatus.ACTIVE.value)
        if order.replaces or order.rotate_all:
            made = keys.rotate_key(
                conn,
                desk.vault,
                merchant_id,
                order.overlap_s,
                now_us,
                fresh=fresh,
                replaces=order.replaces,
                purpose=order.purpose,
            )
        else:
            made = keys.add_key(conn, desk.vault, merchant_id, fresh, now_us, purpose=order.purpose)
            keys.bump(conn, merchant_id)
        detail = {
            "key_id": made.key_id,
            "algorithm": algorithm.value,
            "purpose": order.purpose.value,
            "replaces": "all" if order.rotate_all else order.replaces,
            "overlap_s": order.overlap_s,
        }
        _note(conn, merchant_id, "key.issue", change, now_us, detail)
        return made

    return await _run(desk, give)


async def end_key(desk: Desk, merchant_id: str, key_id: str, change: Change) -> None:
    """End a key at once.

    Raises:
        ObjectNotFound: (1009) if the merchant has no such live key.
    """

    def end(conn: Connection, now_us: int) -> None:
        keys.revoke_key(conn, merchant_id, key_id, now_us)
        _note(conn, merchant_id, "key.revoke", change, now_us, {"key_id": key_id})

    await _run(desk, end)


def live_keys(desk: Desk, merchant_id: str) -> tuple[KeyRecord, ...]:
    """Return the keys that still work, the newest first; no secret."""
    with desk.context.reader.connect() as conn:
        return keys.list_keys(conn, merchant_id, alive_at_us=desk.context.clock_us())


async def set_networks(
    desk: Desk, merchant_id: str, networks: list[str], change: Change
) -> list[str]:
    """Say from where a merchant may call; an empty list allows every address.

    Raises:
        ObjectNotFound: (1009) if there is no such merchant.
        InvalidParameter: (1001) for what is no address or network.
    """
    read = [str(network) for network in read_networks(networks)]
    await _set(desk, merchant_id, change, {"networks": " ".join(read)})
    return read


async def set_limits(
    desk: Desk, merchant_id: str, *, rate_per_s: int, md5_allowed: bool, change: Change
) -> None:
    """Say how often a merchant may call (0: as the installation says), and whether MD5 serves it.

    Taking MD5 away ends every MD5 key within a second.

    Raises:
        ObjectNotFound: (1009) if there is no such merchant.
    """
    values = {"rate_per_s": rate_per_s, "md5_allowed": int(md5_allowed)}
    await _set(desk, merchant_id, change, values)


def settle_to(
    conn: Connection, desk: Desk, merchant_id: str, account: dict[str, str], change: Change
) -> dict[str, str]:
    """Pay a merchant's money to another account from now on, in a transaction of the caller's.

    Args:
        conn: A connection in the writer's transaction.
        desk: What to work with.
        merchant_id: Whose money.
        account: bank_name, bank_account_name, bank_account_no.
        change: Who agreed, and why.

    Raises:
        ObjectNotFound: (1009) if the merchant never applied.
        InvalidParameter: (1001) if the account can't be one.
    """
    present = applications.open_details(conn, desk.vault, merchant_id)
    if present is None:
        raise ObjectNotFound(f"no application {merchant_id[:32]}")
    changed = Details(**asdict(present) | account)
    applications.store_details(conn, desk.vault, merchant_id, changed)
    keys.bump(conn, merchant_id)
    masked = masked_account(changed)
    _note(conn, merchant_id, "settlement.change", change, desk.context.clock_us(), masked)
    return masked


def checked_account(desk: Desk, merchant_id: str, account: dict[str, str]) -> dict[str, str]:
    """Check a new settlement account before anybody is asked to agree; return it masked.

    Raises:
        ObjectNotFound: (1009) if the merchant never applied.
        InvalidParameter: (1001) if the account can't be one.
    """
    with desk.context.reader.connect() as conn:
        present = applications.open_details(conn, desk.vault, merchant_id)
    if present is None:
        raise ObjectNotFound(f"no application {merchant_id[:32]}")
    return masked_account(replace(present, **account))


def masked_account(details: Details) -> dict[str, str]:
    """Return the settlement account as it may be seen."""
    shown = details.masked()
    return {name: shown[name] for name in ("bank_name", "bank_account_name", "bank_account_no")}


def _present_algorithm(desk: Desk, merchant_id: str, purpose: KeyPurpose) -> Algorithm:
    with desk.context.reader.connect() as conn:
        try:
            return keys.newest_algorithm(conn, merchant_id, purpose)
        except ObjectNotFound:
            return Algorithm.HMAC_SHA256


async def _set(
    desk: Desk, merchant_id: str, change: Change, values: dict[str, int] | dict[str, str]
) -> None:
    def store(conn: Connection, now_us: int) -> None:
        applications.standing(conn, merchant_id)
        conn.execute(
            update(merchants).where(merchants.c.merchant_id == merchant_id).values(**values)
        )
        keys.bump(conn, merchant_id)
        _note(conn, merchant_id, "merchant.limits", change, now_us, values)

    await _run(desk, store)


async def _run(desk: Desk, job: Callable[[Connection, int], T]) -> T:
    now_us = desk.context.clock_us()
    return await desk.context.writer.run(lambda conn: job(conn, now_us))


def _note(
    conn: Connection,
    merchant_id: str,
    action: str,
    change: Change,
    now_us: int,
    detail: Mapping[str, object],
) -> None:
    audit.record(
        conn,
        actor=change.actor,
        action=action,
        object_id=merchant_id,
        now_us=now_us,
        reason=change.reason,
        detail=detail,
    )
