"""`yumen bench audit`: what the chain and people's keys cost a payment, beside a bare SHA-256.

Everything runs on one thread over a real database file. A figure is processor time, the best of
several rounds, because what else the machine does only ever adds to it; the commits themselves
are not measured, since a payment shares one with others and pays for it anyway.
"""

import hashlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from gateway.store.chain import DECISIONS, append_decision, append_events, link_of
from gateway.store.chain_proof import prove
from gateway.store.evidence import Evidence, seal
from gateway.store.migrate import migrate
from gateway.store.sqlite import SqliteDatabase, open_sqlite
from gateway.store.subjects import Hidden, Subjects
from gateway.store.tables import decisions
from gateway.store.vault import Vault
from risk.features.catalogue import FEATURE_NAMES
from risk.features.event import EVENT_WIDTH
from risk.transaction import Basket, Client, Device, Geo, Payee, Payer, RiskContext

COUNT = 2_000
ROUNDS = 5
BATCHES = 10  # Short ones: the best is one that nothing interrupted.
MERCHANT = "MBENCH"


def run(*, count: int = COUNT) -> dict[str, object]:
    """Measure and print a table.

    Args:
        count: Payments in a round.

    Returns:
        The figures: microseconds a payment, and the chain's ratio to a bare SHA-256.
    """
    with tempfile.TemporaryDirectory(prefix="yumen-bench-") as folder:
        path = Path(folder) / "yumen.db"
        migrate(SqliteDatabase(path))
        figures = _chain_figures(count)
        with closing(open_sqlite(path)) as raw, closing(open_sqlite(path, read_only=True)) as seen:
            figures |= _write_figures(raw, count)
            figures |= _people_figures(raw, seen, Vault(Path(folder)), count)
            start_s = time.perf_counter()
            proof = prove(raw)
            figures["verify_per_s"] = proof.checked_count / (time.perf_counter() - start_s)
            if proof.broken is not None:
                raise RuntimeError(f"the chain that was just written breaks: {proof.broken}")
    figures["record_to_sha256_ratio"] = figures["record_us"] / figures["sha256_us"]
    for name, value in figures.items():
        print(f"{name:28}{value:12.2f}")
    return {"bench": "audit", **{name: round(value, 2) for name, value in figures.items()}}


def _chain_figures(count: int) -> dict[str, float]:
    """The arithmetic alone: canonical bytes, digest, marks and link, against a hash of them."""
    row = _decision(0)
    record = DECISIONS.record(row, None)
    link = bytes(32)

    def whole() -> None:
        digest, _ = DECISIONS.entry(row, None)
        link_of(link, 7, digest)

    return {
        "record_bytes": float(len(record)),
        "sha256_us": _best_us(lambda: hashlib.sha256(record).digest(), count),
        "record_us": _best_us(whole, count),
    }


def _write_figures(raw: sqlite3.Connection, count: int) -> dict[str, float]:
    """Rows with and without their links, inside transactions."""
    names = tuple(str(column.name) for column in decisions.columns)
    places = ", ".join("?" * len(names))
    insert = f"INSERT INTO decisions ({', '.join(names)}) VALUES ({places})"  # noqa: S608 - ours
    event_insert = "INSERT INTO risk_events VALUES (?, ?, ?, ?, ?)"
    bare_us, chained_us, event_us = [], [], []
    for number in range(ROUNDS):
        rows = [_decision(number * count + place) for place in range(count)]
        events = [(row["seq"], "ATTEMPT", 1, row["trade_no"], _event()) for row in rows]
        raw.execute("BEGIN")
        raw.executemany(event_insert, events)
        event_us.append(_spent_us(partial(append_events, raw, events), count))
        bare_us.append(_spent_us(partial(_insert_all, raw, insert, names, rows), count))
        chained_us.append(_spent_us(partial(_chain_all, raw, rows), count))
        raw.execute("COMMIT")
    return {
        "decision_insert_us": min(bare_us),
        "chain_decision_us": min(chained_us),
        "chain_event_us": min(event_us),
    }


