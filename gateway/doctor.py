"""Look at an installation and say, for each thing that is wrong, how to mend it.

A check never repairs anything and never raises: what it can't find out is itself a finding. The
two traps that new machines fall into are first: LightGBM without its OpenMP runtime, and an old
Python.
"""

import ctypes
import importlib.util
import json
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.store.database import Database

PYTHON_MIN = (3, 11)
DISK_FREE_BYTES_MIN = 1 << 30
CLOCK_EARLIEST_US = 1_735_689_600_000_000  # 2025-01-01: older than any release of this program.
CLOCK_STEP_US_MAX = 60_000_000
CONNECT_TIMEOUT_S = 0.5
ALERTS_WITHIN_US = 3_600_000_000


class State(StrEnum):
    """How a thing is."""

    GOOD = "GOOD"
    WARNING = "WARNING"  # Works, or will be made on first use.
    BAD = "BAD"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, how it is, and how to mend it (empty if nothing is due)."""

    name: str
    state: State
    detail: str
    mend: str = ""


def examine(
    *, database: Database, var: Path, host: str, ports: Sequence[int], now_us: int
) -> tuple[Check, ...]:
    """Look at everything.

    Args:
        database: The gateway's.
        var: Folder of the embedded state.
        host: Address the servers bind to.
        ports: Ports they want.
        now_us: The clock to check, microseconds since the epoch.
    """
    looks: list[tuple[str, Callable[[], Check]]] = [
        ("python", check_python),
        ("libgomp", check_libgomp),
        ("lightgbm", check_lightgbm),
        ("numba", check_numba),
        ("disk", lambda: check_disk(var)),
        ("clock", lambda: check_clock(database, now_us)),
        ("database", lambda: check_database(database)),
        ("ledger", lambda: check_ledger(database)),
        ("policy", lambda: check_policy(database)),
        ("alerts", lambda: check_alerts(database, now_us)),
        ("model", lambda: check_model(var / "bundles")),
    ]
    looks += [(f"port {port}", _port_look(host, port)) for port in ports]
    return tuple(_guarded(name, look) for name, look in looks)


def report(checks: Sequence[Check]) -> tuple[dict[str, object], list[str]]:
    """Return the findings as an object for programs and as lines for people."""
    lines = []
    for check in checks:
        lines.append(f"{check.state.value:8} {check.name:12} {check.detail}")
        if check.mend:
            lines.append(f"{'':22}-> {check.mend}")
    result = {
        "healthy": all(check.state is not State.BAD for check in checks),
        "checks": [{**asdict(check), "state": check.state.value} for check in checks],
    }
    return result, lines


def _port_look(host: str, port: int) -> Callable[[], Check]:
    return lambda: check_port(host, port)


def _guarded(name: str, look: Callable[[], Check]) -> Check:
    try:
        return look()
    except (OSError, SQLAlchemyError, ImportError, ValueError, LookupError) as problem:
        detail = f"{type(problem).__name__}: {problem}"
        return Check(name, State.BAD, detail, "Mend what the message says and run doctor again.")


def check_python() -> Check:
    """Python is new enough."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= PYTHON_MIN:
        return Check("python", State.GOOD, version)
    return Check("python", State.BAD, version, "Install Python 3.11 or newer and run make again.")


def check_libgomp() -> Check:
    """The OpenMP runtime that LightGBM needs can be loaded."""
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError as problem:
        mend = "apt-get install libgomp1 (Debian, Ubuntu), yum install libgomp (RHEL)"
        if not sys.platform.startswith("linux"):
            return Check("libgomp", State.GOOD, "not needed on this system")
        return Check("libgomp", State.BAD, str(problem), mend)
    return Check("libgomp", State.GOOD, "libgomp.so.1 loads")


def check_lightgbm() -> Check:
    """LightGBM's library loads; the Python package around it isn't needed to serve."""
    mend = "make clean demo, or install the locked requirements again"
    spec = importlib.util.find_spec("lightgbm")
    if spec is None or not spec.submodule_search_locations:
        return Check("lightgbm", State.BAD, "not installed", mend)
    folder = Path(spec.submodule_search_locations[0])
    found = sorted(folder.glob("**/lib_lightgbm.*"))
    if not found:
        return Check("lightgbm", State.BAD, f"no library in {folder}", mend)
    ctypes.CDLL(str(found[0]))
    return Check("lightgbm", State.GOOD, found[0].name)


def check_numba() -> Check:
    """The compiler of the feature kernel is there, and its cache can be written."""
    if importlib.util.find_spec("numba") is None:
        return Check("numba", State.BAD, "not installed", "install the locked requirements again")
    import numba

    return Check("numba", State.GOOD, str(numba.__version__))


def check_disk(var: Path) -> Check:
    """There is room for the database to grow."""
    existing = next(path for path in (var, *var.resolve().parents) if path.exists())
    free_bytes = shutil.disk_usage(existing).free
    detail = f"{free_bytes / 1e9:.1f} GB free"
    if free_bytes < DISK_FREE_BYTES_MIN:
        return Check("disk", State.BAD, detail, f"Free at least 1 GB where {var} lies.")
    return Check("disk", State.GOOD, detail)


def check_clock(database: Database, now_us: int) -> Check:
    """The clock is plausible, and not behind what is already stored."""
    mend = "Set the clock (timedatectl set-ntp true): signatures and time-outs depend on it."
    if now_us < CLOCK_EARLIEST_US:
        return Check("clock", State.BAD, "is before 2025", mend)
    last_us = _last_event_us(database)
    if last_us > now_us + CLOCK_STEP_US_MAX:
        behind_s = (last_us - now_us) / 1e6
        return Check("clock", State.BAD, f"{behind_s:.0f} s behind the newest stored order", mend)
    return Check("clock", State.GOOD, "plausible")


