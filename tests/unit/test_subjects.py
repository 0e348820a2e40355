"""An account is one person to risk while its key lives, and nobody's afterwards."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from gateway.domain.errors import Busy
from gateway.refusal import Refused
from gateway.store import subjects as module
from gateway.store.erasure import Erasure, erase_account
from gateway.store.evidence import Erased, Evidence, open_evidence, seal
from gateway.store.lists import NewEntry, add_entries, create_list
from gateway.store.migrate import migrate
from gateway.store.sqlite import SqliteDatabase, open_sqlite
from gateway.store.subjects import Hidden, Subjects, numbers_in
from gateway.store.vault import Vault, VaultDamaged
from risk.features.identity import identify
from risk.rules.lists import Purpose
from risk.transaction import Client, Payee, Payer, RiskContext

ALICE, SHOP = "alice@example.com", "account-of-a-shop"
TOLD = RiskContext(
    payer=Payer(account_id=ALICE, country="CN"),
    payee=Payee(account_id=SHOP, country="CN"),
    client=Client(ip="198.51.100.7"),
)


@dataclass
class Desk:
    """A database with a writer's and a reader's connection, as a gateway has."""

    path: Path
    vault: Vault
    raw: sqlite3.Connection
    seen: sqlite3.Connection
    subjects: Subjects

    def keep(self, people: Hidden) -> None:
        for subject in (people.payer, people.payee):
            if subject is not None:
                subject.store(self.raw)

    def tell(self, decision_id: str, context: RiskContext = TOLD) -> Hidden:
        people = self.subjects.hide(context, 1)
        self.store(people, decision_id, context)
        return people

    def store(self, people: Hidden, decision_id: str, context: RiskContext = TOLD) -> None:
        sealed = seal(self.vault, context, people, "M1", decision_id)
        assert isinstance(sealed, Evidence)
        sealed.store(self.raw, "M1", decision_id)

    def told(self, decision_id: str, merchant_id: str = "M1") -> object:
        engine = create_engine("sqlite://", creator=lambda: self.seen, poolclass=StaticPool)
        with engine.connect() as conn:
            return open_evidence(conn, self.vault, merchant_id, decision_id)

    def erase(self, account_id: str) -> Erasure:
        return erase_account(
            SqliteDatabase(self.path),
            self.vault,
            account_id,
            actor="DPO",
            reason="asked for it",
            now_us=9,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    path = tmp_path / "yumen.db"
    migrate(SqliteDatabase(path))
    vault = Vault(tmp_path)
    with closing(open_sqlite(path)) as raw, closing(open_sqlite(path, read_only=True)) as seen:
        yield Desk(path, vault, raw, seen, Subjects(seen, vault))


def test_risk_never_sees_an_account_and_a_person_is_one_in_both_roles(desk: Desk) -> None:
    people = desk.subjects.hide(TOLD, 1)
    other_way = RiskContext(payer=Payer(account_id=SHOP), payee=Payee(account_id=ALICE))
    back = desk.subjects.hide(other_way, 1)

    assert people.context.payer.account_id not in (None, ALICE, SHOP)
    assert people.context.payer.account_id == back.context.payee.account_id
    assert people.context.payee.account_id == back.context.payer.account_id
    assert (people.context.client, people.context.payer.country) == (TOLD.client, "CN")
    assert TOLD.payer.account_id == ALICE


def test_a_payment_without_accounts_is_left_as_it_is(desk: Desk) -> None:
    context = RiskContext(payer=Payer(account_id=""), client=Client(ip="::1"))

    assert desk.subjects.hide(context, 1).context is context


def test_a_person_keeps_the_pseudonym_over_a_restart_once_stored(desk: Desk) -> None:
    people = desk.subjects.hide(TOLD, 1)
    desk.keep(people)

    again = Subjects(desk.seen, desk.vault).hide(TOLD, 2)

    assert again.context == people.context


def test_a_person_who_was_never_stored_is_forgotten_by_a_crash(desk: Desk) -> None:
    people = desk.subjects.hide(TOLD, 1)

    assert Subjects(desk.seen, desk.vault).hide(TOLD, 2).context != people.context


def test_two_requests_that_meet_a_person_at_once_make_one_row(desk: Desk) -> None:
    first, second = desk.subjects.hide(TOLD, 1), desk.subjects.hide(TOLD, 1)
    desk.keep(first)
    desk.keep(second)

    assert first.context == second.context
    assert desk.raw.execute("SELECT count(*) FROM subjects").fetchone() == (2,)


def test_a_key_that_lost_a_race_is_refused_and_the_repeat_finds_the_winner(desk: Desk) -> None:
    late = desk.subjects.hide(TOLD, 1)
    winner = Subjects(desk.seen, desk.vault).hide(TOLD, 1)
    desk.keep(winner)

    with pytest.raises(Busy, match="repeat"):
        desk.keep(late)
    assert desk.subjects.hide(TOLD, 1).context == winner.context


def test_a_small_cache_changes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_COUNT_MAX", 2)
    names = [f"account-{place}" for place in range(10)]
    contexts = [RiskContext(payer=Payer(account_id=name)) for name in names]
    first = [desk.subjects.hide(context, 1) for context in contexts]
    for people in first:
        desk.keep(people)

    assert [desk.subjects.hide(context, 1).context for context in contexts] == [
        people.context for people in first
    ]


def test_evidence_opens_for_its_own_decision_alone(desk: Desk) -> None:
    desk.tell("D1")
    desk.tell("D2")
    desk.raw.execute(
        "UPDATE evidence SET sealed = (SELECT sealed FROM evidence WHERE decision_id = 'D1')"
        " WHERE decision_id = 'D2'"
    )

    assert desk.told("D1") == {
        "payer": {"account_id": ALICE, "country": "CN"},
        "payee": {"country": "CN", "account_id": SHOP},
        "client": {"ip": "198.51.100.7"},
    }
    assert desk.told("D1", "M2") is None
    with pytest.raises(VaultDamaged, match="audit verify"):
        desk.told("D2")


def test_a_merchant_that_tells_nothing_leaves_no_evidence(desk: Desk) -> None:
    people = desk.subjects.hide(RiskContext(), 1)

    assert seal(desk.vault, RiskContext(), people, "M1", "D1") is None


def test_erasure_leaves_no_byte_of_key_or_name_and_makes_a_new_person(desk: Desk) -> None:
    before = desk.tell("D1")
    for place in range(300):
        desk.tell(f"X{place}", RiskContext(payer=Payer(account_id=f"other-{place}")))
    assert before.payer is not None

    done = desk.erase(ALICE)

    assert (done.evidence_count, done.payee_count, done.copies_left) == (1, 0, 0)
    assert (done.log_emptied, done.clear_count) == (True, 0)
    for file in (desk.path, desk.path.with_name("yumen.db-wal")):
        data = file.read_bytes()
        assert ALICE.encode() not in data
        assert before.payer.key_sealed not in data
        assert before.payer.lookup not in data
    assert desk.told("D1") == Erased(9)
    after = desk.subjects.hide(TOLD, 10)
    assert after.context.payer.account_id != before.context.payer.account_id
    assert after.context.payee == before.context.payee


def test_an_erased_payee_is_no_longer_named_but_the_payer_keeps_the_rest(desk: Desk) -> None:
    desk.tell("D1")

    done = desk.erase(SHOP)

    assert (done.evidence_count, done.payee_count) == (0, 1)
    told = desk.told("D1")
    assert isinstance(told, dict)
    assert told["payee"] == {"country": "CN", "erased": True}
    assert told["payer"]["account_id"] == ALICE


def test_a_key_on_its_way_to_the_disk_does_not_come_back_after_its_erasure(desk: Desk) -> None:
    first, twin = desk.subjects.hide(TOLD, 1), desk.subjects.hide(TOLD, 1)
    desk.keep(first)
    desk.erase(ALICE)

    with pytest.raises(Busy, match="repeat"):
        desk.keep(twin)
    assert desk.raw.execute("SELECT count(*) FROM subjects WHERE lookup NOTNULL").fetchone() == (1,)


def test_evidence_that_was_under_way_at_the_erasure_can_not_be_read(desk: Desk) -> None:
    desk.tell("D1")
    under_way = desk.subjects.hide(TOLD, 1)
    desk.erase(ALICE)

    desk.store(under_way, "D2")

    assert desk.told("D2") == Erased(9)


def test_an_idle_gateway_lets_go_of_an_erased_key(desk: Desk) -> None:
    desk.tell("D1")
    desk.erase(ALICE)

    assert asyncio.run(desk.subjects.run_once()) == 0

    assert not desk.subjects.forget_erased()
    assert desk.subjects._cached == {}


def test_the_trail_says_who_and_why_but_not_whom(desk: Desk) -> None:
    desk.tell("D1")
    done = desk.erase(ALICE)

    row = desk.raw.execute("SELECT actor, action, object_id, reason FROM audit_log").fetchone()
    assert row == ("DPO", "subject.erase", f"subject:{done.subject_id}", "asked for it")


def test_an_account_is_erased_once_and_never_named_in_the_reason(desk: Desk) -> None:
    desk.tell("D1")
    with pytest.raises(Refused, match="leave the account id out"):
        erase_account(
            SqliteDatabase(desk.path), desk.vault, ALICE, actor="a", reason=f"for {ALICE}", now_us=1
        )
    desk.erase(ALICE)

    with pytest.raises(Refused, match="never seen"):
        desk.erase(ALICE)


def test_a_reader_in_the_way_is_said_and_cleaned_up_later(desk: Desk) -> None:
    desk.tell("D1")
    desk.seen.execute("BEGIN")
    desk.seen.execute("SELECT count(*) FROM subjects").fetchone()
    with closing(open_sqlite(desk.path)) as raw:
        raw.execute("PRAGMA busy_timeout=0")

        assert raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 1
    desk.seen.execute("COMMIT")

    assert SqliteDatabase(desk.path).scrub().is_clean


def test_rules_and_lists_compare_with_the_number_that_events_hold(desk: Desk) -> None:
    people = desk.tell("D1")
    numbers = desk.subjects.number_of

    assert numbers("user", ALICE) == identify("user", people.context.payer.account_id)
    assert numbers("payee", ALICE) == identify("payee", people.context.payer.account_id)
    assert numbers("ip", "198.51.100.7") == identify("ip", "198.51.100.7")
    assert (numbers("user", "nobody"), numbers("user", "")) == (0, 0)
    desk.erase(ALICE)
    assert numbers("user", ALICE) == 0


def test_a_list_can_name_an_account_before_its_first_payment_and_forgets_it(desk: Desk) -> None:
    desk.subjects.hide(TOLD, 1)  # On its way, and not stored: the list's change comes first.
    engine = create_engine("sqlite://", creator=lambda: desk.raw, poolclass=StaticPool)
    with engine.connect() as conn:
        numbers = numbers_in(conn, desk.vault, 1)
        create_list(conn, "bad", Purpose.BLOCK, actor="a", reason="r", now_us=1)
        entry = NewEntry(kind="user", value=ALICE)
        add_entries(conn, "bad", [entry], actor="a", reason="r", now_us=1, numbers=numbers)
        conn.commit()
    paying = identify("user", desk.subjects.hide(TOLD, 2).context.payer.account_id)

    assert desk.raw.execute("SELECT number FROM list_entries").fetchone() == (paying,)
    done = desk.erase(ALICE)
    assert (done.list_count, done.clear_count) == (1, 0)
    assert desk.raw.execute("SELECT value, number FROM list_entries").fetchone() == ("", paying)
