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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.bench.load import LoadFigures, http_post, run_load
from gateway.domain.merchant import Algorithm, MerchantKey
from gateway.signing import sign
from gateway.wiring import wall_clock_us

CONNECTIONS = 16
ROUNDS = 3
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
        merchant = _merchant(var)
        with _serving(var) as (gateway, echo):
            return asyncio.run(_measure(merchant, gateway, echo, count, paced_count))


async def _measure(
    merchant: dict[str, str], gateway: _Server, echo: _Server, count: int, paced_count: int
) -> dict[str, Any]:
    payments = _risk_contexts(count)
    batches = iter(_signed_batches(merchant, payments, ROUNDS + 2, max(count, paced_count)))
    warm = next(batches)
    for server in (gateway, echo):
        await run_load(server.port, warm[: count // 4], connections=CONNECTIONS)
    full: dict[str, list[LoadFigures]] = {gateway.name: [], echo.name: []}
    for _ in range(ROUNDS):
        requests = next(batches)[:count]
        for server in (gateway, echo):
            full[server.name].append(await run_load(server.port, requests, connections=CONNECTIONS))
    rates = {name: statistics.median(f.requests_per_s for f in runs) for name, runs in full.items()}
    requests, half_per_s = next(batches)[:paced_count], rates[gateway.name] / 2
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


def _risk_contexts(count: int) -> list[str]:
    """Risk contexts of synthetic payments, as merchants would send them."""
    from models.synthetic import risk_contexts_json  # Imported late: numpy tables.

    return risk_contexts_json(count, seed=7)


def _signed_batches(
    merchant: dict[str, str], contexts: Sequence[str], batch_count: int, size: int
) -> Iterator[list[bytes]]:
    """Yield batches of signed requests, made just before they are sent: timestamps expire."""
    key = MerchantKey(
        key_id=merchant["key_id"],
        merchant_id=merchant["merchant_id"],
        algorithm=Algorithm.HMAC_SHA256,
        secret=merchant["secret"].encode(),
        public_key_pem=b"",
        platform_private_key_pem=b"",
        expires_at_us=0,
    )
    for batch_no in range(batch_count):
        batch = []
        for place in range(size):
            params = {
                "merchant_id": merchant["merchant_id"],
                "out_trade_no": f"{merchant['merchant_id']}-bench-{batch_no}-{place:08d}",
                "total_amount": f"{place % 900 + 10}.{place % 100:02d}",
                "currency": "CNY",
                "subject": "明前龙井 250 g",
                "body": "synthetic order of a benchmark",
                "pay_type": "alipay",
                "notify_url": "http://127.0.0.1:9/notify",
                "return_url": "https://shop.example/done",
                "risk_context": contexts[place % len(contexts)],
                "timestamp": str(wall_clock_us() // 1000),
            }
            params["sign"] = sign(key, params)
            batch.append(http_post(PATH, json.dumps(params, ensure_ascii=False).encode()))
        yield batch


def _train(var: Path, rows: int) -> None:
    # In a process of its own: the load generator must not carry what training imports.
    code = (
        "import sys; from pathlib import Path; from models.synthetic import bootstrap; "
        "bootstrap(Path(sys.argv[1]), n=int(sys.argv[2]))"
    )
    subprocess.run([sys.executable, "-c", code, str(var), str(rows)], check=True)


def _merchant(var: Path) -> dict[str, str]:
    made = subprocess.run(
        [*_yumen(), "merchant", "create", "--name", "bench", "--var", str(var), "--json"],
        check=True,
        capture_output=True,
    )
    merchant: dict[str, str] = json.loads(made.stdout.splitlines()[-1])
    return merchant


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
