"""What the README tells a newcomer to paste works as pasted, in both languages."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.stand import free_port

ROOT = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh-CN.md")
START_TIMEOUT_S = 120.0
Served = tuple[int, dict[str, str]]


def examples(readme: str, language: str) -> list[str]:
    text = (ROOT / readme).read_text("utf-8")
    return re.findall(rf"<!-- tested -->\n```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway as a newcomer starts it, on a free port and a folder of its own."""
    var, port = tmp_path_factory.mktemp("readme"), free_port()
    environ = {**os.environ, "YUMEN_VAR": str(var)}  # noqa: TID251 - a child needs the machine's
    with (var / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "serve", "--port", str(port)],
            stdout=log,
            stderr=log,
            env=environ,
            cwd=ROOT,
        )
    try:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            assert process.poll() is None, (var / "gateway.log").read_text()
            assert time.monotonic() < deadline_s, "the gateway did not start in time"
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == httpx.codes.OK:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        yield port, environ
    finally:
        process.terminate()
        assert process.wait(30) == 0


def pasted(command: list[str], example: str, served: Served) -> str:
    port, environ = served
    program = example.replace(":8000", f":{port}").replace(
        ".venv/bin/yumen", str(Path(sys.executable).with_name("yumen"))
    )
    done = subprocess.run(
        [*command, program], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("readme", READMES)
def test_the_signed_curl_creates_a_payment(served: Served, readme: str) -> None:
    for program in ("bash", "curl", "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed here")
    (example,) = examples(readme, "bash")

    answer = json.loads(pasted(["bash", "-euc"], example, served))

    assert answer["code"] == "SUCCESS", answer
    assert answer["pay_url"].startswith("http://")


@pytest.mark.parametrize("readme", READMES)
def test_the_python_example_creates_and_queries_a_payment(served: Served, readme: str) -> None:
    (example,) = examples(readme, "python")

    said = pasted([sys.executable, "-c"], example, served)

    pay_url, status = said.split()
    assert pay_url.startswith("http://")
    assert status == "WAIT_PAY"


@pytest.mark.parametrize("readme", READMES)
def test_every_file_the_readme_points_to_is_there(readme: str) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / readme).read_text("utf-8"))

    assert links
    missing = [link for link in links if not (ROOT / link).exists()]
    assert missing == []


def test_both_readmes_name_the_two_commands_first() -> None:
    for readme in READMES:
        head = (ROOT / readme).read_text("utf-8")[:600]
        assert head.index("make demo") < head.index("make test")
