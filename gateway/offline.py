"""Change the database from a command: works beside a running gateway, and before the first."""

import asyncio
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from gateway.domain.errors import InvalidParameter, ObjectNotFound
from gateway.domain.merchant import Algorithm, MerchantStatus
from gateway.domain.operator import Role
from gateway.refusal import Refused
from gateway.store import operators
from gateway.store.database import Database
from gateway.store.keys import NewKey, rotate_key
from gateway.store.merchants import NewMerchant, create_merchant
from gateway.store.migrate import migrate
from gateway.store.vault import Vault

T = TypeVar("T")


def change(database: Database, job: Callable[[Connection], T]) -> T:
    """Run one job in a durable transaction, creating or upgrading the database when needed.

    Args:
        database: What to change.
        job: Statements of SQLAlchemy Core.

    Raises:
        Busy: (1006) if the database can't be written now.
    """
    migrate(database)

    async def once() -> T:
        writer = database.writer()
        try:
            return await writer.run(job)
        finally:
            await writer.close()

    return asyncio.run(once())


def login_name() -> str:
    """Return who runs this command, for the audit trail.

    Raises:
        Refused: if the system doesn't know; the command then wants a name.
    """
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise Refused("nobody is logged in under this user id; name yourself by --actor") from None


def enrol(
    database: Database,
    var: Path,
    name: str,
    algorithm: str,
    mcc: str,
    *,
    now_us: int,
    status: MerchantStatus = MerchantStatus.ACTIVE,
) -> NewMerchant:
    """Create a merchant and its first key.

    Args:
        database: Where the merchant is stored.
        var: Folder of the installation's key.
        name: For people.
        algorithm: ``HMAC-SHA256`` or ``RSA2``.
        mcc: Merchant category code; may be empty.
        now_us: The time, microseconds since the epoch.
        status: ACTIVE may take payments at once; PENDING waits for a person at the console.

    Raises:
        ValueError: if the algorithm is unknown.
    """
    chosen = Algorithm(algorithm)
    vault = Vault(var)
    return change(
        database,
        lambda conn: create_merchant(conn, vault, name, chosen, mcc, now_us=now_us, status=status),
    )


def rotate(
    database: Database, var: Path, merchant_id: str, overlap_s: int, *, now_us: int
) -> NewKey:
    """Give a merchant a new key; the present ones stay valid for `overlap_s` seconds.

    Raises:
        ObjectNotFound: (1009) if there is no such merchant.
    """
    vault = Vault(var)
    return change(database, lambda conn: rotate_key(conn, vault, merchant_id, overlap_s, now_us))


def enter_operator(
    database: Database, name: str, role: Role, *, actor: str, reason: str, now_us: int
) -> str:
    """Enter an operator and return the token.

    Raises:
        Refused: the name is taken.
    """
    try:
        return change(
            database,
            lambda conn: operators.create_operator(
                conn, name, role, actor=actor, reason=reason, now_us=now_us
            ),
        )
    except InvalidParameter as problem:
        raise Refused(str(problem)) from problem


def dismiss_operator(
    database: Database, name: str, *, actor: str, reason: str, now_us: int
) -> None:
    """Take an operator's token away.

    Raises:
        Refused: nobody of that name has one.
    """
    try:
        change(
            database,
            lambda conn: operators.revoke_operator(
                conn, name, actor=actor, reason=reason, now_us=now_us
            ),
        )
    except ObjectNotFound as problem:
        raise Refused(str(problem)) from problem
