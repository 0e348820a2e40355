"""The one compiled step: features of the state before an event, then the event.

Called one event at a time online (`step`) and over a whole log offline (`run`, which calls
`step`). There is no second implementation to drift from this one.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from risk import graph, peers, rings
from risk.compiled import kernel
from risk.features import aggregates as agg
from risk.features import event as ev
from risk.features import finish as fin
from risk.features import habits, memory, observe, sets, travel
from risk.features import layout as at
from risk.features import needs as want
from risk.features import windows as win

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.uint8]

SETS: Final = np.array(
    [(*row, place) for row, place in zip(at.SETS, at.SET_PLACES, strict=True)], dtype=np.int64
)
SET_WIDTH: Final = len(at.SET_CELLS)
ROW_OF_ROLE: Final = np.array(at.ROW_OF_ROLE, dtype=np.int64)
FIRST_KEY: Final = ev.FIRST_KEY
HOUR: Final = ev.INDEX["hour"]
HOUR_OF_WEEK: Final = ev.INDEX["hour_of_week"]
# By the number of the member, its sign turned: `layout.MEMBER_WORDS`.
MEMBER_WORDS: Final = np.array(
    [0, *(ev.INDEX[word] for word, _ in at.MEMBER_WORDS.values())], dtype=np.int64
)
COUPON: Final = ev.INDEX["coupon"]
MISMATCHES: Final = ev.INDEX["mismatches"]
CROSS_BORDER: Final = 0b111001  # Card abroad, network abroad, payee abroad: see MISMATCHES.
ATTRIBUTE_COUNT: Final = len(ev.ATTRIBUTES)
ATTRIBUTES: Final = at.slot_of(at.USER, "attributes")


@kernel
def read_event(event: Ints, cells: Ints, marks: Marks) -> None:
    """Fill the cells that are the event's own fields."""
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
    return int(event[MEMBER_WORDS[-member]] if member < 0 else event[FIRST_KEY + member])


@kernel
def _find_rows(
    event: Ints, arena: Ints, table: Ints, needs: Ints, places: Ints, seqs: Ints
) -> None:
    """Find the rows of an event's entities; one not seen for too long is a stranger's."""
    for role in range(ev.KEY_COUNT):
        key = event[FIRST_KEY + role]
        kept = needs[want.ROWS_AT + ROW_OF_ROLE[role]]
        places[role] = memory.find(table, key) if key != 0 and kept else 0
    for role in range(ev.KEY_COUNT):
        places[role] = memory.known(arena, places[role], event[ev.AT_US])
        seqs[role] = arena[places[role] + agg.SEQ] if places[role] != 0 else 0


@kernel
def _read_roles(
    event: Ints,
    arena: Ints,
    needs: Ints,
    cells: Ints,
    marks: Marks,
    places: Ints,
    scratch: Ints,
    delta: Ints,
) -> None:
    amount_minor = min(event[ev.AMOUNT], at.AMOUNT_CAP)
    hour = event[HOUR] % at.HOURS
    weekday = event[HOUR_OF_WEEK] // at.HOURS % at.WEEKDAYS
    for role in range(ev.KEY_COUNT):
        if needs[want.ROLES_AT + role] == 0:
            continue
        first = at.ROLES_AT + role * at.ROLE_WIDTH
        if event[FIRST_KEY + role] == 0:
            marks[first : first + at.ROLE_WIDTH] = 0
        else:
            observe.read_role(
                arena, places[role], event[ev.AT_US], amount_minor, hour, weekday,
                needs[want.ROLES_AT + role], cells, marks, first, scratch, delta,
            )  # fmt: skip


@kernel
def _read_sets(
    event: Ints, arena: Ints, needs: Ints, cells: Ints, marks: Marks, places: Ints
) -> None:
    for row in range(SETS.shape[0]):
        wanted = needs[want.SETS_AT + row]
        if wanted == 0:
            continue
        owner, member, cap, pointer = SETS[row]
        out = at.SETS_CELLS_AT + row * SET_WIDTH
        cells[out : out + SET_WIDTH] = 0
        marks[out : out + SET_WIDTH] = 0
        if event[FIRST_KEY + owner] != 0:
            base = places[owner]
            seen_us = max(event[ev.AT_US], arena[base + agg.CLOCK]) if base != 0 else 0
            block = arena[base + pointer] if base != 0 else 0
            key = _member(event, member)
            sets.read_set(arena, block, cap, key, seen_us, wanted, cells, marks, out)