def _last_event_us(database: Database) -> int:
    if not database.exists():
        return 0
    engine = database.reader()
    try:
        with engine.connect() as conn:
            if not inspect(conn).has_table("orders"):
                return 0
            newest = text("SELECT coalesce(max(created_at_us), 0) FROM orders")
            return int(conn.execute(newest).scalar_one())
    finally:
        engine.dispose()


def check_database(database: Database) -> Check:
    """The database is there, migrated, sound, and in the mode that loses nothing."""
    mend = "yumen migrate"
    if not database.exists():
        return Check("database", State.WARNING, f"{database.name} does not exist yet", mend)
    try:
        found = database.condition()
    except database.errors as problem:
        return Check("database", State.BAD, str(problem), "Restore the last backup.")
    if found.problem:
        return Check("database", State.BAD, found.problem, found.mend)
    engine = database.reader()
    try:
        with engine.connect() as conn:
            missing = _missing_tables(set(inspect(conn).get_table_names()))
            if "orders" in missing:
                return Check("database", State.BAD, "has no tables", mend)
            if missing:
                return Check("database", State.BAD, f"lacks {', '.join(missing)}", mend)
            orders_count = conn.execute(text("SELECT count(*) FROM orders")).scalar_one()
    finally:
        engine.dispose()
    return Check("database", State.GOOD, f"{orders_count} orders, {found.detail}")


def _missing_tables(present: set[str]) -> list[str]:
    from gateway.store.tables import metadata

    return sorted(set(metadata.tables) - present)


def check_ledger(database: Database) -> Check:
    """The ledger adds up, and orders and refunds agree with it."""
    from gateway.invariants import check_money
    from gateway.queries.reader import DatabaseMissing, open_reader

    try:
        reader = open_reader(database)
    except DatabaseMissing:
        return Check("ledger", State.WARNING, "no database yet", "yumen migrate")
    try:
        with reader.connect() as conn:
            broken = [finding for finding in check_money(conn) if not finding.held]
    except SQLAlchemyError as problem:
        return Check("ledger", State.BAD, str(problem.args[0]), "Mend the database first.")
    finally:
        reader.dispose()
    if broken:
        detail = "; ".join(f"{finding.name}: {finding.detail}" for finding in broken)
        return Check(
            "ledger", State.BAD, detail, "Stop taking payments and compare with the bills."
        )
    return Check("ledger", State.GOOD, "balanced")


def check_policy(database: Database) -> Check:
    """The policy that is live can be read."""
    from gateway.queries.reader import DatabaseMissing, open_reader
    from gateway.store import policies
    from risk.policy import PolicyError

    try:
        reader = open_reader(database)
    except DatabaseMissing:
        return Check("policy", State.WARNING, "no database yet", "yumen migrate")
    try:
        with reader.connect() as conn:
            policy = policies.live(conn)
    except PolicyError as problem:
        return Check("policy", State.BAD, str(problem), "yumen policy publish FILE")
    except SQLAlchemyError as problem:
        return Check("policy", State.BAD, str(problem.args[0]), "yumen migrate")
    finally:
        reader.dispose()
    return Check("policy", State.GOOD, f"{policy.version}, by {policy.kind}")


def check_alerts(database: Database, now_us: int) -> Check:
    """Nothing was raised lately."""
    from gateway.queries.alerts import alerts_since
    from gateway.queries.reader import DatabaseMissing, ReaderError, open_reader

    try:
        reader = open_reader(database)
    except DatabaseMissing:
        return Check("alerts", State.WARNING, "no database yet", "yumen migrate")
    try:
        found = alerts_since(reader, now_us - ALERTS_WITHIN_US)
    except ReaderError as problem:
        return Check("alerts", State.BAD, str(problem), "yumen migrate")
    finally:
        reader.dispose()
    if not found:
        return Check("alerts", State.GOOD, "none within the hour")
    detail = "; ".join(f"{alert.kind} × {alert.count}" for alert in found)
    mend = f"Latest: {found[0].detail}. The log and the console's monitoring say more."
    return Check("alerts", State.WARNING, f"within the hour: {detail}", mend)


def check_model(bundle_dir: Path) -> Check:
    """The model that decides can be loaded and knows today's features."""
    mend = "yumen train --synthetic --promote, or train on your own history"
    pointer = bundle_dir / "champion.json"
    if not pointer.is_file():
        return Check("model", State.WARNING, "none yet: rules alone decide", mend)
    from risk.scorer import BundleRefused, load_champion

    try:
        bundle = load_champion(bundle_dir)
    except BundleRefused as refusal:
        return Check("model", State.BAD, str(refusal), mend)
    if bundle is None:
        return Check("model", State.WARNING, "none yet: rules alone decide", mend)
    version = json.loads(pointer.read_text("utf-8"))["version"]
    return Check("model", State.GOOD, f"champion {version}")


def check_port(host: str, port: int) -> Check:
    """The port is free, or our own server answers on it."""
    name = f"port {port}"
    mend = f"Stop what uses it (ss -ltnp 'sport = :{port}'), or choose another with --port."
    try:
        with socket.create_connection((host, port), timeout=CONNECT_TIMEOUT_S) as link:
            link.settimeout(CONNECT_TIMEOUT_S)
            link.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            answer = link.recv(4096)
    except ConnectionRefusedError:
        return Check(name, State.GOOD, "free")
    except TimeoutError:
        return Check(name, State.BAD, "in use by something that does not answer", mend)
    if b" 200 " in answer.split(b"\r\n", 1)[0]:
        return Check(name, State.GOOD, "a server of ours (or alike) answers on it")
    return Check(name, State.BAD, "in use by another program", mend)
