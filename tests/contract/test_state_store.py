"""What every state store promises. A new store is one line in `STORES`, no new test."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from risk.features.catalogue import FEATURE_COUNT, PLACES, PRESENCE_BYTES
from risk.features.event import KEY_COUNT, encode
from risk.features.replay import replay
from risk.state.store import MemoryStateStore, StateStore
from risk.transaction import Instrument, RiskContext, Transaction

STORES: dict[str, Callable[[], StateStore]] = {"memory": MemoryStateStore}
AT_US = 1_700_000_000_000_000
CARD = 3
COUNT = PLACES["time_card_count_1h"]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> StateStore:
    return STORES[request.param]()


def _payment(seq: int, card: str = "tok_1") -> np.ndarray:
    return encode(
        Transaction(
            event_id=f"T{seq}",
            merchant_id="m",
            amount_minor=100,
            currency="CNY",
            pay_type="alipay",
            context=RiskContext(instrument=Instrument(token=card)),
        ),
        AT_US + seq,
        seq,
    )


def test_an_unknown_key_was_written_by_nobody(store: StateStore) -> None:
    readings = store.apply(_payment(1)[None])

    assert readings.features.shape == (1, FEATURE_COUNT)
    assert readings.presence.shape == (1, PRESENCE_BYTES)
    assert readings.key_seqs.tolist() == [[0] * KEY_COUNT]


def test_sixteen_simultaneous_payments_of_one_card_see_sixteen_different_counts(
    store: StateStore,
) -> None:
    events = [_payment(seq) for seq in range(1, 17)]
    with ThreadPoolExecutor(16) as pool:
        readings = list(pool.map(lambda event: store.apply(event[None]), events))

    assert sorted(int(one.features[0, COUNT]) for one in readings) == list(range(16))
    assert sum(int(one.key_seqs[0, CARD]) == 0 for one in readings) == 1


def test_replay_in_the_order_of_the_recorded_numbers_gives_the_same_bits(
    store: StateStore,
) -> None:
    events = [_payment(seq, card=f"tok_{seq % 3}") for seq in range(1, 40)]
    with ThreadPoolExecutor(8) as pool:
        readings = list(pool.map(lambda event: store.apply(event[None]), events))

    # Each card's events form a chain: every one names the one it read.
    for card in range(3):
        mine = [place for place in range(39) if (place + 1) % 3 == card]
        by_read = {int(readings[place].key_seqs[0, CARD]): place for place in mine}
        seq, counts = 0, []
        while seq in by_read:
            place = by_read[seq]
            counts.append(int(readings[place].features[0, COUNT]))
            seq = place + 1
        assert counts == list(range(len(mine)))


def test_a_batch_reads_as_its_events_would_one_by_one(store: StateStore) -> None:
    events = np.stack([_payment(seq) for seq in range(1, 10)])

    assert store.apply(events).features.tobytes() == replay(events).tobytes()


def test_a_state_that_was_exported_goes_on_where_it_stood(store: StateStore) -> None:
    events = np.stack([_payment(seq) for seq in range(1, 10)])
    store.apply(events[:5])
    arrays = store.export()
    store.apply(events[5:])
    store.load(arrays)

    assert store.apply(events[5:]).features.tobytes() == replay(events)[5:].tobytes()


def test_events_of_the_wrong_width_are_refused(store: StateStore) -> None:
    with pytest.raises(ValueError, match=r"\(n, 96\)"):
        store.apply(np.zeros((1, 3), dtype=np.int64))
