"""Decisions through the whole gateway: policy taken over, degraded aloud, shadowed, explained."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway import policing
from gateway.explain import explain
from gateway.store.database import embedded
from risk import Engine
from risk.policy import Costs, Override, Policy, Thresholds
from risk.scorer import BundleRefused, challenge, unchallenge
from tests.scenario.test_while_running import publish_small_model
from tests.stand import Stand, standing, until

STRICT = Thresholds(challenge_at=0.0, review_at=0.0, decline_at=2.0)
CONTEXT = json.dumps(
    {
        "payer": {"account_id": "u1", "country": "CN"},
        "device": {"device_id": "d1", "risk_labels": ["emulator"]},
        "client": {"ip": "203.0.113.9"},
    }
)


def engine_of(stand: Stand) -> Engine:
    engine = stand.gateway.context.risk
    assert engine is not None
    return engine


def break_model(stand: Stand, error: Exception) -> None:
    """Let the model in use fail from now on."""
    bundle = engine_of(stand)._kit.bundle
    assert bundle is not None

    def fail(features: object) -> tuple[float, float]:
        raise error

    bundle.score = fail  # type: ignore[method-assign]  # the fault under test


def with_model(
    var: Path,
    scenario: Callable[[Stand], Any],
    *,
    policy: Policy = Policy(kind="thresholds"),  # noqa: B008 - frozen
    **settings: Any,
) -> None:
    policing.publish(embedded(var), policy, author="test", note="for the test", now_us=1)

    async def run() -> None:
        await asyncio.to_thread(publish_small_model, var / "bundles", "v-one")
        async with standing(var, **settings) as stand:
            await scenario(stand)

    asyncio.run(run())


def test_a_policy_that_is_published_decides_without_a_restart(tmp_path: Path) -> None:
    async def scenario(stand: Stand) -> None:
        assert (await stand.shop.create())["risk_outcome"] == "APPROVE"
        mine = Override(thresholds=STRICT)
        policy = Policy(merchants={stand.shop.new.merchant_id: mine})
        await asyncio.to_thread(
            policing.publish,
            embedded(tmp_path),
            policy,
            author="li",
            note="x",
            now_us=stand.clock(),
        )
        engine = engine_of(stand)
        await until(lambda: engine.policy_version == policy.version, what="the new policy")
        held = await stand.shop.create()

        assert held["risk_outcome"] == "REVIEW"
        versions = stand.rows("SELECT policy_version FROM decisions ORDER BY seq")
        assert versions[1] == (policy.version,)

    with_model(tmp_path, scenario)


def test_a_damaged_policy_is_refused_aloud_and_the_old_one_goes_on(tmp_path: Path) -> None:
    async def scenario(stand: Stand) -> None:
        before = engine_of(stand).policy_version
        with closing(sqlite3.connect(tmp_path / "yumen.db")) as raw, raw:
            raw.execute("INSERT INTO policy_live VALUES (9, 'policy-damaged', 'x', '', 1)")
        await until(lambda: stand.rows("SELECT 1 FROM alerts"), what="the alert")

        assert engine_of(stand).policy_version == before
        assert stand.rows("SELECT kind, severity FROM alerts") == [("policy.refused", "ERROR")]

    with_model(tmp_path, scenario)


def test_a_degraded_decision_says_so_everywhere(tmp_path: Path) -> None:
    async def scenario(stand: Stand) -> None:
        healthy = await stand.shop.create()
        break_model(stand, ValueError("secret inside"))
        params = stand.shop.params()
        answer = await stand.shop.ok("create", **params)
        again = await stand.shop.ok("create", **params)
        await until(lambda: stand.rows("SELECT 1 FROM alerts"), what="the alert")

        assert healthy["degraded"] == ""
        assert answer["degraded"] == "rules:fault:model"
        assert again == answer
        assert stand.rows("SELECT degraded, step, fallback FROM decisions ORDER BY seq")[1] == (
            "fault:model:ValueError",
            "rules",
            "rules",
        )
        assert stand.rows("SELECT kind, severity, count FROM alerts") == [
            ("risk.degraded:fault:model", "ERROR", 1)
        ]
        metrics = stand.gateway.metrics.registry
        labels = {"reason": "fault:model", "step": "rules"}
        assert metrics.get_sample_value("yumen_risk_degraded_total", labels) == 1.0

    with_model(tmp_path, scenario)


def test_alerts_that_wait_at_the_end_are_written(tmp_path: Path) -> None:
    async def scenario(stand: Stand) -> None:
        break_model(stand, ValueError())
        await stand.shop.create()

    with_model(tmp_path, scenario, worker_poll_s=60)
    with closing(sqlite3.connect(tmp_path / "yumen.db")) as raw:
        assert raw.execute("SELECT kind FROM alerts").fetchall() == [("risk.degraded:fault:model",)]


def test_a_challenger_comes_answers_beside_and_goes(tmp_path: Path) -> None:
    async def scenario(stand: Stand) -> None:
        bundles = tmp_path / "bundles"
        engine = engine_of(stand)
        alone = await stand.shop.create()
        await asyncio.to_thread(challenge, bundles, "v-one")
        await until(lambda: engine.challenger_version == "v-one", what="the challenger")
        watched = await stand.shop.create()
        unchallenge(bundles)
        await until(lambda: engine.challenger_version == "none", what="its end")
        (bundles / "challenger.json").write_text('{"version": "absent"}')
        await until(lambda: stand.rows("SELECT 1 FROM alerts"), what="the refusal")

        assert alone["risk_outcome"] == watched["risk_outcome"] == "APPROVE"
        first, second = (
            json.loads(shadow) for (shadow,) in stand.rows("SELECT shadow FROM decisions")
        )
        assert first == {}
        assert (second["model_version"], second["outcome"]) == ("v-one", "APPROVE")
        assert stand.rows("SELECT kind FROM alerts") == [("challenger.refused",)]
        with pytest.raises(BundleRefused):
            challenge(bundles, "absent")

    with_model(tmp_path, scenario)


def decisions_of_all_kinds(var: Path) -> list[str]:
    """Make two flagged decisions with a challenger beside them, and a degraded one."""
    numbers: list[str] = []

    async def scenario(stand: Stand) -> None:
        await asyncio.to_thread(challenge, var / "bundles", "v-one")
        engine = engine_of(stand)
        await until(lambda: engine.challenger_version == "v-one", what="the challenger")
        first = await stand.shop.create(risk_context=CONTEXT)
        second = await stand.shop.create(risk_context=CONTEXT)
        break_model(stand, ValueError())
        third = await stand.shop.create(risk_context=CONTEXT)
        numbers.extend(order["trade_no"] for order in (first, second, third))

    free = Costs(insult_minor=0, margin_ppm=0, challenge_minor=0, review_minor=0)
    with_model(var, scenario, policy=Policy(costs=free))
    return numbers


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    var = tmp_path_factory.mktemp("explained")
    return var, decisions_of_all_kinds(var)


def test_a_decision_is_made_again_part_by_part_and_is_equal(
    explained: tuple[Path, list[str]],
) -> None:
    var, numbers = explained
    healthy, _, degraded = (explain(embedded(var), var / "bundles", number) for number in numbers)

    assert healthy.facts["outcome"] in {"CHALLENGE", "REVIEW", "DECLINE"}
    assert set(healthy.comparison) == {
        *("features", "presence", "score", "rules", "outcome", "costs", "reasons", "challenger"),
    }
    assert set(healthy.comparison.values()) == {"equal, bit for bit"}
    assert healthy.equal
    assert degraded.comparison.pop("score") == "not compared: no model took part"  # type: ignore[attr-defined]  # a dict
    assert set(degraded.comparison.values()) == {"equal, bit for bit"}
    assert degraded.facts["step"] == "rules"


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("outcome = 'APPROVE'", "outcome"),
        ("score = score + 1e-9", "score"),
        ("rule_hits = '[\"other\"]'", "rules"),
        ("costs = '[1.0, 2.0, 3.0, 4.0]'", "costs"),
        ("category = 'travel'", "costs"),
        ("reasons = '[]'", "reasons"),
        ("presence = zeroblob(length(presence))", "presence"),
        ("features = zeroblob(length(features))", "features"),
        ("shadow = json_set(shadow, '$.outcome', 'APPROVE')", "challenger"),
    ],
)
def test_what_was_changed_afterwards_differs_by_name(
    explained: tuple[Path, list[str]], change: str, part: str
) -> None:
    var, (number, *_) = explained
    with closing(sqlite3.connect(var / "yumen.db")) as raw:
        before = raw.execute("SELECT * FROM decisions WHERE trade_no = ?", (number,)).fetchone()
        with raw:
            raw.execute(f"UPDATE decisions SET {change} WHERE trade_no = ?", (number,))
        try:
            found = explain(embedded(var), var / "bundles", number)
        finally:
            with raw:
                raw.execute("DELETE FROM decisions WHERE trade_no = ?", (number,))
                marks = ", ".join("?" for _ in before)
                raw.execute(f"INSERT INTO decisions VALUES ({marks})", before)

    assert not found.equal
    assert found.comparison[part].startswith("differs")


@pytest.mark.parametrize(
    ("change", "part", "why"),
    [
        ("rule_version = 'rules-gone'", "rules", "rule set rules-gone is not kept here"),
        ("policy_version = 'policy-gone'", "outcome", "policy policy-gone is not kept here"),
        ("model_version = 'v-gone'", "score", "model v-gone is not here"),
        ("engine_version = '0.0'", "reasons", "made by engine 0.0"),
    ],
)
def test_what_is_not_there_any_more_is_not_compared_and_says_so(
    explained: tuple[Path, list[str]], change: str, part: str, why: str
) -> None:
    var, (number, *_) = explained
    with closing(sqlite3.connect(var / "yumen.db")) as raw:
        raw.execute(f"UPDATE decisions SET {change} WHERE trade_no = ?", (number,))
        try:
            raw.commit()
            found = explain(embedded(var), var / "bundles", number)
        finally:
            column = change.split()[0]
            raw.execute(
                f"UPDATE decisions SET {column} = (SELECT {column} FROM decisions"
                " WHERE trade_no <> ?) WHERE trade_no = ?",
                (number, number),
            )
            raw.commit()

    assert found.equal
    assert why in found.comparison[part]
