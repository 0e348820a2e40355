"""`yumen bench recon`: the matcher against a plain dictionary, 200,000 rows a side, with faults.

Both get the same two lists of records and must name the same breaks; the generator keeps the
truth, so a class that is wrong shows. Rounds alternate and the best of each counts, because what
else the machine does falls on both.
"""

import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.recon.match import Result, match
from gateway.recon.record import Record, Window, window_of

ROWS = 200_000
ROUNDS = 3
FAULTY_RATIO = 0.02
REFUND_RATIO = 0.1
_FAULTS = ("AMOUNT_DIFF", "CURRENCY_DIFF", "CHANNEL_ONLY", "LEDGER_ONLY", "DUPLICATE_CHANNEL")


@dataclass(slots=True)
class _World:
    """Two sides and the truth about them: the class of each key that isn't simply matched."""

    window: Window
    theirs: list[Record] = field(default_factory=list)
    ours: list[Record] = field(default_factory=list)
    truth: dict[tuple[str, str, str], str] = field(default_factory=dict)


def _generate(rows: int, seed: int) -> _World:
    """Make two sides with faults in `FAULTY_RATIO` of the rows; synthetic throughout."""
    rng = random.Random(seed)  # noqa: S311 - the run must be repeatable.
    window = window_of("sandbox", "2025-11-22")
    world = _World(window)
    for number in range(rows):
        refund = rng.random() < REFUND_RATIO
        record = Record(
            "REFUND" if refund else "PAY",
            f"T{number:024d}",
            f"R{number:024d}" if refund else "",
            rng.randint(1, 1_000_000),
            "CNY",
            window.first_us + 600_000_000 + rng.randrange(85_000_000_000),
            "M1",
        )
        fault = rng.choice(_FAULTS) if rng.random() < FAULTY_RATIO else ""
        _put(world, record, fault)
    rng.shuffle(world.theirs)
    rng.shuffle(world.ours)
    return world


def _put(world: _World, ours: Record, fault: str) -> None:
    theirs = ours._replace(ref=f"SB{ours.trade_no}")
    if fault == "AMOUNT_DIFF":
        theirs = theirs._replace(amount_minor=theirs.amount_minor + 1)
    elif fault == "CURRENCY_DIFF":
        theirs = theirs._replace(currency="USD")
    if fault != "CHANNEL_ONLY":
        world.ours.append(ours)
    if fault != "LEDGER_ONLY":
        world.theirs.append(theirs)
    if fault == "DUPLICATE_CHANNEL":
        world.theirs.append(theirs)
    if fault:
        world.truth[ours.key] = fault if ours.kind == "PAY" else f"REFUND_{fault}"


def _plain(theirs: Sequence[Record], ours: Sequence[Record]) -> Counter[str]:
    """Match with a dictionary and a set, as one would in twenty lines; returns the classes."""
    classes: Counter[str] = Counter()
    by_key = {record.key: record for record in ours}
    seen: set[tuple[str, str, str]] = set()
    for record in theirs:
        prefix = "" if record.kind == "PAY" else "REFUND_"
        key = record.key
        our = by_key.get(key)
        if key in seen:
            classes[prefix + "DUPLICATE_CHANNEL"] += 1
        elif our is None:
            classes[prefix + "CHANNEL_ONLY"] += 1
        elif our.currency != record.currency:
            classes[prefix + "CURRENCY_DIFF"] += 1
        elif our.amount_minor != record.amount_minor:
            classes[prefix + "AMOUNT_DIFF"] += 1
        seen.add(key)
    for key, our in by_key.items():
        if key not in seen:
            classes["LEDGER_ONLY" if our.kind == "PAY" else "REFUND_LEDGER_ONLY"] += 1
    return classes


def _timed(work: Callable[[], object]) -> float:
    start_s = time.perf_counter()
    work()
    return time.perf_counter() - start_s


def _wrong(world: _World, result: Result) -> int:
    """Count the keys whose class isn't the true one."""
    named: dict[tuple[str, str, str], str] = {}
    for found in result.breaks:
        some = found.ours or found.theirs
        if some is not None:
            named[some.key] = found.kind.value
    keys = named.keys() | world.truth.keys()
    return sum(1 for key in keys if named.get(key) != world.truth.get(key))


def run(rows: int = ROWS, seed: int = 1) -> dict[str, object]:
    """Run the benchmark.

    Args:
        rows: Records on our side, before faults.
        seed: Of the generator.

    Returns:
        Figures: seconds of each, their ratio, wrongly classed keys (must be 0), peak memory.
    """
    world = _generate(rows, seed)
    result = match(world.theirs, world.ours, world.window)  # Loads DuckDB; not measured.
    matcher_s, plain_s = [], []
    for _ in range(ROUNDS):
        matcher_s.append(_timed(lambda: match(world.theirs, world.ours, world.window)))
        plain_s.append(_timed(lambda: _plain(world.theirs, world.ours)))
    classes = Counter(found.kind.value for found in result.breaks)
    # Linux counts in kibibytes, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "bench": "recon",
        "rows_theirs": len(world.theirs),
        "rows_ours": len(world.ours),
        "matched": result.matched,
        "breaks": len(result.breaks),
        "wrong_classes": _wrong(world, result),
        "same_as_plain": classes == _plain(world.theirs, world.ours),
        "matcher_s": round(min(matcher_s), 3),
        "plain_dict_s": round(min(plain_s), 3),
        "ratio_to_plain": round(min(matcher_s) / min(plain_s), 2),
        "rows_per_s": round((len(world.theirs) + len(world.ours)) / min(matcher_s)),
        "peak_mib": round(peak / (2**20 if sys.platform == "darwin" else 2**10)),
    }
