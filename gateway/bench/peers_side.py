"""The peers' side of `yumen bench peers`, on the peers' own Python; imports nothing of ours.

Feast (features from Redis) and MLflow's scoring server (the model), put together as their manuals
say and tuned: one registry load, features by name, no access log, a worker that is never recycled,
plain rows, one thread a prediction. It takes a folder made by `gateway.bench.peers`, starts what it
needs on loopback, then answers each line on standard input with one line of JSON; at the end of
input it stops what it started.
"""

import contextlib
import http.client
import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Samples = dict[str, list[int]]
Row = dict[str, Any]
Running = contextlib.AbstractContextManager["subprocess.Popen[bytes]"]

START_S = 300.0  # A busy machine takes minutes to import both.
PAUSE_S = 0.2
STOP_S = 10.0


class Peers:
    """Feast in process, Feast over HTTP and MLflow over HTTP, ready to be asked.

    Args:
        folder: Holds ``plan.json``, ``model.txt`` and one Parquet file a feature view.
        redis_port: Of a Redis on loopback that is ours alone.
        stack: Takes the servers, and stops them when it closes.
    """

    def __init__(self, folder: Path, redis_port: int, stack: contextlib.ExitStack) -> None:
        self._plan: dict[str, Any] = json.loads((folder / "plan.json").read_text("utf-8"))
        self.columns: list[str] = self._plan["columns"]
        self._store = _feature_store(folder, redis_port, self._plan["views"])
        # By name: over HTTP a feature service of all of them takes three times as long.
        self._features = [
            f"of_{view}:{name}" for view, names in self._plan["views"].items() for name in names
        ]
        feast_port, mlflow_port = _free_port(), _free_port()
        feast = stack.enter_context(_feast_server(folder, feast_port))
        mlflow = stack.enter_context(_mlflow_server(folder, mlflow_port, self.columns))
        self._feast = _connected(feast_port, "/health", feast)
        self._mlflow = _connected(mlflow_port, "/ping", mlflow)

    def read(self, keys: dict[str, str]) -> Row:
        """Features of the payment's entities, by name, from Feast in this process."""
        answer = self._store.get_online_features(features=self._features, entity_rows=[keys])
        return {name: values[0] for name, values in answer.to_dict().items()}

    def read_http(self, keys: dict[str, str]) -> Row:
        """The same from Feast's server."""
        entities = {name: [key] for name, key in keys.items()}
        body = {"features": self._features, "entities": entities}
        answer = _post(self._feast, "/get-online-features", body)
        names, results = answer["metadata"]["feature_names"], answer["results"]
        return {name: result["values"][0] for name, result in zip(names, results, strict=True)}

    def score(self, row: Row) -> float:
        """The model's answer for one row, from MLflow's server."""
        # A plain row takes the server half the time of a named one (a data frame's).
        values = [math.nan if row[name] is None else row[name] for name in self.columns]
        return float(_post(self._mlflow, "/invocations", {"inputs": [values]})["predictions"][0])


def _feature_store(folder: Path, redis_port: int, views: dict[str, list[str]]) -> Any:  # noqa: ANN401 - Feast's own type
    """Declare a view an entity, and write the values straight online."""
    import pandas as pd
    from feast import (  # type: ignore[import-not-found]  # stands in the peers' environment
        Entity,
        FeatureStore,
        FeatureView,
        Field,
        FileSource,
        ValueType,
    )
    from feast.types import Float64  # type: ignore[import-not-found]  # likewise

    (folder / "feature_store.yaml").write_text(
        "project: peers\nprovider: local\n"
        "registry:\n  path: registry.db\n  cache_ttl_seconds: 0\n"
        f"online_store:\n  type: redis\n  connection_string: 127.0.0.1:{redis_port}\n"
        "offline_store:\n  type: file\nentity_key_serialization_version: 3\n",
        encoding="utf-8",
    )
    store = FeatureStore(repo_path=str(folder))
    declared, frames = [], {}
    for name, fields in views.items():
        path = folder / f"{name}.parquet"
        frames[name] = pd.read_parquet(path).assign(event_timestamp=datetime.now(UTC))
        entity = Entity(name=name, join_keys=[name], value_type=ValueType.STRING)
        view = FeatureView(
            name=f"of_{name}",
            entities=[entity],
            ttl=timedelta(0),
            schema=[Field(name=field, dtype=Float64) for field in fields],
            source=FileSource(path=str(path), timestamp_field="event_timestamp"),
        )
        declared += [entity, view]
    store.apply(declared)
    for name, frame in frames.items():
        store.write_to_online_store(f"of_{name}", frame)
    return store


