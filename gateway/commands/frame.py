"""What every command shares: the options it takes, the clock, and how it prints.

A command is a thin door. It reads settings, hands over to the room that does the work and prints
what came of it; nothing heavy is imported before a command needs it.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.settings import Settings

Var = Annotated[
    Path | None,
    typer.Option("--var", help="Folder of the embedded state. [default: $YUMEN_VAR or var]"),
]
AsJson = Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")]
Port = Annotated[int | None, typer.Option(help="Port. [default: $YUMEN_PORT or 8000]")]


def clock_us() -> int:
    """The time, microseconds since the epoch: this is where the clock enters the program."""
    return time.time_ns() // 1_000


def settings_of(**given: object) -> Settings:
    """Return the settings, with those the command line gave in place of the environment's."""
    values: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return Settings(**values)


def emit(result: Mapping[str, object], lines: list[str], *, as_json: bool) -> None:
    """Print lines for a person; with `--json` they go to stderr and the object to stdout."""
    for line in lines:
        typer.echo(line, err=as_json)
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
