"""Merchants as the reviewer sees them: who applied, since when, and what they have done since."""

from dataclasses import dataclass

from sqlalchemy import select

from gateway.queries.reader import Reader, fetch
from gateway.store import tables

MERCHANT_COUNT_MAX = 500


@dataclass(frozen=True, slots=True)
class MerchantRow:
    """One merchant; `version` is what a decision about it must name."""

    merchant_id: str
    app_id: str
    name: str
    mcc: str
    status: str
    version: int
    created_at_us: int


def list_merchants(reader: Reader, *, status: str | None = None) -> tuple[MerchantRow, ...]:
    """Read merchants, oldest application first.

    Args:
        reader: From `open_reader`.
        status: Only merchants that stand there (`gateway.domain.merchant.MerchantStatus`).

    Raises:
        ReaderError: if the database can't be read.
    """
    merchants = tables.merchants.c
    statement = (
        select(
            merchants.merchant_id,
            merchants.app_id,
            merchants.name,
            merchants.mcc,
            merchants.status,
            merchants.version,
            merchants.created_at_us,
        )
        .order_by(merchants.created_at_us)
        .limit(MERCHANT_COUNT_MAX)
    )
    if status is not None:
        statement = statement.where(merchants.status == status)
    return tuple(MerchantRow(*row) for row in fetch(reader, statement))


@dataclass(frozen=True, slots=True)
class MaterialRow:
    """A paper that an applicant handed in, without its content."""

    kind: str
    content_type: str
    size_bytes: int
    sha256: str
    uploaded_at_us: int


def list_materials(reader: Reader, merchant_id: str) -> tuple[MaterialRow, ...]:
    """Read what an applicant handed in, the oldest first.

    Raises:
        ReaderError: if the database can't be read.
    """
    materials = tables.materials.c
    statement = (
        select(
            materials.kind,
            materials.content_type,
            materials.size_bytes,
            materials.sha256,
            materials.uploaded_at_us,
        )
        .where(materials.merchant_id == merchant_id)
        .order_by(materials.uploaded_at_us, materials.material_id)
    )
    return tuple(MaterialRow(*row) for row in fetch(reader, statement))
