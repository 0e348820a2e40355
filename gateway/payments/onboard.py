"""A merchant's way in: register, papers, review, agreement, first keys.

Each verb is one transaction with its audit row. What takes CPU (pairs of keys, pictures, seals) is
done before it, off the event loop. Secrets are returned once and kept sealed; an applicant who
never got the answer makes new keys with its token.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from gateway.domain.errors import (
    IllegalMerchantMove,
    InvalidParameter,
    ObjectNotFound,
    Unauthorized,
)
from gateway.domain.merchant import EDITABLE, Algorithm, MerchantStatus, Mode
from gateway.domain.onboarding import AGREEMENT_VERSION, Details, MaterialKind, missing
from gateway.payments.context import Context
from gateway.payments.papers import check_paper
from gateway.store import applications, audit, keys
from gateway.store.applications import Application, Material, Standing
from gateway.store.keys import FreshKey, NewKey
from gateway.store.merchants import insert_merchant
from gateway.store.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the verbs work with.

    Attributes:
        context: Store and clock.
        vault: Seals keys and papers.
        sandbox_mode: Whether this installation moves no money: only then are sandbox
            credentials given, because only here do they work.
    """

    context: Context
    vault: Vault
    sandbox_mode: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a merchant needs to call the API; shown once.

    Attributes:
        merchant_id: Partner ID.
        app_id: App ID.
        mode: LIVE or SANDBOX.
        api_key: The key for requests, and the newest: it signs notifications.
        key_pair: An RSA pair that works beside it; None if the API key is one itself.
    """

    merchant_id: str
    app_id: str
    mode: Mode
    api_key: NewKey
    key_pair: NewKey | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """An application that has begun.

    Attributes:
        merchant_id: Its Partner ID to be, and its name in the API.
        token: Opens the application; shown once.
        sandbox: Credentials to try out with; None where money is real.
    """

    merchant_id: str
    token: str = field(repr=False)
    sandbox: Credentials | None


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An application with everything that may be seen of it."""

    standing: Standing
    application: Application
    materials: tuple[Material, ...]
    missing: list[str]


async def register(
    desk: Desk, *, name: str, mcc: str, contact: Mapping[str, str], algorithm: Algorithm
) -> Registered:
    """Begin an application.

    Args:
        desk: What to work with.
        name: The merchant's name for people.
        mcc: Merchant category code, ISO 18245; may be empty.
        contact: Who answers for it.
        algorithm: Of its API key; not MD5.

    Raises:
        InvalidParameter: (1001) for MD5.
    """
    if algorithm is Algorithm.MD5:
        raise InvalidParameter("algorithm", "MD5 is broken; choose another")
    now_us = desk.context.clock_us()
    token = "app_" + secrets.token_urlsafe(32)
    fresh = await _fresh_keys(algorithm) if desk.sandbox_mode else None

    def begin(conn: Connection) -> Registered:
        merchant_id, _ = insert_merchant(conn, name, mcc, MerchantStatus.REGISTERED, now_us)
        sandbox = None
        if fresh is not None:
            sandbox_id, app_id = insert_merchant(
                conn, name, mcc, MerchantStatus.ACTIVE, now_us, mode=Mode.SANDBOX
            )
            sandbox = _issue(conn, desk.vault, (sandbox_id, app_id), Mode.SANDBOX, fresh, now_us)
        applications.insert_application(
            conn,
            desk.vault,
            merchant_id,
            sandbox_merchant_id=sandbox.merchant_id if sandbox else "",
            token=token,
            algorithm=algorithm.value,
            contact=contact,
            now_us=now_us,
        )
        _note(conn, merchant_id, "merchant.register", now_us, {"status": "REGISTERED"})
        return Registered(merchant_id=merchant_id, token=token, sandbox=sandbox)

    return await desk.context.writer.run(begin)


