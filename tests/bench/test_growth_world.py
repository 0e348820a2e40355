"""The stream of the growth benchmark is one stream, as events and as transactions alike."""

import numpy as np
import pytest

from gateway.bench import growth
from gateway.bench.world import BLOCK, World
from risk.features import event as ev


@pytest.mark.parametrize("first", [0, BLOCK - 10, 3 * BLOCK + 7])
def test_an_event_is_what_the_engine_makes_of_its_transaction(first: int) -> None:
    world = World(700)

    events = world.events(first, 40)

    encoded = [
        ev.encode(payment, at_us, first + place + 1)
        for place, (payment, at_us) in enumerate(world.transactions(first, 40))
    ]
    assert np.array_equal(events, np.stack(encoded))


def test_the_stream_is_the_same_however_it_is_cut() -> None:
    world = World(50)

    parts = [world.events(0, 7), world.events(7, BLOCK), world.events(BLOCK + 7, 5)]

    assert np.array_equal(np.vstack(parts), world.events(0, BLOCK + 12))


def test_every_user_appears_within_two_payments_a_user() -> None:
    world = World(900)

    events = world.events(0, 1_800)

    assert len(np.unique(ev.column(events, "user"))) == 900


def test_the_benchmark_measures_every_state_and_reports_ratios() -> None:
    figures = growth.run(
        events=(200, 400), users=(50, 100), users_events=300, rounds=2, kind_events=300
    )

    assert figures["past_events_200_batch_ratio"] == 1.0
    assert isinstance(figures["past_events_worst_ratio"], float)
    assert isinstance(figures["users_100_assess_us"], float)
    assert isinstance(figures["entity_count"], int)
    assert figures["entity_count"] > 100
    assert set(growth.KINDS) == set(figures["bytes_by_kind"])  # type: ignore[call-overload]  # a dictionary
