"""The command line: every command explains itself, JSON is the last line, refusals are short."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway import cli
from gateway.commands import frame
from gateway.refusal import Refused

COMMANDS = (
    *("serve", "worker", "sandbox", "console", "demo", "replay", "train", "migrate", "explain"),
    *("bench", "doctor", "screenshots", "merchant create", "merchant rotate-key"),
    *(f"rules {verb}" for verb in ("list", "show", "check", "add", "move", "history")),
    *(f"lists {verb}" for verb in ("list", "show", "add", "remove", "import")),
    *("policy show", "policy history", "policy check", "policy publish", "policy override"),
    "policy challenger",
    *("operator create", "operator list", "operator revoke"),
    *("audit head", "audit verify", "audit erase", "audit clean"),
)


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, list(arguments))
    if isinstance(result.exception, Refused):
        raise result.exception
    return result.exit_code, result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_in_both_languages(command: str) -> None:
    code, said = run(*command.split(), "--help")

    assert code == 0
    assert any("\u4e00" <= letter <= "\u9fff" for letter in said)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "bench"])
def test_every_command_takes_var(command: str) -> None:
    _, said = run(*command.split(), "--help")

    assert "--var" in said


def test_a_merchant_is_made_before_the_first_start(tmp_path: Path) -> None:
    code, said = run("merchant", "create", "--name", "茶馆", "--var", str(tmp_path), "--json")

    made = json.loads(said.splitlines()[-1])
    assert code == 0
    assert made["algorithm"] == "HMAC-SHA256"
    assert len(made["secret"]) >= 32
    assert {"merchant_id", "app_id", "key_id"} <= set(made)


def test_a_rotated_key_is_another_key(tmp_path: Path) -> None:
    var = ["--var", str(tmp_path), "--json"]
    _, said = run("merchant", "create", "--name", "x", "--algorithm", "RSA2", *var)
    made = json.loads(said)

    _, said = run("merchant", "rotate-key", made["merchant_id"], "--overlap-s", "60", *var)

    rotated = json.loads(said)
    assert rotated["algorithm"] == "RSA2"
    assert rotated["key_id"] != made["key_id"]
    assert rotated["secret"] != made["secret"]
    assert rotated["platform_public_key"].startswith("-----BEGIN PUBLIC KEY-----")


def test_the_human_form_shows_the_secret_once(tmp_path: Path) -> None:
    _, said = run("merchant", "create", "--name", "x", "--var", str(tmp_path))

    secret = next(line.split()[1] for line in said.splitlines() if line.startswith("secret"))
    assert said.count(secret) == 1


def test_migrating_twice_changes_nothing_the_second_time(tmp_path: Path) -> None:
    first = json.loads(run("migrate", "--var", str(tmp_path), "--json")[1])
    second = json.loads(run("migrate", "--var", str(tmp_path), "--json")[1])

    assert (first["changed"], second["changed"]) == (True, False)
    assert first["revision"] == second["revision"]


def test_an_unknown_benchmark_names_those_there() -> None:
    result = CliRunner().invoke(cli.app, ["bench", "nothing"])

    assert result.exit_code == 2
    assert "create" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "D404"),
        ("train",),
        ("train", "--synthetic", "--from-history"),
        ("replay", "absent.parquet", "--mapping", "handbook"),
        ("replay", "absent.parquet"),
        ("policy", "show"),
        ("policy", "history"),
        ("policy", "check", "absent.json"),
        ("policy", "publish", "absent.json", "--reason", "x"),
        ("policy", "override", "M1", "--reason", "x"),
        ("policy", "override", "M1", "--reason", " ", "--cap", "REVIEW"),
        ("policy", "override", "M1", "--reason", "x", "--cap", "NEVER"),
        ("policy", "override", "M1", "--reason", "x", "--cost", "review_minor=much"),
        ("policy", "override", "M1", "--reason", "x", "--thresholds", "0.1,0.2"),
        ("policy", "override", "M1", "--reason", "x", "--category", "unheard"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    with pytest.raises(Refused):
        run(*arguments, "--var", str(tmp_path))


def test_a_refusal_ends_with_code_two_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["yumen", "explain", "D404", "--var", str(tmp_path)])

    with pytest.raises(SystemExit) as end:
        cli.main()

    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("yumen: ")
    assert "Traceback" not in said


def test_the_clock_counts_microseconds() -> None:
    assert 1_700_000_000_000_000 < frame.clock_us() < 4_000_000_000_000_000