@contextlib.contextmanager
def _running(command: list[str], folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run one of the peers' programs, which find each other on the path."""
    programs = str(Path(sys.executable).parent)
    path = f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"
    log = folder / f"{command[0]}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [f"{programs}/{command[0]}", *command[1:]],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PATH": path},
        )
    try:
        yield process
    except OSError as problem:
        raise OSError(f"{problem}; {command[0]}: {log.read_text('utf-8')[-400:]}") from problem
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _feast_server(folder: Path, port: int) -> Running:
    command = ["feast", "-c", str(folder), "serve"]
    command += ["-h", "127.0.0.1", "-p", str(port), "-w", "1", "--no-access-log"]
    # The default recycles the worker every 1,000 requests, with a stall of a second each time.
    command += ["--max-requests", "0", "--max-requests-jitter", "0"]
    command += ["--keep-alive-timeout", "600", "-r", "3600"]
    return _running(command, folder)


def _mlflow_server(folder: Path, port: int, columns: list[str]) -> Running:
    import lightgbm as lgb
    import mlflow

    booster = lgb.Booster(model_file=str(folder / "model.txt"))
    if booster.num_feature() != len(columns):
        raise ValueError(f"the model takes {booster.num_feature()} features, not {len(columns)}")
    mlflow.lightgbm.save_model(booster, str(folder / "mlflow"))
    command = ["mlflow", "models", "serve", "-m", str(folder / "mlflow"), "--env-manager", "local"]
    command += ["-h", "127.0.0.1", "-p", str(port), "-w", "1"]
    return _running(command, folder)


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _connected(
    port: int, path: str, process: "subprocess.Popen[bytes]"
) -> http.client.HTTPConnection:
    """Wait until the server answers; the connection is kept and never delays a packet.

    Raises:
        TimeoutError: it did not answer in `START_S`, or ended.
    """
    until_s = time.monotonic() + START_S
    while time.monotonic() < until_s and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_S)
        try:
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.request("GET", path)
            if connection.getresponse().read() is not None:
                return connection
        except OSError:
            connection.close()
            time.sleep(PAUSE_S)
    raise TimeoutError(f"nothing answers on 127.0.0.1:{port}{path}")


def _post(connection: http.client.HTTPConnection, path: str, body: Row) -> Any:  # noqa: ANN401 - JSON
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != http.client.OK:
        raise ValueError(f"{path} answered {answer.status}: {text[:400]!r}")
    return json.loads(text)


def _round(peers: Peers, requests: list[Row]) -> dict[str, Any]:
    """Ask for each payment: Feast in process, Feast over HTTP, then the model."""
    samples: Samples = {"feast_ns": [], "feast_http_ns": [], "mlflow_ns": []}
    scores = []

    def timed(name: str, ask: Callable[[Row], Any], what: Row) -> Any:  # noqa: ANN401 - as `ask`
        started_ns = time.perf_counter_ns()
        answer = ask(what)
        samples[name].append(time.perf_counter_ns() - started_ns)
        return answer

    for request in requests:
        keys, sent = request["keys"], request["sent"]
        over_http = timed("feast_http_ns", peers.read_http, keys)
        read = timed("feast_ns", peers.read, keys)
        row = {**sent, **read}
        if {name: over_http[name] for name in read} != read:
            raise ValueError("Feast answers otherwise over HTTP than in process")
        scores.append(timed("mlflow_ns", peers.score, row))
    return {"samples": samples, "scores": scores, "last_row": [row[c] for c in peers.columns]}


def _main(folder: Path, redis_port: int) -> None:
    import importlib.metadata

    with contextlib.ExitStack() as stack:
        peers = Peers(folder, redis_port, stack)
        versions = {name: importlib.metadata.version(name) for name in ("feast", "mlflow")}
        print(json.dumps({"versions": versions}), flush=True)
        for line in sys.stdin:
            print(json.dumps(_round(peers, json.loads(line))), flush=True)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
