"""A whole log's columns of a few features, some entities at a time instead of all.

All but the graph depends on an entity's own events alone, in their order, so a log can be split by
entity first. The rows of a few dozen entities of one kind stay in the processor's cache while
their events pass, nothing is looked up, and kinds of entities that no wanted feature reads are
never touched. Events are read and applied by the functions of `risk.features.kernel`: the same
steps in another order, not another engine. Cells wait in columns until all kinds are done and are
finished by the common plan.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from risk.compiled import kernel
from risk.features import aggregates as agg
from risk.features import event as ev
from risk.features import finish as fin
from risk.features import kernel as steps
from risk.features import layout as at
from risk.features import memory, recent
from risk.features import windows as win
from risk.features.fields import CONTEXT_FIELDS
from risk.features.groups import GROUP, NO_COLUMN, sort_by_group
from risk.features.needs import PROFILE_CELLS, needs_of
from risk.prefetch import prefetch

Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Marks = npt.NDArray[np.uint8]

CELLS_MOST: Final = 64  # So many wait for every payment; for more, the log's own order is better.
ALIASES: Final = {at.PAYEE: at.INFLOW, at.USER: at.OUTFLOW}  # Who else reads a kind's rows.
AHEAD: Final = 8
# One event adds at most `WIDEST_EVENT` to the rows of all kinds, so no entity ever holds more; a
# block that grows is copied, so at most as much again was given back.
ARENA_WIDTH: Final = 1 + 2 * at.WIDEST_EVENT * GROUP
# Fields of an event that a cell is made from, beside its entity's name.
_ALWAYS: Final = ("kind", "at_us", "amount", "feedback")
_TRAVEL: Final = ("user", "presence", "lat", "lon", "accuracy_m", "risk_labels", "ip_flags")
_HABITS: Final = ("user", "presence", *at.HABITS)
_BY_COLUMN: Final = {
    "night": ("hour",),
    "night_sum": ("hour",),
    "cross_border": ("mismatches",),
    "cross_border_sum": ("mismatches",),
    "coupon_sum": ("coupon",),
}


def suits(cells: set[str]) -> bool:
    """Whether these cells can be had entity by entity: none of the graph, and not too many."""
    return len(cells) <= CELLS_MOST and not any(cell.startswith("graph.") for cell in cells)


def fields_of(cells: set[str]) -> tuple[str, ...]:
    """Return the fields of an event (`risk.features.event.FIELDS`) that these cells come from."""
    fields = set(_ALWAYS).union(*(_fields_of_cell(cell) for cell in cells))
    return tuple(name for name in ev.FIELDS if name in fields)


def _fields_of_cell(cell: str) -> Iterable[str]:
    prefix, _, name = cell.partition(".")
    if prefix == "event":
        return (name, "presence") if name in CONTEXT_FIELDS else (name,)
    if prefix == "travel":
        return _TRAVEL
    if prefix == "habits":
        return _HABITS
    if prefix in at.SET_NAMES:
        owner, member, _ = at.SETS[at.SET_NAMES.index(prefix)]
        return at.ROLES[owner], at.MEMBER_WORDS[member][0] if member < 0 else at.ROLES[member]
    writer = at.ROLES[at.ROW_OF_ROLE[at.ROLES.index(prefix)]]
    if name in PROFILE_CELLS:
        return prefix, writer, "hour", "hour_of_week"
    return prefix, writer, *_BY_COLUMN.get(name.rpartition("_")[0], ())


@dataclass(frozen=True, slots=True)
class _Walk:
    """What one kind of entity is walked for."""

    kind: int
    own: frozenset[str]  # Cells read by the entity's own events,
    other: frozenset[str]  # and by events that name it in its other role.


def _walks(cells: set[str]) -> list[_Walk]:
    owner = {role: at.ROW_OF_ROLE[place] for place, role in enumerate(at.ROLES)}
    owner |= {name: row[0] for name, row in zip(at.SET_NAMES, at.SETS, strict=True)}
    owner |= {"travel": at.USER, "habits": at.USER}
    walks = []
    for kind in range(at.ROW_KINDS):
        mine = {cell for cell in cells if owner.get(cell.partition(".")[0]) == kind}
        alias = f"{at.ROLES[ALIASES[kind]]}." if kind in ALIASES else "-"
        other = frozenset(cell for cell in mine if cell.startswith(alias))
        if mine:
            walks.append(_Walk(kind, frozenset(mine) - other, other))
    return walks


def columns_of(events: Ints, fields: tuple[str, ...], plan: Ints, cells: set[str]) -> Floats:
    """Return the features of every attempt of a log.

    Args:
        events: Some fields of each event, in the log's order, shape ``(n, len(fields))``.
        fields: Their names; `fields_of` the cells at least.
        plan: The features, as `risk.features.catalogue.plan` gives them.
        cells: The cells they are made from; see `suits`.

    Returns:
        Shape ``(attempts, F)``, NaN where missing.
    """
    events = np.ascontiguousarray(events)
    places = np.array([ev.INDEX[name] for name in fields], dtype=np.int64)
    column = {name: place for place, name in enumerate(fields)}
    attempts = np.flatnonzero(events[:, column["kind"]] == ev.ATTEMPT)
    kept = sorted(at.CELL[cell] for cell in cells if not cell.startswith("event."))
    held = np.zeros((len(attempts), len(kept)), dtype=np.int64)
    marks = np.zeros((len(attempts), len(kept)), dtype=np.uint8)
    for walk in _walks(cells):
        alias = column[at.ROLES[ALIASES[walk.kind]]] if walk.other else NO_COLUMN
        visits, starts = sort_by_group(
            events, column["kind"], column[at.ROLES[walk.kind]], alias=alias
        )
        parts = (walk.own, walk.other, walk.own | walk.other)
        own, other = (
            np.array([(place, kept.index(place)) for place in sorted(at.CELL[c] for c in part)])
            .reshape(-1, 2)
            .astype(np.int64)
            for part in parts[:2]
        )
        needs = np.stack([needs_of(set(part)) for part in parts])
        _walk(
            walk.kind, ALIASES.get(walk.kind, 0), visits, starts, events, places, own, other,
            needs, np.zeros(ARENA_WIDTH, dtype=np.int64),
            np.zeros(memory.META_WIDTH, dtype=np.int64), np.zeros(GROUP, dtype=np.int64),
            *_scratch(), held, marks,
        )  # fmt: skip
    out = np.empty((len(attempts), len(plan)))
    bits = np.zeros((len(plan) + 7) // 8, dtype=np.uint8)
    event, seen, known, *_ = _scratch()
    _finish(
        attempts, events, places, len(kept) < len(cells), np.array(kept, dtype=np.int64), held,
        marks, plan, event, seen, known, out, bits,
    )  # fmt: skip
    return out


def _scratch() -> tuple[Ints, Ints, Marks, Ints, Ints, Ints]:
    """An event, its cells and marks, the places of its rows, and what reading needs besides."""
    return (
        np.zeros(ev.EVENT_WIDTH, dtype=np.int64),
        np.zeros(at.CELL_COUNT, dtype=np.int64),
        np.zeros(at.CELL_COUNT, dtype=np.uint8),
        np.zeros(ev.KEY_COUNT, dtype=np.int64),
        np.zeros(recent.SCRATCH_WIDTH, dtype=np.int64),
        np.zeros(win.DELTA_WIDTH, dtype=np.int64),
    )


@kernel
def _read(
    event: Ints,
    role: int,
    base: int,
    wanted: Ints,
    needs: Ints,
    arena: Ints,
    cells: Ints,
    marks: Marks,
    places: Ints,
    scratch: Ints,
    delta: Ints,
    held: Ints,
    known: Marks,
) -> None:
    """Read what an attempt wants of the row and put it aside."""
    places[role] = memory.known(arena, base, event[ev.AT_US])
    steps.observe_rows(event, arena, arena, 0, needs, cells, marks, places, scratch, delta)
    places[role] = 0
    for cell in range(wanted.shape[0]):
        held[wanted[cell, 1]] = cells[wanted[cell, 0]]
        known[wanted[cell, 1]] = marks[wanted[cell, 0]]


@kernel
def _fetch(visits: Ints32, visit: int, events: Ints, held: Ints) -> None:
    """Ask ahead for what a visit will touch: a group's events lie apart."""
    if visit < visits.shape[0]:
        row = np.int64(visits[visit, 0])
        prefetch(events, row if row >= 0 else ~row)
        prefetch(held, np.int64(visits[visit, 1]))


