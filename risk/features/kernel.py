"""The one compiled step: features of the state before an event, then the event.

Called one event at a time online (`step`) and over a whole log offline (`run`, which calls
`step`). There is no second implementation to drift from this one.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk import graph
from risk.compiled import kernel
from risk.features import aggregates as agg
from risk.features import event as ev
from risk.features import finish as fin
from risk.features import layout as at
from risk.features import observe

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.uint8]

ROW_WIDTHS: Final = np.array(at.ROW_WIDTHS, dtype=np.int64)
SETS: Final = np.array(
    [(*row, place) for row, place in zip(at.SETS, at.SET_PLACES, strict=True)], dtype=np.int64
)
LIMITS: Final = np.array(at.LIMIT_AMOUNTS, dtype=np.int64)
FIRST_KEY: Final = ev.FIRST_KEY
HOUR: Final = ev.INDEX["hour"]
COUNTRY: Final = ev.INDEX["country"]
LAT: Final = ev.INDEX["lat"]
LON: Final = ev.INDEX["lon"]
ACCURACY: Final = ev.INDEX["accuracy_m"]
LABELS: Final = ev.INDEX["risk_labels"]
MISMATCHES: Final = ev.INDEX["mismatches"]
HOUR_BIT: Final = 1 << (HOUR - ev.FIRST_CONTEXT)
LAT_BIT: Final = 1 << (LAT - ev.FIRST_CONTEXT)
LON_BIT: Final = 1 << (LON - ev.FIRST_CONTEXT)
CROSS_BORDER: Final = 0b111001  # Card abroad, network abroad, payee abroad: see MISMATCHES.
TUNNELS: Final = 0b1100000000  # vpn, proxy: the position is not the payer's.
ROW_LAT: Final = at.H["lat"]
ROW_LON: Final = at.H["lon"]
ROW_PLACE_AT: Final = at.H["place_at"]
ACCURATE_M: Final = 50_000
TRAVEL_LEAST_US: Final = 60_000_000
METRES_A_DEGREE: Final = 111_195
# cos of 0 to 90 degrees in millionths, rounded: integers, so no library's last bit matters.
COSINES: Final = np.rint(np.cos(np.deg2rad(np.arange(91))) * 1_000_000).astype(np.int64)


@kernel
def metres_between(lat: int, lon: int, other_lat: int, other_lon: int) -> int:
    """Distance of two places given in millionths of a degree, in metres.

    Equirectangular, with the cosine of the mean latitude from a table of whole degrees: within
    1 % below 1,000 km at usual latitudes, too long near the poles, the same bits everywhere.
    """
    across = abs(lon - other_lon)
    across = min(across, 360_000_000 - across)
    mean_degree = min(abs(lat + other_lat) // 2_000_000, 90)
    high = float(lat - other_lat)
    wide = float(across) * float(COSINES[mean_degree]) / 1_000_000.0
    return int(np.sqrt(high * high + wide * wide) * METRES_A_DEGREE / 1_000_000.0)


@kernel
def _read_travel(arena: Ints, base: int, event: Ints, cells: Ints, marks: Marks) -> None:
    """How far and how fast the user would have moved since the last known position."""
    both = LAT_BIT | LON_BIT
    if base == 0 or arena[base + ROW_PLACE_AT] == 0 or event[ev.PRESENCE] & both != both:
        return
    passed_us = event[ev.AT_US] - arena[base + ROW_PLACE_AT]
    if event[LABELS] & TUNNELS or event[ACCURACY] > ACCURATE_M or passed_us < 0:
        return
    metres = metres_between(event[LAT], event[LON], arena[base + ROW_LAT], arena[base + ROW_LON])
    cells[at.TRAVEL_AT] = metres
    cells[at.TRAVEL_AT + 1] = passed_us // 1_000_000
    marks[at.TRAVEL_AT] = 1
    marks[at.TRAVEL_AT + 1] = 1
    if passed_us > TRAVEL_LEAST_US:
        cells[at.TRAVEL_AT + 2] = metres * 3_600 // (passed_us // 1_000_000)
        marks[at.TRAVEL_AT + 2] = 1


@kernel
def _read_event(event: Ints, cells: Ints, marks: Marks) -> None:
    for place in range(FIRST_KEY):
        cells[place] = event[place]
        marks[place] = 1
    for place in range(FIRST_KEY, ev.PRESENCE):
        cells[place] = event[place]
        marks[place] = event[place] != 0
    presence = event[ev.PRESENCE]
    for field in range(ev.CONTEXT_COUNT):
        cells[ev.FIRST_CONTEXT + field] = event[ev.FIRST_CONTEXT + field]
        marks[ev.FIRST_CONTEXT + field] = presence >> field & 1


@kernel
def _member(event: Ints, member: int) -> int:
    return int(event[COUNTRY] if member == at.COUNTRY else event[FIRST_KEY + member])


@kernel
def _observe(  # noqa: PLR0917 - arrays go to a kernel one by one
    event: Ints,
    arena: Ints,
    keys: Ints,
    bases: Ints,
    now_us: int,
    cells: Ints,
    marks: Marks,
    places: Ints,
    seqs: Ints,
) -> None:
    """Fill all cells from the state as it stands; nothing is changed."""
    cells[:] = 0
    marks[:] = 0
    _read_event(event, cells, marks)
    amount_minor = min(event[ev.AMOUNT], at.AMOUNT_CAP)
    hour = event[HOUR] % at.HOURS
    for role in range(ev.KEY_COUNT):
        key = event[FIRST_KEY + role]
        base = agg.find(keys, bases, key) if key != 0 else 0
        places[role] = base
        seqs[role] = arena[base + agg.SEQ] if base != 0 else 0
        if key != 0:
            first = at.ROLES_AT + role * at.ROLE_WIDTH
            observe.read_role(arena, base, event[ev.AT_US], amount_minor, hour, cells, marks, first)
    for row in range(SETS.shape[0]):
        owner, member, cap, start = SETS[row]
        if event[FIRST_KEY + owner] != 0:
            base = places[owner]
            seen_us = max(event[ev.AT_US], arena[base + agg.CLOCK]) if base != 0 else 0
            observe.read_set(
                arena,
                base + start if base != 0 else 0,
                cap,
                _member(event, member),
                seen_us,
                cells,
                marks,
                at.SETS_CELLS_AT + row * len(at.SET_CELLS),
            )
    _read_travel(arena, places[at.USER], event, cells, marks)
    graph.read(arena, keys, bases, event, FIRST_KEY, places, now_us, cells, marks)


@kernel
def _near_limit(amount_minor: int) -> int:
    """1 if the amount is at most 5 % under a limit above which somebody would have to ask."""
    for row in range(LIMITS.size):
        if LIMITS[row] - LIMITS[row] // 20 <= amount_minor < LIMITS[row]:
            return 1
    return 0


@kernel
def _place_rows(
    event: Ints, arena: Ints, keys: Ints, bases: Ints, meta: Ints, places: Ints
) -> None:
    """Find or make the rows an event writes, move their clocks, stamp its number on them."""
    for role in range(at.ROW_KINDS):
        key = event[FIRST_KEY + role]
        places[role] = 0
        if key != 0:
            base = agg.find(keys, bases, key)
            if base == 0:
                base = agg.insert(keys, bases, meta, key, ROW_WIDTHS[role])
            agg.advance(arena, base, event[ev.AT_US])
            arena[base + agg.SEQ] = event[ev.SEQ]
            places[role] = base


@kernel
def _apply_attempt(
    event: Ints, arena: Ints, keys: Ints, bases: Ints, places: Ints, now_us: int
) -> None:
    amount_minor = min(event[ev.AMOUNT], at.AMOUNT_CAP)
    hour = event[HOUR] % at.HOURS
    cross = 1 if event[MISMATCHES] & CROSS_BORDER else 0
    near = _near_limit(amount_minor)
    for role in range(at.ROW_KINDS):
        base = places[role]
        if base != 0:
            agg.add_attempt(arena, base, arena[base + agg.CLOCK], amount_minor, hour, cross, near)
    for row in range(SETS.shape[0]):
        owner, member, cap, start = SETS[row]
        key = _member(event, member)
        base = places[owner]
        if base != 0 and key != 0:
            agg.add_member(arena, base + start, cap, key, arena[base + agg.CLOCK])
    user = places[at.USER]
    both = LAT_BIT | LON_BIT
    usable = event[LABELS] & TUNNELS == 0 and event[ACCURACY] <= ACCURATE_M
    if user != 0 and event[ev.PRESENCE] & both == both and usable:
        arena[user + ROW_LAT] = event[LAT]
        arena[user + ROW_LON] = event[LON]
        arena[user + ROW_PLACE_AT] = max(event[ev.AT_US], 1)
    graph.link(arena, keys, bases, event, FIRST_KEY, places, now_us)


@kernel
def _apply_feedback(event: Ints, arena: Ints, places: Ints, now_us: int) -> None:
    amount_minor = min(event[ev.AMOUNT], at.AMOUNT_CAP)
    feedback = event[ev.FEEDBACK]
    for role in range(at.ROW_KINDS):
        base = places[role]
        if base != 0 and event[ev.KIND] == ev.OUTCOME:
            agg.add_outcome(arena, base, feedback)
        elif base != 0:
            agg.add_label(arena, base, arena[base + agg.CLOCK], feedback == ev.FRAUD, amount_minor)
    if feedback == ev.FRAUD and places[at.USER] != 0:
        graph.mark_fraud(arena, places[at.USER], now_us)


@kernel
def step(  # noqa: PLR0917 - arrays go to a kernel one by one
    event: Ints,
    arena: Ints,
    keys: Ints,
    bases: Ints,
    meta: Ints,
    plan: Ints,
    cells: Ints,
    marks: Marks,
    places: Ints,
    out: Floats,
    bits: Marks,
    seqs: Ints,
) -> None:
    """Read the features of an attempt, then apply the event; feedback is only applied.

    Args:
        event: The event's vector.
        arena: All rows, with room for `layout.WIDEST_EVENT` more.
        keys: Table of entities, with room for eight more.
        bases: Where their rows begin.
        meta: The state's counters.
        plan: The features.
        cells: Scratch.
        marks: Scratch.
        places: Scratch.
        out: Out: features, written for attempts only.
        bits: Out: presence.
        seqs: Out: number of the event that last wrote each role's row, 0 for none.
    """
    now_us = max(event[ev.AT_US], meta[agg.GLOBAL_CLOCK])
    if event[ev.KIND] == ev.ATTEMPT:
        _observe(event, arena, keys, bases, now_us, cells, marks, places, seqs)
        fin.finish(plan, cells, marks, out, bits)
    meta[agg.GLOBAL_CLOCK] = now_us
    _place_rows(event, arena, keys, bases, meta, places)
    if event[ev.KIND] == ev.ATTEMPT:
        _apply_attempt(event, arena, keys, bases, places, now_us)
    elif event[ev.KIND] != ev.TABLE:
        _apply_feedback(event, arena, places, now_us)


@kernel
def run(  # noqa: PLR0917 - arrays go to a kernel one by one
    events: Ints,
    start: int,
    arena: Ints,
    keys: Ints,
    bases: Ints,
    meta: Ints,
    plan: Ints,
    cells: Ints,
    marks: Marks,
    places: Ints,
    out: Floats,
    bits: Marks,
    seqs: Ints,
) -> int:
    """Step through ``events[start:]`` until the end or until the state needs room.

    Returns:
        Number of the first event not done; `len(events)` when all are. Out arrays have one row
        an event; rows of feedback are left as they were.
    """
    row = start
    while row < events.shape[0]:
        full = meta[agg.KEYS_HELD] + at.ROW_KINDS > keys.size // 2
        if full or meta[agg.USED] + at.WIDEST_EVENT > arena.size:
            break
        step(
            events[row],
            arena,
            keys,
            bases,
            meta,
            plan,
            cells,
            marks,
            places,
            out[row],
            bits[row],
            seqs[row],
        )
        row += 1
    return row


@kernel
def refill(old_keys: Ints, old_bases: Ints, keys: Ints, bases: Ints) -> None:
    """Enter entities into a larger, empty table."""
    mask = keys.size - 1
    for row in range(old_keys.size):
        place = agg.first_place(old_keys[row], mask)
        while bases[place] != 0:
            place = (place + 1) & mask
        keys[place] = old_keys[row]
        bases[place] = old_bases[row]
