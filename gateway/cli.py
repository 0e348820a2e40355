"""The `yumen` command: every way to start, feed, ask or examine the gateway.

Each command reads settings, hands over to the room that does the work and prints what came of it.
Nothing heavy is imported before a command needs it, so `yumen serve` starts at once. With
``--json`` the last line on standard output is one JSON object; logs go to standard error.
"""

import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.frame import AsJson, Port, Var, clock_us, emit, settings_of
from gateway.domain.errors import GatewayError
from gateway.domain.merchant import Algorithm, MerchantStatus
from gateway.native import environment_with_openmp
from gateway.refusal import Refused
from gateway.settings import Settings

app = typer.Typer(
    name="yumen",
    help="Payment gateway that decides inline and adds up to the fen. / 实时风控支付网关",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in (
    "audit",
    "backtest",
    "geo",
    "graph",
    "lists",
    "merchant",
    "operator",
    "policy",
    "rules",
):
    app.add_typer(importlib.import_module(f"gateway.commands.{group}").app, name=group)

# A replay opens every payment by a link and never calls out: no channel runs beside it. Its
# payments are history: they never go into the database that the settings name.
# Nor does it look for communities: its clock runs a year in minutes.
_REPLAYED = {
    "sandbox_url": "http://127.0.0.1:9",
    "sandbox_mode": True,
    "database_url": "",
    "graph_refresh_interval_s": 0,
}


def _logs(settings: Settings) -> None:
    from gateway.telemetry import set_up_logs

    set_up_logs(settings.log_level)


@app.command()
def serve(
    var: Var = None,
    port: Port = None,
    host: Annotated[str | None, typer.Option(help="Address to bind to.")] = None,
    worker: Annotated[
        bool | None, typer.Option("--worker/--no-worker", help="Run the worker inside.")
    ] = None,
    sandbox_url: Annotated[
        str | None, typer.Option(help="Sandbox channel; served by the gateway itself if empty.")
    ] = None,
) -> None:
    """Serve the gateway (启动网关): merchants' API, channel notifications, admin API."""
    settings = settings_of(var=var, port=port, host=host, worker=worker, sandbox_url=sandbox_url)
    from gateway import serving, wiring

    _logs(settings)
    gateway = wiring.build(settings)
    if gateway.app is None:
        raise Refused("this gateway has no doors")
    serving.serve(gateway.app, settings.host, settings.port)


@app.command()
def worker(
    var: Var = None,
    sandbox_url: Annotated[str | None, typer.Option(help="Sandbox channel's base URL.")] = None,
    port: Port = None,
) -> None:
    """Run the background worker alone (后台任务): notifications, time-outs, refunds."""
    from gateway import serving, wiring

    settings = settings_of(var=var, sandbox_url=sandbox_url, port=port)
    _logs(settings)
    serving.work(wiring.build_worker(settings))


@app.command()
def sandbox(
    var: Var = None, port: Annotated[int, typer.Option(help="Port of the sandbox.")] = 8002
) -> None:
    """Serve the sandbox channel alone (沙箱支付渠道): a payer's page and its API."""
    from gateway import serving, wiring

    settings = settings_of(var=var)
    _logs(settings)
    serving.serve(wiring.build_sandbox_alone(settings).app, settings.host, port)


@app.command()
def console(
    var: Var = None,
    port: Annotated[int, typer.Option(help="Port of the console.")] = 8501,
    gateway_url: Annotated[str | None, typer.Option(help="Base URL of the gateway.")] = None,
) -> None:
    """Serve the web console (运营控制台)."""
    settings = settings_of(var=var)
    from dashboard.launch import command

    url, environment = settings.database.as_argument()
    line = command(
        sys.executable,
        settings.var,
        gateway_url or settings.gateway_url,
        port,
        database_url=url,
    )
    os.execve(line[0], line, {**os.environ, **environment})  # noqa: S606 - our own command; the console takes this process over


@app.command()
def migrate(var: Var = None, as_json: AsJson = False) -> None:
    """Create the database or bring it up to date (初始化或升级数据库)."""
    from gateway.store.migrate import migrate as upgrade
    from gateway.store.migrate import revision_of

    database = settings_of(var=var).database
    changed = upgrade(database)
    revision = revision_of(database)
    line = f"{database.name} is at revision {revision}{' now' if changed else ''}"
    emit({"revision": revision, "changed": changed}, [line], as_json=as_json)


@app.command()
def demo(
    *,
    var: Var = None,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="End by itself after so many seconds.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.1, help="Payments a second.")] = 25.0,
    port: Port = None,
    console_port: Annotated[int, typer.Option(help="Port of the console.")] = 8501,
    sandbox_port: Annotated[int, typer.Option(help="Port of the sandbox channel.")] = 8002,
    no_console: Annotated[bool, typer.Option("--no-console", help="Without the console.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic traffic.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Start everything and stream synthetic payments through it (一键演示)."""
    from gateway.demo.run import Options, run
    from gateway.offline import enrol
    from gateway.store.merchants import NewMerchant

    settings = settings_of(var=var, port=port)
    options = Options(
        database=settings.database,
        var=settings.var,
        host=settings.host,
        port=settings.port,
        sandbox_port=sandbox_port,
        console_port=None if no_console else console_port,
        duration_s=seconds,
        rate_per_s=rate,
        seed=seed,
    )

    def enrol_now(name: str, algorithm: str, mcc: str, status: MerchantStatus) -> NewMerchant:
        return enrol(
            settings.database,
            settings.var,
            name,
            algorithm,
            mcc,
            now_us=clock_us(),
            status=status,
        )

    summary = run(options, enrol_now, clock_us=clock_us, environ=os.environ)
    emit(summary.as_dict(), summary.lines(), as_json=as_json)
    raise typer.Exit(0 if summary.held else 1)


@app.command()
def replay(
    path: Annotated[Path, typer.Argument(help="A .parquet or .csv file, in order of time.")],
    var: Var = None,
    mapping: Annotated[
        str | None, typer.Option(help="Shipped mapping's name or a TOML file. [default: by name]")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Only the first so many rows.")] = None,
    train_fraction: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Train after this share of the rows.")
    ] = 0.6,
    as_json: AsJson = False,
) -> None:
    """Send real history through the gateway's own door and report (历史数据回放)."""
    from gateway import wiring
    from gateway.offline import enrol
    from gateway.replay.run import Options, run
    from gateway.store.database import embedded
    from gateway.store.merchants import NewMerchant

    settings = settings_of(var=var)
    folder = settings.var if var is not None else settings.var / f"replay-{path.stem}"
    options = Options(
        path=path, mapping=mapping, rows_max=rows, train_fraction=train_fraction, var=folder
    )

    def build(folder: Path, event_clock_us: Callable[[], int]) -> wiring.Gateway:
        replayed = settings.model_copy(update={"var": folder, "worker": False, **_REPLAYED})
        return wiring.build(replayed, clock_us=event_clock_us)

    def enrol_then(folder: Path, name: str, now_us: int) -> NewMerchant:
        return enrol(embedded(folder), folder, name, Algorithm.HMAC_SHA256.value, "", now_us=now_us)

    report = run(options, build, enrol_then)
    emit(report.as_dict(), report.lines(), as_json=as_json)


@app.command()
def train(
    *,
    var: Var = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="On a seeded synthetic history.")
    ] = False,
    from_history: Annotated[
        bool, typer.Option("--from-history", help="On the gateway's own event log.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="On a .parquet or .csv file.")] = None,
    mapping: Annotated[str | None, typer.Option(help="Mapping of --data.")] = None,
    promote: Annotated[bool, typer.Option("--promote", help="Let it decide from now on.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Train a model, register it in MLflow and, if told so, promote it (训练模型)."""
    from gateway.training import Source, train_and_register

    source = Source(synthetic=synthetic, from_history=from_history, data=data, mapping=mapping)
    settings = settings_of(var=var)
    result = train_and_register(
        settings.database, settings.var, source, seed=seed, promote=promote, now_us=clock_us()
    )
    emit(result, [f"{key:22} {value}" for key, value in result.items()], as_json=as_json)


@app.command()
def explain(
    number: Annotated[str, typer.Argument(help="A decision's or payment's number.")],
    var: Var = None,
    as_json: AsJson = False,
) -> None:
    """Show a stored decision and recompute it from the log (解释一笔决策)."""
    from gateway.explain import explain as look

    settings = settings_of(var=var)
    explanation = look(settings.database, settings.var / "bundles", number)
    emit(explanation.as_dict(), explanation.lines(), as_json=as_json)
    raise typer.Exit(0 if explanation.equal else 1)


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="assess, create, synthetic, recon, handbook, …")],
    var: Var = None,
) -> None:
    """Run a benchmark; its last line is a JSON object of its figures (性能基准)."""
    if var is not None:  # A benchmark makes its own folders, under this one.
        var.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(var.absolute())
    known = _bench_names()
    if name not in known:
        raise typer.BadParameter(f"unknown benchmark {name!r}; there are: {', '.join(known)}")
    run: Callable[[], dict[str, object]] = importlib.import_module(f"gateway.bench.{name}").run
    typer.echo(json.dumps(run(), ensure_ascii=False))


def _bench_names() -> list[str]:
    folder = Path(__file__).parent / "bench"
    return sorted(
        path.stem for path in folder.glob("[a-z]*.py") if "\ndef run(" in path.read_text("utf-8")
    )


@app.command()
def screenshots(
    var: Var = None,
    output: Annotated[Path, typer.Option(help="Folder of the pictures.")] = Path("docs/img"),
    console_url: Annotated[
        str, typer.Option(help="Where the console answers.")
    ] = "http://127.0.0.1:8501",
) -> None:
    """Photograph every area of a running console in both languages (控制台截图)."""
    from gateway import screens
    from gateway.queries.reader import ReaderError, open_reader

    try:  # A picture of an empty console shows nobody anything.
        open_reader(settings_of(var=var).database).dispose()
    except ReaderError as problem:
        raise Refused(f"{problem}; start yumen demo first") from problem
    for picture in screens.shoot(console_url, output):
        typer.echo(picture)


@app.command()
def doctor(
    var: Var = None,
    port: Port = None,
    console_port: Annotated[int, typer.Option(help="Port of the console.")] = 8501,
    write_reference: Annotated[
        bool, typer.Option("--write-reference", help="Rewrite the pages made from the code.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Examine the installation and say how to mend what is wrong (安装体检)."""
    from gateway import doctor as medicine
    from gateway import reference

    settings = settings_of(var=var, port=port)
    if write_reference:
        for path in reference.write(Path.cwd(), Settings):
            typer.echo(f"wrote {path}", err=as_json)
    checks = medicine.examine(
        database=settings.database,
        var=settings.var,
        host=settings.host,
        ports=(settings.port, console_port),
        now_us=clock_us(),
    )
    result, lines = medicine.report(checks)
    emit(result, lines, as_json=as_json)
    raise typer.Exit(0 if result["healthy"] else 1)


def main() -> None:
    """Run the command line; a refusal of the input ends with code 2 and without a stack trace."""
    helped = environment_with_openmp(os.environ)
    if helped is not None:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], helped)  # noqa: S606 - self
    try:
        app()
    except (Refused, GatewayError) as refusal:
        typer.echo(f"yumen: {refusal}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
