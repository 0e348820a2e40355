"""Settlement: what we owe each merchant at the end of a business day is promised, then paid out.

A business day ends at midnight of UTC+08:00. What is owed is the balance of the merchant's own
account in the ledger, so that nothing can be left out; a merchant who owes us carries the debt on.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from sqlalchemy import Connection, func, insert, select, update

from gateway.domain.errors import IllegalTransition, ObjectNotFound
from gateway.domain.ledger import payout_entry, settlement_entry
from gateway.domain.numbers import new_number
from gateway.store import audit, outbox
from gateway.store.money_tables import settlements
from gateway.store.tables import ledger_entries, ledger_postings

ZONE: Final = timezone(timedelta(hours=8))
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What one merchant is transferred in one currency for the time up to a business day's end.

    Amounts are minor units of `currency`; `carried_minor` is what was left from before, for
    example a debt: net = carried + paid - refunded - fees.
    """

    merchant_id: str
    settlement_no: str
    day: str
    currency: str
    carried_minor: int
    paid_minor: int
    refunded_minor: int
    fees_minor: int
    net_minor: int


def business_day(at_us: int) -> str:
    """Return the business day of a time, YYYY-MM-DD."""
    return datetime.fromtimestamp(at_us // 1_000_000, tz=ZONE).date().isoformat()


def end_of(day: str) -> int:
    """Return the first microsecond after a business day, since the epoch.

    Raises:
        ValueError: if `day` is no day written YYYY-MM-DD.
    """
    start = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=ZONE)
    return int((start + _DAY).timestamp()) * 1_000_000


def day_before(at_us: int) -> str:
    """Return the last business day that is over."""
    today = datetime.fromtimestamp(at_us // 1_000_000, tz=ZONE).date()
    return (today - _DAY).isoformat()


def settle_day(conn: Connection, day: str, now_us: int) -> list[Settlement]:
    """Promise what is owed at the end of `day`; a day that was settled stays as it is.

    Args:
        conn: The writer's connection.
        day: A business day that is over, YYYY-MM-DD.
        now_us: The time.

    Returns:
        The settlements made now.

    Raises:
        ValueError: if the day isn't over.
    """
    cut_us = end_of(day)
    if cut_us > now_us:
        raise ValueError(f"{day} isn't over")
    made = [
        _promise(conn, merchant_id, currency, owed_minor, day, cut_us, now_us)
        for merchant_id, currency, owed_minor in _owed(conn, cut_us)
    ]
    return [settlement for settlement in made if settlement is not None]


_OWN = ledger_postings.c.account == "merchant:" + ledger_postings.c.merchant_id
_JOINED = (ledger_entries.c.merchant_id == ledger_postings.c.merchant_id) & (
    ledger_entries.c.entry_id == ledger_postings.c.entry_id
)


def _owed(conn: Connection, cut_us: int) -> list[tuple[str, str, int]]:
    owed = -func.sum(ledger_postings.c.amount_minor)
    rows = conn.execute(
        select(ledger_postings.c.merchant_id, ledger_postings.c.currency, owed)
        .join_from(ledger_postings, ledger_entries, _JOINED)
        # A promise made after the cut takes from what was owed at it.
        .where(
            _OWN, (ledger_entries.c.created_at_us < cut_us) | (ledger_entries.c.kind == "SETTLE")
        )
        .group_by(ledger_postings.c.merchant_id, ledger_postings.c.currency)
        .having(owed > 0)
        .order_by(ledger_postings.c.merchant_id, ledger_postings.c.currency)
    )
    return [(merchant_id, currency, int(minor)) for merchant_id, currency, minor in rows]


def _promise(
    conn: Connection,
    merchant_id: str,
    currency: str,
    net_minor: int,
    day: str,
    cut_us: int,
    now_us: int,
) -> Settlement | None:
    before = conn.execute(
        select(func.max(settlements.c.day)).where(
            settlements.c.merchant_id == merchant_id, settlements.c.currency == currency
        )
    ).scalar()
    if before is not None and before >= day:
        return None
    since_us = end_of(before) if before else 0
    moved = _moved(conn, merchant_id, currency, since_us, cut_us)
    paid, refunded = -moved["PAY"], moved["REFUND"]
    fees = moved["FEE"] + moved["FEE_RETURN"]
    settlement = Settlement(
        merchant_id=merchant_id,
        settlement_no=new_number("S", now_us),
        day=day,
        currency=currency,
        carried_minor=net_minor - (paid - refunded - fees),
        paid_minor=paid,
        refunded_minor=refunded,
        fees_minor=fees,
        net_minor=net_minor,
    )
    conn.execute(
        insert(settlements).values(
            merchant_id=merchant_id,
            settlement_no=settlement.settlement_no,
            day=day,
            currency=currency,
            carried_minor=settlement.carried_minor,
            paid_minor=paid,
            refunded_minor=refunded,
            fees_minor=fees,
            net_minor=net_minor,
            status="PENDING",
            created_at_us=now_us,
        )
    )
    entry = settlement_entry(
        merchant_id=merchant_id,
        settlement_no=settlement.settlement_no,
        net_minor=net_minor,
        currency=currency,
    )
    outbox.book(conn, entry, now_us)
    return settlement


def _moved(
    conn: Connection, merchant_id: str, currency: str, since_us: int, cut_us: int
) -> defaultdict[str, int]:
    """Sum the merchant's own account by kind of entry; credits are negative."""
    rows = conn.execute(
        select(ledger_entries.c.kind, func.sum(ledger_postings.c.amount_minor))
        .join_from(ledger_postings, ledger_entries, _JOINED)
        .where(
            _OWN,
            ledger_postings.c.merchant_id == merchant_id,
            ledger_postings.c.currency == currency,
            ledger_entries.c.created_at_us >= since_us,
            ledger_entries.c.created_at_us < cut_us,
        )
        .group_by(ledger_entries.c.kind)
    )
    return defaultdict(int, {kind: int(minor) for kind, minor in rows})


def pay_out(
    conn: Connection,
    merchant_id: str,
    settlement_no: str,
    *,
    reference: str,
    actor: str,
    now_us: int,
) -> None:
    """Note that the bank has transferred a settlement.

    Raises:
        ObjectNotFound: (1009) no such settlement.
        IllegalTransition: (1004) it was paid out before.
    """
    key = (
        settlements.c.merchant_id == merchant_id,
        settlements.c.settlement_no == settlement_no,
    )
    row = conn.execute(select(settlements).where(*key)).first()
    if row is None:
        raise ObjectNotFound(f"no settlement {settlement_no[:40]}")
    done = conn.execute(
        update(settlements)
        .where(*key, settlements.c.status == "PENDING")
        .values(status="PAID_OUT", reference=reference, paid_out_at_us=now_us)
    )
    if done.rowcount != 1:
        raise IllegalTransition(row.status, "PAID_OUT")
    entry = payout_entry(
        merchant_id=merchant_id,
        settlement_no=settlement_no,
        net_minor=row.net_minor,
        currency=row.currency,
    )
    outbox.book(conn, entry, now_us)
    audit.record(
        conn,
        actor=actor,
        action="settlement.paid_out",
        object_id=settlement_no,
        now_us=now_us,
        detail={"reference": reference, "net_minor": row.net_minor, "currency": row.currency},
    )
