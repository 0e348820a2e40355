"""One decision of the engine beside the stack one would otherwise put together, in the same run.

The stack: Feast reads the features of the payment's entities from Redis, MLflow's model server
scores them; both tuned (see `gateway.bench.peers_side`), with the very model the engine uses. The
peers get what they don't do for nothing: nobody writes features while they are read, the fields
of the request itself arrive computed, and no rule or policy runs. The engine's time is that of
`Engine.assess`: windows and graph read and written, rules, model, policy.

They need other versions of our libraries, so they stand in an environment of their own:

    .venv/bin/uv venv --python 3.11 var/peers
    .venv/bin/uv pip install --python var/peers/bin/python --group peers

``python -m gateway.bench.peers PYTHON`` takes any other. Redis is one of this run's own.
"""

import contextlib
import gc
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from gateway.bench.assess import (
    START_US,
    _assess_all,
    _payments,
    _publish,
    _train,
)
from gateway.refusal import Refused
from risk import Decision, Engine, Transaction
from risk.features.catalogue import FEATURES

Floats = npt.NDArray[np.float64]

PEERS_PYTHON: Final = Path("var/peers/bin/python")
ROUNDS: Final = 6
PER_ROUND: Final = 150
ASSESSED: Final = 4 * PER_ROUND  # The engine's share of a round; it takes far less time.
WARM_COUNT: Final = 8_000  # Payments the state and the model are made of.
STORED: Final = 120  # Features the peers read from their store; the rest comes with the request.
# Whose row a feature describes, by the first cell it is made of that isn't the request's.
VIEWS: Final = {"user": "user", "device": "device", "card": "card", "ip": "device"}
SHOP: Final = "merchant"


def run(python: Path | None = None, *, rounds: int = ROUNDS) -> dict[str, object]:
    """Measure both in turn, print a table, return the figures.

    Args:
        python: The peers' Python; `PEERS_PYTHON` if None.
        rounds: Blocks of payments, the engine's and the peers' in turn.

    Returns:
        Microseconds at p50 and p99 of each part, and the ratios of the sums to `Engine.assess`.

    Raises:
        Refused: the peers or Redis aren't there; the message says how to install them.
    """
    import lightgbm as lgb

    python = _peers_python(python or PEERS_PYTHON)
    payments = _payments(np.random.default_rng(1), WARM_COUNT + (rounds + 1) * ASSESSED)
    print("      training the model both sides use …", flush=True)
    with tempfile.TemporaryDirectory() as text, contextlib.ExitStack() as stack:
        folder = Path(text)
        rows = _assess_all(Engine(), payments[:WARM_COUNT])
        booster = _train(lgb, rows, 1)
        levels = np.quantile(booster.predict(rows, num_threads=2), [0.98, 0.99, 0.995]).tolist()
        model = booster.model_to_string()
        _publish(folder / "bundles", model, levels)
        engine = Engine(bundle_dir=folder / "bundles")
        _assess_all(engine, payments[:WARM_COUNT])
        plan = _write_plan(folder, model, payments[:WARM_COUNT], rows)
        redis_port = stack.enter_context(_redis(folder))
        print("      starting Feast and MLflow …", flush=True)
        peers = stack.enter_context(_Peers.started(python, folder, redis_port))
        samples = _Samples(engine, peers, booster, plan)
        samples.take(payments[WARM_COUNT : WARM_COUNT + ASSESSED], keep=False)
        for number in range(rounds):
            first = WARM_COUNT + (number + 1) * ASSESSED
            samples.take(payments[first : first + ASSESSED], keep=True)
            print(f"      {number + 1} of {rounds}", flush=True)
        return _figures(samples, peers.versions)


