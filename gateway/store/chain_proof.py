"""Recompute the chain from the stored rows and say exactly where it first breaks.

Everything is read in one transaction, so a gateway that commits meanwhile does not confuse it.
Only an anchor, a head that was written down elsewhere, proves more than that the database agrees
with itself: who can write the file can recompute every link from the changed place on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from gateway.store.chain import (
    DECISION,
    DECISIONS,
    EVENT,
    EVENTS,
    EVIDENCE_COLUMNS,
    GENESIS,
    Unreadable,
    head,
    link_of,
)
from gateway.store.raw import Raw, steady

_CHUNK_COUNT: Final = 1_000
_TABLES: Final = {DECISION: "decisions", EVENT: "risk_events"}
_PLACES: Final = (
    "SELECT n, kind, merchant_id, item_id, digest, marks, link FROM chain_records"
    " WHERE n > ? ORDER BY n LIMIT ?"
)
_DECISION: Final = (
    "SELECT {columns}, {evidence}, e.decision_id IS NOT NULL FROM decisions d"
    " LEFT JOIN evidence e USING (merchant_id, decision_id)"
    " WHERE d.merchant_id = ? AND d.decision_id = ?"
)
_EVENT: Final = "SELECT {columns} FROM risk_events d WHERE d.seq = ?"
_UNCHAINED: Final = {
    "decisions": "SELECT merchant_id || '/' || decision_id FROM decisions"
    " WHERE merchant_id || '/' || decision_id NOT IN (SELECT merchant_id || '/' || item_id"
    " FROM chain_records WHERE kind = 'DECISION') ORDER BY 1 LIMIT 1",
    "risk_events": "SELECT seq FROM risk_events WHERE CAST(seq AS TEXT) NOT IN"
    " (SELECT item_id FROM chain_records WHERE kind = 'EVENT') ORDER BY seq LIMIT 1",
    "evidence": "SELECT merchant_id || '/' || decision_id FROM evidence"
    " WHERE NOT EXISTS (SELECT 1 FROM decisions d WHERE d.merchant_id = evidence.merchant_id"
    " AND d.decision_id = evidence.decision_id) ORDER BY 1 LIMIT 1",
}


class BreakKind(StrEnum):
    """How the chain breaks."""

    EDITED = "EDITED"  # A record is not what it was when it was chained.
    MISSING = "MISSING"  # A record, or its place in the chain, is gone.
    INSERTED = "INSERTED"  # A record stands where none was chained.
    REORDERED = "REORDERED"  # Two places of the chain were exchanged.
    CHAIN_EDITED = "CHAIN_EDITED"  # The chain's own row was changed, the record was not.
    CUT_OFF = "CUT_OFF"  # The chain ends before the anchor.
    REWRITTEN = "REWRITTEN"  # The chain agrees with itself, but not with the anchor.


@dataclass(frozen=True, slots=True)
class Break:
    """The first place at which the chain does not hold.

    Attributes:
        kind: What is wrong.
        n: The place; 0 if the record has none.
        item: The record it is about: table and key; empty if it can't be told.
        columns: Columns that were changed, as far as they can be told.
        detail: For people.
    """

    kind: BreakKind
    n: int
    item: str = ""
    columns: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """The outcome of a verification.

    Attributes:
        checked_count: Places that hold.
        head_n: The last place the database has.
        head_link: Its link.
        broken: The first break; None if the chain holds.
    """

    checked_count: int
    head_n: int
    head_link: bytes
    broken: Break | None


@dataclass(frozen=True, slots=True)
class _Place:
    n: int
    kind: str
    merchant_id: str
    item_id: str
    digest: bytes
    marks: bytes
    link: bytes

    @property
    def item(self) -> str:
        if self.kind == DECISION:
            return f"decision {self.merchant_id}/{self.item_id}"
        return f"event {self.item_id}"

    @property
    def number(self) -> int:
        """An event's seq; -1 if the row names none."""
        return int(self.item_id) if self.item_id.isdecimal() else -1

    @property
    def is_well_formed(self) -> bool:
        blobs = all(type(value) is bytes for value in (self.digest, self.marks, self.link))
        return blobs and all(type(name) is str for name in (self.merchant_id, self.item_id))


