"""Applications and their papers, as they are kept: people's numbers and papers sealed."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, delete, func, insert, select, update

from gateway.domain.errors import InvalidParameter, ObjectNotFound, StaleVersion
from gateway.domain.merchant import MerchantStatus, advance_merchant
from gateway.domain.onboarding import MATERIAL_COUNT_MAX, Details
from gateway.store.audit import last_actor
from gateway.store.keys import random_name
from gateway.store.tables import applications, materials, merchants
from gateway.store.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a merchant stands, whoever entered it."""

    merchant_id: str
    app_id: str
    name: str
    status: MerchantStatus
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What an application holds that may be seen.

    Attributes:
        sandbox_merchant_id: The applicant's other merchant, for trying out; may be empty.
        algorithm: Of the API key it will be given.
        has_details: Whether it said who it is.
        details: That, masked.
        message: What the reviewer last said.
        agreement_version: What it agreed to; empty before.
        agreed_at_us: When.
        submitted_at_us: When it was last handed in; 0 before.
    """

    merchant_id: str
    sandbox_merchant_id: str
    algorithm: str
    has_details: bool
    details: Mapping[str, str]
    message: str
    agreement_version: str
    agreed_at_us: int
    submitted_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What is known of a paper without opening it."""

    material_id: str
    kind: str
    content_type: str
    size_bytes: int
    sha256: str
    uploaded_at_us: int


def standing(conn: Connection, merchant_id: str) -> Standing:
    """Return where a merchant stands.

    Raises:
        ObjectNotFound: (1009) if there is no such merchant.
    """
    row = conn.execute(select(merchants).where(merchants.c.merchant_id == merchant_id)).first()
    if row is None:
        raise ObjectNotFound(f"no merchant {merchant_id[:32]}")
    return Standing(
        merchant_id=row.merchant_id,
        app_id=row.app_id,
        name=row.name,
        status=MerchantStatus(row.status),
        version=row.version,
    )


def move(
    conn: Connection, before: Standing, target: MerchantStatus, *, version: int | None = None
) -> Standing:
    """Move a merchant along an arrow of its transition table, if it is still as it was read.

    Args:
        conn: A connection in the writer's transaction.
        before: As it was read in this transaction.
        target: Where it goes.
        version: What the caller decided on; None: as it is now.

    Raises:
        IllegalMerchantMove: (1004) if there is no such arrow.
        StaleVersion: (1010) if somebody else was faster.
    """
    merchant_id = before.merchant_id
    if version is not None and version != before.version:
        raise StaleVersion(
            merchant_id, before.status, before.version, last_actor(conn, merchant_id)
        )
    advance_merchant(before.status, target)
    return touch(conn, replace(before, status=target))


def touch(conn: Connection, found: Standing) -> Standing:
    """Write a merchant's status and its next version, if nobody else did since it was read.

    Raises:
        StaleVersion: (1010) if somebody else was faster.
    """
    merchant_id = found.merchant_id
    touched = conn.execute(
        update(merchants)
        .where(merchants.c.merchant_id == merchant_id, merchants.c.version == found.version)
        .values(status=found.status.value, version=found.version + 1)
    )
    if touched.rowcount != 1:
        raise StaleVersion(merchant_id, found.status, found.version, last_actor(conn, merchant_id))
    return replace(found, version=found.version + 1)


def insert_application(
    conn: Connection,
    vault: Vault,
    merchant_id: str,
    *,
    sandbox_merchant_id: str,
    token: str,
    algorithm: str,
    contact: Mapping[str, str],
    now_us: int,
) -> None:
    """Begin an application."""
    conn.execute(
        insert(applications).values(
            merchant_id=merchant_id,
            sandbox_merchant_id=sandbox_merchant_id,
            token_sha256=token_digest(token),
            algorithm=algorithm,
            contact_sealed=vault.seal(
                json.dumps(dict(contact)).encode(), bound_to=f"{merchant_id}/contact"
            ),
            details_sealed=b"",
            created_at_us=now_us,
        )
    )


def token_digest(token: str) -> bytes:
    """What is kept of a token: it has 256 random bits, so one plain hash is enough."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def find_token_digest(conn: Connection, merchant_id: str) -> bytes | None:
    """Return the digest of an application's token, or None if there is no such application."""
    found: bytes | None = conn.execute(
        select(applications.c.token_sha256).where(applications.c.merchant_id == merchant_id)
    ).scalar()
    return found


