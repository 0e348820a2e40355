"""`yumen bench create`: signed, assessed, durable creates against a bare FastAPI echo.

Both servers get the same requests over the same connections on the same core, in turn, several
rounds; the load comes from another core where there is one. The gateway does everything a create
does: signature, replay check, inline risk with the model, one durable commit (synchronous=FULL),
signed answer. The echo validates the same body with pydantic and answers two fields.
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

from gateway.bench.load import LoadFigures, http_post, run_load
from gateway.clock import wall_clock_us
from gateway.domain.merchant import MerchantKey
from gateway.domain.money import to_major
from gateway.signing import sign
from gateway.store.database import embedded
from gateway.store.merchants import NewMerchant, create_merchant
from gateway.store.migrate import migrate
from gateway.store.vault import Vault
from models.bootstrap import world
from models.synthetic import Stream
from models.synthetic.population import Population

CONNECTIONS = 16
ROUNDS = 3
MERCHANTS = 20
PACE_PER_S = 20.0  # Of the synthetic stream: how its payers and merchants behave.
PATH = "/api/payment/create"
SECONDS_TO_START = 60


@dataclass(frozen=True, slots=True)
class _Server:
    name: str
    port: int
    pid: int


def run(
    *, count: int = 6_000, paced_count: int = 3_000, model_rows: int = 40_000
) -> dict[str, Any]:
    """Measure and print a table.

    Args:
        count: Requests a round at full speed.
        paced_count: Requests of the round at half of the gateway's full speed.
        model_rows: Synthetic payments the served model is trained on.

    Returns:
        The figures: rates, latencies and their ratios.
    """
    with tempfile.TemporaryDirectory(prefix="yumen-bench-") as folder:
        var = Path(folder)
        _train(var, model_rows)
        keys = merchant_keys(var)
        with _serving(var) as (gateway, echo):
            population = world(model_rows).population()  # The one the model has learned.
            orders = synthetic_orders(count // 4 + ROUNDS * count + paced_count, population)
            return asyncio.run(_measure(keys, orders, gateway, echo, count, paced_count))


async def _measure(
    keys: Sequence[MerchantKey],
    orders: Sequence[dict[str, str]],
    gateway: _Server,
    echo: _Server,
    count: int,
    paced_count: int,
) -> dict[str, Any]:
    stream = iter(orders)
    warm = signed_batch(keys, list(islice(stream, count // 4)), "warm")
    for server in (gateway, echo):
        await run_load(server.port, warm, connections=CONNECTIONS)
    full: dict[str, list[LoadFigures]] = {gateway.name: [], echo.name: []}
    for round_no in range(ROUNDS):
        requests = signed_batch(keys, list(islice(stream, count)), str(round_no))
        for server in (gateway, echo):
            full[server.name].append(await run_load(server.port, requests, connections=CONNECTIONS))
    rates = {name: statistics.median(f.requests_per_s for f in runs) for name, runs in full.items()}
    half_per_s = rates[gateway.name] / 2
    requests = signed_batch(keys, list(islice(stream, paced_count)), "paced")
    paced = {
        server.name: await run_load(
            server.port, requests, connections=CONNECTIONS * 4, requests_per_s=half_per_s
        )
        for server in (gateway, echo)
    }
    assess = await _assess_figures(gateway.port)
    return _report(rates, full, paced, half_per_s, assess)


def _report(
    rates: dict[str, float],
    full: dict[str, list[LoadFigures]],
    paced: dict[str, LoadFigures],
    half_per_s: float,
    assess: dict[str, float],
) -> dict[str, Any]:
    figures: dict[str, Any] = {"connections": CONNECTIONS, "rounds": ROUNDS}
    print(f"{'':22}{'requests/s':>12}{'p50 ms':>10}{'p99 ms':>10}")
    for name, runs in full.items():
        p50_ms = statistics.median(f.p50_ms for f in runs)
        p99_ms = statistics.median(f.p99_ms for f in runs)
        print(f"{name + ', full speed':22}{rates[name]:12.0f}{p50_ms:10.2f}{p99_ms:10.2f}")
        figures |= {
            f"{name}_per_s": rates[name],
            f"{name}_p50_ms": p50_ms,
            f"{name}_p99_ms": p99_ms,
        }
    for name, f in paced.items():
        shown = f"{name}, at half load"
        print(f"{shown:22}{f.requests_per_s:12.0f}{f.p50_ms:10.2f}{f.p99_ms:10.2f}")
        figures |= {f"{name}_half_p50_ms": f.p50_ms, f"{name}_half_p99_ms": f.p99_ms}
    figures |= {
        "half_load_per_s": half_per_s,
        "rate_ratio": rates["gateway"] / rates["echo"],
        "half_p50_ratio": paced["gateway"].p50_ms / paced["echo"].p50_ms,
        "half_p99_ratio": paced["gateway"].p99_ms / paced["echo"].p99_ms,
        **assess,
    }
    print(f"share of the echo's rate: {figures['rate_ratio']:.2f}")
    return figures


async def _assess_figures(port: int) -> dict[str, float]:
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    values = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("yumen_assess_seconds")
    )
    count = float(values["yumen_assess_seconds_count"])
    return {"assess_mean_us": float(values["yumen_assess_seconds_sum"]) / count * 1e6}


def synthetic_orders(count: int, population: Population) -> list[dict[str, str]]:
    """Synthetic orders in the order of a synthetic stream, unsigned and without a merchant."""
    now_us = wall_clock_us()
    stream = Stream(population, seed=7, now_us=now_us, payments_per_s=PACE_PER_S)
    orders = []
    for place in range(count):
        payment = stream.next_payment(now_us + int(place / PACE_PER_S * 1e6))
        orders.append(
            {
                "seller": payment.merchant,
                "total_amount": str(to_major(payment.amount_minor, payment.currency)),
                "currency": payment.currency,
                "subject": "明前龙井 250 g",
                "body": "synthetic order of a benchmark",
                # Opened by a signed link: what a call to the channel costs is the channel's.
                "pay_type": "alipay",
                "notify_url": "http://127.0.0.1:9/notify",
                "return_url": "https://shop.example/done",
                "risk_context": json.dumps(payment.risk_context(), separators=(",", ":")),
            }
        )
    return orders


def signed_batch(
    keys: Sequence[MerchantKey], orders: Sequence[dict[str, str]], label: str
) -> list[bytes]:
    """Sign create requests just before they are sent: timestamps expire.

    Args:
        keys: The merchants' keys; each synthetic seller is one of them.
        orders: As `synthetic_orders` makes them.
        label: Part of the order numbers; another one for each batch.
    """
    batch = []
    for place, order in enumerate(orders):
        key = keys[zlib.crc32(order["seller"].encode()) % len(keys)]
        params = {name: value for name, value in order.items() if name != "seller"} | {
            "merchant_id": key.merchant_id,
            "out_trade_no": f"{key.merchant_id}-bench-{label}-{place:08d}",
            "timestamp": str(wall_clock_us() // 1000),
        }
        params["sign"] = sign(key, params)
        batch.append(http_post(PATH, json.dumps(params, ensure_ascii=False).encode()))
    return batch


def _train(var: Path, rows: int) -> None:
    # In a process of its own: the load generator must not carry what training imports.
    code = (
        "import sys; from pathlib import Path; from models.synthetic import bootstrap; "
        "bootstrap(Path(sys.argv[1]), n=int(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", code, str(var), str(rows)], check=True)


def merchant_keys(var: Path) -> list[MerchantKey]:
    """Make the benchmark's merchants in the database under `var`, and return their keys."""

    async def make() -> list[NewMerchant]:
        migrate(embedded(var))
        writer, vault = embedded(var).writer(), Vault(var)
        made = [
            await writer.run(
                lambda conn: create_merchant(conn, vault, "bench", now_us=wall_clock_us())
            )
            for _ in range(MERCHANTS)
        ]
        await writer.close()
        return made

    return [
        MerchantKey(
            key_id=merchant.key_id,
            merchant_id=merchant.merchant_id,
            algorithm=merchant.algorithm,
            secret=merchant.secret.encode(),
            public_key_pem=b"",
            platform_private_key_pem=b"",
            expires_at_us=0,
        )
        for merchant in asyncio.run(make())
    ]