@kernel
def _row_of(arena: Ints, meta: Ints, base: int, kind: int, at_us: int) -> int:
    """Return the row an event writes, new where there is none or its entity is a stranger."""
    if base == 0:
        block = memory.take(arena, meta, memory.ROW_WIDTHS[kind] + 1)
        arena[block + memory.KIND] = kind
        return block + 1
    if memory.known(arena, base, at_us) == 0:
        memory.empty_row(arena, meta, base, 0)
    return base


@kernel
def _walk(
    kind: int,
    alias: int,
    visits: Ints32,
    starts: Ints,
    events: Ints,
    fields: Ints,
    own: Ints,
    other: Ints,
    needs: Ints,
    arena: Ints,
    meta: Ints,
    bases: Ints,
    event: Ints,
    cells: Ints,
    marks: Marks,
    places: Ints,
    scratch: Ints,
    delta: Ints,
    held: Ints,
    known: Marks,
) -> None:
    """Let the events of each group pass over its entities' rows.

    Args:
        kind: Of the entities.
        alias: The role in which they are only read.
        visits: See `sort_by_group`.
        starts: See there.
        events: Some fields of each event.
        fields: Which: their places in an event.
        own: Place and column of each cell that `kind` reads, shape ``(c, 2)``.
        other: Those that `alias` reads.
        needs: Of `own`, of `other` and of both, shape ``(3, needs.WIDTH)``.
        arena: Memory of a group's rows, zeros.
        meta: Its counters, zeros.
        bases: Scratch: where each entity's row begins.
        event: Scratch, zeros where `fields` name nothing.
        cells: Scratch.
        marks: Scratch.
        places: Scratch, zeros.
        scratch: Scratch.
        delta: Scratch.
        held: Out: cells of each attempt.
        known: Out: 1 where they are known.
    """
    for group in range(starts.size - 1):
        win.clear_run(arena, 0, meta[memory.USED])
        win.clear_run(meta, 0, meta.size)
        win.clear_run(bases, 0, bases.size)
        meta[memory.USED] = 1  # Place 0 means "no row".
        for visit in range(starts[group], starts[group + 1]):
            _fetch(visits, visit + AHEAD, events, held)
            row, attempt, entity = visits[visit]
            only_reads = row < 0
            row = ~row if only_reads else row
            for place in range(fields.size):
                event[fields[place]] = events[row, place]
            if only_reads:
                _read(
                    event, alias, bases[entity], other, needs[1], arena, cells, marks, places,
                    scratch, delta, held[attempt], known[attempt],
                )  # fmt: skip
                continue
            if event[ev.KIND] == ev.ATTEMPT and own.shape[0] > 0:
                _read(
                    event, kind, bases[entity], own, needs[0], arena, cells, marks, places,
                    scratch, delta, held[attempt], known[attempt],
                )  # fmt: skip
            base = _row_of(arena, meta, bases[entity], kind, event[ev.AT_US])
            bases[entity] = places[kind] = base
            now_us = agg.enter(arena, base, event[ev.AT_US])
            _apply(event, arena, meta, needs[2], places, delta, now_us, cells)
            places[kind] = 0


@kernel
def _apply(
    event: Ints,
    arena: Ints,
    meta: Ints,
    needs: Ints,
    places: Ints,
    delta: Ints,
    now_us: int,
    cells: Ints,
) -> None:
    if event[ev.KIND] == ev.ATTEMPT:
        steps.apply_attempt(event, arena, arena, meta, needs, places, delta, now_us, cells)
    elif event[ev.KIND] != ev.TABLE:
        steps.apply_feedback(event, arena, arena, meta, needs, places, delta, now_us)


@kernel
def _finish(
    attempts: Ints,
    events: Ints,
    fields: Ints,
    of_event: bool,
    kept: Ints,
    held: Ints,
    known: Marks,
    plan: Ints,
    event: Ints,
    cells: Ints,
    marks: Marks,
    out: Floats,
    bits: Marks,
) -> None:
    """Turn the cells of every attempt into its features; `of_event`: some are its own fields."""
    for row in range(attempts.size):
        if of_event:
            for place in range(fields.size):
                event[fields[place]] = events[attempts[row], place]
            steps.read_event(event, cells, marks)
        for place in range(kept.size):
            cells[kept[place]] = held[row, place]
            marks[kept[place]] = known[row, place]
        fin.finish(plan, cells, marks, out[row], bits)