def _peers_python(python: Path) -> Path:
    if not python.exists():
        raise Refused(
            f"no peers at {python}; install them with: .venv/bin/uv venv --python 3.11 var/peers"
            " && .venv/bin/uv pip install --python var/peers/bin/python --group peers"
        )
    ask = [str(python), "-c", "import feast, lightgbm, mlflow, redis"]
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing = done.stderr.strip().splitlines()[-1:]
        raise Refused(
            f"{python} lacks a part of the peers ({''.join(missing)}); install it with:"
            f" .venv/bin/uv pip install --python {python} --group peers"
        )
    # Not resolved: a link into an environment is what makes it that environment.
    return python.absolute()


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[int]:
    """A Redis of our own that keeps nothing on disk."""
    program = shutil.which("redis-server")
    if program is None:
        raise Refused("redis-server is not installed (Debian: apt-get install redis-server)")
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = int(bound.getsockname()[1])
    command = [program, "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    command += ["--appendonly", "no", "--dir", str(folder), "--logfile", "redis.log"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


def _write_plan(
    folder: Path, model: str, payments: list[Transaction], rows: Floats
) -> dict[str, list[str]]:
    """Lay out the peers' features: which entity holds which, with its newest values.

    Returns:
        View to feature names, `STORED` in all.
    """
    views: dict[str, list[str]] = {"user": [], "device": [], "card": [], SHOP: []}
    request = []
    for feature in FEATURES:
        roles = [cell.partition(".")[0].partition("_")[0] for cell in feature.formula.cells]
        roles = [role for role in roles if role != "event"]
        if not roles:
            request.append(feature.name)
        elif sum(map(len, views.values())) < STORED:
            shop = roles[0] in {"merchant", "payee", "mcc", "outflow"}
            views[SHOP if shop else VIEWS.get(roles[0], "user")].append(feature.name)
    views["user"] += request[: STORED - sum(map(len, views.values()))]
    places = {feature.name: place for place, feature in enumerate(FEATURES)}
    for view, names in views.items():
        newest = {_keys(payment)[view]: row for payment, row in zip(payments, rows, strict=True)}
        values = np.stack(list(newest.values()))
        columns = {name: pa.array(values[:, places[name]], from_pandas=True) for name in names}
        pq.write_table(pa.table({view: list(newest), **columns}), folder / f"{view}.parquet")
    (folder / "model.txt").write_text(model, encoding="utf-8")
    plan = {"columns": [feature.name for feature in FEATURES], "views": views}
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    return views


def _keys(payment: Transaction) -> dict[str, str]:
    context = payment.context
    return {
        "user": context.payer.account_id or "",
        "device": context.device.device_id or "",
        "card": context.instrument.token or "",
        SHOP: payment.merchant_id,
    }


class _Peers:
    """The peers' process: a line of payments in, a line of samples out."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self._process, self._log = process, log
        self.versions: dict[str, str] = self._answer()["versions"]

    @classmethod
    @contextlib.contextmanager
    def started(cls, python: Path, folder: Path, redis_port: int) -> "Iterator[_Peers]":
        quiet = {"FEAST_USAGE": "False", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
        threads = {"OMP_NUM_THREADS": "1"}  # One row: more threads only wait for each other.
        side = Path(__file__).with_name("peers_side.py")
        log = folder / "peers.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [str(python), str(side), str(folder), str(redis_port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **quiet, **threads},
            )
        try:
            yield cls(process, log)
        finally:
            if process.stdin:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ask(self, requests: list[dict[str, Any]]) -> dict[str, Any]:
        if self._process.stdin is None:
            raise RuntimeError("the peers' process has no standard input")
        self._process.stdin.write(json.dumps(requests) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        if self._process.stdout is None:
            raise RuntimeError("the peers' process has no standard output")
        for line in self._process.stdout:  # Libraries greet there, too.
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        self._process.wait()
        said = self._log.read_text("utf-8", errors="replace").strip().splitlines()[-5:]
        raise Refused("the peers stopped: " + " / ".join(said))


class _Samples:
    """Nanoseconds of every part, the engine's and the peers' taken in turn."""

    def __init__(
        self,
        engine: Engine,
        peers: _Peers,
        booster: Any,  # noqa: ANN401 - lightgbm has no types
        views: dict[str, list[str]],
    ) -> None:
        self._engine, self._peers, self._booster = engine, peers, booster
        self._stored = {name for names in views.values() for name in names}
        self._now_us = START_US + WARM_COUNT * 250_000
        self.ns: dict[str, list[int]] = {}

    def take(self, payments: list[Transaction], *, keep: bool) -> None:
        """Take all of these of the engine, then the last `PER_ROUND` of the peers."""
        assess_ns, decisions = [], []
        gc.collect()
        for payment in payments:
            self._now_us += 250_000
            started_ns = time.perf_counter_ns()
            decision = self._engine.assess(payment, self._now_us)
            assess_ns.append(time.perf_counter_ns() - started_ns)
            decisions.append(decision)
        asked = list(zip(payments, decisions, strict=True))[-PER_ROUND:]
        answer = self._peers.ask(
            [{"keys": _keys(payment), "sent": self._sent(made)} for payment, made in asked]
        )
        self._same_model(answer)
        if keep:
            for name, samples in {"assess_ns": assess_ns, **answer["samples"]}.items():
                self.ns.setdefault(name, []).extend(samples)

    def _sent(self, decision: Decision) -> dict[str, float | None]:
        """The features that come with the request."""
        row = np.frombuffer(decision.features).tolist()
        return {
            feature.name: None if math.isnan(number) else number
            for feature, number in zip(FEATURES, row, strict=True)
            if feature.name not in self._stored
        }

    def _same_model(self, answer: dict[str, Any]) -> None:
        """Refuse figures of another model: its answer to the same row must be ours."""
        row = np.array([math.nan if v is None else v for v in answer["last_row"]], dtype=np.float64)
        ours = float(self._booster.predict(row[None], num_threads=1)[0])
        if ours != answer["scores"][-1]:
            raise Refused(f"the peers' model answers {answer['scores'][-1]}, ours {ours}")


def _figures(samples: _Samples, versions: dict[str, str]) -> dict[str, object]:
    parts = {name.removesuffix("_ns"): np.array(ns) for name, ns in samples.ns.items()}
    parts["feast_and_mlflow"] = parts["feast"] + parts["mlflow"]
    parts["feast_http_and_mlflow"] = parts["feast_http"] + parts["mlflow"]
    figures: dict[str, object] = {
        "features": len(FEATURES),
        "stored_features": STORED,
        "entities": 4,
        "assessed": len(parts["assess"]),
        "requests": len(parts["feast"]),
        **{f"{name}_version": version for name, version in versions.items()},
    }
    print(f"{'':24}{'p50 µs':>10}{'p99 µs':>10}")
    quantiles_us = {}
    for name, ns in parts.items():
        p50_us, p99_us = (np.quantile(ns, [0.5, 0.99]) / 1e3).tolist()
        quantiles_us[name] = (p50_us, p99_us)
        figures |= {f"{name}_p50_us": round(p50_us, 1), f"{name}_p99_us": round(p99_us, 1)}
        print(f"{name:24}{p50_us:10.1f}{p99_us:10.1f}")
    for name in ("feast_and_mlflow", "feast_http_and_mlflow"):
        for place, label in enumerate(("p50", "p99")):
            ratio = quantiles_us[name][place] / quantiles_us["assess"][place]
            figures[f"{name}_{label}_ratio"] = round(ratio, 1)
            print(f"{name} / assess at {label}: {ratio:.1f}")
    return figures


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]) if len(sys.argv) > 1 else None)))