def _yumen() -> list[str]:
    return [sys.executable, "-m", "gateway.cli"]


@contextmanager
def _serving(var: Path) -> Iterator[tuple[_Server, _Server]]:
    ports = [free_port(), free_port()]
    commands = [
        [*_yumen(), "serve", "--port", str(ports[0]), "--var", str(var)],
        [sys.executable, "-m", "gateway.bench.echo", "--port", str(ports[1])],
    ]
    # Both servers on one core, the load on another, so that they are compared on equal terms.
    cores = sorted(os.sched_getaffinity(0))
    processes = [
        subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for command in commands
    ]
    try:
        for process, port in zip(processes, ports, strict=True):
            os.sched_setaffinity(process.pid, {cores[0]})
            wait_for_port(port, process)
        os.sched_setaffinity(0, set(cores[1:]) or set(cores))
        yield (
            _Server("gateway", ports[0], processes[0].pid),
            _Server("echo", ports[1], processes[1].pid),
        )
    finally:
        os.sched_setaffinity(0, set(cores))
        for process in processes:
            process.terminate()
            process.wait(timeout=30)


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until somebody listens.

    Raises:
        RuntimeError: if the process ends or a minute passes first.
    """
    until_s = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until_s:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on port {port} after {SECONDS_TO_START} s")
