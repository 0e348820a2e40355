"""What the console reads is what the database holds, and no more of it than asked for."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import insert, text, update
from sqlalchemy.exc import OperationalError

from gateway.queries.audit import audit_trail
from gateway.queries.breaks import (
    Break,
    recon_breaks,
    recon_runs,
    trial_balance,
    unbalanced_entries,
)
from gateway.queries.decisions import latest_decisions
from gateway.queries.health import backlog
from gateway.queries.live import FRESH_US, LiveTraffic
from gateway.queries.merchants import list_merchants
from gateway.queries.orders import held_orders, order_detail
from gateway.queries.reader import (
    DatabaseMissing,
    DatabaseUnreadable,
    Reader,
    fetch,
    open_reader,
)
from gateway.queries.related import related_orders
from gateway.queries.traffic import (
    MINUTE_US,
    OUTCOMES,
    decision_minutes,
    latency_buckets,
    latency_quantile_us,
    order_minutes,
)
from gateway.store import tables
from gateway.store.database import DATABASE_NAME, embedded
from tests.seeded import (
    MERCHANTS,
    MINUTES,
    NOW_US,
    WAITING,
    decision_row,
    empty_database,
    order_row,
    seed,
)

PER_MINUTE = 8
COUNT = MINUTES * PER_MINUTE


@pytest.fixture
def var(tmp_path: Path) -> Path:
    seed(tmp_path, per_minute=PER_MINUTE)
    return tmp_path


@pytest.fixture
def reader(var: Path) -> Reader:
    return open_reader(embedded(var))


def test_a_folder_without_a_database_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DatabaseMissing, match=DATABASE_NAME):
        open_reader(embedded(tmp_path))


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).write_bytes(b"not a database, but long enough to look at" * 50)

    with pytest.raises(DatabaseUnreadable, match="not a database"):
        recon_runs(open_reader(embedded(tmp_path)))


def test_a_database_before_its_first_migration_is_unreadable_not_empty(tmp_path: Path) -> None:
    (tmp_path / DATABASE_NAME).touch()

    with pytest.raises(DatabaseUnreadable, match="no such table"):
        held_orders(open_reader(embedded(tmp_path)))


def test_a_reader_can_not_write(reader: Reader) -> None:
    with reader.connect() as conn, pytest.raises(OperationalError, match="readonly"):
        conn.execute(text("DELETE FROM orders"))


def test_minutes_add_up_to_all_decisions(reader: Reader) -> None:
    minutes = decision_minutes(reader, 0, NOW_US + 1)

    rows = fetch(reader, text("SELECT outcome, COUNT(*) FROM decisions GROUP BY outcome"))
    counts = sum(minute.outcome_counts for minute in minutes.values())
    assert dict(zip(OUTCOMES, np.asarray(counts).tolist(), strict=True)) == {
        outcome: dict(rows).get(outcome, 0) for outcome in OUTCOMES
    }
    assert sum(int(minute.latency_counts.sum()) for minute in minutes.values()) == COUNT
    assert sum(int(minute.score_counts.sum()) for minute in minutes.values()) == COUNT
    assert sum(minute.degraded_count for minute in minutes.values()) == COUNT // 50
    assert all(at_us % MINUTE_US == 0 for at_us in minutes)


def test_minutes_know_which_orders_were_paid(reader: Reader) -> None:
    minutes = order_minutes(reader, 0, NOW_US + 1).values()

    ((paid, opened),) = fetch(
        reader,
        text(
            "SELECT SUM(paid_minor > 0), SUM(status NOT IN ('CREATED') AND status_reason = '')"
            " FROM orders"
        ),
    )
    assert (sum(m.paid_count for m in minutes), sum(m.opened_count for m in minutes)) == (
        paid,
        opened,
    )


@pytest.mark.parametrize("quantile", [0.5, 0.99])
def test_a_latency_percentile_is_at_most_five_percent_high(quantile: float) -> None:
    elapsed_us = np.random.default_rng(3).lognormal(5.0, 1.0, 5_000).astype(np.int64)

    read_us = latency_quantile_us(latency_buckets(elapsed_us), quantile)

    exact_us = np.quantile(elapsed_us, quantile, method="inverted_cdf")
    assert read_us is not None
    assert exact_us <= read_us <= exact_us * 1.05


def test_nothing_counted_has_no_percentile() -> None:
    assert latency_quantile_us(latency_buckets(np.array([], dtype=np.int64)), 0.5) is None


def test_the_live_window_is_the_sum_of_its_minutes(reader: Reader) -> None:
    window = LiveTraffic(reader).window(NOW_US, MINUTES + 1)

    assert window.is_live
    assert window.all_decisions.count == COUNT
    assert len(window.minutes_at_us) == MINUTES + 1
    assert sum(minute.count for minute in window.decisions) == COUNT


def test_a_kept_window_sees_what_a_fresh_one_sees(var: Path, reader: Reader) -> None:
    kept = LiveTraffic(reader)
    kept.window(NOW_US, 15)
    later_us = NOW_US + 90_000_000
    with empty_database(var) as conn, conn.begin():
        order = order_row(COUNT + 1, later_us - 1, risk_outcome="DECLINE", status="CLOSED")
        conn.execute(insert(tables.orders).values(**order))
        conn.execute(insert(tables.decisions).values(**decision_row(order)))
        conn.execute(
            update(tables.orders)
            .where(tables.orders.c.created_at_us > NOW_US - MINUTE_US)
            .values(status="SUCCESS", paid_minor=tables.orders.c.amount_minor)
        )
    conn.engine.dispose()

    again = kept.window(later_us, 15)
    fresh = LiveTraffic(reader).window(later_us, 15)

    assert [minute.count for minute in again.decisions] == [m.count for m in fresh.decisions]
    assert again.orders == fresh.orders
    assert again.all_decisions.outcome_counts.tolist() == (
        fresh.all_decisions.outcome_counts.tolist()
    )


def test_a_longer_window_reads_what_a_shorter_one_did_not(reader: Reader) -> None:
    live = LiveTraffic(reader)
    live.window(NOW_US, 5)

    assert live.window(NOW_US, 60).all_decisions.count == COUNT
    assert live.window(NOW_US + FRESH_US, 5).all_decisions.count < COUNT


def test_a_window_without_traffic_goes_back_to_the_last_traffic(reader: Reader) -> None:
    window = LiveTraffic(reader).window(NOW_US + 7 * 86_400_000_000, MINUTES + 1)

    assert not window.is_live
    assert window.all_decisions.count == COUNT


def test_a_database_without_traffic_has_an_empty_window(tmp_path: Path) -> None:
    empty_database(tmp_path).engine.dispose()

    window = LiveTraffic(open_reader(embedded(tmp_path))).window(NOW_US, 15)

    assert window.last_at_us is None
    assert window.all_decisions.count == 0
    assert window.all_decisions.latency_us(0.5) is None
    assert window.all_orders.success_ratio is None


def test_the_latest_decisions_come_newest_first(reader: Reader) -> None:
    rows = latest_decisions(reader, until_us=NOW_US + 1, limit=10)

    assert len(rows) == 10
    assert [row.decided_at_us for row in rows] == sorted(
        (row.decided_at_us for row in rows), reverse=True
    )
    assert {row.merchant_name for row in rows} <= {name for _, name, _ in MERCHANTS}


def test_decisions_can_be_asked_for_by_outcome(reader: Reader) -> None:
    rows = latest_decisions(reader, until_us=NOW_US + 1, limit=500, outcome="DECLINE")

    assert rows
    assert {row.outcome for row in rows} == {"DECLINE"}
    assert all(row.reasons for row in rows)


def test_the_queue_holds_exactly_the_orders_under_review(reader: Reader) -> None:
    held = held_orders(reader)

    expected = fetch(reader, text("SELECT trade_no FROM orders WHERE status_reason = 'REVIEW'"))
    assert {order.trade_no for order in held} == {row[0] for row in expected}
    assert [order.expires_at_us for order in held] == sorted(o.expires_at_us for o in held)


def test_the_queue_is_read_through_its_index(reader: Reader) -> None:
    plan = fetch(
        reader,
        text(
            "EXPLAIN QUERY PLAN SELECT * FROM orders WHERE"
            " orders.status IN ('CREATED','WAIT_PAY') AND status = 'CREATED'"
            " AND status_reason = 'REVIEW' ORDER BY expires_at_us LIMIT 10"
        ),
    )
    assert any("ix_orders_due" in str(step) for step in plan)


def test_an_order_is_shown_with_its_decision_and_history(reader: Reader) -> None:
    ((trade_no,),) = fetch(reader, text("SELECT trade_no FROM ledger_entries LIMIT 1"))

    detail = order_detail(reader, trade_no)

    assert detail is not None
    assert detail.status == "SUCCESS"
    assert len(detail.features) == 16
    assert any(event.kind.startswith("NOTIFY_") for event in detail.events)


def test_an_unknown_order_is_none(reader: Reader) -> None:
    assert order_detail(reader, "T404") is None


def test_related_orders_share_what_they_say_they_share(reader: Reader) -> None:
    related = related_orders(reader, f"T{60:024d}")

    # Synthetic identities repeat every 30 (user), 25 (device) and 40 (card) payments.
    by_number = {order.trade_no: set(order.shared) for order in related}
    assert by_number[f"T{30:024d}"] == {"user"}
    assert by_number[f"T{85:024d}"] == {"device"}
    assert by_number[f"T{100:024d}"] == {"card"}
    assert f"T{60:024d}" not in by_number
    assert f"T{61:024d}" not in by_number


def test_an_order_that_was_never_logged_has_no_relations(reader: Reader) -> None:
    assert related_orders(reader, "T404") == ()


def test_merchants_can_be_asked_for_by_status(reader: Reader) -> None:
    waiting = list_merchants(reader, status="PENDING")

    assert [(m.merchant_id, m.name, m.status) for m in waiting] == list(WAITING)
    assert len(list_merchants(reader)) == len(MERCHANTS) + len(WAITING)


def test_the_books_of_real_entries_balance(reader: Reader) -> None:
    balance = trial_balance(reader)

    assert balance.is_balanced
    assert balance.sum_minor == {"CNY": 0}
    assert unbalanced_entries(reader) == ()


def test_a_posting_without_its_other_leg_is_found(var: Path, reader: Reader) -> None:
    with empty_database(var) as conn, conn.begin():
        conn.execute(text("DELETE FROM ledger_postings WHERE rowid = 1"))
    conn.engine.dispose()

    assert not trial_balance(reader).is_balanced
    assert len(unbalanced_entries(reader)) == 1


def test_a_break_says_the_difference(reader: Reader) -> None:
    (run,) = recon_runs(reader, channel="sandbox")
    breaks = recon_breaks(reader, run.run_id)

    assert [found.difference_minor for found in breaks] == [-300, 8_800, -4_500]
    assert sum(found.difference_minor for found in breaks) == run.gap_minor
    assert recon_runs(reader, channel="other") == ()


def test_a_missing_refund_counts_down(reader: Reader) -> None:
    missing = Break(1, "REFUND_LEDGER_ONLY", "T1", "R1", "M1", 500, None, "CNY", "", "OPEN")

    assert missing.difference_minor == 500


def test_the_backlog_counts_what_merchants_have_not_heard(reader: Reader) -> None:
    ((pending,),) = fetch(
        reader, text("SELECT COUNT(*) FROM notifications WHERE status = 'PENDING'")
    )

    waiting = backlog(reader, NOW_US)

    assert waiting.pending_count == pending > 0
    assert waiting.overdue_s > 0
    assert waiting.inbox_count == 0


def test_the_audit_trail_can_be_asked_for_by_object(reader: Reader) -> None:
    (entry,) = audit_trail(reader, object_id="M3")

    assert (entry.actor, entry.action) == ("李雷", "merchant.approve")
    assert entry.detail["after"] == {"status": "ACTIVE"}
    assert audit_trail(reader, object_id="M1") == ()
