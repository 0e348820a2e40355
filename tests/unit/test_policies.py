"""Policies are kept under their own name for good; going live is an act with a reason."""

import json
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, select, update
from typer.testing import CliRunner

from gateway import cli, policing
from gateway.store import policies
from gateway.store.database import embedded
from gateway.store.migrate import migrate, revision_of
from gateway.store.sqlite import SqliteDatabase, open_sqlite
from gateway.store.tables import audit_log, metadata, policy_live
from gateway.store.tables import policies as kept
from risk import RiskOutcome
from risk.default_policy import DEFAULT_POLICY
from risk.policy import Costs, Policy, PolicyError

AT_US = 1_700_000_000_000_000
DEAR = Policy(costs=Costs(review_minor=9_999))


@pytest.fixture
def conn() -> Connection:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    return engine.connect()


def run(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(cli.app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    said: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return said


def test_without_any_the_policy_that_ships_decides(conn: Connection) -> None:
    assert policies.live(conn) == DEFAULT_POLICY
    policies.seed(conn, now_us=AT_US)
    policies.seed(conn, now_us=AT_US + 1)

    assert policies.live_version(conn) == DEFAULT_POLICY.version
    assert [one.since_us for one in policies.reigns(conn, 9)] == [AT_US]


def test_the_policy_published_last_decides_and_the_others_stay(conn: Connection) -> None:
    policies.seed(conn, now_us=AT_US)
    policies.publish(conn, DEAR, author="li", note="dear reviews", now_us=AT_US + 1)
    policies.publish(conn, DEFAULT_POLICY, author="li", note="back", now_us=AT_US + 2)
    policies.seed(conn, now_us=AT_US + 3)

    assert policies.live(conn) == DEFAULT_POLICY
    assert policies.find(conn, DEAR.version) == DEAR
    assert [one.note for one in policies.reigns(conn, 2)] == ["back", "dear reviews"]
    acts = conn.execute(select(audit_log.c.actor, audit_log.c.object_id, audit_log.c.reason)).all()
    assert acts[1] == ("li", DEAR.version, "dear reviews")


def test_a_row_that_says_something_else_than_its_name_is_refused(conn: Connection) -> None:
    policies.publish(conn, DEAR, author="li", note="x", now_us=AT_US)
    conn.execute(update(kept).values(content=DEFAULT_POLICY.canonical()))
    with pytest.raises(PolicyError, match="the row holds"):
        policies.live(conn)
    conn.execute(kept.delete())
    with pytest.raises(PolicyError, match="is named as live and not kept"):
        policies.live(conn)


def test_an_unknown_version_is_no_policy(conn: Connection) -> None:
    assert policies.find(conn, "policy-000000000000") is None
    assert policies.find(conn, DEFAULT_POLICY.version) == DEFAULT_POLICY


def test_a_database_is_seeded_beside_whoever_else_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "yumen.db"
    migrate(SqliteDatabase(path))
    for at_us in (AT_US, AT_US + 1):
        policies.seed_database(SqliteDatabase(path), now_us=at_us)

    raw = open_sqlite(path, read_only=True)
    assert raw.execute("SELECT version FROM policy_live").fetchall() == [(DEFAULT_POLICY.version,)]
    raw.close()


def test_a_merchants_terms_come_on_top_of_what_decides_and_go_again(tmp_path: Path) -> None:
    where = ("--reason", "agreed", "--var", str(tmp_path))
    run("policy", "override", "M1", "--cap", "REVIEW", "--cost", "review_minor=900", *where)
    given = policing.look(embedded(tmp_path), "").merchants["M1"]
    run("policy", "override", "M2", "--thresholds", "0.1,0.2,2", "--category", "travel", *where)
    both = policing.look(embedded(tmp_path), "").merchants
    run("policy", "override", "M1", "--remove", *where)
    run("policy", "override", "M2", "--remove", *where)

    assert (given.cap, given.costs) == (RiskOutcome.REVIEW, {"review_minor": 900})
    assert set(both) == {"M1", "M2"}
    assert policing.look(embedded(tmp_path), "") == DEFAULT_POLICY
    assert len(policing.history(embedded(tmp_path))) == 5


def test_a_policy_is_checked_published_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "dear.json"
    path.write_text(DEAR.canonical(), "utf-8")
    where = ("--var", str(tmp_path))

    assert run("policy", "check", str(path), *where)["decides"] is False
    said = run("policy", "publish", str(path), "--reason", "dear", "--actor", "李雷", *where)
    assert said == {"version": DEAR.version}
    assert run("policy", "check", str(path), *where)["decides"] is True
    assert run("policy", "show", *where)["version"] == DEAR.version
    rows = run("policy", "history", *where)["history"]
    assert isinstance(rows, list)
    assert [row["by"] for row in rows] == ["李雷", "yumen"]


def test_a_person_reads_from_which_probability_what_is_done() -> None:
    said = policing.lines(DEFAULT_POLICY)

    assert any("quasi_cash" in line for line in said)
    assert any("CHALLENGE from 3.4%" in line for line in said)


def test_a_database_of_the_first_revision_keeps_its_decisions(tmp_path: Path) -> None:
    path = tmp_path / "yumen.db"
    migrate(SqliteDatabase(path), to="0001")
    raw = open_sqlite(path)
    for number, fallback in enumerate(("", "rules")):
        raw.execute(
            "INSERT INTO decisions VALUES ('m', ?, 'T', 1, 'APPROVE', 0.5, 0.4, '[]', '[]', x'00',"
            " x'00', '[]', 'f', 'none', 'r', 'policy-1:rules', 'e', x'00', '', ?, 9, 10)",
            (f"D{number}", fallback),
        )
    raw.close()

    assert migrate(SqliteDatabase(path))
    assert revision_of(SqliteDatabase(path)) != "0001"
    raw = open_sqlite(path, read_only=True)
    found = raw.execute(
        "SELECT score, step, category, costs, shadow, list_version, geo_version FROM decisions"
    ).fetchall()
    raw.close()
    assert found == [(0.5, step, "", "[]", "{}", "none", "none") for step in ("full", "rules")]


def test_the_tables_are_what_the_revisions_make(tmp_path: Path) -> None:
    path = tmp_path / "yumen.db"
    migrate(SqliteDatabase(path))
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []
    engine.dispose()


def test_live_rows_are_never_rewritten(conn: Connection) -> None:
    policies.publish(conn, DEAR, author="a", note="1", now_us=AT_US)
    policies.publish(conn, DEAR, author="b", note="2", now_us=AT_US)

    assert len(conn.execute(select(policy_live)).all()) == 2
    assert len(conn.execute(select(kept)).all()) == 1
