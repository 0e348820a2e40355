"""Online equals offline, bit for bit, and nothing that happens to a process can change a value."""

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from risk.decision import Decision, EventKind
from risk.engine import Engine
from risk.features.catalogue import FEATURE_COUNT, FEATURES
from risk.features.event import ATTEMPT, FIRST_KEY, KEY_COUNT, KIND, stack
from risk.features.layout import ROW_KINDS
from risk.features.replay import replay
from risk.state.store import MemoryStateStore
from tests.fakes import still_ns
from tests.property.risk_streams import SECOND_US, START_US, Act, events_of, streams, transaction_of

QUICK = settings(max_examples=60, deadline=None)


@QUICK
@given(stream=streams)
def test_one_event_at_a_time_reads_what_a_replay_reads(stream: list[Act]) -> None:
    events = events_of(stream)
    online = MemoryStateStore()
    rows = []
    for event in events:
        online.forget_answer()
        online.step(event)
        rows.append(online.features.copy())

    assert np.stack(rows).tobytes() == replay(events).tobytes()


@QUICK
@given(stream=streams)
def test_the_engine_stores_the_vectors_that_a_replay_of_its_log_finds(stream: list[Act]) -> None:
    engine = Engine(clock_ns=still_ns)
    decisions: list[Decision] = []
    payloads: list[bytes] = []
    now_us = START_US
    for act in stream:
        now_us += act.moved_s * SECOND_US
        if act.feedback is None or not decisions:
            number = engine.next_seq
            decisions.append(engine.assess(transaction_of(act, number), now_us))
            payloads.append(decisions[-1].event.payload)
        else:
            about = decisions[act.about % len(decisions)].event
            row = engine.record(
                act.feedback, attempt=about.payload, trade_no=about.trade_no, known_at_us=now_us
            )
            payloads.append(row.payload)

    found = replay(stack(payloads))
    assert engine.next_seq == len(stream) + 1
    for decision in decisions:
        assert decision.event.kind is EventKind.ATTEMPT
        assert not decision.degraded
        assert found[decision.event.seq - 1].tobytes() == decision.features


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stream=streams, cut=st.integers(0, 40))
def test_a_snapshot_and_the_tail_equal_never_having_stopped(
    stream: list[Act], cut: int, tmp_path: Path
) -> None:
    payloads = [row.tobytes() for row in events_of(stream)]
    cut = min(cut, len(payloads))
    log = list(enumerate(payloads, start=1))
    whole, first, second = (Engine(clock_ns=still_ns) for _ in range(3))
    whole.restore(log)
    first.restore(log[:cut])
    first.save_snapshot(tmp_path / "state.npz")

    assert second.load_snapshot(tmp_path / "state.npz") == cut
    assert second.restore(log) == len(log)

    probe = transaction_of(stream[0], 0)
    at_us = START_US + 86_400 * SECOND_US
    kept, rebuilt = whole.assess(probe, at_us), second.assess(probe, at_us)
    assert kept.features == rebuilt.features
    assert kept.key_seqs == rebuilt.key_seqs
    assert kept.event == rebuilt.event


@QUICK
@given(stream=streams, batch=st.integers(1, 7))
def test_the_size_of_batches_changes_nothing(stream: list[Act], batch: int) -> None:
    events = events_of(stream)
    parts = MemoryStateStore()
    found = [parts.apply(events[at : at + batch]) for at in range(0, len(events), batch)]
    whole = MemoryStateStore().apply(events)

    assert np.concatenate([part.features for part in found]).tobytes() == whole.features.tobytes()
    assert np.concatenate([part.key_seqs for part in found]).tolist() == whole.key_seqs.tolist()


@QUICK
@given(stream=streams)
def test_presence_bits_say_exactly_which_features_are_numbers(stream: list[Act]) -> None:
    events = events_of(stream)
    readings = MemoryStateStore().apply(events)
    bits = np.unpackbits(readings.presence, axis=1, bitorder="little")[:, :FEATURE_COUNT]
    attempts = events[:, KIND] == ATTEMPT

    assert np.array_equal(bits[attempts] == 1, ~np.isnan(readings.features[attempts]))
    assert np.isfinite(readings.features[bits == 1]).all()


@QUICK
@given(stream=streams)
def test_each_key_reads_the_number_of_the_event_that_last_wrote_it(stream: list[Act]) -> None:
    events = events_of(stream)
    readings = MemoryStateStore().apply(events)
    written: dict[int, int] = {}
    for number, event in enumerate(events, start=1):
        keys = event[FIRST_KEY : FIRST_KEY + KEY_COUNT].tolist()
        if event[KIND] == ATTEMPT:
            expected = [written.get(key, 0) for key in keys]
            assert readings.key_seqs[number - 1].tolist() == expected
        written.update(dict.fromkeys((key for key in keys[:ROW_KINDS] if key), number))


@settings(max_examples=25, deadline=None)
@given(stream=streams, strangers=streams)
def test_events_of_strangers_between_change_no_window(
    stream: list[Act], strangers: list[Act]
) -> None:
    """Windows depend on an entity's own events alone, so entities can be split among owners.

    Only the graph needs the whole log's order (its epochs), so its features are left out.
    """
    own = events_of(stream)
    foreign = events_of(strangers)
    keys = foreign[:, FIRST_KEY : FIRST_KEY + KEY_COUNT]
    keys[keys != 0] ^= 0x5A5A_5A5A_5A5A
    mixed: list[np.ndarray] = []
    ours = []
    for place in range(max(len(own), len(foreign))):
        if place < len(own):
            ours.append(len(mixed))
            mixed.append(own[place])
        if place < len(foreign):
            mixed.append(foreign[place])
    windows = [p for p, one in enumerate(FEATURES) if "graph." not in str(one.formula)]

    found = replay(np.stack(mixed))[ours][:, windows]
    assert found.tobytes() == replay(own)[:, windows].tobytes()


def test_the_state_grows_past_its_first_size_without_losing_a_row() -> None:
    rng = np.random.default_rng(7)
    stream = [
        Act(1, (user, device, None, card, 0, None, None), 100, None, None, 0)
        for user, device, card in rng.integers(3_000, size=(5_000, 3)).tolist()
    ]
    events = events_of(stream)
    store = MemoryStateStore()
    before = store.state_bytes
    store.apply(events)
    names = {key for row in events for key in row[FIRST_KEY : FIRST_KEY + 8].tolist() if key}

    assert store.entity_count == len(names)
    assert store.state_bytes > before
    probe = store.apply(events[:1])
    assert probe.key_seqs[0, 0] > 0
