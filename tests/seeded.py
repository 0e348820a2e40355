"""A small gateway database of synthetic rows: a quarter of an hour of traffic, seen at one moment.

Built from the real tables and the real event vectors, by a seeded generator, so that read models
and pages can be tested without a running gateway.
"""

import json
import random
import struct
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, insert

from gateway.domain.ledger import payment_entry, refund_entry
from gateway.store import outbox, tables
from gateway.store.database import DATABASE_NAME
from risk.features.event import encode
from risk.transaction import Client, Device, Instrument, Payer, RiskContext, Transaction

NOW_US = 1_795_000_000_000_000  # 2026-11-18, some seconds past a full minute.
MINUTES = 15
PAY_TYPES = ("alipay", "wechat", "unionpay")
MERCHANTS = (
    ("M1", "星河数码", "ACTIVE"),
    ("M2", "Blue Teapot", "ACTIVE"),
    ("M3", "绿洲生鲜", "ACTIVE"),
)
WAITING = (("M8", "山海旅行", "PENDING"), ("M9", "Northwind Games", "PENDING"))
OUTCOMES = ("APPROVE", "CHALLENGE", "REVIEW", "DECLINE")
REASONS = (
    ("DEVICE_EMULATOR", "device"),
    ("AMOUNT_UNUSUAL", "amount"),
    ("IMPOSSIBLE_TRAVEL", "geo"),
    ("PAYEE_NEW", "graph"),
)


def empty_database(var: Path) -> Connection:
    """Create the database with no rows; the caller closes what it is given."""
    var.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{var / DATABASE_NAME}")
    tables.metadata.create_all(engine)
    conn = engine.connect()
    conn.exec_driver_sql("PRAGMA synchronous = OFF")  # Synthetic rows need no disk flush.
    conn.commit()
    return conn


def seed(var: Path, *, now_us: int = NOW_US, per_minute: int = 8, seed_number: int = 7) -> None:
    """Fill a new database under `var` with synthetic traffic that ends at `now_us`."""
    rng = random.Random(seed_number)  # noqa: S311 - synthetic data, not a secret
    with empty_database(var) as conn, conn.begin():
        for merchant_id, name, status in MERCHANTS + WAITING:
            conn.execute(
                insert(tables.merchants).values(
                    merchant_id=merchant_id,
                    app_id=f"app{merchant_id}",
                    name=name,
                    mcc="5732",
                    status=status,
                    created_at_us=now_us - 3_600_000_000,
                )
            )
        count = MINUTES * per_minute
        for index in range(count):
            at_us = now_us - int((count - index - 0.5) * 60_000_000 / per_minute)
            _payment(conn, rng, index, at_us, now_us)
        _reconciliation(conn, now_us)
        conn.execute(
            insert(tables.audit_log).values(
                actor="李雷",
                action="merchant.approve",
                object_id="M3",
                reason="materials complete",
                detail=json.dumps({"before": {"status": "PENDING"}, "after": {"status": "ACTIVE"}}),
                created_at_us=now_us - 3_000_000_000,
            )
        )
    conn.engine.dispose()


def order_row(index: int, at_us: int, **changes: Any) -> dict[str, Any]:
    """Return the columns of one approved, unpaid order."""
    row: dict[str, Any] = {
        "merchant_id": MERCHANTS[index % len(MERCHANTS)][0],
        "trade_no": f"T{index:024d}",
        "out_trade_no": f"ORD{index:08d}",
        "request_sha256": b"\0" * 32,
        "channel": "sandbox",
        "pay_type": PAY_TYPES[index % len(PAY_TYPES)],
        "amount_minor": 10_000 + 37 * index,
        "currency": "CNY",
        "subject": f"Synthetic order {index}",
        "notify_url": "http://127.0.0.1:9/notify",
        "status": "WAIT_PAY",
        "status_reason": "",
        "decision_id": f"D{index:024d}",
        "risk_outcome": "APPROVE",
        "created_at_us": at_us,
        "expires_at_us": at_us + 1_800_000_000,
    }
    return row | changes


