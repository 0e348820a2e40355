"""What an event costs as the past grows, and what an entity takes.

Two series: the past grows over the same thousand users, and the users grow under the same number
of past events. All states are built first and then measured in turn, block by block, so that
whatever else the machine does falls on all of them. Each is measured in batch (the kernel's
replay) and payment by payment (`Engine.assess`, without a model, whose cost doesn't depend on the
past). The largest state is saved and loaded as a restart would.
"""

import gc
import json
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from gateway.bench.world import World
from risk import Engine
from risk.features.catalogue import FEATURE_COUNT, PRESENCE_BYTES
from risk.features.event import INDEX, KEY_COUNT
from risk.state import snapshot
from risk.state.store import MemoryStateStore

EVENTS: Final = (10_000, 100_000, 1_000_000, 10_000_000)
EVENTS_USERS: Final = 1_000
USERS: Final = (1_000, 10_000, 100_000, 1_000_000)
USERS_EVENTS: Final = 2_000_000
ROUNDS: Final = 15
BATCH: Final = 1_000
ONE_BY_ONE: Final = 150
PART: Final = 16_384
KIND_USERS: Final = 20_000
KIND_EVENTS: Final = 100_000
# Kinds whose rows are counted by leaving them out, with the fields that name them.
KINDS: Final = {
    "user": ("user", "outflow"),
    "device": ("device", "config"),
    "card": ("card",),
    "ip": ("ip", "network"),
    "merchant": ("merchant",),
    "payee": ("payee", "inflow"),
    "place": ("place",),
}


@dataclass(slots=True)
class _Case:
    """One state under measurement; both its forms go on through the same stream."""

    axis: str
    size: int
    world: World
    store: MemoryStateStore
    engine: Engine
    next_event: int
    batch_us: list[float] = field(default_factory=list)
    assess_us: list[float] = field(default_factory=list)

    def measure(self, number: int) -> None:
        """Take one block in batch and one payment by payment."""
        events = self.world.events(self.next_event + number * BATCH, BATCH)
        answers = _answers(BATCH)
        started_ns = time.perf_counter_ns()
        self.store.run(events, *answers)
        self.batch_us.append((time.perf_counter_ns() - started_ns) / BATCH / 1e3)
        payments = self.world.transactions(self.next_event + number * ONE_BY_ONE, ONE_BY_ONE)
        samples_ns = []
        for payment, at_us in payments:
            started_ns = time.perf_counter_ns()
            self.engine.assess(payment, at_us)
            samples_ns.append(time.perf_counter_ns() - started_ns)
        self.assess_us.append(float(np.median(samples_ns)) / 1e3)


def run(
    *,
    events: tuple[int, ...] = EVENTS,
    users: tuple[int, ...] = USERS,
    users_events: int = USERS_EVENTS,
    rounds: int = ROUNDS,
    kind_events: int = KIND_EVENTS,
) -> dict[str, object]:
    """Build the states, measure, print a table, return the figures.

    Args:
        events: Sizes of the past, rising; over `EVENTS_USERS` users.
        users: Numbers of users, rising; under `users_events` past events.
        users_events: Past events of that series.
        rounds: Blocks measured of each state.
        kind_events: Payments from which the bytes of each kind are told.

    Returns:
        For each state the median microseconds of an event, in batch and one by one, their ratio
        to the smallest state of the series, bytes an entity, and the snapshot's seconds.
    """
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        cases = _grown(folder, events)
        figures: dict[str, object] = {}
        for count in users:
            case, saved = _peopled(folder, count, users_events)
            cases.append(case)
            figures |= saved  # Of the largest, which comes last.
        print("      measuring all in turn", flush=True)
        gc.collect()
        gc.freeze()
        for number in range(rounds):
            for case in cases:
                case.measure(number)
        gc.unfreeze()
    figures = _table(cases) | figures
    figures["bytes_by_kind"] = _bytes_by_kind(min(KIND_USERS, users[-1]), kind_events)
    # Linux counts in kibibytes, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures["peak_mib"] = round(peak / (2**20 if sys.platform == "darwin" else 2**10))
    for name, value in figures.items():
        print(f"{name:>28}  {value}")
    return figures


