"""Lists in the database: what is put on them and taken off; `gateway.store.listing` reads them.

Every change counts the version of all lists up by one and marks the entries it put on or took
off; nothing is deleted. A decision stores the version it was made with, so what was on a list
then can be read years later, even where the words themselves had to be erased.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update

from gateway.domain.errors import InvalidParameter, ObjectNotFound
from gateway.store import audit
from gateway.store.counters import count_up, counted
from gateway.store.listing import list_names, normal, purpose_of, version_of
from gateway.store.raw import Raw
from gateway.store.rule_tables import list_entries, lists
from risk.rules.lists import Purpose
from risk.rules.names import CODE_LETTERS, KINDS, NumberOf, closest

LIST_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
ENTRY_COUNT_MAX: Final = 500  # In one change: the writer must not be held for long.
VALUE_LENGTH_MAX: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEntry:
    """What is to be put on a list.

    Attributes:
        kind: Which word of a payment it is, see `risk.rules.names.KINDS`.
        value: The word.
        expires_at_us: From when it no longer counts, Unix microseconds; 0 is never.
    """

    kind: str
    value: str
    expires_at_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a change of a list did: entries touched, entries that stood as asked, the version."""

    changed_count: int
    unchanged_count: int
    list_version: str


def create_list(
    conn: Connection, name: str, purpose: Purpose, *, actor: str, reason: str, now_us: int
) -> str:
    """Create an empty list; what it is for never changes afterwards.

    Returns:
        The version of the lists that knows it.

    Raises:
        InvalidParameter: (1001) if the name is taken or none.
    """
    if LIST_NAME.fullmatch(name) is None:
        raise InvalidParameter(
            "name",
            "须以小写字母开头, 仅含小写字母、数字和下划线 / "
            "has 1 to 64 lower-case letters, digits and _ and begins with a letter",
        )
    if name in list_names(conn).by_name:
        raise InvalidParameter("name", f"名单 {name} 已存在 / the list {name} exists")
    number = count_up(conn, "lists")
    conn.execute(
        insert(lists).values(
            name=name,
            purpose=purpose.value,
            note=reason,
            author=actor,
            created_at_us=now_us,
            created_version=number,
        )
    )
    _record(conn, "list.create", name, number, actor, reason, now_us, {"purpose": purpose.value})
    return version_of(number)


def add_entries(
    conn: Connection,
    list_name: str,
    new: Sequence[NewEntry],
    *,
    actor: str,
    reason: str,
    now_us: int,
    numbers: NumberOf,
) -> Change:
    """Put words on a list; one that stands there with another expiry is replaced.

    Args:
        conn: The writer's connection.
        list_name: Which list.
        new: At most `ENTRY_COUNT_MAX`.
        actor: Who.
        reason: Why.
        now_us: When, Unix microseconds.
        numbers: Which number stands for a word.

    Raises:
        ObjectNotFound: (1009) if there is no such list.
        InvalidParameter: (1001) for a kind or value that no payment can have, an expiry in the
            past, or too many.
    """
    purpose_of(conn, list_name)
    if len(new) > ENTRY_COUNT_MAX:
        raise InvalidParameter("entries", f"一次最多 {ENTRY_COUNT_MAX} 条 / too many at once")
    wanted = dict(_checked(entry, now_us, numbers) for entry in new)
    standing = _standing(conn, list_name, wanted)
    fresh = {
        key: entry
        for key, entry in wanted.items()
        if key not in standing or standing[key][1] != entry.expires_at_us
    }
    unchanged_count = len(wanted) - len(fresh)
    if not fresh:
        return Change(
            changed_count=0,
            unchanged_count=unchanged_count,
            list_version=version_of(counted(conn, "lists")),
        )
    number = count_up(conn, "lists")
    replaced = [standing[key][0] for key in fresh if key in standing]
    _close(conn, replaced, number, now_us)
    conn.execute(
        insert(list_entries),
        [
            {
                "list_name": list_name,
                "kind": kind,
                "value": entry.value,
                "number": word,
                "reason": reason,
                "author": actor,
                "added_at_us": now_us,
                "added_version": number,
                "expires_at_us": entry.expires_at_us,
            }
            for (kind, word), entry in fresh.items()
        ],
    )
    detail = {
        "added": [[kind, word, entry.expires_at_us] for (kind, word), entry in fresh.items()],
        "replaced": replaced,
    }
    _record(conn, "list.add", list_name, number, actor, reason, now_us, detail)
    return Change(
        changed_count=len(fresh),
        unchanged_count=unchanged_count,
        list_version=version_of(number),
    )