def decision_row(order: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the columns of the decision behind an order."""
    row: dict[str, Any] = {
        "merchant_id": order["merchant_id"],
        "decision_id": order["decision_id"],
        "trade_no": order["trade_no"],
        "seq": int(order["trade_no"][1:]) + 1,
        "outcome": order["risk_outcome"],
        "score": 0.02,
        "score_raw": -3.0,
        "reasons": "[]",
        "rule_hits": "[]",
        "features": struct.pack("<2d", 1.0, float("nan")),
        "presence": b"\1",
        "missing": json.dumps(["behaviour"]),
        "feature_hash": "synthetic",
        "model_version": "m-20261118-1",
        "rule_version": "r1",
        "policy_version": "p1",
        "engine_version": "1",
        "key_seqs": b"",
        "degraded": "",
        "fallback": "",
        "elapsed_us": 64,
        "decided_at_us": order["created_at_us"],
    }
    return row | changes


def _payment(conn: Connection, rng: random.Random, index: int, at_us: int, now_us: int) -> None:
    outcome = rng.choices(OUTCOMES, weights=(88, 5, 4, 3))[0]
    status = {"REVIEW": "CREATED", "DECLINE": "CLOSED"}.get(outcome, "WAIT_PAY")
    reason = {"REVIEW": "REVIEW", "DECLINE": "DECLINED"}.get(outcome, "")
    hold_s = 86_400 if reason == "REVIEW" else 1_800
    amount_minor = max(100, int(rng.lognormvariate(9.5, 1.2)))
    order = order_row(
        index,
        at_us,
        amount_minor=amount_minor,
        status=status,
        status_reason=reason,
        risk_outcome=outcome,
        expires_at_us=at_us + hold_s * 1_000_000,
    )
    paid = status == "WAIT_PAY" and rng.random() < 0.9
    if paid:
        order |= {"status": "SUCCESS", "paid_minor": amount_minor, "paid_at_us": at_us + 2_000_000}
    score = {"APPROVE": 0.01, "CHALLENGE": 0.35, "REVIEW": 0.6, "DECLINE": 0.93}[outcome]
    picked = () if outcome == "APPROVE" else rng.sample(REASONS, 2)
    decision = decision_row(
        order,
        score=min(1.0, max(0.0, score + rng.gauss(0, 0.03))),
        reasons=json.dumps(
            [
                {"code": code, "family": family, "contribution": round(1.5 / (place + 1), 3)}
                for place, (code, family) in enumerate(picked)
            ]
        ),
        elapsed_us=int(rng.lognormvariate(4.2, 0.4)),
        degraded="deadline" if index % 50 == 49 else "",
        fallback="rules" if index % 50 == 49 else "",
    )
    conn.execute(insert(tables.orders).values(**order))
    conn.execute(insert(tables.decisions).values(**decision))
    _attempt(conn, index, order)
    if paid:
        _settled(conn, order, at_us, delivered=index % 10 != 0)
    if paid and index % 12 == 0:
        _refunded(conn, order, at_us)


def _attempt(conn: Connection, index: int, order: dict[str, Any]) -> None:
    context = RiskContext(
        payer=Payer(account_id=f"u{index % 30}"),
        instrument=Instrument(token=f"card{index % 40}"),
        client=Client(ip=f"198.51.100.{index % 200}"),
        device=Device(device_id=f"d{index % 25}"),
    )
    transaction = Transaction(
        event_id=order["trade_no"],
        merchant_id=order["merchant_id"],
        amount_minor=order["amount_minor"],
        currency="CNY",
        pay_type=order["pay_type"],
        context=context,
    )
    payload = encode(transaction, order["created_at_us"], index + 1).astype("<i8").tobytes()
    conn.execute(
        insert(tables.risk_events).values(
            seq=index + 1,
            kind="ATTEMPT",
            at_us=order["created_at_us"],
            trade_no=order["trade_no"],
            payload=payload,
        )
    )


def _settled(conn: Connection, order: dict[str, Any], at_us: int, *, delivered: bool) -> None:
    entry = payment_entry(
        merchant_id=order["merchant_id"],
        trade_no=order["trade_no"],
        channel="sandbox",
        amount_minor=order["amount_minor"],
        currency="CNY",
    )
    outbox.book(conn, entry, at_us + 2_000_000)
    conn.execute(
        insert(tables.notifications).values(
            merchant_id=order["merchant_id"],
            event_id=f"{order['trade_no']}:SUCCESS",
            trade_no=order["trade_no"],
            trade_status="SUCCESS",
            notify_url=order["notify_url"],
            payload="{}",
            status="DELIVERED" if delivered else "PENDING",
            attempts=1,
            next_attempt_at_us=at_us + 120_000_000,
            created_at_us=at_us + 2_000_000,
            delivered_at_us=at_us + 2_100_000 if delivered else 0,
        )
    )


def _refunded(conn: Connection, order: dict[str, Any], at_us: int) -> None:
    entry = refund_entry(
        merchant_id=order["merchant_id"],
        trade_no=order["trade_no"],
        refund_no=f"R{order['trade_no'][1:]}",
        channel="sandbox",
        amount_minor=order["amount_minor"] // 2,
        currency="CNY",
    )
    outbox.book(conn, entry, at_us + 5_000_000)


def _reconciliation(conn: Connection, now_us: int) -> None:
    breaks: list[dict[str, Any]] = [
        {"kind": "AMOUNT_DIFF", "ours_minor": 12_300, "theirs_minor": 12_000},
        {"kind": "CHANNEL_ONLY", "ours_minor": None, "theirs_minor": 8_800},
        {"kind": "LEDGER_ONLY", "ours_minor": 4_500, "theirs_minor": None},
    ]
    conn.execute(
        insert(tables.recon_runs).values(
            run_id="RUN1",
            channel="sandbox",
            bill_day="2026-11-17",
            bill_sha256="ab" * 32,
            bill_rows=100,
            ledger_rows=100,
            matched=98,
            breaks=len(breaks),
            gap_minor=4_000,
            created_at_us=now_us - 60_000_000,
        )
    )
    for line_no, row in enumerate(breaks):
        conn.execute(
            insert(tables.recon_breaks).values(
                run_id="RUN1",
                line_no=line_no,
                trade_no=f"T{line_no:024d}",
                merchant_id="M1",
                currency="CNY",
                detail="amount_minor" if row["kind"] == "AMOUNT_DIFF" else "",
                **row,
            )
        )
