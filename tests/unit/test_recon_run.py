"""A run loads the ledger's side, keeps what it found, and is the same run when asked again."""

import hashlib
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, insert, select

from gateway.domain.ledger import Entry, late_entry, payment_entry, refund_entry
from gateway.domain.money import to_major
from gateway.recon.bills import BillRefused
from gateway.recon.record import window_of
from gateway.recon.run import RunSummary, compare, reconcile, store
from gateway.store.tables import (
    ledger_entries,
    ledger_postings,
    metadata,
    orders,
    recon_breaks,
    recon_runs,
)

DAY, NEXT_DAY = "2025-11-22", "2025-11-23"
WINDOW = window_of("sandbox", DAY)
NOON_US = WINDOW.first_us + 12 * 3_600 * 1_000_000
NOW_US = WINDOW.after_us + 1


@pytest.fixture
def conn() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def bill_row(
    trade_no: str, amount_minor: int, *, refund_no: str = "", day: str = DAY, time: str = "12:00:00"
) -> tuple[str, ...]:
    kind = "REFUND" if refund_no else "PAY"
    amount = str(to_major(amount_minor, "CNY"))
    at = f"{day}T{time}.000+08:00"
    return ("SB" + trade_no, trade_no, kind, refund_no, amount, "CNY", "0.00", at)


def bill_file(*rows: tuple[str, ...]) -> bytes:
    pays = [int(row[4].replace(".", "")) for row in rows if row[2] == "PAY"]
    backs = [int(row[4].replace(".", "")) for row in rows if row[2] == "REFUND"]
    summary = (
        f"#SUMMARY,CNY,{len(pays)},{to_major(sum(pays), 'CNY')},"
        f"{len(backs)},{to_major(sum(backs), 'CNY')},0.00\n"
    )
    body = (
        "channel_trade_no,trade_no,kind,refund_no,amount,currency,fee,time\n"
        + "".join(",".join(row) + "\n" for row in rows)
        + (summary if rows else "")
        + f"#END,{len(rows)}\n"
    ).encode()
    return f"#YUMEN-SANDBOX-BILL,1,sha256={hashlib.sha256(body).hexdigest()}\n".encode() + body


def book(conn: Connection, entry: Entry, at_us: int = NOON_US) -> None:
    conn.execute(
        insert(ledger_entries).values(
            merchant_id=entry.merchant_id,
            entry_id=entry.entry_id,
            trade_no=entry.trade_no,
            kind=entry.kind,
            created_at_us=at_us,
        )
    )
    for line_no, posting in enumerate(entry.postings):
        conn.execute(
            insert(ledger_postings).values(
                merchant_id=entry.merchant_id,
                entry_id=entry.entry_id,
                line_no=line_no,
                account=posting.account,
                amount_minor=posting.amount_minor,
                currency=posting.currency,
            )
        )


def paid(trade_no: str, amount_minor: int, channel: str = "sandbox") -> Entry:
    return payment_entry(
        merchant_id="M1",
        trade_no=trade_no,
        channel=channel,
        amount_minor=amount_minor,
        currency="CNY",
    )


def refunded(trade_no: str, refund_no: str, amount_minor: int) -> Entry:
    return refund_entry(
        merchant_id="M1",
        trade_no=trade_no,
        refund_no=refund_no,
        channel="sandbox",
        amount_minor=amount_minor,
        currency="CNY",
    )


def waiting_order(conn: Connection, trade_no: str) -> None:
    conn.execute(
        insert(orders).values(
            merchant_id="M7",
            trade_no=trade_no,
            out_trade_no=trade_no,
            request_sha256=b"",
            channel="sandbox",
            pay_type="alipay",
            amount_minor=5,
            currency="CNY",
            subject="tea",
            notify_url="",
            status="WAIT_PAY",
            decision_id="D1",
            risk_outcome="APPROVE",
            created_at_us=NOON_US,
            expires_at_us=NOON_US,
        )
    )


def breaks(conn: Connection, run: RunSummary) -> list[dict[str, object]]:
    rows = conn.execute(
        select(recon_breaks)
        .where(recon_breaks.c.run_id == run.run_id)
        .order_by(recon_breaks.c.line_no)
    )
    return [dict(row) for row in rows.mappings()]