@kernel
def observe_rows(
    event: Ints,
    arena: Ints,
    table: Ints,
    now_us: int,
    needs: Ints,
    cells: Ints,
    marks: Marks,
    places: Ints,
    scratch: Ints,
    delta: Ints,
) -> None:
    """Fill all cells of an event's entities from the state as it stands; nothing is changed."""
    if needs[want.TRAVEL] or needs[want.HABITS] or needs[want.GRAPH]:
        cells[at.TRAVEL_AT :] = 0
        marks[at.TRAVEL_AT :] = 0
    _read_roles(event, arena, needs, cells, marks, places, scratch, delta)
    _read_sets(event, arena, needs, cells, marks, places)
    if needs[want.TRAVEL]:
        travel.read(arena, places[at.USER], event, cells, marks)
    if needs[want.HABITS]:
        habits.read(arena, places[at.USER], event, cells, marks)
    if needs[want.GRAPH]:
        graph.read(arena, table, event, FIRST_KEY, places, now_us, cells, marks)
        peers.read(arena, table, event, FIRST_KEY, places, now_us, cells, marks)


@kernel
def _place_rows(
    event: Ints, arena: Ints, table: Ints, meta: Ints, needs: Ints, places: Ints, epoch: int
) -> None:
    """Find or make the rows an event writes, move their clocks, stamp its number on them."""
    for role in range(at.ROW_KINDS):
        key = event[FIRST_KEY + role]
        places[role] = 0
        if key != 0 and needs[want.ROWS_AT + role]:
            base = memory.find(table, key)
            if base == 0:
                base = memory.insert(arena, table, meta, key, role)
            elif memory.known(arena, base, event[ev.AT_US]) == 0:
                memory.empty_row(arena, meta, base, epoch)
            agg.enter(arena, base, event[ev.AT_US])
            arena[base + agg.SEQ] = event[ev.SEQ]
            places[role] = base


@kernel
def apply_attempt(
    event: Ints,
    arena: Ints,
    table: Ints,
    meta: Ints,
    needs: Ints,
    places: Ints,
    delta: Ints,
    now_us: int,
    cells: Ints,
) -> None:
    """Let a payment change the rows at `places`."""
    amount_minor = min(event[ev.AMOUNT], at.AMOUNT_CAP)
    coupon_minor = min(max(event[COUPON], 0), at.AMOUNT_CAP)
    hour = event[HOUR] % at.HOURS
    weekday = event[HOUR_OF_WEEK] // at.HOURS % at.WEEKDAYS
    cross = 1 if event[MISMATCHES] & CROSS_BORDER else 0
    what = win.word_of(amount_minor, hour, weekday, cross, win.near_limit(amount_minor))
    win.fill(delta, amount_minor, coupon_minor, what)
    for role in range(at.ROW_KINDS):
        base = places[role]
        if base != 0:
            if needs[want.NOTED_AT + role] >> win.ATTEMPTED & 1:
                agg.note(
                    arena, meta, base, amount_minor, coupon_minor, what, delta,
                    needs[want.PARTS_AT + role],
                )  # fmt: skip
            agg.count_attempt(arena, base, amount_minor)
    for row in range(SETS.shape[0]):
        if needs[want.MEMBERS_AT + row] == 0:
            continue
        owner, member, cap, pointer = SETS[row]
        key = _member(event, member)
        base = places[owner]
        if base != 0 and key != 0:
            sets.add_member(arena, meta, base + pointer, cap, key, arena[base + agg.CLOCK])
    user = places[at.USER]
    if user != 0 and needs[want.HABITS]:
        habits.learn(arena, meta, user, event)
    if user != 0 and needs[want.TRAVEL]:
        travel.move(arena, meta, user, event)
    if needs[want.GRAPH]:
        graph.link(arena, table, meta, event, FIRST_KEY, places, now_us, cells)
        peers.link(arena, meta, event, FIRST_KEY, places, now_us)