def _grown(folder: Path, sizes: tuple[int, ...]) -> list[_Case]:
    """One stream over the same users, kept at each of the sizes."""
    world = World(EVENTS_USERS)
    store = MemoryStateStore()
    cases, done = [], 0
    for size in sizes:
        _replay(store, world, done, size)
        done = size
        path = folder / "state"
        snapshot.save(path, size, store.export())
        engine = Engine()
        engine.load_snapshot(path)
        kept = MemoryStateStore()
        kept.load(store.export())
        cases.append(_Case("past_events", size, world, kept, engine, size))
        print(f"      {size:,} past events", flush=True)
    return cases


def _peopled(folder: Path, users: int, events: int) -> tuple[_Case, dict[str, object]]:
    """A state over so many users, and what it takes in memory and to save and load."""
    world = World(users)
    store = MemoryStateStore()
    empty_bytes = store.state_bytes
    _replay(store, world, 0, events)
    path = folder / "state"
    started_s = time.perf_counter()
    snapshot.save(path, events, store.export())
    save_s = time.perf_counter() - started_s
    engine = Engine()
    started_s = time.perf_counter()
    engine.load_snapshot(path)
    load_s = time.perf_counter() - started_s
    print(f"      {users:,} users", flush=True)
    saved: dict[str, object] = {
        **{f"{kind}_count": count for kind, count in world.counts.items()},
        "entity_count": store.entity_count,
        "state_mib": round(store.state_bytes / 2**20),
        "bytes_per_entity": round((store.state_bytes - empty_bytes) / store.entity_count),
        "snapshot_mib": round(path.stat().st_size / 2**20),
        "snapshot_save_s": round(save_s, 2),
        "snapshot_load_s": round(load_s, 2),
    }
    path.unlink()
    return _Case("users", users, world, store, engine, events), saved


def _replay(store: MemoryStateStore, world: World, first: int, end: int) -> None:
    answers = _answers(PART)
    for start in range(first, end, PART):
        store.run(world.events(start, min(PART, end - start)), *answers)


def _answers(count: int) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    return (
        np.empty((count, FEATURE_COUNT)),
        np.zeros((count, PRESENCE_BYTES), dtype=np.uint8),
        np.zeros((count, KEY_COUNT), dtype=np.int64),
    )


def _table(cases: list[_Case]) -> dict[str, object]:
    """Medians, and each as a multiple of the smallest state's of its series."""
    figures: dict[str, object] = {}
    smallest: dict[str, tuple[float, float]] = {}
    worst = {"past_events": 0.0, "users": 0.0}
    print(f"{'':26}{'batch µs':>10}{'×':>7}{'assess µs':>12}{'×':>7}")
    for case in cases:
        both = float(np.median(case.batch_us)), float(np.median(case.assess_us))
        first = smallest.setdefault(case.axis, both)
        ratios = both[0] / first[0], both[1] / first[1]
        worst[case.axis] = max(worst[case.axis], *ratios)
        name = f"{case.axis}_{case.size}"
        figures |= {
            f"{name}_batch_us": round(both[0], 2),
            f"{name}_assess_us": round(both[1], 1),
            f"{name}_batch_ratio": round(ratios[0], 2),
            f"{name}_assess_ratio": round(ratios[1], 2),
        }
        print(f"{name:26}{both[0]:10.2f}{ratios[0]:7.2f}{both[1]:12.1f}{ratios[1]:7.2f}")
    return figures | {f"{axis}_worst_ratio": round(ratio, 2) for axis, ratio in worst.items()}


def _bytes_by_kind(users: int, payments: int) -> dict[str, int]:
    """What an entity of each kind takes: how much less the state is if nobody names them."""
    world = World(users)
    events = world.events(0, payments)
    whole_bytes, whole_count = _taken(events)
    found = {}
    for kind, fields in KINDS.items():
        without = events.copy()
        without[:, [INDEX[name] for name in fields]] = 0
        taken_bytes, count = _taken(without)
        found[kind] = round((whole_bytes - taken_bytes) / (whole_count - count))
    return found


def _taken(events: np.ndarray) -> tuple[int, int]:
    store = MemoryStateStore()
    empty_bytes = store.state_bytes
    for start in range(0, len(events), PART):
        part = events[start : start + PART]
        store.run(part, *_answers(len(part)))
    return store.state_bytes - empty_bytes, store.entity_count


if __name__ == "__main__":
    print(json.dumps(run()))
