"""`yumen graph`: what the background knows of communities of users, and looking again."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gateway.commands.frame import AsJson, Var, clock_us, emit, settings_of
from gateway.refusal import Refused
from gateway.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Communities of users. / 关联社区")
_PPM = 1_000_000


@app.command("refresh")
def refresh(var: Var = None, as_json: AsJson = False) -> None:
    """Look for communities now, or ask the running gateway to (立即刷新关联社区)."""
    from gateway import wiring
    from gateway.owner import AlreadyOwned
    from gateway.worker import communities

    settings = settings_of(var=var)
    _require_database(settings)
    try:
        # Without a worker: this command writes the log and nothing that leaves the house.
        alone = settings.model_copy(update={"worker": False, "graph_refresh_interval_s": 0})
        report = asyncio.run(_refresh(wiring.build(alone)))
    except AlreadyOwned:
        communities.request(settings.var)
        line = "asked the running gateway; see yumen graph stats / 已请求运行中的网关刷新"
        emit({"asked": True}, [line], as_json=as_json)
        return
    emit({"asked": False, **report}, _lines(report), as_json=as_json)


async def _refresh(gateway: Any) -> Mapping[str, Any]:  # noqa: ANN401 - Gateway, imported late
    await gateway.start()
    try:
        report: Mapping[str, Any] = await gateway.communities.refresh()
    finally:
        await gateway.stop()
    return report


@app.command("stats")
def stats(var: Var = None, as_json: AsJson = False) -> None:
    """Show what the last look found (最近一次刷新的结果)."""
    from gateway.worker.communities import last_report

    report = last_report(settings_of(var=var).var)
    if report is None:
        raise Refused("nobody has looked yet; run yumen graph refresh / 尚未刷新过")
    age_s = max(clock_us() - int(report["at_us"]), 0) // 1_000_000
    emit({**report, "age_s": age_s}, [*_lines(report), f"{'age_s':12} {age_s}"], as_json=as_json)


@app.command("show")
def show(
    user: Annotated[str, typer.Argument(help="The payer's account, as merchants name it.")],
    var: Var = None,
    as_json: AsJson = False,
) -> None:
    """Show the community of one payer's account (查看用户所在社区)."""
    from gateway.queries.communities import community_of
    from gateway.queries.reader import ReaderError, open_reader

    try:
        reader = open_reader(settings_of(var=var).database)
    except ReaderError as problem:
        raise Refused(str(problem)) from problem
    try:
        with reader.connect() as conn:
            row = community_of(conn, user)
    finally:
        reader.dispose()
    if row is None:
        raise Refused(f"{user} is in no community of three or more / 该用户不在任何社区")
    result = {"user": user, "seq": row.seq, "at_us": row.at_us, "ref_seq": row.ref_seq}
    result |= row.values
    lines = [f"{name:22} {value}" for name, value in result.items()]
    share = row.values["community_fraud_ppm"] / _PPM
    emit(result, [*lines, f"{'known fraud / 已知欺诈':20} {share:.1%}"], as_json=as_json)


def _lines(report: Mapping[str, Any]) -> list[str]:
    return [f"{name:12} {value}" for name, value in report.items()]


def _require_database(settings: Settings) -> None:
    if not settings.database.exists():
        raise Refused(f"no database at {settings.database.name}; run yumen migrate first")
