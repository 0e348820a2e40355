"""Whatever single thing is changed in what the chain covers, the proof finds it where it is."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import create_engine, insert
from sqlalchemy.pool import StaticPool

from gateway.store.chain import append_decision, append_events, head
from gateway.store.chain_proof import Break, BreakKind, prove
from gateway.store.tables import decisions, evidence, metadata, risk_events
from tests.seeded import decision_row, order_row

COUNT = 6
PLACES = 2 * COUNT
KEYS = {
    "decisions": ("merchant_id", "decision_id"),
    "evidence": ("merchant_id", "decision_id"),
    "risk_events": ("seq",),
    "chain_records": ("n",),
}
DESTROYABLE = {("evidence", "key_sealed")}
COLUMNS = sorted(
    (table, column.name)
    for table in KEYS
    for column in metadata.tables[table].columns
    if (table, column.name) not in DESTROYABLE
)


@cache
def database() -> bytes:
    """A database of a few chained decisions, some with evidence, each after its event."""
    raw = sqlite3.connect(":memory:", isolation_level=None)
    engine = create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
    metadata.create_all(engine)
    with engine.begin() as conn:
        for index in range(COUNT):
            order = order_row(index, 1_000 + index)
            row = decision_row(order, score=0.1 * index, key_seqs=bytes([index] * 8))
            logged = (index + 1, "ATTEMPT", 1_000 + index, order["trade_no"], bytes([index] * 16))
            conn.execute(insert(risk_events).values(logged))
            append_events(raw, [logged])
            conn.execute(insert(decisions).values(row))
            told = None
            if index % 2:
                told = {
                    "payee_sealed": b"\x09" * 8,
                    "payee_subject_id": 3,
                    "sealed": bytes([index] * 30),
                    "subject_id": index,
                }
                names = {name: row[name] for name in KEYS["evidence"]}
                conn.execute(insert(evidence).values(**told, **names, key_sealed=b"k"))
            append_decision(raw, row, told)
    return raw.serialize()


@contextmanager
def opened() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as raw:
        raw.deserialize(database())
        yield raw


def broken(raw: sqlite3.Connection, **how: Any) -> Break:
    proof = prove(raw, **how)
    assert proof.broken is not None
    return proof.broken


def edited(value: Any, place: int, bit: int) -> Any:
    """Change one byte of text or blob, one bit of a number."""
    if isinstance(value, float):
        return value + 2.0**-bit
    if isinstance(value, int):
        return value ^ (1 << bit)
    data = bytearray(value.encode() if isinstance(value, str) else value)
    if not data:
        data = bytearray(b"\0")
    data[place % len(data)] ^= 1 << (bit % 8)
    return bytes(data)


def test_an_untouched_chain_holds() -> None:
    with opened() as raw:
        anchor = head(raw)
        proof = prove(raw, anchor=anchor)

    assert (proof.broken, proof.checked_count, proof.head_n) == (None, PLACES, PLACES)


@given(
    where=st.sampled_from(COLUMNS),
    row=st.integers(0, PLACES - 1),
    place=st.integers(0, 200),
    bit=st.integers(0, 20),
)
@example(where=("chain_records", "merchant_id"), row=0, place=0, bit=5)
@example(where=("chain_records", "item_id"), row=0, place=0, bit=7)
@example(where=("decisions", "outcome"), row=0, place=0, bit=7)
def test_any_change_of_one_byte_is_found(
    where: tuple[str, str], row: int, place: int, bit: int
) -> None:
    table, column = where
    with opened() as raw:
        count = raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        rowid, value = raw.execute(
            f"SELECT rowid, {column} FROM {table} ORDER BY rowid LIMIT 1 OFFSET ?", (row % count,)
        ).fetchone()
        new = edited(value, place, bit)
        changed = "CAST(? AS TEXT)" if isinstance(value, str) else "?"
        try:
            raw.execute(f"UPDATE {table} SET {column} = {changed} WHERE rowid = ?", (new, rowid))
        except sqlite3.IntegrityError:
            return  # Another row has that key: the database itself refuses.

        found = broken(raw)

    if table in ("decisions", "risk_events") and column not in KEYS[table]:
        assert (found.kind, found.columns) == (BreakKind.EDITED, (column,))
    elif table == "evidence" and column not in KEYS[table]:
        assert (found.kind, found.columns) == (BreakKind.EDITED, (f"evidence.{column}",))


@given(table=st.sampled_from(sorted(KEYS)), row=st.integers(0, PLACES - 1))
def test_a_row_that_is_gone_is_missed(table: str, row: int) -> None:
    with opened() as raw:
        anchor = head(raw)
        rows = raw.execute(f"SELECT rowid FROM {table} ORDER BY rowid").fetchall()
        raw.execute(f"DELETE FROM {table} WHERE rowid = ?", rows[row % len(rows)])

        found = broken(raw, anchor=anchor)

    if table == "evidence":
        assert found.kind is BreakKind.EDITED
    else:
        last = table == "chain_records" and row == PLACES - 1
        assert found.kind is (BreakKind.CUT_OFF if last else BreakKind.MISSING)


@given(pair=st.tuples(st.integers(1, PLACES), st.integers(1, PLACES)).filter(lambda p: p[0] < p[1]))
def test_two_places_exchanged_are_told(pair: tuple[int, int]) -> None:
    with opened() as raw:
        for old, new in ((pair[0], -1), (pair[1], pair[0]), (-1, pair[1])):
            raw.execute("UPDATE chain_records SET n = ? WHERE n = ?", (new, old))

        found = broken(raw)

    assert (found.kind, found.n) == (BreakKind.REORDERED, pair[0])


@given(pair=st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)))
def test_contents_of_two_decisions_exchanged_are_told(pair: tuple[int, int]) -> None:
    first, second = (order_row(index, 0) for index in pair)
    with opened() as raw:
        for to, source in ((first, second), (second, first)):
            raw.execute(
                "UPDATE decisions SET score = ? WHERE decision_id = ?",
                (0.1 * int(source["decision_id"][1:]), to["decision_id"]),
            )
        if pair[0] == pair[1]:
            assert prove(raw).broken is None
            return

        found = broken(raw)

    assert (found.kind, found.columns) == (BreakKind.EDITED, ("score",))


@given(at=st.integers(1, PLACES))
def test_a_record_put_in_between_is_told(at: int) -> None:
    with opened() as raw:
        for n in range(PLACES, at - 1, -1):
            raw.execute("UPDATE chain_records SET n = n + 1 WHERE n = ?", (n,))
        raw.execute(
            "INSERT INTO chain_records VALUES (?, 'EVENT', '', '99', zeroblob(32), x'', x'')", (at,)
        )

        found = broken(raw)

    assert (found.kind, found.n) == (BreakKind.INSERTED, at)


@pytest.mark.parametrize("table", ["decisions", "risk_events", "evidence"])
def test_a_record_that_was_never_chained_is_told(table: str) -> None:
    key = KEYS[table][-1]
    new = {"seq": "99"}.get(key, "'D9'")
    with opened() as raw:
        columns = [column.name for column in metadata.tables[table].columns]
        kept = ", ".join(new if name == key else name for name in columns)
        raw.execute(f"INSERT INTO {table} SELECT {kept} FROM {table} LIMIT 1")

        found = broken(raw)

    assert found.kind is BreakKind.INSERTED
    assert new.strip("'") in found.item


@given(kept=st.integers(0, PLACES - 1))
def test_only_an_anchor_tells_that_the_end_was_cut_off(kept: int) -> None:
    with opened() as raw:
        anchor = head(raw)
        raw.execute("DELETE FROM chain_records WHERE n > ?", (kept,))
        events, decided = (kept + 1) // 2, kept // 2
        raw.execute("DELETE FROM risk_events WHERE seq > ?", (events,))
        raw.execute("DELETE FROM decisions WHERE rowid > ?", (decided,))
        raw.execute(
            "DELETE FROM evidence WHERE decision_id NOT IN (SELECT decision_id FROM decisions)"
        )

        assert prove(raw).broken is None
        found = broken(raw, anchor=anchor)

    assert (found.kind, found.n) == (BreakKind.CUT_OFF, kept + 1)


def test_only_an_anchor_tells_that_the_chain_was_made_anew() -> None:
    with opened() as raw:
        anchor = head(raw)
        raw.execute("UPDATE risk_events SET at_us = 7 WHERE seq = 1")
        events = raw.execute("SELECT * FROM risk_events ORDER BY seq").fetchall()
        raw.execute("DELETE FROM chain_records")
        raw.execute("DELETE FROM decisions")
        raw.execute("DELETE FROM evidence")
        raw.execute("DELETE FROM risk_events WHERE seq > 3")
        append_events(raw, [tuple(event) for event in events[:3]])

        assert prove(raw).broken is None
        found = broken(raw, anchor=(3, anchor[1]))

    assert (found.kind, found.n) == (BreakKind.REWRITTEN, 3)
