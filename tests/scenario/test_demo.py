"""The demo starts everything, stops cleanly on a signal, and starts again on the same data."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.synthetic import bootstrap
from tests.stand import free_port

END_TIMEOUT_S = 240.0


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small first model, so that the demo doesn't train a large one."""
    folder = tmp_path_factory.mktemp("demo") / "var"
    bootstrap(folder, n=6_000)
    return folder


def demo(var: Path, *arguments: str) -> "subprocess.Popen[str]":
    ports = ["--port", str(free_port()), "--sandbox-port", str(free_port()), "--no-console"]
    return subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", "demo", "--var", str(var), *ports, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def children_of(process: "subprocess.Popen[str]") -> list[int]:
    """Return the processes that name this one as their parent (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It ended meanwhile.
        if int(fields[1]) == process.pid:
            found.append(int(entry.parent.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def result_of(process: "subprocess.Popen[str]") -> dict[str, object]:
    said, shown = process.communicate(timeout=END_TIMEOUT_S)
    assert process.returncode == 0, shown[-4_000:]
    result: dict[str, object] = json.loads(said.splitlines()[-1])
    return result


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_signal_stops_everything_and_every_invariant_held(var: Path) -> None:
    process = demo(var, "--rate", "15", "--json")
    try:
        assert process.stderr is not None
        deadline_s = time.monotonic() + END_TIMEOUT_S
        while "created" not in process.stderr.readline():  # The first line of counts.
            assert process.poll() is None
            assert time.monotonic() < deadline_s
        children = children_of(process)
        process.send_signal(signal.SIGINT)
        result = result_of(process)
    finally:
        process.kill()

    assert result["held"] is True
    assert len(children) == 3  # Gateway, worker, sandbox.
    assert not any(is_alive(child) for child in children)


def test_it_starts_again_on_the_same_data_and_ends_by_itself(var: Path) -> None:
    result = result_of(demo(var, "--seconds", "6", "--rate", "15", "--json"))

    assert result["held"] is True
    assert isinstance(result["transactions"], int)
    assert isinstance(result["transactions_total"], int)
    assert 0 < result["transactions"] < result["transactions_total"]
    assert {"assess_p50_us", "assess_p99_us", "create_p50_ms", "create_p99_ms"} <= set(result)
    assert {"outcomes", "ledger", "notifications"} <= set(result)


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "gateway.cli", "demo", "--var", str(tmp_path / "var")),
                *("--port", str(port), "--no-console"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert not (tmp_path / "var").exists()
