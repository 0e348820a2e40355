"""What all tests share: properties are judged by what they find, never by how long it takes."""

import pytest
from hypothesis import settings

settings.register_profile("house", deadline=None)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mutations",
        type=int,
        default=3_000,
        help="How many changed requests tests/property/test_signing_mutations.py tries.",
    )
