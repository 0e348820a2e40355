"""Every record ends in exactly one class, and the class is the right one."""

import pytest

from gateway.recon.match import BreakKind, Result, match
from gateway.recon.record import Record, window_of

WINDOW = window_of("sandbox", "2025-11-22")
NOON_US = WINDOW.first_us + 12 * 3_600 * 1_000_000


def pay(
    trade_no: str, amount_minor: int = 100, currency: str = "CNY", at_us: int = NOON_US
) -> Record:
    return Record("PAY", trade_no, "", amount_minor, currency, at_us, "")


def back(trade_no: str, refund_no: str, amount_minor: int = 100, at_us: int = NOON_US) -> Record:
    return Record("REFUND", trade_no, refund_no, amount_minor, "CNY", at_us, "")


def kinds(result: Result) -> list[str]:
    return [found.kind.value for found in result.breaks]


def test_two_empty_sides_agree() -> None:
    assert match([], [], WINDOW) == Result(0, (), 0, 0, {})


def test_what_agrees_is_matched_whatever_the_time_of_day() -> None:
    theirs = [pay("A"), pay("B"), back("A", "R1")]
    ours = [back("A", "R1"), pay("B", at_us=NOON_US + 5), pay("A")]

    assert match(theirs, ours, WINDOW) == Result(3, (), 3, 3, {})


@pytest.mark.parametrize(
    ("theirs", "ours", "expected", "gap_minor"),
    [
        ([pay("A", 101)], [pay("A", 100)], ["AMOUNT_DIFF"], {"CNY": 1}),
        ([pay("A", 5, "USD")], [pay("A", 5)], ["CURRENCY_DIFF"], {"CNY": -5, "USD": 5}),
        ([pay("A")], [], ["CHANNEL_ONLY"], {"CNY": 100}),
        ([], [pay("A")], ["LEDGER_ONLY"], {"CNY": -100}),
        ([pay("A"), pay("A")], [pay("A")], ["DUPLICATE_CHANNEL"], {"CNY": 100}),
        ([pay("A")], [pay("A"), pay("A")], ["DUPLICATE_LEDGER"], {"CNY": -100}),
        ([pay("A"), pay("A", 7)], [pay("A")], ["DUPLICATE_CHANNEL"], {"CNY": 7}),
        ([pay("A"), pay("A")], [], ["CHANNEL_ONLY", "DUPLICATE_CHANNEL"], {"CNY": 200}),
        (
            [pay("A", 1), pay("A", 2)],
            [pay("A", 3)],
            ["AMOUNT_DIFF", "DUPLICATE_CHANNEL"],
            {},
        ),
        ([back("A", "R")], [back("A", "R", 90)], ["REFUND_AMOUNT_DIFF"], {"CNY": -10}),
        ([back("A", "R")], [], ["REFUND_CHANNEL_ONLY"], {"CNY": -100}),
        ([], [back("A", "R")], ["REFUND_LEDGER_ONLY"], {"CNY": 100}),
        (
            [back("A", "R"), back("A", "R")],
            [back("A", "R")],
            ["REFUND_DUPLICATE_CHANNEL"],
            {"CNY": -100},
        ),
        (
            [back("A", "R1")],
            [back("A", "R2")],
            ["REFUND_CHANNEL_ONLY", "REFUND_LEDGER_ONLY"],
            {},
        ),
    ],
)
def test_what_differs_is_named(
    theirs: list[Record], ours: list[Record], expected: list[str], gap_minor: dict[str, int]
) -> None:
    result = match(theirs, ours, WINDOW)

    assert (kinds(result), result.gap_minor) == (expected, gap_minor)


def test_a_refund_of_the_same_amount_is_no_payment() -> None:
    assert kinds(match([pay("A")], [back("A", "")], WINDOW)) == [
        "CHANNEL_ONLY",
        "REFUND_LEDGER_ONLY",
    ]


@pytest.mark.parametrize("edge_us", [WINDOW.first_us + 299_999_999, WINDOW.after_us - 1])
def test_alone_near_midnight_it_is_expected_in_the_neighbours_bill(edge_us: int) -> None:
    result = match([], [pay("A", at_us=edge_us), back("A", "R", at_us=edge_us)], WINDOW)

    assert kinds(result) == ["CROSS_DAY", "REFUND_CROSS_DAY"]
    assert not any(found.settled for found in result.breaks)


def test_booked_on_another_day_it_is_found_there_and_settled() -> None:
    booked = pay("A", at_us=WINDOW.after_us + 3_600_000_000)

    result = match([pay("A")], [booked, pay("unclaimed", at_us=WINDOW.after_us)], WINDOW)

    assert kinds(result) == [BreakKind.CROSS_DAY]
    assert result.breaks[0].settled
    assert (result.matched, result.our_rows, result.gap_minor) == (0, 1, {})


def test_booked_on_another_day_with_another_amount_it_differs() -> None:
    result = match([pay("A")], [pay("A", 90, at_us=WINDOW.after_us)], WINDOW)

    assert (kinds(result), result.gap_minor) == (["AMOUNT_DIFF"], {"CNY": 10})
