"""`yumen geo`: the table that says where an address is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.frame import AsJson, Var, emit, settings_of
from gateway.refusal import Refused

if TYPE_CHECKING:
    from risk.geo.table import IpTable

app = typer.Typer(no_args_is_help=True, help="Where addresses are. / IP 地理位置")
_RESTART = "A running gateway reads it at its next start. / 运行中的网关在下次启动时使用"


def _described(table: "IpTable") -> dict[str, object]:
    credit = table.credit
    return {
        "version": table.version,
        "source": credit.source,
        "date": credit.date,
        "licence": credit.licence,
        "attribution": credit.attribution,
        "countries": len(table.countries),
        "ipv4_ranges": table.counts[4],
        "ipv6_ranges": table.counts[6],
    }


def _lines(found: dict[str, object]) -> list[str]:
    return [f"{key:14} {value}" for key, value in found.items()]


@app.command("update")
def update(
    *,
    files: Annotated[
        list[Path], typer.Argument(help="Address ranges, .mmdb or .csv; the first has the word.")
    ],
    var: Var = None,
    source: Annotated[str, typer.Option(help="Name of the data. [default: by the file]")] = "",
    date: Annotated[str, typer.Option(help="Its date, YYYY-MM-DD. [default: by the file]")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the data.")] = "",
    attribution: Annotated[str, typer.Option(help="Whom to credit, and how.")] = "",
    output: Annotated[Path | None, typer.Option(help="Write here instead of VAR/geo.")] = None,
    as_json: AsJson = False,
) -> None:
    """Convert newer or richer data and use it from the next start on (更新IP地理数据)."""
    from gateway import ip_sources
    from risk.geo.build import build
    from risk.geo.table import FILE_NAME, Credit, load

    named = ip_sources.described(files[0])
    day = date or named.date
    if not ip_sources.is_date(day):
        raise Refused(f"{files[0]} does not say of which day it is: give --date YYYY-MM-DD")
    credit = Credit(
        source=source or named.source, date=day, licence=licence, attribution=attribution
    )
    target = output or settings_of(var=var).var / "geo" / FILE_NAME
    build(target, credit, ip_sources.merged(files))
    found = _described(load(target)) | {"path": str(target)}
    emit(found, [*_lines(found), _RESTART], as_json=as_json)


@app.command("show")
def show(var: Var = None, as_json: AsJson = False) -> None:
    """Say which table is in use, and whom it is owed to (显示IP地理数据版本与出处)."""
    from risk.geo.table import newest

    found = _described(newest(settings_of(var=var).var / "geo"))
    emit(found, _lines(found), as_json=as_json)


@app.command("lookup")
def lookup(
    ip: Annotated[str, typer.Argument(help="An IPv4 or IPv6 address.")],
    var: Var = None,
    as_json: AsJson = False,
) -> None:
    """Say where an address is (查询IP归属)."""
    from risk.geo.table import FLAG_NAMES, newest

    table = newest(settings_of(var=var).var / "geo")
    place = table.find(ip)
    if place.flags is None:
        raise Refused(f"{ip!r} is no IP address")
    flags = [name for bit, name in FLAG_NAMES.items() if place.flags & bit]
    found: dict[str, object] = {
        "ip": ip,
        "country": place.country,
        "flags": flags,
        "asn": place.asn or None,
        "latitude": None if place.lat is None else place.lat / 1e6,
        "longitude": None if place.lon is None else place.lon / 1e6,
        "version": table.version,
    }
    emit(found, _lines(found | {"flags": ", ".join(flags) or "-"}), as_json=as_json)


@app.command("facts", hidden=True)
def facts(
    output: Annotated[Path, typer.Option(help="Folder of the tables.")] = Path("risk/data"),
) -> None:
    """Rewrite the shipped tables of clocks and holidays, for maintainers (更新时区与节假日表)."""
    from gateway import place_facts

    for path in place_facts.write(output):
        typer.echo(f"wrote {path}")
