"""A small chain: blocks, transfers of one token, finality, and blocks that are taken back.

A block is mined when something happens; two more make it final. Everything runs in the sandbox's
own transactions, so a chain survives a restart.
"""

import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.sandbox.protocols.evm_keys import keccak

CHAIN_ID: Final = 31337
TOKEN: Final = "0x5fbdb2315678afecb367f032d93f642f64180aa3"  # noqa: S105 - a contract's address
PAYER: Final = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
DECIMALS: Final = 6
FINAL_DEPTH: Final = 2
TRANSFER: Final = "0x" + keccak(b"Transfer(address,address,uint256)").hex()
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS evm_blocks (
  number INTEGER PRIMARY KEY,
  hash TEXT NOT NULL,
  parent_hash TEXT NOT NULL,
  timestamp_s INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS evm_transfers (
  tx_hash TEXT PRIMARY KEY,
  block INTEGER NOT NULL REFERENCES evm_blocks (number),
  log_index INTEGER NOT NULL,
  from_address TEXT NOT NULL,
  to_address TEXT NOT NULL,
  units INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS ix_evm_transfers_to ON evm_transfers (to_address, block);
CREATE INDEX IF NOT EXISTS ix_evm_transfers_block ON evm_transfers (block);
CREATE TABLE IF NOT EXISTS evm_refunds (
  refund_no TEXT PRIMARY KEY,
  trade_no TEXT NOT NULL,
  to_address TEXT NOT NULL,
  units INTEGER NOT NULL CHECK (units > 0),
  tx_hash TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Block:
    """One block."""

    number: int
    hash: str
    parent_hash: str
    timestamp_s: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A transfer as it stands in the chain; addresses in lower case."""

    tx_hash: str
    block: int
    log_index: int
    from_address: str
    to_address: str
    units: int


@dataclass(frozen=True, slots=True)
class Move:
    """A transfer to be mined."""

    from_address: str
    to_address: str
    units: int


def latest(connection: sqlite3.Connection, now_us: int) -> Block:
    """Return the newest block; the first one is as old as a day when the chain begins."""
    row = connection.execute("SELECT * FROM evm_blocks ORDER BY number DESC LIMIT 1").fetchone()
    if row is not None:
        return Block(*row)
    return _add(connection, Block(0, _new_hash(), "0x" + "0" * 64, now_us // 1_000_000 - 86_400))


def block_at(connection: sqlite3.Connection, number: int) -> Block | None:
    """Return a block by its number."""
    row = connection.execute("SELECT * FROM evm_blocks WHERE number = ?", (number,)).fetchone()
    return None if row is None else Block(*row)


def mine(connection: sqlite3.Connection, now_us: int, moves: Sequence[Move] = ()) -> list[str]:
    """Mine one block and return its transactions' hashes, in order."""
    parent = latest(connection, now_us)
    time_s = max(parent.timestamp_s, now_us // 1_000_000)
    block = _add(connection, Block(parent.number + 1, _new_hash(), parent.hash, time_s))
    hashes = [_new_hash() for _ in moves]
    connection.executemany(
        "INSERT INTO evm_transfers VALUES (?, ?, ?, ?, ?, ?)",
        [
            (tx_hash, block.number, index, move.from_address, move.to_address, move.units)
            for index, (tx_hash, move) in enumerate(zip(hashes, moves, strict=True))
        ],
    )
    return hashes


def finalize(connection: sqlite3.Connection, now_us: int) -> None:
    """Mine so many empty blocks that what stands in the newest one is final."""
    for _ in range(FINAL_DEPTH):
        mine(connection, now_us)


def reorganize(connection: sqlite3.Connection, now_us: int) -> None:
    """Replace every block that isn't final by an empty one: what stood in them never happened."""
    top = latest(connection, now_us)
    first = max(top.number - FINAL_DEPTH + 1, 1)
    connection.execute("DELETE FROM evm_transfers WHERE block >= ?", (first,))
    connection.execute("DELETE FROM evm_blocks WHERE number >= ?", (first,))
    while latest(connection, now_us).number <= top.number:
        mine(connection, now_us)


def final_number(connection: sqlite3.Connection, now_us: int) -> int:
    """Return the number of the newest final block; the first is final from the beginning."""
    return max(latest(connection, now_us).number - FINAL_DEPTH, 0)


def moved(
    connection: sqlite3.Connection, first: int, last: int, to_address: str = ""
) -> list[Moved]:
    """Return the transfers of some blocks, perhaps to one address alone."""
    rows = connection.execute(
        "SELECT * FROM evm_transfers WHERE block BETWEEN ? AND ?"
        " AND (? = '' OR to_address = ?) ORDER BY block, log_index",
        (first, last, to_address, to_address),
    )
    return [Moved(*row) for row in rows]


def find(connection: sqlite3.Connection, tx_hash: str) -> Moved | None:
    """Return a transfer by its transaction's hash."""
    row = connection.execute("SELECT * FROM evm_transfers WHERE tx_hash = ?", (tx_hash,)).fetchone()
    return None if row is None else Moved(*row)


def balance(connection: sqlite3.Connection, address: str, last: int) -> int:
    """Return what an address holds after a block; who sends without having received has credit."""
    row = connection.execute(
        "SELECT coalesce(sum(CASE WHEN to_address = ?1 THEN units ELSE 0 END), 0)"
        " - coalesce(sum(CASE WHEN from_address = ?1 THEN units ELSE 0 END), 0)"
        " FROM evm_transfers WHERE (to_address = ?1 OR from_address = ?1) AND block <= ?2",
        (address, last),
    ).fetchone()
    return max(int(row[0]), 0)


def _add(connection: sqlite3.Connection, block: Block) -> Block:
    connection.execute(
        "INSERT INTO evm_blocks VALUES (?, ?, ?, ?)",
        (block.number, block.hash, block.parent_hash, block.timestamp_s),
    )
    return block


def _new_hash() -> str:
    return "0x" + keccak(secrets.token_bytes(32)).hex()
