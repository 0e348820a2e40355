"""Rules and lists in the database: versions, states, what ran, and the trail of who did it."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, insert, select, text

from gateway.domain.errors import IllegalRuleMove, InvalidParameter, ObjectNotFound
from gateway.store import listing, lists, rules
from gateway.store.lists import NewEntry
from gateway.store.migrate import migrate
from gateway.store.sqlite import SqliteDatabase
from gateway.store.tables import audit_log, list_entries, merchants, metadata
from risk.features.event import AT_US, EVENT_WIDTH, INDEX
from risk.features.identity import identify
from risk.rules.lists import Purpose
from risk.rules.names import number_of
from risk.rules.shipped import default_rules
from risk.rules.source import Action, Rule, RuleState

NOW_US = 1_700_000_000_000_000
DRAFT = Rule(
    name="many_cards",
    expression="behaviour_user_cards_1h >= 3",
    action=Action.REVIEW,
    reason="CARD_TESTING",
)


@pytest.fixture
def conn() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def add(conn: Connection, rule: Rule = DRAFT) -> rules.StoredRule:
    return rules.add_rule(
        conn, rule, actor="lin", note="seen today", now_us=NOW_US, numbers=number_of
    )


def move(conn: Connection, target: RuleState, version: int = 1) -> rules.StoredRule:
    return rules.move_rule(
        conn, DRAFT.name, version, target, actor="chen", reason="tried it", now_us=NOW_US + 1
    )


def put_on(conn: Connection, name: str, *entries: NewEntry, now_us: int = NOW_US) -> lists.Change:
    return lists.add_entries(
        conn, name, entries, actor="lin", reason="told so", now_us=now_us, numbers=number_of
    )


def create(conn: Connection, name: str, purpose: Purpose = Purpose.NAMED) -> str:
    return lists.create_list(conn, name, purpose, actor="lin", reason="for now", now_us=NOW_US)


def event(at_us: int = NOW_US, **words: str) -> list[int]:
    values = [0] * EVENT_WIDTH
    values[AT_US] = at_us
    for word, value in words.items():
        values[INDEX[word]] = number_of(word, value)
    return values


def states(conn: Connection) -> list[tuple[int, RuleState]]:
    return [(one.rule.version, one.rule.state) for one in rules.versions_of(conn, DRAFT.name)]


def test_a_database_without_rules_gets_those_that_ship_and_no_others(conn: Connection) -> None:
    assert rules.seed(conn, NOW_US)
    assert not rules.seed(conn, NOW_US)

    loaded = rules.load(conn)
    assert loaded.version == default_rules().version
    assert {one.author for one in rules.all_rules(conn)} == {"yumen"}


def test_a_new_version_goes_live_in_place_of_the_old_one(conn: Connection) -> None:
    add(conn)
    move(conn, RuleState.LIVE)
    add(conn, DRAFT)
    move(conn, RuleState.SHADOW, 2)

    assert [one.label for one in rules.load(conn).rules] == ["many_cards@1", "many_cards@2"]

    move(conn, RuleState.LIVE, 2)

    assert states(conn) == [(1, RuleState.RETIRED), (2, RuleState.LIVE)]
    assert [one.label for one in rules.load(conn).rules] == ["many_cards@2"]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ((), RuleState.DRAFT),
        ((RuleState.SHADOW,), RuleState.DRAFT),
        ((RuleState.SHADOW,), RuleState.SHADOW),
        ((RuleState.LIVE,), RuleState.SHADOW),
        ((RuleState.RETIRED,), RuleState.LIVE),
        ((RuleState.SHADOW, RuleState.LIVE, RuleState.RETIRED), RuleState.DRAFT),
    ],
)
def test_a_rule_never_goes_back(
    conn: Connection, path: tuple[RuleState, ...], target: RuleState
) -> None:
    add(conn)
    for state in path:
        move(conn, state)

    with pytest.raises(IllegalRuleMove, match="cannot become") as refusal:
        move(conn, target)
    assert refusal.value.code == "1004"


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("amont > 3", "did you mean 'amount'"),
        ("amont > 3", "未知名称"),
        ("amount > minutes(3)", "they measure different things"),
        ('user == "alice"', "lists"),
        ('card in list("stolen")', "unknown list 'stolen'"),
    ],
)
def test_what_is_no_rule_is_refused_in_both_languages_and_not_stored(
    conn: Connection, expression: str, told: str
) -> None:
    with pytest.raises(InvalidParameter, match="expression") as refusal:
        add(conn, Rule(name="r", expression=expression, action=Action.REVIEW, reason="BURST"))

    assert told in str(refusal.value)
    assert rules.all_rules(conn) == []


def test_no_more_rules_run_than_a_payment_can_bear(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules.seed(conn, NOW_US)
    add(conn)
    monkeypatch.setattr(rules, "RUNNING_COUNT_MAX", len(default_rules().rules))

    with pytest.raises(InvalidParameter, match="retire some first"):
        move(conn, RuleState.SHADOW)
    move(conn, RuleState.RETIRED)


def test_an_unknown_rule_or_version_is_named(conn: Connection) -> None:
    add(conn)

    with pytest.raises(ObjectNotFound, match="did you mean many_cards"):
        rules.versions_of(conn, "many_card")
    with pytest.raises(ObjectNotFound, match="no version 7"):
        move(conn, RuleState.LIVE, 7)


def test_every_change_says_who_why_and_what_was_before(conn: Connection) -> None:
    add(conn)
    move(conn, RuleState.LIVE)
    add(conn)
    move(conn, RuleState.LIVE, 2)

    rows = conn.execute(select(audit_log).order_by(audit_log.c.id)).mappings().all()
    assert [(row["actor"], row["action"], row["object_id"], row["reason"]) for row in rows] == [
        ("lin", "rule.add", "rule:many_cards@1", "seen today"),
        ("chen", "rule.move", "rule:many_cards@1", "tried it"),
        ("lin", "rule.add", "rule:many_cards@2", "seen today"),
        ("chen", "rule.move", "rule:many_cards@2", "tried it"),
    ]
    assert json.loads(rows[-1]["detail"])["before"] == {"state": "DRAFT", "replaced": [1]}


def test_what_ran_runs_again_years_later_whatever_changed_since(conn: Connection) -> None:
    create(conn, "stolen_cards")
    put_on(conn, "stolen_cards", NewEntry(kind="card", value="4242"))
    add(
        conn,
        Rule(
            name="many_cards",
            expression='card in list("stolen_cards") and card_country != "CN"',
            action=Action.DECLINE,
            reason="CARD_TESTING",
        ),
    )
    move(conn, RuleState.LIVE)
    ran = rules.load(conn)
    rules.keep(conn, ran, NOW_US)
    rules.keep(conn, ran, NOW_US)
    payment = event(card="4242", card_country="US")
    put_on(conn, "stolen_cards", NewEntry(kind="card", value="4242", expires_at_us=NOW_US + 1))
    move(conn, RuleState.RETIRED)

    again = rules.rule_set_at(conn, ran.version, ran.list_version)

    assert rules.load(conn).hits((), payment) == ()
    assert (again.version, again.list_version) == (ran.version, ran.list_version)
    assert [rule.label for rule in again.hits((), payment)] == ["many_cards@1"]
    with pytest.raises(ObjectNotFound, match="no rule set rules-0"):
        rules.rule_set_at(conn, "rules-0", ran.list_version)


def test_an_entry_counts_until_the_microsecond_it_expires_at(conn: Connection) -> None:
    create(conn, "blocked", Purpose.BLOCK)
    put_on(conn, "blocked", NewEntry(kind="ip", value="192.0.2.7", expires_at_us=NOW_US + 5))
    running = rules.load(conn)

    before, after = event(NOW_US + 4, ip="192.0.2.7"), event(NOW_US + 5, ip="192.0.2.7")
    (hit,) = running.hits((), before)
    assert (hit.name, hit.reason, hit.overridable) == ("list:blocked", "BLOCK_LIST", False)
    assert running.must_hold(before) == (hit,)
    assert running.hits((), after) == running.must_hold(after) == ()


def test_a_list_reads_as_it_stood_at_any_version(conn: Connection) -> None:
    create(conn, "vip", Purpose.ALLOW)
    first = put_on(conn, "vip", NewEntry(kind="user", value="alice"))
    second = put_on(
        conn, "vip", NewEntry(kind="user", value="bob"), NewEntry(kind="user", value="alice")
    )
    (entry_id,) = listing.find_entries(conn, "vip", "user", " alice ")
    third = lists.remove_entries(conn, "vip", [entry_id], actor="lin", reason="left", now_us=NOW_US)

    def on_it(version: str) -> set[int]:
        at = listing.lists_at(conn, listing.number_of_version(version))
        return set(at.by_name["vip"].of_kind("user"))

    alice, bob = identify("user", "alice"), identify("user", "bob")
    assert (second.changed_count, second.unchanged_count) == (1, 1)
    assert on_it(first.list_version) == {alice}
    assert on_it(second.list_version) == {alice, bob}
    assert on_it(third.list_version) == {bob}
    assert listing.lists_at(conn, 0).by_name == {}


def test_an_allow_list_approves_and_a_named_list_does_nothing_alone(conn: Connection) -> None:
    create(conn, "vip", Purpose.ALLOW)
    create(conn, "watched")
    put_on(conn, "vip", NewEntry(kind="user", value="alice"))
    put_on(conn, "watched", NewEntry(kind="user", value="alice"))

    (hit,) = rules.load(conn).hits((), event(user="alice"))

    assert (hit.action, hit.reason) == (Action.APPROVE_OVERRIDE, "ALLOW_LIST")


def test_an_erased_word_still_counts_and_is_written_nowhere(conn: Connection) -> None:
    create(conn, "blocked", Purpose.BLOCK)
    put_on(conn, "blocked", NewEntry(kind="user", value="alice@example.com"))
    number = identify("user", "alice@example.com")

    raw = conn.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    assert lists.forget_word(raw, "user", number) == 1

    assert rules.load(conn).must_hold(event(user="alice@example.com"))
    assert "alice@example.com" not in "\n".join(raw.iterdump())


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (NewEntry(kind="crad", value="1"), "did you mean card"),
        (NewEntry(kind="card", value=" "), "no payment can have it"),
        (NewEntry(kind="country", value="China"), "no payment can have it"),
        (NewEntry(kind="network", value="nowhere"), "no payment can have it"),
        (NewEntry(kind="card", value="x" * 300), "no payment can have it"),
        (NewEntry(kind="card", value="1", expires_at_us=NOW_US), "lies in the past"),
    ],
)
def test_what_no_payment_can_have_is_not_put_on_a_list(
    conn: Connection, entry: NewEntry, told: str
) -> None:
    create(conn, "blocked", Purpose.BLOCK)

    with pytest.raises(InvalidParameter, match=told):
        put_on(conn, "blocked", entry)
    assert conn.execute(select(list_entries)).all() == []


def test_a_list_is_made_once_and_an_unknown_one_is_named(conn: Connection) -> None:
    create(conn, "vip")

    with pytest.raises(InvalidParameter, match="exists"):
        create(conn, "vip")
    with pytest.raises(InvalidParameter, match="lower-case"):
        create(conn, "VIP!")
    with pytest.raises(ObjectNotFound, match="did you mean vip"):
        put_on(conn, "vips", NewEntry(kind="user", value="alice"))
    with pytest.raises(ObjectNotFound, match="no entry 9"):
        lists.remove_entries(conn, "vip", [9], actor="lin", reason="x", now_us=NOW_US)


def test_the_counters_tell_a_running_gateway_to_look_again(conn: Connection) -> None:
    seen = [rules.changes(conn)]
    add(conn)
    seen.append(rules.changes(conn))
    move(conn, RuleState.LIVE)
    seen.append(rules.changes(conn))
    create(conn, "vip")
    seen.append(rules.changes(conn))

    assert seen == [(0, 0), (0, 0), (1, 0), (1, 1)]


def test_a_new_database_has_the_tables_the_code_speaks_of(tmp_path: Path) -> None:
    path = tmp_path / "yumen.db"
    migrate(SqliteDatabase(path))

    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert differences == []


def test_a_database_of_the_first_release_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "yumen.db"
    migrate(SqliteDatabase(path), to="0001")
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(
            insert(merchants).values(
                merchant_id="M1", app_id="a", name="tea", status="ACTIVE", created_at_us=NOW_US
            )
        )

    assert migrate(SqliteDatabase(path))

    with engine.begin() as connection:
        assert connection.execute(text("SELECT name FROM merchants")).scalar() == "tea"
        assert rules.seed(connection, NOW_US)
        assert rules.load(connection).version == default_rules().version
    engine.dispose()
