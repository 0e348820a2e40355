"""How long a whole assessment takes, beside the model alone on the same row in the same run.

A ratio measured in one run survives a noisy machine; a time of its own doesn't. The model (300
trees on synthetic traffic) is trained here, in this process only. Rows and events are the same
for both sides: full risk contexts over a few thousand users, with a bounded set of entities. On a
busy machine the slowest hundredth is time spent waiting for the processor: the thread's own CPU
time stands beside the times of the clock.
"""

import gc
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from risk import Engine, RiskContext, Transaction
from risk.features.catalogue import FEATURE_COUNT, FEATURE_HASH, FEATURE_NAMES, PLACES
from risk.geo import shipped
from risk.scorer import BundleMeta, publish, write_bundle
from risk.transaction import (
    Basket,
    Behavior,
    Client,
    Device,
    Geo,
    Instrument,
    Payee,
    Payer,
    Session,
)

START_US: Final = 1_700_000_000_000_000
WARM_COUNT: Final = 20_000
TREES: Final = 300
LEAVES: Final = 63


def run(
    *, rounds: int = 5_000, seed: int = 1, show: Callable[[str], None] = print
) -> dict[str, float]:
    """Measure `Engine.assess` and ``Booster.predict(num_threads=1)`` in turn.

    Args:
        rounds: Measured payments.
        seed: Of the synthetic traffic, which is labelled synthetic everywhere.
        show: Takes the lines of the printed table.

    Returns:
        Figures in microseconds, and the ratios at p50 and p99; `flagged_ratio` is the share of
        payments that were not approved, which also pay for their reasons.
    """
    import lightgbm as lgb  # Takes seconds, and only a bench needs it.

    payments = _payments(np.random.default_rng(seed), WARM_COUNT + rounds)
    with tempfile.TemporaryDirectory() as folder:
        warm = Engine(geo=shipped())
        rows = _assess_all(warm, payments[:WARM_COUNT])
        booster = _train(lgb, rows, seed)
        scores = booster.predict(rows, num_threads=2)
        levels = np.quantile(scores, [0.98, 0.99, 0.995]).tolist()
        _publish(Path(folder), booster.model_to_string(), levels)
        engine = Engine(bundle_dir=Path(folder), geo=shipped())
        _assess_all(engine, payments[:WARM_COUNT])
        return _measure(engine, booster, payments[WARM_COUNT:], show)


def _assess_all(engine: Engine, payments: list[Transaction]) -> np.ndarray:
    rows = np.empty((len(payments), FEATURE_COUNT))
    for number, payment in enumerate(payments):
        decision = engine.assess(payment, START_US + number * 250_000)
        rows[number] = np.frombuffer(decision.features)
    return rows


def _train(lgb: object, rows: np.ndarray, seed: int) -> "_Booster":
    """Train on a made-up label of four features; only the shape of the trees matters here."""
    rng = np.random.default_rng(seed)
    names = ("amount", "amount_user_zscore_30d", "behaviour_form_ms", "time_user_gap_s")
    columns = [np.nan_to_num(rows[:, PLACES[name]]) for name in names]
    score = sum(column.argsort().argsort() / len(column) for column in columns)
    label = score + rng.normal(0, 0.3, len(rows)) > 3.2  # noqa: PLR2004 - about one in thirty
    parameters = {
        "objective": "binary",
        "num_leaves": LEAVES,
        "learning_rate": 0.05,
        "num_threads": 2,
        "verbose": -1,
        "seed": seed,
        "deterministic": True,
    }
    booster: _Booster = lgb.train(parameters, lgb.Dataset(rows, label), TREES)  # type: ignore[attr-defined]  # lightgbm has no types
    return booster


class _Booster:
    """What is used of `lightgbm.Booster`."""

    def model_to_string(self) -> str: ...  # type: ignore[empty-body]  # a type, never made
    def predict(self, rows: np.ndarray, *, num_threads: int) -> np.ndarray: ...  # type: ignore[empty-body]  # likewise


