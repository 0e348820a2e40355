"""A back-test finds its way in a folder: people by this installation's numbers, or a refusal."""

from pathlib import Path

from typer.testing import CliRunner

from gateway.backtest.draft import Draft, change_of
from gateway.backtest.present import numbers_of, present_setup
from gateway.cli import app
from gateway.refusal import Refused
from gateway.store.database import embedded
from gateway.store.subjects import numbers_in
from gateway.store.vault import Vault
from risk.features.identity import identify
from risk.rules.lists import NEVER_US
from tests.assessed import START_US, Assessed, database


def test_a_person_is_known_by_the_number_this_installation_gave(tmp_path: Path) -> None:
    world = Assessed(tmp_path)
    for conn in database(world.var):
        number = numbers_in(conn, Vault(world.var), START_US)("user", "u1")

    watched = tmp_path / "watched.txt"
    watched.write_text("user:u1\n", "utf-8")

    with numbers_of(embedded(world.var), Vault(world.var)) as numbers:
        setup = present_setup(embedded(world.var), world.var / "bundles")
        draft = Draft(lists=(f"watched={watched}",))
        change = change_of(draft, setup, world.var / "bundles", numbers)

        assert number != identify("user", "u1")
        assert change.lists[0].of_kind("user") == {number: NEVER_US}
        assert numbers("user", "never met") == 0
        assert numbers("card", "c1") == identify("card", "c1")


def test_a_folder_without_a_gateway_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["backtest", "--var", str(tmp_path), "--decline-at", "0.5"])

    assert isinstance(result.exception, Refused)
    assert "no database" in str(result.exception)
