"""A row's form, its neighbours in memory and its age change how it is kept, never what it says."""

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.features import aggregates, finish, needs, sets
from risk.features import layout as at
from risk.features.catalogue import PLACES
from risk.features.event import AMOUNT, AT_US, EVENT_WIDTH, FIRST_KEY, SEQ
from risk.features.replay import replay
from risk.state.store import MemoryStateStore
from tests.property.risk_streams import (
    START_US,
    Act,
    acts,
    events_of,
    streams,
)

DAY_US = 86_400_000_000
Ints = npt.NDArray[np.int64]


class EagerStore(MemoryStateStore):
    """A store that gives every row the large form at once."""

    def step(self, event: Ints) -> None:
        super().step(event)
        for base in self._table.reshape(-1, 2)[:, 1][self._table.reshape(-1, 2)[:, 1] != 0]:
            if self._arena[base + aggregates.JOURNAL] != 0:
                kept = int(self._needs[needs.PARTS_AT + self._arena[base - 1]])
                aggregates.promote(self._arena, self._meta, int(base), self._delta, kept)


def values_of(store: MemoryStateStore, events: Ints) -> bytes:
    rows = []
    for event in events:
        store.forget_answer()
        store.step(event)
        rows.append(store.features.tobytes() + store.key_seqs.tobytes())
    return b"".join(rows)


@settings(max_examples=40, deadline=None)
@given(stream=streams)
def test_the_small_form_says_what_the_large_form_says(stream: list[Act]) -> None:
    events = events_of(stream)
    eager = EagerStore()
    eager.clear(256)

    assert values_of(eager, events) == values_of(MemoryStateStore(), events)
    assert eager.promoted_count > 0 or not events[:, FIRST_KEY : FIRST_KEY + at.ROW_KINDS].any()


@settings(max_examples=40, deadline=None)
@given(
    stream=st.lists(acts, min_size=20, max_size=60),
    leaps=st.lists(st.integers(0, 200), min_size=60, max_size=60),
)
def test_taking_memory_back_changes_no_value(stream: list[Act], leaps: list[int]) -> None:
    leaping = [
        Act(abs(a.moved_s) + leap * 86_400, a.names, a.amount_minor, None, a.feedback, a.about)
        for a, leap in zip(stream, leaps, strict=False)
    ]
    events = events_of(leaping)
    swept = MemoryStateStore()
    swept.clear(64)  # So small that the sweep comes round again and again.

    assert values_of(swept, events) == values_of(MemoryStateStore(), events)


def payments(users: Ints, days: Ints) -> Ints:
    """Payments of users of those numbers, at those days."""
    events = np.zeros((len(users), EVENT_WIDTH), dtype=np.int64)
    events[:, SEQ] = np.arange(1, len(users) + 1)
    events[:, AT_US] = START_US + days * DAY_US
    events[:, AMOUNT] = 100
    events[:, FIRST_KEY] = users
    return events


@pytest.mark.parametrize(("days", "count"), [(179, 1.0), (180, 0.0)])
def test_an_entity_not_seen_for_long_is_a_new_one(days: int, count: float) -> None:
    found = replay(payments(np.array([7, 7]), np.array([0, days])))

    assert found[1, PLACES["time_user_count_90d"]] == 0.0
    known = found[1, PLACES["time_user_age_s"]] == days * 86_400.0
    assert bool(known) is bool(count)


def test_memory_follows_those_who_are_active() -> None:
    rng = np.random.default_rng(5)
    store = MemoryStateStore()
    store.clear(1 << 12)
    sizes = []
    for year in range(4):
        users = rng.integers(1, 1 << 62, 3_000)
        store.apply(payments(users, year * 400 + np.arange(3_000) // 10))
        sizes.append(store.state_bytes)

    assert store.swept_count > 6_000
    assert sizes[3] <= 1.2 * sizes[1]


@pytest.mark.parametrize("members", [40, 300, 3_000, 40_000])
def test_the_sketch_counts_many_members_closely_enough(members: int) -> None:
    store = MemoryStateStore()
    arena, meta = store._arena, store._meta
    rng = np.random.default_rng(members)
    pointer = 20
    meta[0] = 100
    for member in rng.integers(1, 1 << 62, members):
        sets.add_member(arena, meta, pointer, 16, int(member), START_US)
    cells, marks = np.zeros(6, dtype=np.int64), np.zeros(6, dtype=np.uint8)
    sets.read_set(arena, int(arena[pointer]), 16, 1, START_US + 1, 7, cells, marks, 0)

    assert cells[0] == cells[1] == cells[2]
    assert abs(int(cells[0]) - members) <= 0.2 * members


def test_a_window_that_holds_fewer_than_the_cap_is_exact_again() -> None:
    store = MemoryStateStore()
    arena, meta = store._arena, store._meta
    meta[0] = 100
    for number in range(1, 60):
        sets.add_member(arena, meta, 20, 16, number, START_US + number * DAY_US)
    cells, marks = np.zeros(6, dtype=np.int64), np.zeros(6, dtype=np.uint8)
    sets.read_set(arena, int(arena[20]), 16, 59, START_US + 59 * DAY_US, 7, cells, marks, 0)

    assert cells[:4].tolist() == [1, 1, cells[2], 1]
    assert 16 <= cells[2] <= 40  # Thirty of them, by the sketch.


@given(
    middle=st.integers(0, at.AMOUNT_CAP - 100),
    steps=st.lists(st.integers(0, 100), min_size=2, max_size=30),
)
def test_a_deviation_of_close_amounts_is_exact(middle: int, steps: list[int]) -> None:
    amounts = [middle + step for step in steps]
    count, total = len(amounts), sum(amounts)
    squares = sum(amount * amount for amount in amounts)
    high = sum(amount * amount >> 32 for amount in amounts)
    low = sum(amount * amount & (2**32 - 1) for amount in amounts)
    assert (high << 32) + low == squares
    variance = Fraction(squares * count - total * total, count * count)

    found = finish.deviation(count, total, high, low)
    assert math.isclose(found, max(1.0, math.sqrt(variance)), rel_tol=1e-12)
