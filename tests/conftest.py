"""What all tests share: properties are judged by what they find, never by how long it takes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from gateway.store.database import Database
from tests.databases import KINDS, Databases, databases

settings.register_profile("house", deadline=None)
settings.load_profile("house")


_RECURSION_LIMIT = sys.getrecursionlimit()


def pytest_runtest_setup() -> None:
    """Undo what a payment system's client does on import: so deep, hostile JSON ends in a crash."""
    sys.setrecursionlimit(_RECURSION_LIMIT)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mutations",
        type=int,
        default=3_000,
        help="How many changed requests tests/property/test_signing_mutations.py tries.",
    )


@pytest.fixture(scope="session")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Makes fresh databases of either kind, and drops them at the end of the session."""
    with databases(tmp_path_factory.mktemp("databases")) as made:
        yield made


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, maker: Databases, tmp_path: Path) -> Database:
    """A fresh database of this release, of each kind in turn."""
    return maker.fresh(request.param, tmp_path)
