"""A person is erased from a working gateway: the chain holds, the log replays, the name is gone."""

import asyncio
import json
from pathlib import Path
from typing import Any

from sqlalchemy import text

from gateway.clock import wall_clock_us
from gateway.invariants import check_all
from gateway.queries.reader import open_reader
from gateway.store.chain import head, text_of
from gateway.store.database import embedded
from gateway.store.erasure import erase_account, erase_payment
from gateway.store.evidence import Erased, open_evidence
from gateway.store.sqlite import SqliteDatabase
from gateway.store.vault import Vault
from risk.features.event import INDEX, decode
from tests.stand import Stand, standing
from tests.unit.test_cli import run

ALICE, SHOP, IP = "account-of-alice-7731", "account-of-the-tea-shop", "198.51.100.77"


def told(payer: str | None, payee: str | None = None) -> str:
    context: dict[str, Any] = {"client": {"ip": IP}}
    if payer:
        context["payer"] = {"account_id": payer, "country": "CN"}
    if payee:
        context["payee"] = {"account_id": payee}
    return json.dumps(context)


def users(stand: Stand) -> list[int]:
    """The payer's number of every attempt, in order."""
    rows = stand.rows("SELECT payload FROM risk_events WHERE kind = 'ATTEMPT' ORDER BY seq")
    return [int(decode(row[0])[INDEX["user"]]) for row in rows]


def evidence_of(var: Path, trade_no: str) -> object:
    reader = open_reader(embedded(var))
    try:
        with reader.connect() as conn:
            row = conn.execute(
                text("SELECT merchant_id, decision_id FROM decisions WHERE trade_no = :t"),
                {"t": trade_no},
            ).one()
            return open_evidence(conn, Vault(var), row.merchant_id, row.decision_id)
    finally:
        reader.dispose()


def broken(var: Path) -> list[str]:
    reader = open_reader(embedded(var))
    try:
        return [f.name for f in check_all(reader, wall_clock_us()) if not f.held]
    finally:
        reader.dispose()


def places_in_files(var: Path, needle: str) -> list[str]:
    files = [path for path in var.rglob("*") if path.is_file()]
    return [path.name for path in files if needle.encode() in path.read_bytes()]


async def erased_while_it_works(var: Path) -> str:
    async with standing(var) as stand:
        shop, path = stand.shop, var / "yumen.db"
        first = await shop.create(risk_context=told(ALICE, SHOP))
        many = await asyncio.gather(
            *(shop.create(risk_context=told((ALICE, "account-of-bob")[n % 2])) for n in range(12))
        )
        nameless = await shop.create(risk_context=told(None))
        assert len({order["trade_no"] for order in many}) == 12
        assert stand.rows("SELECT count(*) FROM subjects") == [(3,)]
        assert len(set(users(stand))) == 3  # Alice, Bob and nobody.
        anchor = text_of(*head(stand.gateway.context.raw_reader))
        opened = evidence_of(var, first["trade_no"])
        assert opened == json.loads(told(ALICE, SHOP))

        asked = {"actor": "DPO", "reason": "asked for it"}
        done = erase_account(
            SqliteDatabase(path), Vault(var), ALICE, now_us=wall_clock_us(), **asked
        )
        alone = erase_payment(
            SqliteDatabase(path), nameless["trade_no"], now_us=wall_clock_us(), **asked
        )
        after = await shop.create(risk_context=told(ALICE, SHOP))

        assert (done.evidence_count, done.copies_left, done.log_emptied) == (7, 0, True)
        assert (alone.evidence_count, alone.copies_left) == (1, 0)
        assert isinstance(evidence_of(var, first["trade_no"]), Erased)
        assert isinstance(evidence_of(var, nameless["trade_no"]), Erased)
        assert evidence_of(var, after["trade_no"]) == opened
        assert users(stand)[-1] not in users(stand)[:-1]
        # A repeat of an old request is answered from what is stored; it meets nobody.
        assert stand.rows("SELECT count(*) FROM subjects") == [(4,)]
        erase_account(SqliteDatabase(path), Vault(var), ALICE, now_us=wall_clock_us(), **asked)
        return anchor


def test_a_person_is_erased_from_a_working_gateway(tmp_path: Path) -> None:
    var = tmp_path / "var"

    anchor = asyncio.run(erased_while_it_works(var))

    assert broken(var) == []
    assert places_in_files(var, ALICE) == []
    assert places_in_files(var, IP) == []
    code, said = run("audit", "verify", "--var", str(var), "--head", anchor, "--json")
    proof = json.loads(said.splitlines()[-1])
    assert (code, proof["holds"], proof["anchored"]) == (0, True, True)
    assert proof["checked"] == 2 * 15
    _, said = run("audit", "head", "--var", str(var))
    assert said.strip() == proof["head"]


async def one_payment(var: Path) -> None:
    async with standing(var) as stand:
        await stand.shop.create(risk_context=told(ALICE), subject=f"for {ALICE}")


def test_the_command_line_erases_and_says_what_no_key_covers(tmp_path: Path) -> None:
    var = tmp_path / "var"
    asyncio.run(one_payment(var))

    asked = ("--var", str(var), "--reason", "asked for it", "--actor", "DPO")
    code, said = run("audit", "erase", "--account", ALICE, *asked)

    assert code == 0
    assert "evidence of 1 payments" in said
    assert "in clear" in said  # The merchant wrote the account id into the order's subject.
    assert ALICE not in said


def test_a_changed_decision_ends_with_code_1_and_its_name(tmp_path: Path) -> None:
    var = tmp_path / "var"
    asyncio.run(one_payment(var))
    reader = open_reader(embedded(var))
    reader.dispose()
    from gateway.store.sqlite import open_sqlite

    raw = open_sqlite(var / "yumen.db")
    raw.execute("UPDATE decisions SET outcome = 'DECLINE', score = 0.5")
    raw.close()

    code, said = run("audit", "verify", "--var", str(var), "--json")

    found = json.loads(said.splitlines()[-1])["break"]
    assert code == 1
    assert (found["kind"], found["n"], found["columns"]) == ("EDITED", 2, ["outcome", "score"])
    assert broken(var) == ["chain_verifies"]
