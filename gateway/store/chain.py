"""The chain over what was decided: every record bound to all records before it.

Each row of `decisions` (with its sealed evidence) and of `risk_events` gets the next number n of
one dense chain, in the transaction that writes it:

    digest = SHA-256(canonical bytes of the row)
    link_n = SHA-256(link_{n-1} ‖ n as 8 bytes, big-endian ‖ digest),  link_0 = 32 zero bytes

A savepoint that is rolled back takes its link with it and a crash takes both, because the last
link is read from the table inside the transaction. (A connection across a network remembers what
it wrote last, until anything fails.)

Canonical bytes: MessagePack of ``[table, {column: value}, {evidence column: value} or nil]``, keys
in order, integers in their shortest form, reals as float64, blobs as they are. A column that holds
its default (or NULL) is left out, so a column that a later release adds changes no old record, and
an edit of it does. `marks` are CRC-32 of each column: no proof, but they say which column changed.
"""

import hashlib
import re
import sqlite3
import sys
from array import array
from collections.abc import Iterable, Mapping
from operator import itemgetter
from struct import Struct
from typing import Any, Final
from zlib import crc32

import msgspec
from sqlalchemy import Column, Float, Table
from sqlalchemy.schema import DefaultClause

from gateway.store.raw import Raw
from gateway.store.tables import decisions, risk_events

DECISION: Final = "DECISION"
EVENT: Final = "EVENT"
GENESIS: Final = bytes(32)
# The sealed parts of `evidence`. `key_sealed` is missing on purpose: it may be destroyed.
EVIDENCE_COLUMNS: Final = ("payee_sealed", "payee_subject_id", "sealed", "subject_id")

