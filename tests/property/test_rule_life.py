"""Rules and lists against a tiny model: any order of acts; every past version reads as it was."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import create_engine, func, select

from gateway.domain.errors import IllegalRuleMove, ObjectNotFound
from gateway.store import counters, listing, lists, rules
from gateway.store.lists import NewEntry
from gateway.store.tables import audit_log, metadata
from risk.rules.lists import NEVER_US, Purpose
from risk.rules.names import number_of
from risk.rules.source import Action, Rule, RuleSet, RuleState

START_US = 1_700_000_000_000_000
NAMES = st.sampled_from(["alpha", "beta"])
WORDS = st.sampled_from(["1", "2", "3"])
EXPRESSIONS = st.sampled_from(
    ["amount > yuan(1)", 'card in list("known")', 'card in {"1"} and ip_country == "CN"']
)
Standing = dict[int, int]


class RuleLife(RuleBasedStateMachine):
    """The store, and what a careful clerk would have written down."""

    def __init__(self) -> None:
        super().__init__()
        self._engine = create_engine("sqlite://")
        metadata.create_all(self._engine)
        self._conn = self._engine.connect()
        self._now_us = START_US
        self._states: dict[str, dict[int, RuleState]] = {}
        self._on_list: Standing = {}
        self._acts = 0
        self._list_pasts: dict[str, Standing] = {}
        self._ran: dict[str, RuleSet] = {}
        lists.create_list(self._conn, "known", Purpose.BLOCK, **self._who())
        self._acts += 1

    def _who(self) -> dict[str, Any]:
        self._now_us += 1
        return {"actor": "lin", "reason": "why not", "now_us": self._now_us}

    @rule(name=NAMES, expression=EXPRESSIONS, action=st.sampled_from(Action))
    def draft(self, name: str, expression: str, action: Action) -> None:
        self._now_us += 1
        stored = rules.add_rule(
            self._conn,
            Rule(name=name, expression=expression, action=action, reason="BURST"),
            actor="lin",
            note="",
            now_us=self._now_us,
            numbers=number_of,
        )
        versions = self._states.setdefault(name, {})
        assert stored.rule.version == len(versions) + 1
        versions[stored.rule.version] = RuleState.DRAFT
        self._acts += 1

    @rule(name=NAMES, version=st.integers(1, 4), goal=st.sampled_from(RuleState))
    def move(self, name: str, version: int, goal: RuleState) -> None:
        versions = self._states.get(name, {})
        refused: Exception | None = None
        try:
            rules.move_rule(self._conn, name, version, goal, **self._who())
        except (IllegalRuleMove, ObjectNotFound) as error:
            refused = error
        if version not in versions:
            assert isinstance(refused, ObjectNotFound)
        elif goal not in rules.MOVES[versions[version]]:
            assert isinstance(refused, IllegalRuleMove)
        else:
            assert refused is None
            if goal in {RuleState.LIVE, RuleState.SHADOW}:
                for other in [one for one, state in versions.items() if state is goal]:
                    versions[other] = RuleState.RETIRED
            versions[version] = goal
            self._acts += 1

    @rule(word=WORDS, ends_after_us=st.sampled_from([0, 1_000, 10**9]))
    def put_on(self, word: str, ends_after_us: int) -> None:
        who = self._who()
        until_us = who["now_us"] + ends_after_us if ends_after_us else 0
        done = lists.add_entries(
            self._conn,
            "known",
            [NewEntry(kind="card", value=word, expires_at_us=until_us)],
            numbers=number_of,
            **who,
        )
        number = number_of("card", word)
        assert done.changed_count == int(self._on_list.get(number) != (until_us or NEVER_US))
        self._on_list[number] = until_us or NEVER_US
        self._acts += done.changed_count

    @rule(word=WORDS)
    def take_off(self, word: str) -> None:
        found = listing.find_entries(self._conn, "known", "card", word)
        assert bool(found) == (number_of("card", word) in self._on_list)
        if found:
            lists.remove_entries(self._conn, "known", found, **self._who())
            del self._on_list[number_of("card", word)]
            self._acts += 1

    @rule()
    def run_it(self) -> None:
        loaded = rules.load(self._conn)
        rules.keep(self._conn, loaded, self._now_us)
        self._ran[loaded.version] = loaded
        self._list_pasts[loaded.list_version] = dict(self._on_list)

    @invariant()
    def what_stands_is_what_was_written_down(self) -> None:
        stored = {
            (one.rule.name, one.rule.version): one.rule.state
            for one in rules.all_rules(self._conn, retired=True)
        }
        assert stored == {
            (name, version): state
            for name, versions in self._states.items()
            for version, state in versions.items()
        }
        now = listing.lists_at(self._conn).by_name["known"]
        assert dict(now.of_kind("card")) == self._on_list

    @invariant()
    def every_past_version_reads_as_it_was(self) -> None:
        for version, standing in self._list_pasts.items():
            then = listing.lists_at(self._conn, listing.number_of_version(version))
            assert dict(then.by_name["known"].of_kind("card")) == standing
        for version, ran in self._ran.items():
            again = rules.rule_set_at(self._conn, version, "lists-1")
            assert (again.version, again.rules, again.trees) == (version, ran.rules, ran.trees)

    @invariant()
    def every_act_left_a_trace(self) -> None:
        count = self._conn.execute(select(func.count()).select_from(audit_log)).scalar()
        assert count == self._acts
        assert counters.counted(self._conn, "lists") >= 1

    def teardown(self) -> None:
        self._conn.close()
        self._engine.dispose()


TestRuleLife = RuleLife.TestCase
TestRuleLife.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