def _publish(folder: Path, text: str, levels: list[float]) -> None:
    meta = BundleMeta(
        version="bench",
        feature_hash=FEATURE_HASH,
        feature_names=FEATURE_NAMES,
        calibration_x=(0.0, 1.0),
        calibration_y=(0.0, 1.0),
        challenge_at=levels[0],
        review_at=levels[1],
        decline_at=levels[2],
        trained_at_us=START_US,
        model_sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
    write_bundle(folder, meta, text)
    publish(folder, meta.version)


def _measure(
    engine: Engine, booster: _Booster, payments: list[Transaction], show: Callable[[str], None]
) -> dict[str, float]:
    """Time both sides in turn, payment by payment, so that noise falls on both."""
    approved: list[tuple[int, int]] = []
    flagged: list[tuple[int, int]] = []
    model: list[tuple[int, int]] = []
    now_us = START_US + WARM_COUNT * 250_000
    gc.collect()
    gc.freeze()
    for payment in payments:
        now_us += 250_000
        watch = _Watch()
        decision = engine.assess(payment, now_us)
        passed = watch.passed_ns()
        (flagged if decision.reasons else approved).append(passed)
        row = np.frombuffer(decision.features)[None]
        watch = _Watch()
        booster.predict(row, num_threads=1)
        model.append(watch.passed_ns())
    gc.unfreeze()
    figures = {
        "features": float(FEATURE_COUNT),
        "trees": float(TREES),
        "rounds": float(len(payments)),
        "flagged_ratio": len(flagged) / len(payments),
    }
    sides = {"assess": approved + flagged, "assess_flagged": flagged, "predict": model}
    for name, samples in sides.items():
        if samples:
            figures |= _quantiles(name, samples)
    figures["p50_ratio"] = figures["assess_p50_us"] / figures["predict_p50_us"]
    figures["p99_ratio"] = figures["assess_p99_us"] / figures["predict_p99_us"]
    show(f"{'':24}{'p50 µs':>10}{'p99 µs':>10}{'CPU p50':>10}{'CPU p99':>10}")
    for name in sides:
        if f"{name}_p50_us" in figures:
            of_clock = f"{figures[f'{name}_p50_us']:10.1f}{figures[f'{name}_p99_us']:10.1f}"
            of_cpu = f"{figures[f'{name}_cpu_p50_us']:10.1f}{figures[f'{name}_cpu_p99_us']:10.1f}"
            show(f"{name:24}{of_clock}{of_cpu}")
    show(f"{'assess / predict':24}{figures['p50_ratio']:10.2f}{figures['p99_ratio']:10.2f}")
    return figures


class _Watch:
    """The clock and this thread's CPU time since it was made."""

    def __init__(self) -> None:
        self._cpu_ns = time.thread_time_ns()
        self._ns = time.perf_counter_ns()

    def passed_ns(self) -> tuple[int, int]:
        """Return nanoseconds of the clock, and of the processor."""
        ns = time.perf_counter_ns() - self._ns
        return ns, time.thread_time_ns() - self._cpu_ns


def _quantiles(name: str, samples_ns: list[tuple[int, int]]) -> dict[str, float]:
    (p50, cpu_p50), (p99, cpu_p99) = np.quantile(np.array(samples_ns), [0.5, 0.99], axis=0) / 1_000
    return {
        f"{name}_p50_us": round(float(p50), 2),
        f"{name}_p99_us": round(float(p99), 2),
        f"{name}_cpu_p50_us": round(float(cpu_p50), 2),
        f"{name}_cpu_p99_us": round(float(cpu_p99), 2),
    }


def _payments(rng: np.random.Generator, count: int) -> list[Transaction]:
    users = rng.integers(0, 4_000, count).tolist()
    shops = rng.integers(0, 200, count).tolist()
    amounts = np.rint(np.exp(rng.normal(8.5, 1.2, count))).astype(int).tolist()
    speeds = rng.integers(800, 60_000, count).tolist()
    return [
        Transaction(
            event_id=f"B{number}",
            merchant_id=f"merchant-{shop % 40}",
            amount_minor=amount + 1,
            currency="CNY",
            pay_type="alipay",
            context=_context(user, shop, speed),
        )
        for number, (user, shop, amount, speed) in enumerate(
            zip(users, shops, amounts, speeds, strict=True)
        )
    ]


def _context(user: int, shop: int, speed: int) -> RiskContext:
    odd = speed % 50 == 0
    return RiskContext(
        payer=Payer(account_id=f"user-{user}", created_at_ms=1_600_000_000_000, country="CN"),
        instrument=Instrument(token=f"card-{user}", issuer_country="CN", funding="debit"),
        payee=Payee(account_id=f"shop-{shop}", country="CN"),
        client=Client(
            ip=f"10.{user % 200}.{user % 7}.1",
            ip_country="US" if odd else "CN",
            user_agent="Mozilla/5.0 (Linux; Android 14)",
            tz_offset_min=480,
        ),
        device=Device(
            device_id=f"device-{user}",
            os="android",
            attestation="strong",
            risk_labels=("rooted",) if odd else (),
        ),
        geo=Geo(lat=31.2 + user % 10 / 10, lon=121.4, accuracy_m=30.0, country="CN"),
        behavior=Behavior(
            form_ms=speed,
            key_dwell_ms=80 + speed % 40,
            key_flight_ms=120,
            key_flight_iqr_ms=30 + speed % 20,
            pasted=(),
            pointer_straightness=0.7,
        ),
        session=Session(login_at_ms=1_699_999_000_000, pages=speed % 9),
        order=Basket(mcc=f"58{shop % 30:02d}", items=1 + speed % 4),
    )
