"""The invariants hold of a gateway that has worked, and each of them notices what breaks it."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

from gateway.clock import wall_clock_us
from gateway.explain import explain
from gateway.invariants import Finding, check_all, replayed
from gateway.queries.reader import open_reader
from gateway.refusal import Refused
from gateway.store.database import embedded
from risk.features.event import encode, stack
from risk.features.replay import replay
from tests.stand import standing, until
from tests.unit.test_risk_event import AT_US, ATTEMPT_V1, frozen, payment

Acknowledged = dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Acknowledged]:
    """A folder in which payments were made, paid and refunded, and the gateway stopped."""
    var = tmp_path_factory.mktemp("worked")
    acknowledged: Acknowledged = {}

    async def work() -> None:
        async with standing(var) as stand:
            shop = stand.shop
            for place in range(6):
                context = f'{{"payer":{{"account_id":"u{place % 2}"}}}}'
                order = await shop.create(risk_context=context)
                acknowledged[shop.new.merchant_id, order["out_trade_no"]] = order["trade_no"]
                if place < 4:
                    await shop.act_as_payer(order["pay_url"])
                    heard = place + 1
                    await until(lambda heard=heard: len(shop.heard) >= heard, what="news")
            await shop.ok(
                "refund",
                out_trade_no=next(iter(acknowledged))[1],
                refund_amount="2.30",
                refund_reason="cold",
            )
            await until(lambda: len(shop.heard) >= 5, what="news of the refund")
            await until(
                lambda: stand.rows("SELECT 1 FROM risk_events WHERE kind = 'OUTCOME'") != [],
                what="an outcome in the log",
            )

    asyncio.run(work())
    return var, acknowledged


def findings(var: Path, acknowledged: Acknowledged, ahead_us: int = 0) -> dict[str, Finding]:
    reader = open_reader(embedded(var))
    try:
        return {f.name: f for f in check_all(reader, wall_clock_us() + ahead_us, acknowledged)}
    finally:
        reader.dispose()


def broken_by(worked: tuple[Path, Acknowledged], tmp_path: Path, *damage: str) -> set[str]:
    """Copy the database, damage the copy, and return the names of what no longer holds."""
    var, acknowledged = worked
    with (
        closing(sqlite3.connect(var / "yumen.db")) as original,
        closing(sqlite3.connect(tmp_path / "yumen.db")) as copy,
    ):
        original.backup(copy)
        copy.execute("PRAGMA ignore_check_constraints = ON")
        for statement in damage:
            assert copy.execute(statement).rowcount > 0, statement
        copy.commit()
    found = findings(tmp_path, acknowledged)
    return {name for name, finding in found.items() if not finding.held}


def test_everything_holds_of_a_gateway_that_worked(worked: tuple[Path, Acknowledged]) -> None:
    found = findings(*worked)

    assert [finding for finding in found.values() if not finding.held] == []
    assert found["vectors_replay"].detail == "6 vectors equal bit for bit"


FIRST_ORDER = "(SELECT min(trade_no) FROM orders)"


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("ledger_balanced", ["UPDATE ledger_postings SET amount_minor = 1 WHERE line_no = 0"]),
        ("ledger_balanced", ["DELETE FROM ledger_postings"]),
        (
            "orders_match_ledger",
            [f"UPDATE orders SET paid_minor = 1 WHERE trade_no = {FIRST_ORDER}"],
        ),
        ("orders_match_ledger", ["DELETE FROM orders WHERE status = 'SUCCESS'"]),
        ("refunds_within_paid", ["UPDATE refunds SET amount_minor = 99999"]),
        ("orders_single", ["DELETE FROM decisions"]),
        ("notifications_go", ["DELETE FROM notifications"]),
        (
            "notifications_go",
            ["UPDATE notifications SET status = 'PENDING', next_attempt_at_us = 1"],
        ),
        (
            "acknowledged_exist",
            [f"UPDATE orders SET out_trade_no = 'x' WHERE trade_no = {FIRST_ORDER}"],
        ),
        ("log_dense", ["DELETE FROM risk_events WHERE seq = 2"]),
        ("log_dense", ["UPDATE risk_events SET trade_no = 'T0' WHERE kind = 'ATTEMPT'"]),
        (
            "vectors_replay",
            [
                (
                    "UPDATE decisions SET features = zeroblob(length(features))"
                    " WHERE seq = (SELECT max(seq) FROM decisions)"
                )
            ],
        ),
    ],
)
def test_each_invariant_notices_what_breaks_it(
    worked: tuple[Path, Acknowledged], tmp_path: Path, name: str, damage: list[str]
) -> None:
    assert name in broken_by(worked, tmp_path, *damage)


def test_a_decision_is_explained_and_recomputed(worked: tuple[Path, Acknowledged]) -> None:
    var, acknowledged = worked
    trade_no = list(acknowledged.values())[-1]

    explanation = explain(embedded(var), var / "bundles", trade_no)

    assert explanation.equal
    assert explanation.comparison["features"] == "equal, bit for bit"
    assert explanation.facts["trade_no"] == trade_no
    assert (
        explain(embedded(var), var / "bundles", explanation.facts["decision_id"]).as_dict()
        == explanation.as_dict()
    )
    assert any("recomputed features" in line for line in explanation.lines())


def test_a_changed_vector_is_explained_as_different(
    worked: tuple[Path, Acknowledged], tmp_path: Path
) -> None:
    broken_by(worked, tmp_path, "UPDATE decisions SET features = zeroblob(length(features))")

    explanation = explain(embedded(tmp_path), tmp_path / "bundles", list(worked[1].values())[-1])

    assert not explanation.equal
    assert explanation.comparison["features"].startswith("differs in ")


@pytest.mark.parametrize("make", [lambda var: var, lambda var: var / "nowhere"])
def test_what_is_not_there_is_refused(
    worked: tuple[Path, Acknowledged], make: Callable[[Path], Path]
) -> None:
    with pytest.raises(Refused):
        explain(embedded(make(worked[0])), make(worked[0]) / "bundles", "T404")


def test_a_log_that_the_first_release_began_is_replayed() -> None:
    payloads = [frozen(ATTEMPT_V1), encode(payment(), AT_US, 2).tobytes()]
    database = create_engine("sqlite://", poolclass=StaticPool)
    with database.connect() as conn:
        conn.execute(text("CREATE TABLE risk_events (seq INTEGER, payload BLOB)"))
        for seq, payload in enumerate(payloads, start=1):
            row = {"seq": seq, "payload": payload}
            conn.execute(text("INSERT INTO risk_events VALUES (:seq, :payload)"), row)
        parts = list(replayed(conn))
    database.dispose()

    assert [first for first, _ in parts] == [1]
    assert parts[0][1].tobytes() == replay(stack(payloads)).tobytes()
