"""The doctor finds what is wrong, says how to mend it, and never raises."""

import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway import cli, doctor
from gateway.doctor import State
from gateway.store.database import embedded
from gateway.store.migrate import migrate
from gateway.store.sqlite import SqliteDatabase

NOW_US = 1_800_000_000_000_000


@pytest.fixture
def var(tmp_path: Path) -> Path:
    migrate(SqliteDatabase(tmp_path / "yumen.db"))
    return tmp_path


def test_this_installation_is_healthy(var: Path) -> None:
    checks = doctor.examine(
        database=embedded(var), var=var, host="127.0.0.1", ports=(), now_us=NOW_US
    )

    assert [check for check in checks if check.state is State.BAD] == []
    assert {"python", "libgomp", "lightgbm", "numba", "database", "ledger", "model"} <= {
        check.name for check in checks
    }


def test_a_missing_database_is_a_warning_with_its_command(tmp_path: Path) -> None:
    check = doctor.check_database(SqliteDatabase(tmp_path / "yumen.db"))

    assert (check.state, check.mend) == (State.WARNING, "yumen migrate")


def test_a_database_without_tables_is_bad(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "yumen.db")) as conn:
        conn.execute("CREATE TABLE other (x)")

    assert doctor.check_database(SqliteDatabase(tmp_path / "yumen.db")).state is State.BAD


def test_a_database_that_is_no_database_is_bad(tmp_path: Path) -> None:
    (tmp_path / "yumen.db").write_bytes(b"not a database at all" * 100)

    checks = doctor.examine(
        database=embedded(tmp_path), var=tmp_path, host="127.0.0.1", ports=(), now_us=NOW_US
    )

    (check,) = (check for check in checks if check.name == "database")
    assert check.state is State.BAD
    assert check.mend


def test_a_lost_table_is_named(var: Path) -> None:
    with closing(sqlite3.connect(var / "yumen.db")) as conn:
        conn.execute("DROP TABLE recon_breaks")
        conn.commit()

    check = doctor.check_database(SqliteDatabase(var / "yumen.db"))

    assert check.state is State.BAD
    assert "recon_breaks" in check.detail


def test_a_ledger_that_does_not_add_up_is_bad(var: Path) -> None:
    with closing(sqlite3.connect(var / "yumen.db")) as conn:
        conn.execute("INSERT INTO ledger_entries VALUES ('M', 'PAY:T1', 'T1', 'PAY', 1)")
        conn.execute("INSERT INTO ledger_postings VALUES ('M', 'PAY:T1', 0, 'channel:x', 5, 'CNY')")
        conn.commit()

    check = doctor.check_ledger(embedded(var))

    assert check.state is State.BAD
    assert "ledger_balanced" in check.detail


def test_a_clock_in_the_past_is_bad(var: Path) -> None:
    assert doctor.check_clock(embedded(var), 1_000_000).state is State.BAD
    assert doctor.check_clock(embedded(var), NOW_US).state is State.GOOD


def test_a_broken_model_bundle_is_bad(var: Path) -> None:
    (var / "bundles").mkdir()
    (var / "bundles" / "champion.json").write_text('{"version": "gone"}')

    checks = doctor.examine(
        database=embedded(var), var=var, host="127.0.0.1", ports=(), now_us=NOW_US
    )

    (check,) = (check for check in checks if check.name == "model")
    assert check.state is State.BAD


@pytest.fixture
def answering() -> Iterator[tuple[int, list[bytes]]]:
    """A server on a free port that gives one answer to everybody."""
    answer: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            link, _ = server.accept()
            with link:
                link.recv(1024)
                link.sendall(answer[0])

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1], answer
        thread.join()


@pytest.mark.parametrize(
    ("said", "state"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", State.GOOD),
        (b"SSH-2.0-OpenSSH\r\n", State.BAD),
    ],
)
def test_a_used_port_is_ours_or_somebody_elses(
    answering: tuple[int, list[bytes]], said: bytes, state: State
) -> None:
    port, answer = answering
    answer.append(said)

    assert doctor.check_port("127.0.0.1", port).state is state


def test_a_free_port_is_good() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    assert doctor.check_port("127.0.0.1", port).detail == "free"


def test_the_command_exits_with_one_when_something_is_bad(tmp_path: Path) -> None:
    (tmp_path / "yumen.db").write_bytes(b"not a database at all" * 100)

    result = CliRunner().invoke(cli.app, ["doctor", "--var", str(tmp_path), "--json"])

    assert result.exit_code == 1
    assert json.loads(result.stdout.splitlines()[-1])["healthy"] is False