class _Source:
    """Reads records as they are stored, whatever was done to them."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._evidence = EVIDENCE_COLUMNS
        self._columns = {
            table: [
                column[0]
                for column in raw.execute(f"SELECT * FROM {table} LIMIT 0").description  # noqa: S608 - ours
            ]
            for table in _TABLES.values()
        }
        decision = ", ".join(f"d.{name}" for name in self._columns["decisions"])
        evidence = ", ".join(f"e.{name}" for name in self._evidence)
        self._decision = _DECISION.format(columns=decision, evidence=evidence)
        self._event = _EVENT.format(columns=", ".join(self._columns["risk_events"]))

    def places(self) -> Iterator[_Place]:
        last_n = -(1 << 62)
        while rows := self._raw.execute(_PLACES, (last_n, _CHUNK_COUNT)).fetchall():
            last_n = rows[-1][0]
            yield from (_Place(*row) for row in rows)

    def decision(self, place: _Place) -> tuple[dict[str, Any], dict[str, Any] | None] | None:
        row = self._raw.execute(self._decision, (place.merchant_id, place.item_id)).fetchone()
        if row is None:
            return None
        names = self._columns["decisions"]
        record = dict(zip(names, row[: len(names)], strict=True))
        if not row[-1]:
            return record, None
        return record, dict(zip(self._evidence, row[len(names) : -1], strict=True))

    def event(self, place: _Place) -> tuple[dict[str, Any], None] | None:
        if place.merchant_id or place.item_id != str(place.number):
            return None
        row = self._raw.execute(self._event, (place.number,)).fetchone()
        if row is None:
            return None
        return dict(zip(self._columns["risk_events"], row, strict=True)), None

    def unchained(self, counts: dict[str, int]) -> Break | None:
        """Find a record that no place names; `counts` says how many the chain went through."""
        for table, chained_count in counts.items():
            count = self._raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - ours
            if count == chained_count:
                continue
            found = self._raw.execute(_UNCHAINED[table]).fetchone()
            item = f"{table} {'' if found is None else found[0]}"
            return Break(
                BreakKind.INSERTED, 0, item, (), "the record was never chained: it was inserted"
            )
        return None


def prove(
    raw: Raw,
    *,
    anchor: tuple[int, bytes] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Proof:
    """Verify the whole chain.

    Args:
        raw: A connection outside a transaction.
        anchor: A head that was kept elsewhere.
        progress: Told every now and then how many places of how many are done.

    Raises:
        Database.errors: the database itself is damaged.
    """
    with steady(raw):
        head_n, head_link = head(raw)
        checked_count, broken = _walk(_Source(raw), head_n, anchor, progress)
    return Proof(checked_count, head_n, head_link, broken)


def _walk(
    source: _Source,
    head_n: int,
    anchor: tuple[int, bytes] | None,
    progress: Callable[[int, int], None],
) -> tuple[int, Break | None]:
    previous, checked_count = GENESIS, 0
    counts = {"decisions": 0, "risk_events": 0, "evidence": 0}
    for place in source.places():
        broken, has_evidence = _check(source, place, checked_count + 1, previous)
        if broken is not None:
            return checked_count, broken
        if place.kind in _TABLES:
            counts[_TABLES[place.kind]] += 1
            counts["evidence"] += has_evidence
        previous, checked_count = place.link, checked_count + 1
        if anchor is not None and anchor[0] == place.n and anchor[1] != place.link:
            detail = "what stands here is not what the anchor saw: the chain was made anew"
            return checked_count, Break(BreakKind.REWRITTEN, place.n, place.item, (), detail)
        if checked_count % _CHUNK_COUNT == 0:
            progress(checked_count, head_n)
    if anchor is not None and anchor[0] > checked_count:
        detail = f"the anchor saw place {anchor[0]}, the chain ends with {checked_count}"
        return checked_count, Break(BreakKind.CUT_OFF, checked_count + 1, "", (), detail)
    progress(checked_count, head_n)
    return checked_count, source.unchained(counts)


def _check(source: _Source, place: _Place, n: int, previous: bytes) -> tuple[Break | None, bool]:
    """Hold one place against its record and the last link; also say if it has evidence."""
    if place.n != n:
        detail = f"the chain goes on with {place.n}: its place {n} is gone"
        return Break(BreakKind.MISSING, n, "", (), detail), False
    if not place.is_well_formed or place.link != link_of(previous, n, place.digest):
        return _chain_break(source, place, previous), False
    found = source.decision(place) if place.kind == DECISION else None
    if place.kind == EVENT:
        found = source.event(place)
    if place.kind not in _TABLES:
        detail = f"the chain's row has the unknown kind {place.kind!r}"
        return Break(BreakKind.CHAIN_EDITED, n, "", ("kind",), detail), False
    if found is None:
        detail = f"{place.item} was chained at place {n} and is gone"
        return Break(BreakKind.MISSING, n, place.item, (), detail), False
    return _record_break(place, *found), found[1] is not None


def _record_break(
    place: _Place, record: dict[str, Any], evidence: dict[str, Any] | None
) -> Break | None:
    form = DECISIONS if place.kind == DECISION else EVENTS
    digest, marks = _entry(place, record, evidence)
    if place.digest == digest:
        if place.marks == marks:
            return None
        detail = "the marks of the chain's row were changed, the record was not"
        return Break(BreakKind.CHAIN_EDITED, place.n, place.item, ("marks",), detail)
    columns = form.changed(record, evidence, place.marks)
    told = ", ".join(columns) or "a column that now holds its default, or was removed"
    detail = f"{place.item} is not what it was when it was chained: {told}"
    return Break(BreakKind.EDITED, place.n, place.item, columns, detail)


def _entry(
    place: _Place, record: dict[str, Any], evidence: dict[str, Any] | None
) -> tuple[bytes, bytes]:
    """Digest and marks of what is stored now; both empty if it has no canonical form."""
    form = DECISIONS if place.kind == DECISION else EVENTS
    try:
        return form.entry(record, evidence)
    except Unreadable:
        return b"", b""


def _chain_break(source: _Source, place: _Place, previous: bytes) -> Break:
    """Tell what became of a place whose link does not follow from the last one."""
    last: _Place | None = None
    for other in source.places():
        if other.n > place.n and other.is_well_formed:
            if other.link == link_of(previous, place.n, other.digest):
                return _moved(place, other, last)
            last = other
    columns: tuple[str, ...] = ("digest", "link")
    fitting = source.decision(place) if place.kind == DECISION else source.event(place)
    if fitting is not None:
        digest, _ = _entry(place, *fitting)
        if digest == place.digest:
            columns = ("link",)
        elif place.link == link_of(previous, place.n, digest):
            columns = ("digest",)
    detail = f"the chain's own row was changed: {' or '.join(columns)}"
    return Break(BreakKind.CHAIN_EDITED, place.n, place.item, columns, detail)


def _moved(place: _Place, other: _Place, last: _Place | None) -> Break:
    """`other`, further on, belongs where `place` stands: an exchange, or an insertion."""
    before = other.link if last is None or last.n == place.n else last.link
    if place.is_well_formed and place.link == link_of(before, other.n, place.digest):
        detail = f"the record of place {other.n} and that of place {place.n} were exchanged"
        return Break(BreakKind.REORDERED, place.n, other.item, (), detail)
    detail = f"{place.item} was put in here; {other.item}, now at {other.n}, belongs here"
    return Break(BreakKind.INSERTED, place.n, place.item, (), detail)
