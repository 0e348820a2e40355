"""What the background knows of one user: the newest row of the table of communities in the log."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from gateway.store.tables import risk_events
from risk import EventKind
from risk.features.event import ATTRIBUTES, FIRST_CONTEXT, REF_SEQ, decode
from risk.features.identity import identify, table_subject


@dataclass(frozen=True, slots=True, kw_only=True)
class CommunityRow:
    """A user's row, in force from `seq` on.

    Attributes:
        seq: Its place in the log.
        at_us: When it was written, Unix microseconds.
        ref_seq: The newest event it looked at.
        values: By the names of `risk.features.event.ATTRIBUTES`; all 0 for a user in none.
    """

    seq: int
    at_us: int
    ref_seq: int
    values: dict[str, int]


def community_of(conn: Connection, account_id: str) -> CommunityRow | None:
    """Return the row in force for a payer's account, None if it never had one."""
    log = risk_events.c
    subject = table_subject(identify("user", account_id))
    found = conn.execute(
        select(log.seq, log.at_us, log.payload)
        .where(log.trade_no == subject, log.kind == EventKind.TABLE.value)
        .order_by(log.seq.desc())
        .limit(1)
    ).first()
    if found is None:
        return None
    event = decode(found.payload)
    values = event[FIRST_CONTEXT : FIRST_CONTEXT + len(ATTRIBUTES)].tolist()
    return CommunityRow(
        seq=found.seq,
        at_us=found.at_us,
        ref_seq=int(event[REF_SEQ]),
        values=dict(zip(ATTRIBUTES, values, strict=True)),
    )
