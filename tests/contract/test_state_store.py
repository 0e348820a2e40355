"""What every state store promises. A new store is one line in `STORES`, no new test."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from risk.features.catalogue import FEATURE_COUNT, PLACES, PRESENCE_BYTES
from risk.features.event import KEY_COUNT, SEQ, encode
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


def _payment(seq: int, card: str = "tok_1", merchant: str = "m") -> np.ndarray:
    return encode(
        Transaction(
            event_id=f"T{seq}",
            merchant_id=merchant,
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


def in_order_of(key_seqs: np.ndarray) -> list[int]:
    """Places of events in an order that agrees with what each of them read, key by key.

    Each event names the one before it of each of its keys, so those that are ready together share
    no key, and their order says nothing.
    """
    reads = [{int(seq) - 1 for seq in row if seq} for row in key_seqs]
    order: list[int] = []
    while len(order) < len(reads):
        ready = [p for p, before in enumerate(reads) if p not in order and before <= set(order)]
        assert ready, "the numbers name an event that was never applied"
        order += ready
    return order


@pytest.mark.parametrize("merchants", [1, 40])
def test_replay_in_the_order_of_the_recorded_numbers_gives_the_same_bits(
    store: StateStore, merchants: int
) -> None:
    events = [_payment(seq, f"tok_{seq % 3}", f"m{seq % merchants}") for seq in range(1, 121)]
    with ThreadPoolExecutor(8) as pool:
        readings = list(pool.map(lambda event: store.apply(event[None]), events))
    key_seqs = np.concatenate([one.key_seqs for one in readings])

    order = in_order_of(key_seqs)
    again = MemoryStateStore().apply(np.stack([events[place] for place in order]))

    assert again.key_seqs.tolist() == key_seqs[order].tolist()
    for row, place in enumerate(order):
        assert again.features[row].tobytes() == readings[place].features[0].tobytes()
        assert again.presence[row].tobytes() == readings[place].presence[0].tobytes()


def test_no_update_is_lost_however_many_write_at_once(store: StateStore) -> None:
    # So many events each that the batches would run side by side if a store let them.
    batches = np.tile(_payment(1), (8, 3_000, 1))
    batches[:, :, SEQ] = np.arange(1, 24_001).reshape(8, 3_000)
    with ThreadPoolExecutor(8) as pool:
        readings = list(pool.map(store.apply, batches))

    seen = np.concatenate([one.features[:, PLACES["time_card_count_24h"]] for one in readings])
    assert sorted(seen.tolist()) == list(range(24_000))


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
