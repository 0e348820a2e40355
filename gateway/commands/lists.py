"""`yumen lists`: block, allow and named lists, with expiry; nothing is ever deleted."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gateway.commands.frame import AsJson, Var, clock_us, emit
from gateway.commands.rules import Actor, Why, numbers_for, read_time, seeded, shown_time
from gateway.refusal import Refused

if TYPE_CHECKING:  # Heavy: nothing of these before a command runs.
    from sqlalchemy import Connection

    from gateway.store.lists import Change

Meant = Literal["ALLOW", "BLOCK", "NAMED"]
app = typer.Typer(no_args_is_help=True, help="Lists: block, allow, named. / 黑白名单")
_Name = Annotated[str, typer.Argument(help="The list's name. / 名单名称")]
_Kind = Annotated[str, typer.Option(help="card, user, ip, device, country, … / 类型")]
_Expires = Annotated[
    str, typer.Option("--expires", help="No longer counts from, ISO 8601. / 到期时间")
]


@app.command("list")
def list_lists(var: Var = None, as_json: AsJson = False) -> None:
    """List all lists and how much is on them (名单列表)."""
    from gateway.store import listing

    found = seeded(var, lambda conn: listing.all_lists(conn, clock_us()))
    lines = [f"{one.name:32} {one.purpose:6} {one.entry_count:8}  {one.note}" for one in found]
    emit({"lists": [asdict(one) for one in found]}, lines, as_json=as_json)


@app.command()
def show(
    name: _Name,
    var: Var = None,
    removed: Annotated[bool, typer.Option("--removed", help="Also what was taken off.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1_000,
    as_json: AsJson = False,
) -> None:
    """Show what is on a list (名单条目)."""
    from gateway.store import listing

    found = seeded(var, lambda conn: listing.entries_of(conn, name, removed=removed, limit=limit))
    lines = [
        f"{one.entry_id:8} {one.kind:10} {one.value or '(erased / 已删除)':40} "
        f"{shown_time(one.expires_at_us):20} {one.author}  {one.reason}"
        + (f"  off {shown_time(one.removed_at_us)}" if one.removed_version else "")
        for one in found
    ]
    emit({"name": name, "entries": [asdict(one) for one in found]}, lines, as_json=as_json)


@app.command()
def add(
    *,
    name: _Name,
    values: Annotated[
        list[str] | None, typer.Argument(help="Words to put on it; none: only make it. / 值")
    ] = None,
    reason: Why,
    kind: _Kind = "",
    purpose: Annotated[
        Meant | None,
        typer.Option(help="Make the list first, for this. / 新建名单的用途", case_sensitive=False),
    ] = None,
    expires: _Expires = "",
    actor: Actor = "",
    var: Var = None,
    as_json: AsJson = False,
) -> None:
    """Put words on a list, or make one with --purpose (加入名单, 或新建名单)."""
    from gateway.offline import login_name
    from gateway.store import lists
    from risk.rules.lists import Purpose

    words = values or []
    if words and not kind:
        raise Refused("--kind says what the values are, e.g. --kind card")
    if not words and not purpose:
        raise Refused("give values to put on the list, or --purpose to make one")
    who, until_us = actor or login_name(), read_time(expires, "--expires")
    new = [lists.NewEntry(kind=kind, value=word, expires_at_us=until_us) for word in words]

    def job(conn: "Connection") -> dict[str, object]:
        result: dict[str, object] = {"name": name}
        if purpose:
            result["list_version"] = lists.create_list(
                conn, name, Purpose(purpose), actor=who, reason=reason, now_us=clock_us()
            )
        if new:
            done = lists.add_entries(
                conn,
                name,
                new,
                actor=who,
                reason=reason,
                now_us=clock_us(),
                numbers=numbers_for(conn, var),
            )
            result |= asdict(done)
        return result

    result = seeded(var, job)
    emit(result, [f"{key:16} {value}" for key, value in result.items()], as_json=as_json)


@app.command()
def remove(
    *,
    name: _Name,
    values: Annotated[list[str], typer.Argument(help="Words to take off. / 值")],
    reason: Why,
    kind: _Kind,
    actor: Actor = "",
    var: Var = None,
    as_json: AsJson = False,
) -> None:
    """Take words off a list; they stay readable with --removed (移出名单)."""
    from gateway.offline import login_name
    from gateway.store import listing, lists

    def job(conn: "Connection") -> "Change":
        entry_ids = []
        for value in values:
            found = listing.find_entries(conn, name, kind, value)
            if not found:
                raise Refused(f"{value!r} is not on {name} as a {kind}")
            entry_ids += found
        return lists.remove_entries(
            conn,
            name,
            entry_ids,
            actor=actor or login_name(),
            reason=reason,
            now_us=clock_us(),
        )

    result = asdict(seeded(var, job))
    emit(result, [f"{key:16} {value}" for key, value in result.items()], as_json=as_json)


@app.command("import")
def import_file(
    *,
    name: _Name,
    path: Annotated[Path, typer.Argument(help="A text file, one word a line. / 每行一个值")],
    reason: Why,
    kind: _Kind,
    expires: _Expires = "",
    actor: Actor = "",
    var: Var = None,
    as_json: AsJson = False,
) -> None:
    """Put every line of a file on a list; repeating it changes nothing (批量导入)."""
    from gateway.offline import login_name
    from gateway.store import lists

    who, until_us = actor or login_name(), read_time(expires, "--expires")
    changed_count = unchanged_count = 0
    version = ""
    words = _lines(path)
    while chunk := list(islice(words, lists.ENTRY_COUNT_MAX)):
        new = [lists.NewEntry(kind=kind, value=word, expires_at_us=until_us) for word in chunk]
        # One change a chunk: a running gateway gets its turn between two of them.
        done = seeded(
            var,
            lambda conn, new=new: lists.add_entries(  # type: ignore[misc]  # a default binds the chunk
                conn,
                name,
                new,
                actor=who,
                reason=reason,
                now_us=clock_us(),
                numbers=numbers_for(conn, var),
            ),
        )
        changed_count += done.changed_count
        unchanged_count += done.unchanged_count
        version = done.list_version
        typer.echo(f"{changed_count + unchanged_count:,} …", err=True)
    result = {
        "name": name,
        "changed_count": changed_count,
        "unchanged_count": unchanged_count,
        "list_version": version,
    }
    emit(result, [f"{key:16} {value}" for key, value in result.items()], as_json=as_json)


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for line in file:
                word = line.strip()
                if word and not word.startswith("#"):
                    yield word
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: {error}") from error