def authenticate(desk: Desk, merchant_id: str, token: str) -> None:
    """Check that a token opens this application.

    Raises:
        Unauthorized: (1008) otherwise, whether there is such an application or not.
    """
    with desk.context.reader.connect() as conn:
        kept = applications.find_token_digest(conn, merchant_id)
    given = applications.token_digest(token)
    if not secrets.compare_digest(given, bytes(kept or bytes(len(given)))) or kept is None:
        raise Unauthorized("send the application's token as Authorization: Bearer")


def read_file(desk: Desk, merchant_id: str) -> File:
    """Return an application that is known to exist, as its owner may see it."""
    with desk.context.reader.connect() as conn:
        return _file(conn, merchant_id)


async def give_details(desk: Desk, merchant_id: str, details: Details) -> File:
    """Say who the merchant is; overwrites what was said before.

    Raises:
        IllegalMerchantMove: (1004) if the application can't be changed as it stands.
    """

    def store(conn: Connection, now_us: int) -> None:
        applications.store_details(conn, desk.vault, merchant_id, details)
        _note(conn, merchant_id, "merchant.details", now_us, details.masked())

    return await _edit(desk, merchant_id, store)


async def add_paper(
    desk: Desk, merchant_id: str, kind: MaterialKind, content_type: str, content: bytes
) -> File:
    """Hand in a paper.

    Raises:
        InvalidParameter: (1001) if it is not what it says, or there are too many.
        PayloadTooLarge: (1001) if it is too large.
        IllegalMerchantMove: (1004) if the application can't be changed as it stands.
    """
    material_id = applications.new_material_id()
    content_sha256, sealed = await asyncio.to_thread(
        lambda: (
            check_paper(content_type, content),
            applications.seal_material(desk.vault, merchant_id, material_id, content),
        )
    )

    def store(conn: Connection, now_us: int) -> None:
        material = Material(
            material_id=material_id,
            kind=kind.value,
            content_type=content_type,
            size_bytes=len(content),
            sha256=content_sha256,
            uploaded_at_us=now_us,
        )
        applications.add_material(conn, merchant_id, material, sealed)
        seen = {"material_id": material_id, "kind": kind.value, "sha256": content_sha256}
        _note(conn, merchant_id, "merchant.material", now_us, seen)

    return await _edit(desk, merchant_id, store)


async def remove_paper(desk: Desk, merchant_id: str, material_id: str) -> File:
    """Take a paper back.

    Raises:
        ObjectNotFound: (1009) if there is none of that name.
        IllegalMerchantMove: (1004) if the application can't be changed as it stands.
    """

    def take(conn: Connection, now_us: int) -> None:
        applications.remove_material(conn, merchant_id, material_id)
        _note(conn, merchant_id, "merchant.material.remove", now_us, {"material_id": material_id})

    return await _edit(desk, merchant_id, take)


async def submit(desk: Desk, merchant_id: str) -> File:
    """Hand the application in.

    Raises:
        InvalidParameter: (1001) naming what is missing.
        IllegalMerchantMove: (1004) if it was handed in, or decided.
    """
    now_us = desk.context.clock_us()

    def hand_in(conn: Connection) -> File:
        file = _file(conn, merchant_id)
        moved = applications.move(conn, file.standing, MerchantStatus.PENDING)
        if file.missing:
            raise InvalidParameter(file.missing[0], f"still missing: {', '.join(file.missing)}")
        applications.change_application(conn, merchant_id, submitted_at_us=now_us)
        _note(conn, merchant_id, "merchant.submit", now_us, _moved(file.standing, moved))
        return _file(conn, merchant_id)

    return await desk.context.writer.run(hand_in)


async def withdraw(desk: Desk, merchant_id: str) -> File:
    """Give up an application; it can't be taken up again.

    Raises:
        IllegalMerchantMove: (1004) once the merchant is active: closing it is the operator's.
    """
    now_us = desk.context.clock_us()

    def close(conn: Connection) -> File:
        before = applications.standing(conn, merchant_id)
        if before.status in (MerchantStatus.ACTIVE, MerchantStatus.FROZEN):
            # Money may be under way: only an operator closes a merchant that was active.
            raise _not_now(before.status, MerchantStatus.CLOSED)
        moved = applications.move(conn, before, MerchantStatus.CLOSED)
        _note(conn, merchant_id, "merchant.withdraw", now_us, _moved(before, moved))
        return _file(conn, merchant_id)

    return await desk.context.writer.run(close)


