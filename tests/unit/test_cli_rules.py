"""`yumen rules` and `yumen lists`: what an analyst types, what is answered, what is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from gateway import cli
from gateway.commands.lists import Meant
from gateway.commands.rules import Doing, Standing
from gateway.domain.errors import GatewayError, IllegalRuleMove, InvalidParameter, ObjectNotFound
from gateway.refusal import Refused
from risk.rules.lists import Purpose
from risk.rules.source import Action, RuleState

WHY = ("--reason", "case 17")
RULE = ("many_cards", "behaviour_user_cards_1h >= 3", "--action", "REVIEW")
CODE = ("--code", "CARD_TESTING")


@pytest.fixture
def var(tmp_path: Path) -> Path:
    return tmp_path


def yumen(var: Path, *arguments: str) -> dict[str, Any]:
    """Run a command and return the JSON it ends with."""
    result = CliRunner().invoke(cli.app, [*arguments, "--var", str(var), "--json"])
    if isinstance(result.exception, Refused | GatewayError):
        raise result.exception
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer


def test_a_rule_lives_from_draft_to_retirement(var: Path) -> None:
    drafted = yumen(var, "rules", "add", *RULE, *CODE, *WHY, "--actor", "lin")
    shadowed = yumen(var, "rules", "move", "many_cards", "1", "shadow", *WHY)
    live = yumen(var, "rules", "move", "many_cards", "1", "LIVE", *WHY)
    yumen(var, "rules", "add", *RULE, *CODE, *WHY, "--firm", "--valid-to", "2030-01-01")
    yumen(var, "rules", "move", "many_cards", "1", "retired", *WHY)

    assert [one["state"] for one in (drafted, shadowed, live)] == ["DRAFT", "SHADOW", "LIVE"]
    told = yumen(var, "rules", "history", "many_cards")
    assert [(one["version"], one["state"]) for one in told["versions"]] == [
        (1, "RETIRED"),
        (2, "DRAFT"),
    ]
    assert told["versions"][1]["valid_to_us"] == 1_893_456_000_000_000
    acts = " ".join(act["action"] for act in told["acts"])
    assert acts == "rule.add rule.move rule.move rule.add rule.move"
    assert yumen(var, "rules", "show", "many_cards")["version"] == 2
    names = [one["name"] for one in yumen(var, "rules", "list")["rules"]]
    assert "structuring" in names
    assert names.count("many_cards") == 1


def test_an_expression_is_checked_and_forgotten(var: Path) -> None:
    assert yumen(var, "rules", "check", "amount > yuan(5)")["runs_without_features"]
    with pytest.raises(InvalidParameter, match="did you mean 'amount'"):
        yumen(var, "rules", "check", "amont > 5")
    with pytest.raises(InvalidParameter, match="未知名单"):
        yumen(var, "rules", "check", 'card in list("stolen")')


def test_a_wrong_move_or_name_is_refused(var: Path) -> None:
    with pytest.raises(IllegalRuleMove, match="cannot become DRAFT"):
        yumen(var, "rules", "move", "structuring", "1", "draft", *WHY)
    with pytest.raises(ObjectNotFound, match="did you mean structuring"):
        yumen(var, "rules", "show", "structurin")
    with pytest.raises(Refused, match="is no time"):
        yumen(var, "rules", "add", *RULE, *CODE, *WHY, "--valid-to", "tomorrow")


def test_words_go_on_a_list_and_off_it_again(var: Path) -> None:
    made = yumen(
        var, "lists", "add", "blocked", "1", "2", "--purpose", "BLOCK", "--kind", "card", *WHY
    )
    assert (made["changed_count"], made["list_version"]) == (2, "lists-2")

    yumen(var, "lists", "remove", "blocked", "1", "--kind", "card", *WHY)

    entries = yumen(var, "lists", "show", "blocked")["entries"]
    assert [entry["value"] for entry in entries] == ["2"]
    assert len(yumen(var, "lists", "show", "blocked", "--removed")["entries"]) == 2
    (summary,) = yumen(var, "lists", "list")["lists"]
    assert (summary["purpose"], summary["entry_count"]) == ("BLOCK", 1)
    assert yumen(var, "rules", "check", 'card in list("blocked")')["lists"] == ["blocked"]
    with pytest.raises(Refused, match="is not on blocked"):
        yumen(var, "lists", "remove", "blocked", "1", "--kind", "card", *WHY)


def test_a_file_is_imported_once_however_often(var: Path) -> None:
    file = var / "cards.txt"
    file.write_text("# stolen\n" + "\n".join(f"card-{n}" for n in range(1_200)) + "\n\n", "utf-8")
    yumen(var, "lists", "add", "stolen", "--purpose", "NAMED", *WHY)
    arguments = ("lists", "import", "stolen", str(file), "--kind", "card", *WHY)

    first, second = yumen(var, *arguments), yumen(var, *arguments)

    assert (first["changed_count"], first["unchanged_count"]) == (1_200, 0)
    assert (second["changed_count"], second["unchanged_count"]) == (0, 1_200)
    assert first["list_version"] == second["list_version"]
    with pytest.raises(Refused, match="nowhere"):
        yumen(var, "lists", "import", "stolen", str(var / "nowhere"), "--kind", "card", *WHY)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("1",), "--kind says"), ((), "give values")],
)
def test_what_is_left_out_is_asked_for(var: Path, arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises(Refused, match=told):
        yumen(var, "lists", "add", "blocked", *arguments, *WHY)


def test_the_choices_are_all_there_are() -> None:
    assert get_args(Doing) == tuple(Action)
    assert get_args(Standing) == tuple(RuleState)
    assert get_args(Meant) == tuple(Purpose)


def test_nothing_heavy_is_loaded_before_a_command_needs_it() -> None:
    look = "import gateway.cli, sys; sys.exit(bool({'numba', 'sqlalchemy'} & sys.modules.keys()))"

    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0


def test_people_read_tables(var: Path) -> None:
    said = CliRunner().invoke(cli.app, ["rules", "list", "--var", str(var)]).stdout

    assert "structuring@1" in said
    assert "LIVE" in said
