"""The database moves an order only along the table's arrows, and only from where it was read."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, insert, text
from sqlalchemy.exc import IntegrityError

from gateway.domain.errors import IllegalTransition
from gateway.domain.order import TRANSITIONS, Status
from gateway.store import orders
from gateway.store.orders import Order
from gateway.store.tables import metadata
from gateway.store.tables import orders as table


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{tmp_path / 'yumen.db'}")
    metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def put(conn: Connection, stands: Status, **columns: object) -> Order:
    row: dict[str, object] = {
        "merchant_id": "M1",
        "trade_no": "T1",
        "out_trade_no": "O1",
        "request_sha256": b"",
        "channel": "sandbox",
        "pay_type": "alipay",
        "amount_minor": 1000,
        "currency": "CNY",
        "subject": "tea",
        "notify_url": "http://127.0.0.1/",
        "status": stands.value,
        "decision_id": "D1",
        "risk_outcome": "APPROVE",
        "created_at_us": 1,
        "expires_at_us": 2,
    }
    conn.execute(insert(table).values({**row, **columns}))
    order = orders.get(conn, "T1")
    assert order is not None
    return order


@pytest.mark.parametrize(("status", "target"), list(product(Status, Status)))
def test_every_pair_of_statuses_is_moved_or_refused(
    conn: Connection, status: Status, target: Status
) -> None:
    order = put(conn, status)

    if target in TRANSITIONS[status]:
        moved = orders.move(conn, order, target, status_reason="why")
        assert moved is not None
        assert moved == orders.get(conn, "T1")
        assert (moved.status, moved.version) == (target, order.version + 1)
    else:
        with pytest.raises(IllegalTransition):
            orders.move(conn, order, target)
        assert orders.get(conn, "T1") == order


@pytest.mark.parametrize("status", [status for status in Status if TRANSITIONS[status]])
def test_the_slower_of_two_writes_nothing(conn: Connection, status: Status) -> None:
    order = put(conn, status)
    first = orders.change(conn, order, status_reason="faster")

    for target in TRANSITIONS[status]:
        assert orders.move(conn, order, target) is None
    assert orders.get(conn, "T1") == first


@pytest.mark.parametrize(
    "columns",
    [
        {"paid_minor": 100, "refund_reserved_minor": 101},
        {"paid_minor": 100, "refund_reserved_minor": 50, "refunded_minor": 51},
        {"amount_minor": 0},
        {"status": "PAID"},
    ],
)
def test_the_database_itself_refuses_what_can_not_be(
    conn: Connection, columns: dict[str, object]
) -> None:
    with pytest.raises(IntegrityError, match="CHECK"):
        put(conn, Status.SUCCESS, **columns)


def test_a_number_belongs_to_one_order_of_its_merchant_but_others_may_use_it(
    conn: Connection,
) -> None:
    put(conn, Status.WAIT_PAY)

    with pytest.raises(IntegrityError, match="UNIQUE"):
        put(conn, Status.WAIT_PAY, trade_no="T2")
    put(conn, Status.WAIT_PAY, trade_no="T3", merchant_id="M2")


def test_a_refund_is_reserved_only_within_what_was_paid(conn: Connection) -> None:
    order = put(conn, Status.SUCCESS, paid_minor=1000)

    assert orders.reserve_refund(conn, order, 600)
    assert not orders.reserve_refund(conn, order, 401)
    assert orders.reserve_refund(conn, order, 400)
    reserved = conn.execute(text("SELECT refund_reserved_minor FROM orders")).scalar_one()
    assert reserved == 1000


def test_merchant_id_leads_every_key_of_a_merchants_table() -> None:
    led = {
        *("merchant_keys", "orders", "decisions", "refunds"),
        *("ledger_entries", "ledger_postings", "notifications"),
    }

    for name in led:
        first, *_ = metadata.tables[name].primary_key.columns
        assert first.name == "merchant_id", name