def remove_entries(
    conn: Connection,
    list_name: str,
    entry_ids: Iterable[int],
    *,
    actor: str,
    reason: str,
    now_us: int,
) -> Change:
    """Take entries off a list, by their numbers; those that are off already stay so.

    Raises:
        ObjectNotFound: (1009) if the list has never had such an entry.
    """
    purpose_of(conn, list_name)
    wanted = sorted(set(entry_ids))[:ENTRY_COUNT_MAX]
    entry = list_entries.c
    rows = conn.execute(
        select(entry.entry_id, entry.kind, entry.number, entry.removed_version).where(
            entry.list_name == list_name, entry.entry_id.in_(wanted)
        )
    ).all()
    unknown = set(wanted) - {row.entry_id for row in rows}
    if unknown:
        raise ObjectNotFound(f"list {list_name} has no entry {min(unknown)}")
    standing = [row for row in rows if row.removed_version == 0]
    number = count_up(conn, "lists") if standing else counted(conn, "lists")
    _close(conn, [row.entry_id for row in standing], number, now_us)
    if standing:
        detail = {"removed": [[row.entry_id, row.kind, row.number] for row in standing]}
        _record(conn, "list.remove", list_name, number, actor, reason, now_us, detail)
    return Change(
        changed_count=len(standing),
        unchanged_count=len(rows) - len(standing),
        list_version=version_of(number),
    )


def forget_word(raw: Raw, kind: str, number: int) -> int:
    """Erase a word's text from all lists, as the law may ask; its number stays, and counts.

    Args:
        raw: A connection within a transaction.
        kind: Which word it is.
        number: What stands for it.

    Returns:
        How many entries it stood in.
    """
    return raw.execute(
        "UPDATE list_entries SET value = '' WHERE kind = ? AND number = ? AND value <> ''",
        (kind, number),
    ).rowcount


def _checked(entry: NewEntry, now_us: int, numbers: NumberOf) -> tuple[tuple[str, int], NewEntry]:
    if entry.kind not in KINDS:
        close = closest(entry.kind, KINDS)
        hint = f"; did you mean {close}?" if close else f"; one of {', '.join(KINDS)}"
        raise InvalidParameter("kind", f"未知类型 / unknown kind {entry.kind[:64]!r}{hint}")
    value = normal(entry.kind, entry.value)
    wanted = CODE_LETTERS.get(entry.kind)
    number = numbers(entry.kind, value) if value else 0
    if not number or len(value) > VALUE_LENGTH_MAX or (wanted and len(value) != wanted[0]):
        raise InvalidParameter(
            "value",
            f"没有交易的 {entry.kind} 会是此值 / no payment can have it as its {entry.kind}",
        )
    if entry.expires_at_us and entry.expires_at_us <= now_us:
        raise InvalidParameter("expires_at_us", "已过期 / lies in the past")
    return (entry.kind, number), NewEntry(
        kind=entry.kind, value=value, expires_at_us=entry.expires_at_us
    )


def _standing(
    conn: Connection, list_name: str, wanted: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], tuple[int, int]]:
    """Return (kind, number) -> (entry, expiry) of those that are on the list now."""
    entry = list_entries.c
    rows = conn.execute(
        select(entry.kind, entry.number, entry.entry_id, entry.expires_at_us).where(
            entry.list_name == list_name,
            entry.removed_version == 0,
            entry.number.in_([number for _, number in wanted]),
        )
    )
    return {(kind, number): (entry_id, until) for kind, number, entry_id, until in rows}


def _close(conn: Connection, entry_ids: Sequence[int], number: int, now_us: int) -> None:
    if entry_ids:
        closed = update(list_entries).where(list_entries.c.entry_id.in_(entry_ids))
        conn.execute(closed.values(removed_at_us=now_us, removed_version=number))


def _record(
    conn: Connection,
    action: str,
    name: str,
    number: int,
    actor: str,
    reason: str,
    now_us: int,
    detail: dict[str, Any],
) -> None:
    # Words are not repeated here: the trail is kept for good, and a word may have to be erased.
    audit.record(
        conn,
        actor=actor,
        action=action,
        object_id=f"list:{name}",
        now_us=now_us,
        reason=reason,
        detail=detail | {"list_version": version_of(number)},
    )