def test_a_ledger_that_agrees_leaves_no_break(conn: Connection) -> None:
    book(conn, paid("T1", 1230))
    book(conn, refunded("T1", "R1", 230))
    book(
        conn,
        late_entry(
            merchant_id="M1", trade_no="T2", channel="sandbox", amount_minor=9, currency="CNY"
        ),
    )
    book(conn, paid("T9", 77, channel="another"))
    file = bill_file(bill_row("T1", 1230), bill_row("T1", 230, refund_no="R1"), bill_row("T2", 9))

    run = reconcile(conn, "sandbox", DAY, file, NOW_US)

    assert (run.bill_rows, run.ledger_rows, run.matched, run.breaks) == (3, 3, 3, 0)
    assert (run.gap_minor, run.repeated) == (0, False)
    assert breaks(conn, run) == []


def test_breaks_are_kept_with_both_amounts_and_what_is_known(conn: Connection) -> None:
    book(conn, paid("T1", 100))
    book(conn, paid("T2", 200))
    waiting_order(conn, "T3")
    file = bill_file(bill_row("T1", 101), bill_row("T3", 5), bill_row("T4", 6), bill_row("T4", 6))

    run = reconcile(conn, "sandbox", DAY, file, NOW_US)

    shown = [
        (
            row["kind"],
            row["trade_no"],
            row["ours_minor"],
            row["theirs_minor"],
            row["merchant_id"],
            row["detail"],
            row["status"],
        )
        for row in breaks(conn, run)
    ]
    assert shown == [
        ("AMOUNT_DIFF", "T1", 100, 101, "M1", "", "OPEN"),
        ("CHANNEL_ONLY", "T3", None, 5, "M7", "order=WAIT_PAY", "OPEN"),
        ("CHANNEL_ONLY", "T4", None, 6, "", "order=?", "OPEN"),
        ("DUPLICATE_CHANNEL", "T4", None, 6, "", "order=?", "OPEN"),
        ("LEDGER_ONLY", "T2", 200, None, "M1", "", "OPEN"),
    ]
    assert (run.breaks, run.gap_minor) == (5, 101 + 5 + 6 + 6 - 100 - 200)


def test_the_same_bill_against_the_same_ledger_is_the_same_run(conn: Connection) -> None:
    book(conn, paid("T1", 100))
    file = bill_file(bill_row("T1", 100), bill_row("T2", 5))

    first = reconcile(conn, "sandbox", DAY, file, NOW_US)
    again = reconcile(conn, "sandbox", DAY, file, NOW_US + 5)
    book(conn, paid("T2", 5))
    mended = reconcile(conn, "sandbox", DAY, file, NOW_US + 9)

    assert (again.run_id, again.repeated) == (first.run_id, True)
    assert mended.run_id != first.run_id
    assert (first.breaks, mended.breaks) == (1, 0)
    assert len(conn.execute(select(recon_runs)).all()) == 2


def test_comparing_writes_nothing(conn: Connection) -> None:
    comparison = compare(conn, "sandbox", DAY, bill_file(bill_row("T1", 1)))

    assert conn.execute(select(recon_runs)).all() == []
    assert store(conn, comparison, NOW_US).breaks == 1


def test_a_damaged_bill_leaves_no_run(conn: Connection) -> None:
    with pytest.raises(BillRefused, match="hash"):
        reconcile(conn, "sandbox", DAY, bill_file(bill_row("T1", 1)) + b"x", NOW_US)

    assert conn.execute(select(recon_runs)).all() == []


@pytest.mark.parametrize("first_day", [DAY, NEXT_DAY])
def test_paid_before_midnight_and_booked_after_is_settled_in_either_order(
    conn: Connection, first_day: str
) -> None:
    book(conn, paid("T1", 100), at_us=WINDOW.after_us + 2_000_000)
    files = {DAY: bill_file(bill_row("T1", 100, time="23:59:59")), NEXT_DAY: bill_file()}
    second_day = NEXT_DAY if first_day == DAY else DAY

    runs = {
        day: reconcile(conn, "sandbox", day, files[day], NOW_US) for day in (first_day, second_day)
    }

    settled = breaks(conn, runs[DAY])
    assert [(row["kind"], row["status"], row["detail"]) for row in settled] == [
        ("CROSS_DAY", "RESOLVED", f"booked={NEXT_DAY}")
    ]
    assert (runs[DAY].matched, runs[DAY].breaks, runs[DAY].gap_minor) == (1, 0, 0)
    assert {row["status"] for row in breaks(conn, runs[NEXT_DAY])} <= {"RESOLVED"}
    assert runs[NEXT_DAY].breaks == (1 if first_day == NEXT_DAY else 0)
