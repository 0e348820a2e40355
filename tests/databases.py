"""Fresh, migrated databases of both kinds; PostgreSQL's on the running server, or one of our own.

A template is migrated once a session; each test gets a copy, so that a fresh database costs
milliseconds. Nothing outside of databases whose name begins with `PREFIX` is touched.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from gateway.store.database import DATABASE_NAME, Database
from gateway.store.migrate import migrate
from gateway.store.postgres import PostgresDatabase
from gateway.store.sqlite import SqliteDatabase
from tests.stand import free_port

KINDS = ("sqlite", "postgres")
PREFIX = "yumen_test_"
RUNNING = "postgresql://postgres@127.0.0.1:5432/postgres"
_TOOLS = ("/usr/lib/postgresql", "/usr/local/pgsql", "/opt/homebrew/opt")


@dataclass
class Databases:
    """Makes databases; `close` drops what it made."""

    folder: Path
    made: list[str] = field(default_factory=list)
    server: "Server | None" = None
    templates: dict[str, str] = field(default_factory=dict)

    def fresh(self, kind: str, var: Path) -> Database:
        """Return a fresh database of this release; a file lies in `var`, where it is expected.

        Skips the test where there is no PostgreSQL at all.
        """
        return self._file(var) if kind == "sqlite" else self._copy()

    def bare(self) -> PostgresDatabase:
        """Return an empty PostgreSQL database."""
        return PostgresDatabase(self._server().create(self.made))

    def close(self) -> None:
        """Drop every database that was made here, and stop a server that was started here."""
        if self.server is not None:
            self.server.drop(self.made)
            self.server.stop()

    def _file(self, var: Path) -> Database:
        template = self.folder / DATABASE_NAME
        if not template.exists():
            migrate(SqliteDatabase(template))
        var.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template, var / DATABASE_NAME)
        return SqliteDatabase(var / DATABASE_NAME)

    def _copy(self) -> Database:
        if "postgres" not in self.templates:
            template = self.bare()
            migrate(template)
            self.templates["postgres"] = template.url.rpartition("/")[2]
        return PostgresDatabase(self._server().create(self.made, self.templates["postgres"]))

    def _server(self) -> "Server":
        if self.server is None:
            self.server = Server.found() or Server.started(self.folder)
        return self.server


@dataclass
class Server:
    """A PostgreSQL server whose superuser lets us in."""

    url: str
    process: "subprocess.Popen[bytes] | None" = None
    folder: Path | None = None

    @classmethod
    def found(cls) -> "Server | None":
        with suppress(psycopg.OperationalError):
            psycopg.connect(RUNNING, connect_timeout=2).close()
            return cls(RUNNING)
        return None

    @classmethod
    def started(cls, _folder: Path) -> "Server":
        initdb = _tool("initdb")
        if initdb is None:
            pytest.skip(f"no PostgreSQL answers at {RUNNING} and initdb is not installed")
        # The server refuses to be root, and its folder must be its user's own.
        user = "postgres" if os.geteuid() == 0 else None
        folder = Path(tempfile.mkdtemp(prefix="yumen-postgres-"))
        if user:
            shutil.chown(folder, user)
        data, port = folder / "data", free_port()
        made = [str(initdb), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        subprocess.run(made, check=True, user=user, stdout=subprocess.DEVNULL, cwd=folder)
        command = [str(initdb.with_name("postgres")), "-D", str(data), "-p", str(port)]
        command += ["-k", str(folder), "-c", "listen_addresses=127.0.0.1"]
        process = subprocess.Popen(
            command, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        server = cls(f"postgresql://postgres@127.0.0.1:{port}/postgres", process, folder)
        server.wait()
        return server

    def wait(self) -> None:
        for tries_left in reversed(range(100)):
            try:
                psycopg.connect(self.url, connect_timeout=1).close()
            except psycopg.OperationalError:
                if not tries_left or (self.process and self.process.poll() is not None):
                    raise
                with suppress(subprocess.TimeoutExpired):
                    assert self.process is not None
                    self.process.wait(0.1)
            else:
                return

    def create(self, made: list[str], template: str = "template0") -> str:
        name = f"{PREFIX}{os.getpid()}_{secrets.token_hex(4)}"
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        made.append(name)
        return f"{self.url.rpartition('/')[0]}/{name}"

    def drop(self, made: list[str]) -> None:
        with psycopg.connect(self.url, autocommit=True) as conn:
            while made:
                conn.execute(f"DROP DATABASE IF EXISTS {made.pop()} WITH (FORCE)".encode())

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _tool(name: str) -> Path | None:
    """A server's program with `postgres` beside it; distributions keep them out of the way."""
    found = [path for place in _TOOLS for path in sorted(Path(place).glob(f"*/bin/{name}"))]
    if (on_path := shutil.which(name)) is not None:
        found.append(Path(on_path).resolve())
    return next((path for path in reversed(found) if path.with_name("postgres").exists()), None)


@contextmanager
def databases(folder: Path) -> Iterator[Databases]:
    """Give a maker of databases for a session."""
    maker = Databases(folder)
    try:
        yield maker
    finally:
        maker.close()
