"""A stablecoin through the whole gateway: whatever comes, in whatever parts, is in the ledger."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.invariants import ledger_balances, orders_match_ledger, refunds_within_paid
from gateway.recon import run as recon
from gateway.store.accounts import HOUSE
from gateway.store.database import Database
from tests.stand import Stand, standing, until

DAY_S = 86_400
AMOUNT = "12.300002"
AMOUNT_MINOR = 12_300_002
PAYEE = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


def play(var: Path, database: Database, scene: Callable[[Stand], Awaitable[None]]) -> None:
    async def main() -> None:
        async with standing(var, database_url=database.url) as stand:
            stand.gateway.context.routes.use([(HOUSE, "crypto", "evm")])
            # A day of UTC lies ahead: parts of one payment on two days are two lines of two bills.
            stand.clock.advance_s(DAY_S - stand.clock() // 1_000_000 % DAY_S + 600)
            await scene(stand)
            await all_is_sound(stand)

    asyncio.run(main())


async def all_is_sound(stand: Stand) -> None:
    """Ledger and orders agree, and so do ledger and wallet."""
    context = stand.gateway.context
    with context.reader.connect() as conn:
        for check in (ledger_balances, orders_match_ledger, refunds_within_paid):
            assert check(conn).held, check(conn)
        day = datetime.fromtimestamp(stand.clock() // 1_000_000, tz=UTC).date().isoformat()
        file = await context.channels["evm"].bill(day, timeout_s=5)
        found = recon.compare(conn, "evm", day, file).result
    assert [each for each in found.breaks if not each.settled] == []
    assert found.matched > 0


async def create(stand: Stand) -> dict[str, str]:
    return await stand.shop.create(pay_type="crypto", currency="USDC", total_amount=AMOUNT)


async def act(stand: Stand, pay_url: str, action: str) -> None:
    base = f"{stand.shop.gateway_url}/sandbox/scan"
    page = await stand.shop.client.get(base, params={"code": pay_url})
    await stand.shop.act_as_payer(page.headers["location"], action)


def state(stand: Stand, order: dict[str, str]) -> dict[str, Any]:
    names = ("status", "status_reason", "paid_minor", "refund_reserved_minor", "refunded_minor")
    rows = stand.rows(
        f"SELECT {', '.join(names)} FROM orders WHERE trade_no = ?", order["trade_no"]
    )
    return dict(zip(names, rows[0], strict=True))


async def seen(stand: Stand, order: dict[str, str], *, after_s: float = 16, **wanted: Any) -> None:
    """Let the worker look until it finds what it must; a busy machine may need a second look."""
    for patience_s in (8, 8, 20):
        stand.clock.advance_s(after_s)
        with contextlib.suppress(AssertionError):
            await until(
                lambda: wanted.items() <= state(stand, order).items(),
                what=f"{wanted}",
                timeout_s=patience_s,
            )
            return
    raise AssertionError(f"waited in vain for {wanted}, found {state(stand, order)}")


def events(stand: Stand, kind: str) -> list[tuple[Any, ...]]:
    return stand.rows("SELECT amount_minor, detail FROM order_events WHERE kind = ?", kind)


async def refund(stand: Stand, order: dict[str, str], amount: str, **more: str) -> dict[str, str]:
    answer = await stand.shop.post(
        "refund",
        {
            "merchant_id": stand.shop.new.merchant_id,
            "out_trade_no": order["out_trade_no"],
            "refund_amount": amount,
            "refund_reason": "cold",
        }
        | more,
    )
    said: dict[str, str] = answer.json()
    return said


def test_parts_add_up_to_a_paid_order_and_the_merchant_hears_of_the_remainder(
    tmp_path: Path, database: Database
) -> None:
    async def scene(stand: Stand) -> None:
        order = await create(stand)
        await act(stand, order["channel_url"], "underpay")
        stand.clock.advance_s(16)
        await until(lambda: events(stand, "UNDERPAID"), what="the remainder")
        assert events(stand, "UNDERPAID") == [(6_150_001, "remainder 6.150001 USDC")]
        assert state(stand, order)["status"] == "WAIT_PAY"

        await act(stand, order["channel_url"], "pay")
        await seen(stand, order, status="SUCCESS", paid_minor=AMOUNT_MINOR)
        await until(lambda: stand.shop.heard, what="the notification")
        assert stand.shop.heard[0]["receipt_amount"] == AMOUNT

    play(tmp_path, database, scene)


def test_a_surplus_is_the_merchants_to_give_back_to_a_stated_address(
    tmp_path: Path, database: Database
) -> None:
    async def scene(stand: Stand) -> None:
        order = await create(stand)
        await act(stand, order["channel_url"], "overpay")
        await seen(stand, order, status="SUCCESS", paid_minor=18_450_003)

        refused = [
            await refund(stand, order, "1"),
            await refund(stand, order, "1", refund_account=PAYEE[:-1] + "D"),
        ]
        surplus = await refund(stand, order, "6.150001", refund_account=PAYEE.lower())
        rest = await refund(stand, order, AMOUNT, refund_account=PAYEE)
        beyond = await refund(stand, order, "0.000001", refund_account=PAYEE)

        assert [each["error_code"] for each in refused] == ["1001", "1001"]
        assert [each["field"] for each in refused] == ["refund_account"] * 2
        assert (surplus["code"], rest["code"]) == ("SUCCESS", "SUCCESS")
        assert beyond["error_code"] in ("1004", "1005")
        await seen(stand, order, status="REFUND", refunded_minor=18_450_003)

    play(tmp_path, database, scene)


def test_money_for_an_order_that_was_paid_before_is_booked_too(
    tmp_path: Path, database: Database
) -> None:
    async def scene(stand: Stand) -> None:
        order = await create(stand)
        await act(stand, order["channel_url"], "pay")
        await seen(stand, order, status="SUCCESS", paid_minor=AMOUNT_MINOR)
        await act(stand, order["channel_url"], "underpay")
        await seen(stand, order, after_s=3_700, paid_minor=18_450_003)

        assert events(stand, "OVERPAID") == [(6_150_001, "")]
        await until(lambda: len(stand.shop.heard) == 2, what="the second notification")
        assert stand.shop.heard[1]["receipt_amount"] == "18.450003"
        assert len({each["event_id"] for each in stand.shop.heard}) == 2

    play(tmp_path, database, scene)


def test_late_money_waits_for_an_address_and_then_goes_back_whole(
    tmp_path: Path, database: Database
) -> None:
    async def scene(stand: Stand) -> None:
        order = await create(stand)
        await act(stand, order["channel_url"], "underpay")
        stand.clock.advance_s(16)
        await until(lambda: events(stand, "UNDERPAID"), what="the remainder")
        await seen(stand, order, after_s=1_900, status="CLOSED")
        # What had come in time for an order that then expired is late money as well.
        await seen(stand, order, after_s=3_700, status_reason="LATE", paid_minor=6_150_001)
        await act(stand, order["channel_url"], "underpay")
        await seen(stand, order, after_s=3_700, paid_minor=AMOUNT_MINOR)

        waiting = stand.rows("SELECT refund_no, amount_minor, status FROM refunds ORDER BY 1")
        assert [each[1:] for each in waiting] == [(6_150_001, "PROCESSING")] * 2
        suspense = "SELECT sum(amount_minor) FROM ledger_postings WHERE account = 'suspense:late'"
        assert stand.rows(suspense) == [(-AMOUNT_MINOR,)]
        for number, _, _ in waiting:
            wrong = await refund(stand, order, "1", out_refund_no=number, refund_account=PAYEE)
            said = await refund(
                stand, order, "6.150001", out_refund_no=number, refund_account=PAYEE
            )
            assert wrong["code"] == "FAIL"
            assert said["refund_no"] == number
        await seen(stand, order, after_s=3_700, refunded_minor=AMOUNT_MINOR)
        assert stand.rows(suspense) == [(0,)]
        assert stand.rows("SELECT DISTINCT to_account FROM refunds") == [(PAYEE,)]

    play(tmp_path, database, scene)