async def agree(desk: Desk, merchant_id: str, agreement_version: str) -> Credentials:
    """Accept the agreement and become active: the live credentials are in the answer, once.

    Raises:
        InvalidParameter: (1001) if another version is in force.
        IllegalMerchantMove: (1004) unless the merchant is approved.
    """
    if agreement_version != AGREEMENT_VERSION:
        raise InvalidParameter("agreement_version", f"the one in force is {AGREEMENT_VERSION}")
    now_us = desk.context.clock_us()
    algorithm = Algorithm(read_file(desk, merchant_id).application.algorithm)
    fresh = await _fresh_keys(algorithm)

    def activate(conn: Connection) -> Credentials:
        before = applications.standing(conn, merchant_id)
        if before.status is not MerchantStatus.APPROVED:
            raise _not_now(before.status, MerchantStatus.ACTIVE)
        moved = applications.move(conn, before, MerchantStatus.ACTIVE)
        applications.change_application(
            conn, merchant_id, agreement_version=agreement_version, agreed_at_us=now_us
        )
        detail = _moved(before, moved) | {"agreement_version": agreement_version}
        _note(conn, merchant_id, "merchant.agree", now_us, detail)
        ids = (merchant_id, before.app_id)
        return _issue(conn, desk.vault, ids, Mode.LIVE, fresh, now_us)

    return await desk.context.writer.run(activate)


async def _edit(desk: Desk, merchant_id: str, job: Callable[[Connection, int], None]) -> File:
    """Change an application that its owner may still change."""
    now_us = desk.context.clock_us()

    def run(conn: Connection) -> File:
        before = applications.standing(conn, merchant_id)
        if before.status not in EDITABLE:
            raise _not_now(before.status, MerchantStatus.INCOMPLETE)
        # Before the job: whoever hands in meanwhile must not hand in half of this.
        applications.touch(conn, before)
        job(conn, now_us)
        return _file(conn, merchant_id)

    return await desk.context.writer.run(run)


def _file(conn: Connection, merchant_id: str) -> File:
    application = applications.find_application(conn, merchant_id)
    if application is None:
        raise ObjectNotFound(f"no application {merchant_id[:32]}")
    papers = applications.list_materials(conn, merchant_id)
    kinds = {MaterialKind(paper.kind) for paper in papers}
    return File(
        standing=applications.standing(conn, merchant_id),
        application=application,
        materials=papers,
        missing=missing(kinds, has_details=application.has_details),
    )


async def _fresh_keys(algorithm: Algorithm) -> list[FreshKey]:
    """Make a merchant's first keys, the API key last: the newest one signs notifications."""
    wanted = dict.fromkeys((Algorithm.RSA2, algorithm))
    return await asyncio.to_thread(lambda: [keys.make_key(one) for one in wanted])


def _issue(
    conn: Connection,
    vault: Vault,
    ids: tuple[str, str],
    mode: Mode,
    fresh: list[FreshKey],
    now_us: int,
) -> Credentials:
    merchant_id, app_id = ids
    made = [keys.add_key(conn, vault, merchant_id, one, now_us) for one in fresh]
    return Credentials(
        merchant_id=merchant_id,
        app_id=app_id,
        mode=mode,
        api_key=made[-1],
        key_pair=made[0] if len(made) > 1 else None,
    )


def _not_now(status: MerchantStatus, target: MerchantStatus) -> IllegalMerchantMove:
    return IllegalMerchantMove(status.value, target.value)


def _moved(before: Standing, after: Standing) -> dict[str, object]:
    return {"before": before.status.value, "after": after.status.value, "version": after.version}


def _note(
    conn: Connection, merchant_id: str, action: str, now_us: int, detail: Mapping[str, object]
) -> None:
    audit.record(
        conn,
        actor=f"merchant:{merchant_id}",
        action=action,
        object_id=merchant_id,
        now_us=now_us,
        detail=detail,
    )
