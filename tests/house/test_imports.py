"""Who may import whom: every contract holds here, and each of them is able to fail."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("gateway", "risk", "models", "dashboard")
# One import for each contract that breaks it: module to add it to, and the import.
VIOLATIONS = {
    "gateway/domain/order.py": "import gateway.store.tables",
    "gateway/store/outbox.py": "import gateway.payments.create",
    "gateway/signing.py": "import gateway.store.vault",
    "gateway/queries/health.py": "import gateway.payments.close",
    "gateway/worker/loop.py": "import gateway.http.app\nimport gateway.settings",
    "gateway/channels/alipay.py": "import gateway.channels.sandbox",
    "gateway/channels/sandbox.py": "import gateway.sandbox.app",
    "gateway/sandbox/refunds.py": "import gateway.sm2",
    "gateway/sdk/client.py": "import gateway.domain.money",
    "gateway/wiring.py": "import gateway.cli",
    "risk/decision.py": "import pandas",
    "risk/signals/amount.py": "import risk.signals.geo",
    "risk/transaction.py": "import risk.engine",
    "models/evaluate.py": "import gateway.domain.money",
    "dashboard/launch.py": "import gateway.store.orders",
}


def contracts() -> list[str]:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    return [contract["name"] for contract in table["contracts"]]


def lint(folder: Path) -> tuple[int, str]:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_every_contract_holds() -> None:
    code, said = lint(ROOT)

    assert code == 0, said
    assert re.search(rf"{len(contracts())} kept, 0 broken", said), said


def test_every_contract_can_fail(tmp_path: Path) -> None:
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, line in VIOLATIONS.items():
        path = tmp_path / name
        path.write_text(path.read_text("utf-8") + f"\n{line}\n", "utf-8")

    _, said = lint(tmp_path)

    plain = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", said).split())
    kept = [name for name in contracts() if f"{name} BROKEN" not in plain]
    assert kept == [], said


def test_serving_loads_nothing_heavy() -> None:
    heavy = ("mlflow", "pandas", "sklearn", "streamlit", "lightgbm", "pyarrow", "matplotlib")
    code = f"import sys, gateway.wiring; print([m for m in {heavy} if m in sys.modules])"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