_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")
_NUMBER: Final = Struct("<q").pack
_REAL: Final = Struct("<d").pack
_INSERT: Final = (
    "INSERT INTO chain_records (n, kind, merchant_id, item_id, digest, marks, link)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_HEAD: Final = "SELECT n, link FROM chain_records ORDER BY n DESC LIMIT 1"
_BATCH_COUNT: Final = 2_000
_REMEMBERED: Final = "chain"


class Unreadable(Exception):
    """A stored value has a form that the gateway never writes: no canonical bytes exist."""


class Form:
    """How rows of one table become canonical bytes.

    Args:
        table: The table; the types of its columns and their defaults are part of the form, so
            neither may ever change for a column that is in use.
    """

    def __init__(self, table: Table) -> None:
        self.name = str(table.name)
        self.columns = frozenset(str(column.name) for column in table.columns)
        self._reals = tuple(str(c.name) for c in table.columns if isinstance(c.type, Float))
        self._defaults = {
            str(column.name): _default_of(column)
            for column in table.columns
            if column.nullable or column.server_default is not None
        }
        names = [*self.columns, *(f"evidence.{name}" for name in EVIDENCE_COLUMNS)]
        self._seeds = {name: crc32(name.encode()) for name in names}

    def record(self, row: Mapping[str, Any], evidence: Mapping[str, Any] | None) -> bytes:
        """Return the canonical bytes of a row.

        Args:
            row: Value of each column; columns that the table does not know are ignored.
            evidence: The `EVIDENCE_COLUMNS` of the evidence kept with it, if there is any.

        Raises:
            Unreadable: a value is none that the gateway writes.
        """
        return self._encoded(self._kept(row), evidence)

    def entry(
        self, row: Mapping[str, Any], evidence: Mapping[str, Any] | None
    ) -> tuple[bytes, bytes]:
        """Return the SHA-256 of a row's canonical bytes, and its marks.

        The marks are the CRC-32 of each column that the record holds, 4 bytes each,
        little-endian.

        Raises:
            Unreadable: a value is none that the gateway writes.
        """
        kept = self._kept(row)
        digest = hashlib.sha256(self._encoded(kept, evidence)).digest()
        return digest, _packed(self._marks(kept, evidence))

    def changed(
        self, row: Mapping[str, Any], evidence: Mapping[str, Any] | None, marks: bytes
    ) -> tuple[str, ...]:
        """Return the columns whose present value has no mark among the stored ones."""
        stored = set(_unpacked(marks))
        kept = self._kept(row)
        names = [*kept, *(f"evidence.{name}" for name in evidence or ())]
        pairs = zip(names, self._marks(kept, evidence), strict=True)
        return tuple(sorted(name for name, mark in pairs if mark not in stored))

    def _encoded(self, kept: dict[str, Any], evidence: Mapping[str, Any] | None) -> bytes:
        try:
            return _ENCODER.encode((self.name, kept, evidence))
        except (TypeError, ValueError, OverflowError) as error:
            raise Unreadable(str(error)) from error

    def _kept(self, row: Mapping[str, Any]) -> dict[str, Any]:
        if row.keys() == self.columns:
            kept = dict(row)
        else:
            kept = {name: row[name] for name in row if name in self.columns}
        for name in self._reals:
            real = kept.get(name)
            # SQLite keeps no negative zero, and gives a real for whatever number was written.
            if isinstance(real, int | float):
                kept[name] = float(real) + 0.0
        for name, default in self._defaults.items():
            if name in kept and kept[name] in (default, None):
                del kept[name]
        return kept

    def _marks(self, kept: Mapping[str, Any], evidence: Mapping[str, Any] | None) -> list[int]:
        seeds = self._seeds
        marks = [
            crc32(
                # Most values are text: asked first, and not by a call.
                value.encode("utf-8", "surrogatepass")
                if type(value) is str
                else value
                if type(value) is bytes
                else _plain(value),
                seeds[name],
            )
            for name, value in kept.items()
        ]
        if evidence is not None:
            marks += [
                crc32(value if type(value) is bytes else _plain(value), seeds[f"evidence.{name}"])
                for name, value in evidence.items()
            ]
        return marks


def _plain(value: object) -> bytes:
    if isinstance(value, int):
        return _NUMBER(value)
    if isinstance(value, float):
        return _REAL(value)
    return str(value).encode("utf-8", "surrogatepass")


def _packed(marks: list[int]) -> bytes:
    packed = array("I", marks)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _unpacked(marks: bytes) -> list[int]:
    whole = marks[: len(marks) // 4 * 4]
    return [int.from_bytes(whole[place : place + 4], "little") for place in range(0, len(whole), 4)]


def _default_of(column: Column[Any]) -> object:
    """The value that the database itself puts into a column that is not written."""
    clause = column.server_default
    if not isinstance(clause, DefaultClause):
        return None
    argument = clause.arg
    quoted = isinstance(argument, str)
    sql = "'" + str(argument).replace("'", "''") + "'" if quoted else str(argument)
    raw = sqlite3.connect(":memory:")
    try:
        raw.execute(f"CREATE TABLE one (value {column.type.compile()} DEFAULT {sql})")
        raw.execute("INSERT INTO one DEFAULT VALUES")
        return raw.execute("SELECT value FROM one").fetchone()[0]
    finally:
        raw.close()


DECISIONS: Final = Form(decisions)
EVENTS: Final = Form(risk_events)


def link_of(previous: bytes, n: int, digest: bytes) -> bytes:
    """Return ``SHA-256(previous ‖ n ‖ digest)``: the link of place n."""
    return hashlib.sha256(previous + n.to_bytes(8, "big") + digest).digest()


def head(raw: Raw) -> tuple[int, bytes]:
    """Return the last place and its link; ``(0, GENESIS)`` of an empty chain."""
    row = raw.execute(_HEAD).fetchone()
    return (0, GENESIS) if row is None else (row[0], row[1])


def _last(raw: Raw) -> tuple[int, bytes]:
    """The head, as a connection across a network may remember it from what it wrote itself.

    Were it wrong, the number of the next place would be taken and the transaction refused.
    """
    remembered: dict[str, Any] = getattr(raw, "remembered", {})
    return remembered.get(_REMEMBERED) or head(raw)


def _remember(raw: Raw, n: int, link: bytes) -> None:
    remembered: dict[str, Any] | None = getattr(raw, "remembered", None)
    if remembered is not None:
        remembered[_REMEMBERED] = (n, link)


def text_of(n: int, link: bytes) -> str:
    """Return a head as people write it down: ``N:HASH``."""
    return f"{n}:{link.hex()}"


def read_head(text: str) -> tuple[int, bytes]:
    """Read what `text_of` wrote.

    Raises:
        ValueError: it is not ``N:HASH`` with 64 hexadecimal digits.
    """
    if re.fullmatch(r"[0-9]{1,18}:[0-9a-fA-F]{64}", text) is None:
        raise ValueError(f"a head is N:HASH with 64 hexadecimal digits, was {text[:90]!r}")
    n, _, link = text.partition(":")
    return int(n), bytes.fromhex(link)


def append_decision(raw: Raw, row: Mapping[str, Any], evidence: Mapping[str, Any] | None) -> None:
    """Chain a decision, in the transaction that writes it.

    Args:
        raw: The writer's connection.
        row: Value of each column of `decisions`.
        evidence: The `EVIDENCE_COLUMNS` of its evidence, or None if it has none.
    """
    last_n, last_link = _last(raw)
    digest, marks = DECISIONS.entry(row, evidence)
    n = last_n + 1
    link = link_of(last_link, n, digest)
    raw.execute(
        _INSERT,
        (
            n,
            DECISION,
            row["merchant_id"],
            row["decision_id"],
            digest,
            marks,
            link,
        ),
    )
    _remember(raw, n, link)


def append_events(raw: Raw, events: Iterable[tuple[int, str, int, str, bytes]]) -> None:
    """Chain events of the log, in the transaction that writes them.

    Args:
        raw: The writer's connection.
        events: ``(seq, kind, at_us, trade_no, payload)`` each, in order of seq.
    """
    n, link = _last(raw)
    rows = []
    for event in events:
        row = dict(zip(_EVENT_COLUMNS, event, strict=True))
        digest, marks = EVENTS.entry(row, None)
        n += 1
        link = link_of(link, n, digest)
        rows.append((n, EVENT, "", str(event[0]), digest, marks, link))
    raw.executemany(_INSERT, rows)
    _remember(raw, n, link)


_EVENT_COLUMNS: Final = ("seq", "kind", "at_us", "trade_no", "payload")


def adopt(raw: Raw) -> int:
    """Chain what a database held before it had a chain; returns the last place.

    The order is the same wherever it is done: first all events by seq, then all decisions by
    ``(decided_at_us, merchant_id, decision_id)``. Called once, by the migration.
    """
    events = raw.execute(
        f"SELECT {', '.join(_EVENT_COLUMNS)} FROM risk_events ORDER BY seq"  # noqa: S608 - our names
    )
    while batch := events.fetchmany(_BATCH_COUNT):
        append_events(raw, batch)
    stored = raw.execute("SELECT * FROM decisions ORDER BY decided_at_us, merchant_id, decision_id")
    names = tuple(map(itemgetter(0), stored.description))
    while rows := stored.fetchmany(_BATCH_COUNT):
        for row in rows:
            append_decision(raw, dict(zip(names, row, strict=True)), None)
    return head(raw)[0]