def find_application(conn: Connection, merchant_id: str) -> Application | None:
    """Return a merchant's application, or None: an operator entered this merchant."""
    row = conn.execute(
        select(applications).where(applications.c.merchant_id == merchant_id)
    ).first()
    if row is None:
        return None
    return Application(
        merchant_id=row.merchant_id,
        sandbox_merchant_id=row.sandbox_merchant_id,
        algorithm=row.algorithm,
        has_details=bool(row.details_sealed),
        details=json.loads(row.details_masked),
        message=row.message,
        agreement_version=row.agreement_version,
        agreed_at_us=row.agreed_at_us,
        submitted_at_us=row.submitted_at_us,
    )


def change_application(conn: Connection, merchant_id: str, **values: object) -> None:
    """Overwrite columns of an application."""
    conn.execute(
        update(applications).where(applications.c.merchant_id == merchant_id).values(**values)
    )


def store_details(conn: Connection, vault: Vault, merchant_id: str, details: Details) -> None:
    """Keep what an applicant says of itself: sealed, and masked to be seen."""
    sealed = vault.seal(json.dumps(asdict(details)).encode(), bound_to=f"{merchant_id}/details")
    change_application(
        conn,
        merchant_id,
        details_sealed=sealed,
        details_masked=json.dumps(details.masked(), ensure_ascii=False),
    )


def open_details(conn: Connection, vault: Vault, merchant_id: str) -> Details | None:
    """Return what an applicant said of itself in the clear, or None if it said nothing yet."""
    sealed = conn.execute(
        select(applications.c.details_sealed).where(applications.c.merchant_id == merchant_id)
    ).scalar()
    if not sealed:
        return None
    return Details(**json.loads(vault.open(sealed, bound_to=f"{merchant_id}/details")))


def add_material(conn: Connection, merchant_id: str, material: Material, sealed: bytes) -> None:
    """Keep a paper.

    Raises:
        InvalidParameter: (1001) if there are as many as an application may have.
    """
    count = conn.execute(
        select(func.count()).where(materials.c.merchant_id == merchant_id)
    ).scalar_one()
    if count >= MATERIAL_COUNT_MAX:
        raise InvalidParameter("material", f"an application has at most {MATERIAL_COUNT_MAX}")
    conn.execute(
        insert(materials).values(merchant_id=merchant_id, sealed=sealed, **asdict(material))
    )


def new_material_id() -> str:
    """Return a name for a paper."""
    return "D" + random_name(16)


def seal_material(vault: Vault, merchant_id: str, material_id: str, content: bytes) -> bytes:
    """Seal a paper for its row; takes milliseconds of CPU for a large one."""
    return vault.seal(content, bound_to=f"{merchant_id}/{material_id}")


def remove_material(conn: Connection, merchant_id: str, material_id: str) -> None:
    """Forget a paper.

    Raises:
        ObjectNotFound: (1009) if there is none of that name.
    """
    gone = conn.execute(
        delete(materials).where(
            materials.c.merchant_id == merchant_id, materials.c.material_id == material_id
        )
    )
    if gone.rowcount != 1:
        raise ObjectNotFound(f"no material {material_id[:32]}")


def list_materials(conn: Connection, merchant_id: str) -> tuple[Material, ...]:
    """Return what is known of an application's papers, the oldest first."""
    table = materials.c
    rows = conn.execute(
        select(
            table.material_id,
            table.kind,
            table.content_type,
            table.size_bytes,
            table.sha256,
            table.uploaded_at_us,
        )
        .where(table.merchant_id == merchant_id)
        .order_by(table.uploaded_at_us, table.material_id)
    )
    return tuple(Material(**row._asdict()) for row in rows)


def open_material(
    conn: Connection, vault: Vault, merchant_id: str, material_id: str
) -> tuple[str, bytes]:
    """Return a paper's content type and content in the clear.

    Raises:
        ObjectNotFound: (1009) if there is none of that name.
    """
    row = conn.execute(
        select(materials.c.content_type, materials.c.sealed).where(
            materials.c.merchant_id == merchant_id, materials.c.material_id == material_id
        )
    ).first()
    if row is None:
        raise ObjectNotFound(f"no material {material_id[:32]}")
    return row.content_type, vault.open(row.sealed, bound_to=f"{merchant_id}/{material_id}")