@kernel
def apply_feedback(
    event: Ints,
    arena: Ints,
    table: Ints,
    meta: Ints,
    needs: Ints,
    places: Ints,
    delta: Ints,
    now_us: int,
) -> None:
    """Let an outcome or a verdict change the rows at `places`."""
    amount_minor = min(event[ev.AMOUNT], at.AMOUNT_CAP)
    feedback = event[ev.FEEDBACK]
    if feedback == ev.FRAUD and needs[want.GRAPH]:
        graph.mark_fraud(arena, table, event, FIRST_KEY, places, now_us)
    win.fill(delta, amount_minor, 0, feedback)
    for role in range(at.ROW_KINDS):
        base = places[role]
        if base == 0:
            continue
        if needs[want.NOTED_AT + role] >> feedback & 1:
            agg.note(
                arena, meta, base, amount_minor, 0, feedback, delta, needs[want.PARTS_AT + role]
            )
        if event[ev.KIND] == ev.OUTCOME:
            agg.count_outcome(arena, base, amount_minor, feedback)
        else:
            agg.count_label(arena, base, amount_minor, feedback)


@kernel
def _apply_attributes(event: Ints, arena: Ints, meta: Ints, user: int) -> None:
    """Keep what a background job found out about a user, with the time it took effect."""
    if user == 0:
        return
    block = arena[user + ATTRIBUTES]
    if block == 0:
        block = memory.take(arena, meta, memory.ATTRIBUTES_WIDTH)
        arena[user + ATTRIBUTES] = block
    arena[block] = max(event[ev.AT_US], 1)
    arena[block + 1] = event[ev.REF_SEQ]
    for place in range(ATTRIBUTE_COUNT):
        arena[block + 2 + place] = event[ev.FIRST_CONTEXT + place]


@kernel
def step(
    event: Ints,
    arena: Ints,
    table: Ints,
    meta: Ints,
    plan: Ints,
    needs: Ints,
    cells: Ints,
    marks: Marks,
    places: Ints,
    scratch: Ints,
    delta: Ints,
    out: Floats,
    bits: Marks,
    seqs: Ints,
) -> None:
    """Read the features of an attempt, then apply the event; other events are only applied.

    Args:
        event: The event's vector.
        arena: All rows, with room for `layout.WIDEST_EVENT` more.
        table: Entities and where their rows begin, with room for one of each kind more.
        meta: The state's counters.
        plan: The features.
        needs: What they need read and kept (`risk.features.needs`).
        cells: Scratch.
        marks: Scratch.
        places: Scratch.
        scratch: Scratch.
        delta: Scratch.
        out: Out: features, written for attempts only.
        bits: Out: presence.
        seqs: Out: number of the event that last wrote each role's row, 0 for none.
    """
    now_us = max(event[ev.AT_US], meta[memory.GLOBAL_CLOCK])
    kind = event[ev.KIND]
    if kind == ev.ATTEMPT:
        _find_rows(event, arena, table, needs, places, seqs)
        read_event(event, cells, marks)
        observe_rows(event, arena, table, now_us, needs, cells, marks, places, scratch, delta)
        fin.finish(plan, cells, marks, out, bits)
    meta[memory.GLOBAL_CLOCK] = now_us
    epoch = now_us // rings.EPOCH_US
    held = meta[memory.KEYS_HELD]
    _place_rows(event, arena, table, meta, needs, places, epoch)
    made = meta[memory.KEYS_HELD] - held
    if kind == ev.ATTEMPT:
        apply_attempt(event, arena, table, meta, needs, places, delta, now_us, cells)
    elif kind == ev.TABLE:
        _apply_attributes(event, arena, meta, places[at.USER])
    else:
        apply_feedback(event, arena, table, meta, needs, places, delta, now_us)
    slots = memory.SWEPT_SLOTS + made * memory.SWEPT_FOR_ROW
    memory.sweep(arena, table, meta, now_us, epoch, slots)


@kernel
def run(
    events: Ints,
    start: int,
    arena: Ints,
    table: Ints,
    meta: Ints,
    plan: Ints,
    needs: Ints,
    cells: Ints,
    marks: Marks,
    places: Ints,
    scratch: Ints,
    delta: Ints,
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
        full = meta[memory.KEYS_HELD] + at.ROW_KINDS > table.size // 4
        if full or meta[memory.USED] + at.WIDEST_EVENT > arena.size:
            break
        step(
            events[row], arena, table, meta, plan, needs, cells, marks, places, scratch, delta,
            out[row], bits[row], seqs[row],
        )  # fmt: skip
        row += 1
    return row