def _people_figures(
    raw: sqlite3.Connection, seen: sqlite3.Connection, vault: Vault, count: int
) -> dict[str, float]:
    """Pseudonyms of new, known and cached people; evidence sealed and written."""
    contexts = [_context(number) for number in range(count)]
    fresh = Subjects(seen, vault)
    hidden: list[Hidden] = []
    figures = {
        "hide_new_us": _spent_us(lambda: hidden.extend(_hide_all(fresh, contexts)), count),
    }
    sealed: list[Evidence] = []

    def seal_all() -> None:
        for number, (context, people) in enumerate(zip(contexts, hidden, strict=True)):
            made = seal(vault, context, people, MERCHANT, f"D{number}")
            if made is not None:
                sealed.append(made)

    figures["seal_us"] = _spent_us(seal_all, count)
    raw.execute("BEGIN")
    figures["store_new_us"] = _spent_us(lambda: _store_all(raw, sealed, "X"), count)
    raw.execute("ROLLBACK")
    raw.execute("BEGIN")
    for people in hidden:
        for subject in (people.payer, people.payee):
            if subject is not None:
                subject.store(raw)
    raw.execute("COMMIT")
    figures["hide_read_us"] = _spent_us(lambda: _hide_all(Subjects(seen, vault), contexts), count)
    _hide_all(fresh, contexts)  # Learns the numbers of the rows.
    figures["hide_cached_us"] = min(
        _spent_us(lambda: _hide_all(fresh, contexts), count) for _ in range(ROUNDS)
    )
    raw.execute("BEGIN")
    figures["store_known_us"] = _spent_us(lambda: _store_all(raw, sealed, "Y"), count)
    raw.execute("ROLLBACK")
    return figures


def _hide_all(subjects: Subjects, contexts: Sequence[RiskContext]) -> list[Hidden]:
    return [subjects.hide(context, 1) for context in contexts]


def _store_all(raw: sqlite3.Connection, sealed: Sequence[Evidence], merchant_id: str) -> None:
    for number, one in enumerate(sealed):
        one.store(raw, merchant_id, f"D{number}")


def _insert_all(
    raw: sqlite3.Connection, insert: str, names: tuple[str, ...], rows: Sequence[dict[str, Any]]
) -> None:
    for row in rows:
        raw.execute(insert, [row[name] for name in names])


def _chain_all(raw: sqlite3.Connection, rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        append_decision(raw, row, None)


def _spent_us(work: Callable[[], object], count: int) -> float:
    start_ns = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - start_ns) / count / 1_000


def _best_us(work: Callable[[], object], count: int) -> float:
    count //= BATCHES

    def rounds() -> None:
        for _ in range(count):
            work()

    return min(_spent_us(rounds, count) for _ in range(ROUNDS * BATCHES))


def _event() -> bytes:
    return os.urandom(EVENT_WIDTH * 8)


def _decision(number: int) -> dict[str, Any]:
    texts = {str(column.name): "0123456789abcdef" for column in decisions.columns}
    return texts | {
        "merchant_id": MERCHANT,
        "decision_id": f"D{number:024d}",
        "trade_no": f"T{number:024d}",
        "seq": number + 1,
        "score": 0.02,
        "score_raw": -3.0,
        "features": os.urandom(len(FEATURE_NAMES) * 8),
        "presence": os.urandom(len(FEATURE_NAMES) // 8 + 1),
        "key_seqs": os.urandom(80),
        "elapsed_us": 64,
        "decided_at_us": 1_780_000_000_000_000 + number,
    }


def _context(number: int) -> RiskContext:
    return RiskContext(
        payer=Payer(account_id=f"user-{number}", created_at_ms=1_600_000_000_000, country="CN"),
        payee=Payee(account_id=f"shop-{number % 50}", country="CN"),
        client=Client(ip=f"10.0.{number % 200}.1", ip_country="CN", tz_offset_min=480),
        device=Device(device_id=f"device-{number}", os="android", attestation="strong"),
        geo=Geo(lat=31.2, lon=121.4, accuracy_m=30.0, country="CN"),
        order=Basket(mcc="5812", items=2),
    )
