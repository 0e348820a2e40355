"""The door of the operators' routes: nothing opens by oversight."""

import pytest

from gateway.domain.operator import Act
from gateway.http.doorkeeper import Door, needs, operators_router

TOKEN = "synthetic-operator-token"  # noqa: S105 - opens nothing but this test


def test_an_empty_token_would_let_everybody_in_and_is_refused() -> None:
    with pytest.raises(ValueError, match="token is empty"):
        Door(token="")


def test_a_route_that_names_no_act_does_not_start() -> None:
    router = operators_router(Door(token=TOKEN))

    with pytest.raises(RuntimeError, match="names no act"):
        router.get("/open")(lambda: None)


def test_a_route_that_names_its_act_starts() -> None:
    router = operators_router(Door(token=TOKEN))

    router.get("/open")(needs(Act.READ)(lambda: None))

    assert len(router.routes) == 1
