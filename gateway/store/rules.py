"""Rules in the database: versions that never change, the states they pass through, what ran.

A rule is written once as a draft, may run in shadow, goes live and is retired, never back; going
live retires the version that was live before, in the same transaction. Every set that runs is
kept whole under its version, so a decision of years ago can be recomputed from it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from gateway.domain.errors import IllegalRuleMove, InvalidParameter, ObjectNotFound
from gateway.store import audit
from gateway.store.counters import count_up, counted
from gateway.store.database import Database
from gateway.store.listing import list_names, lists_at, number_of_version
from gateway.store.rule_tables import rule_sets, rules
from gateway.store.schema import upsert
from gateway.store.tables import audit_log
from risk.rules.names import NumberOf, closest
from risk.rules.problems import RuleError
from risk.rules.shipped import DEFAULT_RULES
from risk.rules.source import Action, Rule, RuleSet, RuleState, check_rule

RUNNING_COUNT_MAX: Final = 500  # Live and in shadow: what rules cost a payment stays bounded.
HOUSE_AUTHOR: Final = "yumen"
MOVES: Final[Mapping[RuleState, frozenset[RuleState]]] = {
    RuleState.DRAFT: frozenset({RuleState.SHADOW, RuleState.LIVE, RuleState.RETIRED}),
    RuleState.SHADOW: frozenset({RuleState.LIVE, RuleState.RETIRED}),
    RuleState.LIVE: frozenset({RuleState.RETIRED}),
    RuleState.RETIRED: frozenset(),
}
_RUNNING: Final = (RuleState.SHADOW.value, RuleState.LIVE.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRule:
    """A version of a rule and where it stands; times are Unix microseconds."""

    rule: Rule
    author: str
    note: str
    created_at_us: int
    changed_at_us: int

    def as_json(self) -> dict[str, object]:
        """Return it as values of JSON, without the numbers of its words."""
        values: dict[str, object] = asdict(self.rule)
        del values["numbers"]
        return values | {
            "author": self.author,
            "note": self.note,
            "created_at_us": self.created_at_us,
            "changed_at_us": self.changed_at_us,
        }


def refusal_of(error: RuleError) -> InvalidParameter:
    """Return what an operator is told about an expression that is no rule, in both languages."""
    where = f"{error.rule}, {error.place}"
    return InvalidParameter("expression", f"{where}: {error.problem_zh} / {error.problem}")


def seed(conn: Connection, now_us: int) -> bool:
    """Put the rules that ship into a database that has none; True if it did."""
    if conn.execute(select(func.count()).select_from(rules)).scalar():
        return False
    for rule in DEFAULT_RULES:
        checked, _ = check_rule(rule)
        _insert(conn, checked, HOUSE_AUTHOR, "shipped with the gateway", now_us)
    count_up(conn, "rules")
    _record(conn, "rule.seed", "rules", HOUSE_AUTHOR, "", now_us, {"count": len(DEFAULT_RULES)})
    return True


def load(conn: Connection) -> RuleSet:
    """Compile the rules that are live or in shadow, with the lists as they stand.

    Raises:
        RuleError: what is stored is no set; keep running the one before.
    """
    stored = conn.execute(select(rules).where(rules.c.state.in_(_RUNNING)))
    return RuleSet([_read(row).rule for row in stored.mappings()], lists_at(conn))


def start(database: Database, now_us: int) -> RuleSet:
    """Return the set a gateway starts with, stored as what ran; seeds a database without rules.

    Args:
        database: Migrated.
        now_us: The time, Unix microseconds.

    Raises:
        InvalidParameter: (1001) if a running rule can't be compiled, e.g. because a new release
            dropped a feature. Retire it (`yumen rules move`) and start again: starting without
            it would let pass what it forbids.
    """
    try:
        with database.changing() as conn:
            seed(conn, now_us)
            rule_set = load(conn)
            keep(conn, rule_set, now_us)
    except RuleError as error:
        raise refusal_of(error) from error
    return rule_set


def changes(conn: Connection) -> tuple[int, int]:
    """Return how often rules and lists changed: cheap to ask every second."""
    return counted(conn, "rules"), counted(conn, "lists")


def keep(conn: Connection, rule_set: RuleSet, now_us: int) -> None:
    """Store what is about to run, under its version, before the first decision names it."""
    row = {
        "version": rule_set.version,
        "content": rule_set.as_json(),
        "created_at_us": now_us,
    }
    conn.execute(upsert(rule_sets).values(row).on_conflict_do_nothing())


def rule_set_at(conn: Connection, rule_version: str, list_version: str = "lists-0") -> RuleSet:
    """Compile a set that ran before, with the lists of then.

    Args:
        conn: Any connection.
        rule_version: As a decision stores it.
        list_version: As a decision stores it.

    Raises:
        ObjectNotFound: (1009) if no such set was kept.
        ValueError: it can't be compiled by this release.
    """
    statement = select(rule_sets.c.content).where(rule_sets.c.version == rule_version)
    content = conn.execute(statement).scalar()
    if content is None:
        raise ObjectNotFound(f"no rule set {rule_version[:64]} was kept")
    return RuleSet.from_json(content, lists_at(conn, number_of_version(list_version)))


def all_rules(conn: Connection, *, retired: bool = False) -> list[StoredRule]:
    """Return all rules by name and version; retired ones only if asked for."""
    statement = select(rules).order_by(rules.c.name, rules.c.version)
    if not retired:
        statement = statement.where(rules.c.state != RuleState.RETIRED.value)
    return [_read(row) for row in conn.execute(statement).mappings()]


def versions_of(conn: Connection, name: str) -> list[StoredRule]:
    """Return all versions of a rule, the first one first.

    Raises:
        ObjectNotFound: (1009) if there is no such rule.
    """
    statement = select(rules).where(rules.c.name == name).order_by(rules.c.version)
    found = [_read(row) for row in conn.execute(statement).mappings()]
    if not found:
        close = closest(name, conn.execute(select(rules.c.name)).scalars())
        raise ObjectNotFound(f"no rule {name[:64]}{f'; did you mean {close}?' if close else ''}")
    return found


def trail_of(conn: Connection, name: str) -> list[dict[str, object]]:
    """Return what was done to a rule, by whom and why, the first act first."""
    log = audit_log.c
    versions = [one.rule.label for one in versions_of(conn, name)]
    found = conn.execute(
        select(log.created_at_us.label("at_us"), log.actor, log.action, log.object_id, log.reason)
        .where(log.object_id.in_([f"rule:{label}" for label in versions]))
        .order_by(log.id)
    )
    return [dict(row) for row in found.mappings()]


def check(conn: Connection, rule: Rule, numbers: NumberOf) -> Rule:
    """Check a rule against the lists there are; returns it with the numbers of its words.

    Raises:
        InvalidParameter: (1001) if it is no rule; says where and what would do.
    """
    try:
        checked, _ = check_rule(replace(rule, numbers=()), list_names(conn), numbers=numbers)
    except RuleError as error:
        raise refusal_of(error) from error
    return checked


def add_rule(
    conn: Connection, rule: Rule, *, actor: str, note: str, now_us: int, numbers: NumberOf
) -> StoredRule:
    """Store the next version of a rule as a draft.

    Args:
        conn: The writer's connection.
        rule: What it says; its version and state are given here.
        actor: Its author.
        note: Why; kept with it.
        now_us: When, Unix microseconds.
        numbers: Which number stands for a word.

    Raises:
        InvalidParameter: (1001) if it is no rule.
    """
    last = select(func.max(rules.c.version)).where(rules.c.name == rule.name)
    version = int(conn.execute(last).scalar() or 0) + 1
    drafted = check(conn, replace(rule, version=version, state=RuleState.DRAFT), numbers)
    stored = _insert(conn, drafted, actor, note, now_us)
    _record(conn, "rule.add", drafted.label, actor, note, now_us, {"after": stored.as_json()})
    return stored


def move_rule(
    conn: Connection,
    name: str,
    version: int,
    target: RuleState,
    *,
    actor: str,
    reason: str,
    now_us: int,
) -> StoredRule:
    """Move a version along its life; the version it replaces is retired in the same transaction.

    Raises:
        ObjectNotFound: (1009) if there is no such version.
        IllegalRuleMove: (1004) if it can't go there from where it stands.
        InvalidParameter: (1001) if it can't be compiled any more, e.g. by a newer release.
    """
    found = next((one for one in versions_of(conn, name) if one.rule.version == version), None)
    if found is None:
        raise ObjectNotFound(f"rule {name} has no version {version}")
    before = found.rule
    if target not in MOVES[before.state]:
        raise IllegalRuleMove(before.label, before.state, target)
    if target is not RuleState.RETIRED:
        _check_stored(conn, before)
        _check_room(conn)
    replaced = _retire_running(conn, name, target, now_us)
    _put(conn, name, version, target, now_us)
    count_up(conn, "rules")
    detail = {
        "before": {"state": before.state.value, "replaced": replaced},
        "after": {"state": target.value, "expression": before.expression},
    }
    _record(conn, "rule.move", before.label, actor, reason, now_us, detail)
    return replace(found, rule=replace(before, state=target), changed_at_us=now_us)


def _check_stored(conn: Connection, rule: Rule) -> None:
    try:
        check_rule(rule, list_names(conn))
    except RuleError as error:
        raise refusal_of(error) from error


def _check_room(conn: Connection) -> None:
    running = select(func.count()).select_from(rules).where(rules.c.state.in_(_RUNNING))
    if int(conn.execute(running).scalar() or 0) >= RUNNING_COUNT_MAX:
        raise InvalidParameter(
            "state",
            f"运行中的规则已达 {RUNNING_COUNT_MAX} 条, 请先下线一些 / "
            f"{RUNNING_COUNT_MAX} rules run already; retire some first",
        )


def _retire_running(conn: Connection, name: str, target: RuleState, now_us: int) -> list[int]:
    if target.value not in _RUNNING:
        return []
    running = (rules.c.name == name, rules.c.state == target.value)
    versions = list(conn.execute(select(rules.c.version).where(*running)).scalars())
    for version in versions:
        _put(conn, name, version, RuleState.RETIRED, now_us)
    return versions


def _put(conn: Connection, name: str, version: int, state: RuleState, now_us: int) -> None:
    conn.execute(
        update(rules)
        .where(rules.c.name == name, rules.c.version == version)
        .values(state=state.value, changed_at_us=now_us)
    )


def _insert(conn: Connection, rule: Rule, author: str, note: str, now_us: int) -> StoredRule:
    values = asdict(rule) | {
        "action": rule.action.value,
        "state": rule.state.value,
        "overridable": int(rule.overridable),
        "numbers": json.dumps(rule.numbers, ensure_ascii=False),
    }
    conn.execute(
        insert(rules).values(
            **values, author=author, note=note, created_at_us=now_us, changed_at_us=now_us
        )
    )
    return StoredRule(
        rule=rule, author=author, note=note, created_at_us=now_us, changed_at_us=now_us
    )


def _read(row: RowMapping) -> StoredRule:
    return StoredRule(
        rule=Rule(
            name=row["name"],
            expression=row["expression"],
            action=Action(row["action"]),
            reason=row["reason"],
            overridable=bool(row["overridable"]),
            version=row["version"],
            state=RuleState(row["state"]),
            valid_from_us=row["valid_from_us"],
            valid_to_us=row["valid_to_us"],
            numbers=tuple((word, number) for word, number in json.loads(row["numbers"])),
        ),
        author=row["author"],
        note=row["note"],
        created_at_us=row["created_at_us"],
        changed_at_us=row["changed_at_us"],
    )


def _record(
    conn: Connection,
    action: str,
    object_id: str,
    actor: str,
    reason: str,
    now_us: int,
    detail: Mapping[str, object],
) -> None:
    audit.record(
        conn,
        actor=actor,
        action=action,
        object_id=f"rule:{object_id}",
        now_us=now_us,
        reason=reason,
        detail=detail,
    )
