"""The one door to whatever keeps the gateway's tables: an embedded file, or a server by URL.

Everybody is handed a `Database` and asks it for a reader or a writer; what the two kinds do
differently stands in `gateway.store.sqlite` and `gateway.store.postgres` and nowhere else.
Statements are SQLAlchemy Core. On the path of every payment, where its cost would show, they are
plain SQL on the driver's own connection (`Raw`), written once, with ``?`` for a value.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine

from gateway.refusal import Refused
from gateway.store.raw import Raw
from gateway.store.reads import Reads
from gateway.store.unit_of_work import Writer

DATABASE_NAME = "yumen.db"


class Lock(Protocol):
    """Held until it is closed, or the process dies."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What became of the bytes that must be gone.

    Attributes:
        copies_left: Copies still found in the database's files; -1 if they can't be searched.
        is_clean: Whether older pages were cleared away.
    """

    copies_left: int
    is_clean: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """How a database is, as far as it can tell itself.

    Attributes:
        detail: For people: size and mode.
        problem: What is wrong; '' if nothing is.
        mend: What to do about it.
    """

    detail: str
    problem: str = ""
    mend: str = ""


class Database(ABC):
    """Where orders, ledger, decisions and the event log are kept."""

    @property
    @abstractmethod
    def errors(self) -> tuple[type[Exception], ...]:
        """What the driver raises on a `Raw` connection."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What people are told: a file's path, or a URL without its password."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The whole URL, with its password: never shown, never a process's argument."""

    @abstractmethod
    def as_argument(self) -> tuple[str, dict[str, str]]:
        """Return a URL that may be seen, and what another process needs in its environment."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is anything to read: false where the gateway has never run."""

    @abstractmethod
    def reader(self) -> Engine:
        """Return an engine over one read-only connection, for use on one thread."""

    @abstractmethod
    def shared_reader(self) -> Engine:
        """Return an engine of a few read-only connections, safe to share between threads."""

    @abstractmethod
    def raw_reader(self) -> Raw:
        """Return a read-only connection of the driver, for use on one thread."""

    @abstractmethod
    def reads(self) -> Reads:
        """Return what the event loop asks on the path of every payment."""

    @abstractmethod
    def writer(
        self,
        *,
        prologue: Callable[[Raw], int] = lambda _raw: 0,
        committed: Callable[[int], None] = lambda _count: None,
        doubted: Callable[[], None] = lambda: None,
    ) -> Writer:
        """Return this process's writer.

        Args:
            prologue: See `Writer`.
            committed: See `Writer`.
            doubted: Told when it is not known how a commit ended.
        """

    @abstractmethod
    def changing(self) -> AbstractContextManager[Connection]:
        """Give a connection in one durable transaction that no other `changing` overlaps.

        Committed at the end of the block, undone if it raises. For starting up and for commands;
        a running gateway changes things through its `writer`.
        """

    @abstractmethod
    def own(self) -> Lock:
        """Take what tells other processes that this one owns the feature state.

        Raises:
            AlreadyOwned: another process has it.
        """

    @abstractmethod
    def scrub(self, secrets: tuple[bytes, ...] = ()) -> Scrubbed:
        """Clear away older pages, which may hold what was overwritten, and look for `secrets`."""

    @abstractmethod
    def occurrences(self, needle: bytes) -> int:
        """Count a word in clear in the database's files; -1 if they can't be searched."""

    @abstractmethod
    def condition(self) -> Condition:
        """Look for damage and for a mode that could lose something."""

    @abstractmethod
    def identity(self) -> tuple[int | str, ...]:
        """Tell this database from another one put in its place later.

        Raises:
            FileNotFoundError: there is none.
        """


def database_at(url: str, var: Path) -> Database:
    """Return the database of a URL, or the embedded one of a folder if the URL is empty.

    Args:
        url: ``postgresql://user@host/name``, ``sqlite:///relative/or//absolute/file.db``, or empty.
        var: Folder of the embedded state.

    Raises:
        Refused: no database of ours is called so.
    """
    from gateway.store.sqlite import SqliteDatabase

    scheme, _, rest = url.partition("://")
    if not url:
        return embedded(var)
    if scheme.partition("+")[0] in ("postgresql", "postgres"):
        try:
            from gateway.store.postgres import PostgresDatabase
        except ImportError as error:
            raise Refused(
                f"PostgreSQL needs psycopg: pip install 'yumen[postgres]' ({error})"
            ) from error
        return PostgresDatabase(url)
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return SqliteDatabase(Path(rest[1:]))
    raise Refused(f"a database is postgresql://USER@HOST/NAME or sqlite:///FILE, was {scheme}://…")


def embedded(var: Path) -> Database:
    """Return the embedded database of a folder."""
    from gateway.store.sqlite import SqliteDatabase

    return SqliteDatabase(var / DATABASE_NAME)
