"""The sandbox's own bill, downloaded through the adapter, read and matched by reconciliation."""

from collections import Counter
from pathlib import Path

from gateway.recon.bills import read_bill
from gateway.recon.match import match
from gateway.recon.record import Record, window_of
from gateway.sandbox.faults import Faults
from tests.sandbox_world import TIMEOUT_S, World, refund_of, run, trade

DAY = "2025-11-22"
TRADES = [f"T{number:010d}" for number in range(30)]


async def trade_and_book(at: World) -> list[Record]:
    """Pay and half refund every trade; return what a faultless ledger holds."""
    ledger = []
    for trade_no in TRADES:
        await at.act(at.link(trade_no), action="pay")
        await at.channel.refund(
            trade(trade_no), refund_of(6_15, f"R{trade_no}"), timeout_s=TIMEOUT_S
        )
        ledger.append(Record("PAY", trade_no, "", 12_30, "CNY", at.clock(), "M1"))
        ledger.append(Record("REFUND", trade_no, f"R{trade_no}", 6_15, "CNY", at.clock(), "M1"))
    return ledger


def test_a_faultless_bill_agrees_with_a_faultless_ledger(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        ledger = await trade_and_book(at)
        bill = read_bill("sandbox", DAY, await at.channel.bill(DAY, timeout_s=TIMEOUT_S))

        result = match(bill.records, ledger, window_of("sandbox", DAY))

        assert (result.matched, result.breaks) == (60, ())

    run(tmp_path, play)


def test_injected_faults_are_found_and_named_and_the_file_is_still_sound(tmp_path: Path) -> None:
    faults = Faults(
        seed=5, bill_missing_ratio=0.2, bill_wrong_amount_ratio=0.2, bill_duplicate_ratio=0.2
    )

    async def play(at: World) -> None:
        ledger = await trade_and_book(at)
        file = await at.channel.bill(DAY, timeout_s=TIMEOUT_S)
        bill = read_bill("sandbox", DAY, file)

        result = match(bill.records, ledger, window_of("sandbox", DAY))

        kinds = Counter(found.kind.value.removeprefix("REFUND_") for found in result.breaks)
        assert set(kinds) == {"LEDGER_ONLY", "AMOUNT_DIFF", "DUPLICATE_CHANNEL"}
        assert result.matched == 60 - kinds["LEDGER_ONLY"] - kinds["AMOUNT_DIFF"]
        assert file == await at.channel.bill(DAY, timeout_s=TIMEOUT_S)

    run(tmp_path, play, faults=faults)
