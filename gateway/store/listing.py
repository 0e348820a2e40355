"""Lists as they stand, and as they stood at any of their versions."""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Result, func, or_, select

from gateway.domain.errors import ObjectNotFound
from gateway.store.counters import counted
from gateway.store.rule_tables import list_entries, lists
from risk.rules.lists import NEVER_US, Lists, NamedList, Purpose
from risk.rules.names import CODE_LETTERS, closest

_VERSION_PREFIX: Final = "lists-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What stands, or stood, on a list; times are Unix microseconds, 0 is never."""

    entry_id: int
    kind: str
    value: str
    number: int
    reason: str
    author: str
    added_at_us: int
    added_version: int
    expires_at_us: int
    removed_at_us: int
    removed_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSummary:
    """A list and how many entries count now."""

    name: str
    purpose: Purpose
    note: str
    author: str
    created_at_us: int
    entry_count: int


def version_of(number: int) -> str:
    """Return the version after so many changes, as decisions store it."""
    return f"{_VERSION_PREFIX}{number}"


def number_of_version(version: str) -> int:
    """Read a version of the lists, as decisions store it; ``none`` is before there were any.

    Raises:
        ValueError: it is none.

    Examples:
        >>> number_of_version("lists-17"), number_of_version("none")
        (17, 0)
    """
    if version == "none":
        return 0
    digits = version.removeprefix(_VERSION_PREFIX)
    if digits == version or not digits.isdecimal():
        raise ValueError(f"{version[:64]!r} is no version of the lists")
    return int(digits)


def lists_at(conn: Connection, number: int | None = None) -> Lists:
    """Read what was on all lists at a version.

    Args:
        conn: Any connection.
        number: The version's number; None is now.
    """
    at = counted(conn, "lists") if number is None else number
    entry = list_entries.c
    rows = conn.execute(
        select(entry.list_name, entry.kind, entry.number, entry.expires_at_us).where(
            entry.added_version <= at,
            or_(entry.removed_version == 0, entry.removed_version > at),
        )
    )
    content: dict[str, dict[str, dict[int, int]]] = {}
    for list_name, kind, word, expires_at_us in rows:
        of_kind = content.setdefault(list_name, {}).setdefault(kind, {})
        of_kind[word] = expires_at_us or NEVER_US
    named = conn.execute(
        select(lists.c.name, lists.c.purpose)
        .where(lists.c.created_version <= at)
        .order_by(lists.c.name)
    )
    return Lists(
        version=version_of(at),
        by_name={
            name: NamedList(name, Purpose(purpose), content.get(name, {}))
            for name, purpose in named
        },
    )


def list_names(conn: Connection) -> Lists:
    """Return which lists there are, without what is on them: enough to check a rule."""
    rows = conn.execute(select(lists.c.name, lists.c.purpose))
    named = {name: NamedList(name, Purpose(purpose)) for name, purpose in rows}
    return Lists(version=version_of(counted(conn, "lists")), by_name=named)


def all_lists(conn: Connection, now_us: int) -> list[ListSummary]:
    """Return all lists in order of the alphabet, with the number of entries that count now."""
    entry = list_entries.c
    standing = (
        select(entry.list_name, func.count().label("entry_count"))
        .where(
            entry.removed_version == 0,
            or_(entry.expires_at_us == 0, entry.expires_at_us > now_us),
        )
        .group_by(entry.list_name)
        .subquery()
    )
    columns = (lists.c.name, lists.c.purpose, lists.c.note, lists.c.author, lists.c.created_at_us)
    rows = conn.execute(
        select(*columns, func.coalesce(standing.c.entry_count, 0).label("entry_count"))
        .outerjoin(standing, standing.c.list_name == lists.c.name)
        .order_by(lists.c.name)
    )
    return [ListSummary(**row | {"purpose": Purpose(row["purpose"])}) for row in _dicts(rows)]


def entries_of(
    conn: Connection, list_name: str, *, removed: bool = False, after_id: int = 0, limit: int = 200
) -> list[Entry]:
    """Return entries of a list in the order they were put on.

    Args:
        conn: Any connection.
        list_name: Which.
        removed: Whether to include those that were taken off.
        after_id: Only entries after this one, to page on.
        limit: At most so many.

    Raises:
        ObjectNotFound: (1009) if there is no such list.
    """
    purpose_of(conn, list_name)
    entry = list_entries.c
    statement = select(*[c for c in list_entries.columns if c.name != "list_name"]).where(
        entry.list_name == list_name, entry.entry_id > after_id
    )
    if not removed:
        statement = statement.where(entry.removed_version == 0)
    rows = conn.execute(statement.order_by(entry.entry_id).limit(limit))
    return [Entry(**row) for row in _dicts(rows)]


def purpose_of(conn: Connection, name: str) -> Purpose:
    """Return what a list is for.

    Raises:
        ObjectNotFound: (1009) if there is no such list.
    """
    purpose = conn.execute(select(lists.c.purpose).where(lists.c.name == name)).scalar()
    if purpose is None:
        close = closest(name, list_names(conn).by_name)
        hint = f"; did you mean {close}?" if close else ""
        raise ObjectNotFound(f"no list {name[:64]}{hint}")
    return Purpose(purpose)


def normal(kind: str, value: str) -> str:
    """Return a word as lists keep it: without blanks around it, codes in capitals.

    Examples:
        >>> normal("country", " cn ")
        'CN'
    """
    return value.strip().upper() if kind in CODE_LETTERS else value.strip()


def find_entries(conn: Connection, list_name: str, kind: str, value: str) -> list[int]:
    """Return the numbers of the entries that hold a word now; at most one."""
    entry = list_entries.c
    statement = select(entry.entry_id).where(
        entry.list_name == list_name,
        entry.kind == kind,
        entry.value == normal(kind, value),
        entry.removed_version == 0,
    )
    return list(conn.execute(statement).scalars())


def _dicts(rows: Result[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in rows.mappings()]
