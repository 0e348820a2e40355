"""What must hold of any two sides, against a matcher so plain that it can be believed by reading.

The oracle counts in dictionaries and knows no SQL; hypothesis draws from few numbers, so that
copies, differing amounts and neighbours meet in the same key.
"""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.recon.match import Break, Result, match
from gateway.recon.record import Record, window_of

WINDOW = window_of("sandbox", "2025-11-22")
TIMES_US = (
    WINDOW.first_us - 1,
    WINDOW.first_us,
    (WINDOW.first_us + WINDOW.after_us) // 2,
    WINDOW.after_us - 1,
    WINDOW.after_us,
)


def records(times_us: tuple[int, ...]) -> st.SearchStrategy[list[Record]]:
    one = st.builds(
        lambda kind, trade_no, refund_no, amount_minor, currency, at_us, ref: Record(
            kind,
            trade_no,
            refund_no if kind == "REFUND" else "",
            amount_minor,
            currency,
            at_us,
            ref,
        ),
        st.sampled_from(["PAY", "REFUND"]),
        st.sampled_from(["T1", "T2", "T3"]),
        st.sampled_from(["R1", "R2"]),
        st.integers(1, 3),
        st.sampled_from(["CNY", "USD"]),
        st.sampled_from(times_us),
        st.sampled_from(["x", "y"]),
    )
    return st.lists(one, max_size=12)


theirs_of_the_day = records(TIMES_US[1:4])
ours_of_the_day = records(TIMES_US[1:4])
ours_of_any_day = records(TIMES_US)


def oracle(theirs: list[Record], ours: list[Record]) -> tuple[int, Counter[str]]:
    """Count matches and classes for records of one day, by removing one from each side."""
    matched, classes = 0, Counter[str]()
    for key in {record.key for record in [*theirs, *ours]}:
        their = Counter((r.amount_minor, r.currency) for r in theirs if r.key == key)
        our = Counter((r.amount_minor, r.currency) for r in ours if r.key == key)
        equal_count = (their & our).total()
        matched += equal_count
        their_left, our_left = (their - our).total(), (our - their).total()
        differing = min(their_left, our_left)
        prefix = "REFUND_" if key[0] == "REFUND" else ""
        classes[prefix + "DIFF"] += differing
        for side, left in (("CHANNEL", their_left - differing), ("LEDGER", our_left - differing)):
            alone = 1 if left and not equal_count + differing else 0
            classes[f"{prefix}{side}_ONLY"] += alone
            classes[f"{prefix}DUPLICATE_{side}"] += left - alone
    return matched, +classes


def named_as_the_oracle_does(result: Result) -> Counter[str]:
    classes = Counter[str]()
    for found in result.breaks:
        name = found.kind.value.replace("AMOUNT_DIFF", "DIFF").replace("CURRENCY_DIFF", "DIFF")
        classes[name.replace("CROSS_DAY", "LEDGER_ONLY")] += 1
    return classes


@settings(max_examples=60, deadline=None)
@given(theirs_of_the_day, ours_of_the_day)
def test_the_classes_are_those_of_the_plain_matcher(
    theirs: list[Record], ours: list[Record]
) -> None:
    result = match(theirs, ours, WINDOW)

    assert (result.matched, named_as_the_oracle_does(result)) == oracle(theirs, ours)


@settings(max_examples=60, deadline=None)
@given(theirs_of_the_day, ours_of_any_day)
def test_every_record_ends_in_one_class_and_the_breaks_explain_the_gap(
    theirs: list[Record], ours: list[Record]
) -> None:
    result = match(theirs, ours, WINDOW)

    shown_theirs = Counter(found.theirs for found in result.breaks if found.theirs)
    shown_ours = Counter(found.ours for found in result.breaks if found.ours)
    assert shown_theirs.total() + result.matched == len(theirs) == result.their_rows
    assert shown_ours.total() + result.matched == result.our_rows
    assert shown_theirs <= Counter(theirs)
    assert shown_ours <= Counter(ours)
    gap = Counter[str]()
    for found in result.breaks:
        gap.update(found.delta_minor)
    assert result.gap_minor == {code: minor for code, minor in sorted(gap.items()) if minor}


@settings(max_examples=40, deadline=None)
@given(theirs_of_the_day, ours_of_any_day, st.integers())
def test_the_order_of_the_rows_changes_nothing(
    theirs: list[Record], ours: list[Record], seed: int
) -> None:
    shuffled = random.Random(seed)  # noqa: S311 - hypothesis must be able to repeat it.

    assert match(
        shuffled.sample(theirs, len(theirs)), shuffled.sample(ours, len(ours)), WINDOW
    ) == match(theirs, ours, WINDOW)


def mirrored(found: Break) -> tuple[str, Record | None, Record | None]:
    kind = found.kind.value
    swap = {"CHANNEL_ONLY": "LEDGER_ONLY", "DUPLICATE_CHANNEL": "DUPLICATE_LEDGER"}
    for one, other in [*swap.items(), *((b, a) for a, b in swap.items())]:
        if kind.endswith(one):
            return kind.removesuffix(one) + other, found.ours, found.theirs
    return kind, found.ours, found.theirs


@settings(max_examples=40, deadline=None)
@given(records(TIMES_US[2:3]), records(TIMES_US[2:3]))
def test_swapped_sides_mirror_the_breaks(theirs: list[Record], ours: list[Record]) -> None:
    straight, swapped = match(theirs, ours, WINDOW), match(ours, theirs, WINDOW)

    assert swapped.matched == straight.matched
    assert sorted(map(repr, map(mirrored, swapped.breaks))) == sorted(
        repr((found.kind.value, found.theirs, found.ours)) for found in straight.breaks
    )


@settings(max_examples=40, deadline=None)
@given(theirs_of_the_day, ours_of_any_day)
def test_one_more_pair_that_agrees_changes_nothing_else(
    theirs: list[Record], ours: list[Record]
) -> None:
    pair = Record("PAY", "T9", "", 5, "CNY", TIMES_US[2], "z")

    without, with_pair = match(theirs, ours, WINDOW), match([*theirs, pair], [pair, *ours], WINDOW)

    assert with_pair.breaks == without.breaks
    assert with_pair.matched == without.matched + 1
