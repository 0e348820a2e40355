"""A back-test over a real database: exact, incremental, honest about what nobody knows."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from gateway.backtest import load
from gateway.backtest.load import load_history, load_log
from gateway.backtest.present import present_setup
from gateway.cli import app
from gateway.store.database import embedded
from models.backtest import (
    Change,
    History,
    NoHistory,
    Question,
    Report,
    Setup,
    backtest,
    count_hits,
    extended,
    load_model,
    replayed,
)
from models.backtest.history import OUTCOME
from risk.decision import Feedback
from risk.features.catalogue import FEATURE_COUNT, FEATURE_NAMES
from risk.features.definition import Family, Feature, Unit, ratio
from risk.policy import OUTCOMES
from risk.rules.lists import NEVER_US, NamedList, Purpose
from risk.rules.problems import RuleError
from risk.rules.source import Action, Rule
from tests.assessed import DAY_US, START_US, Assessed, database, write_model

COUNT = 500
LATER = Question(known_by_us=START_US + 400 * DAY_US)
BIG = Rule(
    name="big", expression="amount >= yuan(300)", action=Action.REVIEW, reason="AMOUNT_UNUSUAL"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Assessed:
    made = Assessed(tmp_path_factory.mktemp("backtest"))
    made.assess(COUNT)
    return made


def setup_of(world: Assessed) -> Setup:
    return present_setup(embedded(world.var), world.var / "bundles")


def history_of(world: Assessed, **told: Any) -> History:
    return load_history(embedded(world.var), world.var / "backtest", now_s=START_US / 1e6, **told)


def run(world: Assessed, change: Change, question: Question = LATER) -> Report:
    return backtest(history_of(world), setup_of(world), change, question)


def test_the_set_up_in_use_recomputed_decides_as_it_decided(world: Assessed) -> None:
    report = run(world, Change())

    given = [decision.outcome.value for decision in world.decisions.values()]
    assert report.payments_count == COUNT
    assert report.present.outcomes == {name: given.count(name) for name in OUTCOMES}
    assert min(report.present.outcomes.values()) > 0, "each outcome must occur to be compared"
    assert report.changed == report.present
    assert report.moved == {name: {} for name in OUTCOMES}


def test_the_history_holds_what_was_stored_bit_for_bit(world: Assessed) -> None:
    history = history_of(world)

    columns = np.stack([history.column(name) for name in FEATURE_NAMES], axis=1)
    stored = b"".join(decision.features for decision in world.decisions.values())
    assert np.ascontiguousarray(columns).tobytes() == stored
    assert history.words("trade_no", np.array([COUNT - 1, 0])) == [f"T{COUNT - 1:06d}", "T000000"]


def test_a_history_replayed_in_halves_is_what_was_stored_bit_for_bit(world: Assessed) -> None:
    again = replayed(load_log(embedded(world.var)), model=setup_of(world).model)

    columns = np.stack([again.column(name) for name in FEATURE_NAMES], axis=1)
    stored = list(world.decisions.values())
    assert np.ascontiguousarray(columns).tobytes() == b"".join(one.features for one in stored)
    assert again.column("score_raw").tolist() == [one.score_raw for one in stored]


def test_a_batch_is_scored_as_its_payments_one_by_one(world: Assessed) -> None:
    model = load_model(world.var / "bundles", "m1")
    rows = np.stack([np.frombuffer(d.features) for d in world.decisions.values()])
    raw = [decision.score_raw for decision in world.decisions.values()]

    assert model.raw(lambda place: rows[:, place], len(rows)).tolist() == raw
    assert model.probability(np.array(raw)).tolist() == [
        decision.score for decision in world.decisions.values()
    ]


def test_a_draft_rule_moves_exactly_the_payments_it_fires_for(world: Assessed) -> None:
    report = run(world, Change(rules=(BIG,)))

    amounts = history_of(world).field("amount")
    was = np.array([OUTCOMES.index(d.outcome) for d in world.decisions.values()])
    moved = (amounts >= 30_000) & (was < OUTCOMES.index("REVIEW"))
    assert moved.any()
    assert sum(sum(row.values()) for row in report.moved.values()) == moved.sum()
    assert report.changed.outcomes["REVIEW"] - report.present.outcomes["REVIEW"] == moved.sum()
    (effect,) = report.rules
    assert effect.hits_count == (amounts >= 30_000).sum()
    assert effect.hits_count == (
        effect.fraud_count + effect.genuine_count + effect.unlabelled_count
    )


def test_a_block_list_declines_whom_it_names_until_it_expires(world: Assessed) -> None:
    history, setup = history_of(world), setup_of(world)
    card, at_us = history.field("card"), history.field("at_us")
    until_us = int(np.median(at_us))
    chosen = int(card[0])
    listed = NamedList("stolen", Purpose.BLOCK, {"card": {chosen: until_us, 42: NEVER_US}})

    report = backtest(history, setup, Change(lists=(listed,)), LATER)

    (effect,) = report.rules
    assert effect.name == "list:stolen"
    assert effect.hits_count == ((card == chosen) & (at_us < until_us)).sum() > 0
    assert report.changed.outcomes["DECLINE"] >= effect.hits_count


def test_only_labels_known_by_then_are_counted(world: Assessed) -> None:
    cut_us = START_US + DAY_US // 6

    early = run(world, Change(rules=(BIG,)), replace(LATER, known_by_us=cut_us))
    late = run(world, Change(rules=(BIG,)))

    assert 0 < early.fraud_count < late.fraud_count
    assert early.unlabelled_count > late.unlabelled_count
    for report in (early, late):
        total = report.fraud_count + report.genuine_count + report.unlabelled_count
        assert total == report.payments_count
        assert report.present.caught_count + report.present.missed_count == report.fraud_count


def test_the_last_verdict_on_a_payment_counts(world: Assessed) -> None:
    seq = {trade: decision.event.seq for trade, decision in world.decisions.items()}
    history = history_of(world)
    told = replace(
        history,
        feedback=np.array(
            [
                [9_001, START_US, seq["T000400"], 5],  # Fraud
                [9_002, START_US + 1, seq["T000400"], 6],  # Genuine
                [9_003, START_US, 123_456, 5],  # Of a payment that is not here.
            ],
            dtype=np.int64,
        ),
    )

    labels = told.labels(known_by_us=START_US)
    later = told.labels(known_by_us=START_US + 1)

    assert (labels >= 0).sum() == (later >= 0).sum() == 1
    assert labels[400] == 1
    assert later[400] == 0


def test_another_model_and_thresholds_change_outcomes_both_ways(world: Assessed) -> None:
    write_model(world.var, "m2", seed=11)
    model = load_model(world.var / "bundles", "m2")

    report = run(world, Change(model=model))

    assert report.versions["present_model"] == "m1"
    assert report.versions["changed_model"] == "m2"
    assert any(report.moved.values())
    expected = Setup(rules=setup_of(world).rules, model=model)
    assert backtest(history_of(world), expected, Change(), LATER).present == report.changed


def test_months_and_merchants_add_up_to_the_whole(world: Assessed) -> None:
    report = run(world, Change(rules=(BIG,)))

    moved_count = sum(sum(row.values()) for row in report.moved.values())
    assert sum(mover.payments_count for mover in report.months) == COUNT
    for movers in (report.months, report.merchants):
        assert sum(mover.moved_count for mover in movers) == moved_count
        caught = report.changed.caught_count - report.present.caught_count
        assert sum(mover.caught_count for mover in movers) == caught
    assert {mover.key for mover in report.merchants} <= {f"m{shop}" for shop in range(5)}
    assert set(report.present.money) == {"CNY", "USD"}
    assert report.examples.unknown
    assert all(trade_no in world.decisions for trade_no in report.examples.unknown)


def test_a_stretch_of_time_is_looked_at_alone(world: Assessed) -> None:
    question = replace(LATER, since_us=START_US + DAY_US // 12, until_us=START_US + DAY_US // 8)

    report = run(world, Change(rules=(BIG,)), question)

    assert report.payments_count == 60
    assert question.since_us is not None
    assert question.until_us is not None
    assert question.since_us <= report.since_us <= report.until_us < question.until_us


def test_the_cache_grows_with_the_log_and_is_made_anew_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "STRETCH_EVENTS", 64)
    monkeypatch.setattr(load, "SETTLED_EVENTS", 16)
    world = Assessed(tmp_path)
    world.assess(150)
    first = history_of(world)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "backtest").glob("*.arrow")}
    read: list[tuple[int, int]] = []

    world.assess(80)
    for conn in database(world.var):
        world.attempt_without_decision(conn)
        world.label(conn, 3, START_US + 9 * DAY_US, Feedback.FRAUD)
    grown = history_of(world, progress=lambda *told: read.append(told))

    assert (len(first), len(grown)) == (150, 230)
    assert grown.undecided_count == 1
    assert read[-1][0] == read[-1][1] < 3 * 64, "complete stretches are not read again"
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items() if path.exists())
    assert len(grown.parts) >= 3
    alone = [d.outcome for d in world.decisions.values()]
    assert [OUTCOMES[place] for place in grown.column(OUTCOME)] == alone

    for conn in database(world.var):  # Another log under the same numbers.
        conn.execute(text("UPDATE risk_events SET payload = zeroblob(length(payload))"))
        conn.execute(text("DELETE FROM risk_events WHERE seq > 40"))
    assert len(history_of(world)) == sum(d.event.seq <= 40 for d in world.decisions.values())


def test_a_damaged_cache_is_made_anew(world: Assessed) -> None:
    whole = history_of(world)
    for path in (world.var / "backtest").glob("*.arrow"):
        path.write_bytes(b"not arrow")

    again = history_of(world)

    assert len(again) == len(whole) == COUNT
    assert again.column("amount").tobytes() == whole.field("amount").astype(float).tobytes()


def test_vectors_of_another_catalogue_are_replayed_from_the_log(tmp_path: Path) -> None:
    world = Assessed(tmp_path)
    world.assess(60)
    for conn in database(world.var):
        conn.execute(
            text("UPDATE decisions SET feature_hash = 'old', features = x'00' WHERE seq < 20")
        )

    history = history_of(world)

    columns = np.stack([history.column(name) for name in FEATURE_NAMES], axis=1)
    for row, decision in zip(columns, world.decisions.values(), strict=True):
        assert row.tobytes() == decision.features
    assert columns.shape == (60, FEATURE_COUNT)


DRAFT = Feature(
    name="draft_share_of_day",
    family=Family.DEVICE,
    formula=ratio("device.count_1h", "device.count_24h"),
    unit=Unit.RATIO,
    meaning_en="Share of the device's day in the last hour.",
    meaning_zh="设备一日交易中最近一小时的占比。",
    catches="bursts",
)
ON_DRAFT = Rule(
    name="on_draft",
    expression="draft_share_of_day > 0.5 and amount > yuan(20)",
    action=Action.DECLINE,
    reason="BURST",
)


def test_a_rule_on_a_feature_that_is_not_there_yet_is_tried(world: Assessed) -> None:
    history, log = history_of(world), load_log(embedded(world.var))
    setup, change = setup_of(world), Change(rules=(ON_DRAFT, BIG), features=(DRAFT,))

    beside = backtest(extended(history, log, features=(DRAFT,)), setup, change, LATER)
    alone = backtest(replayed(log, features=(DRAFT,)), setup, change, LATER)
    scored = backtest(replayed(log, features=(DRAFT,), model=setup.model), setup, change, LATER)

    wider = extended(history, log, features=(DRAFT,))
    share = wider.column(DRAFT.name)
    assert share.tobytes() == replayed(log, features=(DRAFT,)).column(DRAFT.name).tobytes()
    assert 0 < (share > 0.5).sum() < (share > 0).sum()
    hits = (share > 0.5) & (history.field("amount") > 2_000)
    effects = {effect.name: effect.hits_count for effect in beside.rules}
    assert effects["on_draft"] == hits.sum() > 0
    assert beside.changed.outcomes == alone.changed.outcomes
    assert beside.present == alone.present == scored.present
    with pytest.raises(NoHistory, match="draft_share_of_day"):
        backtest(history, setup, change, LATER)
    with pytest.raises(RuleError, match="draft_share_of_day"):
        Change(rules=(ON_DRAFT,)).applied_to(setup)


def test_hits_are_counted_for_all_rules_at_once(world: Assessed) -> None:
    history = history_of(world)
    rules = setup_of(world).rules

    hits = count_hits(history, rules)

    fired = [name for decision in world.decisions.values() for name in decision.rule_hits]
    assert hits == {rule.name: fired.count(rule.name) for rule, _ in rules.acting}
    assert sum(hits.values()) > 0


def test_the_command_says_what_a_draft_would_have_done(world: Assessed, tmp_path: Path) -> None:
    stolen = tmp_path / "stolen.txt"
    stolen.write_text("# cards\ncard:c1\ncard:c2\t2030-01-01\nuser:never met\n", "utf-8")
    arguments = ["backtest", "--var", str(world.var), "--decline-at", "0.9", "--examples", "2"]
    arguments += ["--rule", "big: amount >= yuan(300) -> REVIEW AMOUNT_UNUSUAL"]
    arguments += ["--without", "structuring", "--list", f"stolen:BLOCK={stolen}"]
    arguments += ["--known-by", "2030-01-01"]

    plain = CliRunner().invoke(app, arguments)
    answer = CliRunner().invoke(app, [*arguments, "--json"])

    assert plain.exit_code == answer.exit_code == 0, plain.output
    assert "fraud caught 拦截欺诈" in plain.stdout
    assert "list:stolen" in plain.stdout
    report = json.loads(answer.stdout.splitlines()[-1])
    assert report["payments_count"] == COUNT
    assert {rule["name"] for rule in report["rules"]} == {"big", "list:stolen"}
    assert len(report["examples"]["unknown"]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to try"),
        (["--rule", "no arrow here"], "NAME: EXPRESSION -> ACTION"),
        (["--rule", "r: amout > 1 -> REVIEW"], "did you mean 'amount'"),
        (["--rule", "r: amount > 1 -> REJECT"], "unknown action"),
        (["--rule", "r: amount > 1 -> REVIEW NO_SUCH"], "NO_SUCH"),
        (["--rule", "r: amount > 1 -> REVIEW!"], "only DECLINE"),
        (["--without", "nobody"], "no rule is called 'nobody'"),
        (["--list", "stolen"], "NAME[:PURPOSE]=FILE"),
        (["--model", "m9"], "m9"),
        (["--challenge-at", "0.9", "--review-at", "0.1"], "must rise"),
        (["--policy", "/nowhere.json"], "nowhere"),
        (["--decline-at", "0.9", "--since", "yesterday"], "is no time"),
        (["--decline-at", "0.9", "--since", "2040-01-01"], "no payment of the history"),
        (["--rules-draft", "nobody"], "no rule nobody"),
    ],
)
def test_what_can_not_be_tried_is_refused_with_a_reason(
    world: Assessed, arguments: list[str], said: str
) -> None:
    result = CliRunner().invoke(app, ["backtest", "--var", str(world.var), *arguments])

    assert result.exit_code != 0
    assert said in str(result.exception)
