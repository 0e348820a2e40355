"""A database of payments that a real engine assessed, for whatever reads history.

Synthetic traffic of a few dozen payers; a small model, the shipped rules and policy decide. Labels
become known a day later for some payments, and are changed once for one of them.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import lightgbm as lgb
import numpy as np
from sqlalchemy import Connection, insert

from gateway.payments.create import decision_row
from gateway.store import rules, tables
from risk import Engine, RiskContext, Transaction
from risk.decision import Decision, Feedback, LogEvent
from risk.features.catalogue import FEATURE_COUNT, FEATURE_HASH, FEATURE_NAMES
from risk.scorer import BundleMeta, publish, write_bundle
from risk.transaction import Basket, Client, Device, Instrument, Payee, Payer
from tests.seeded import empty_database

START_US = 1_790_000_000_000_000
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def write_model(var: Path, version: str, seed: int = 3) -> None:
    """Write a small bundle that was trained on noise; it is not in use until published."""
    rng = np.random.default_rng(seed)
    x = np.abs(rng.normal(size=(2_000, FEATURE_COUNT))) * 100
    x[rng.random(x.shape) < 0.3] = np.nan
    y = np.nan_to_num(x[:, :8]).sum(axis=1) + 50 * rng.normal(size=2_000) > 550
    parameters = {"objective": "binary", "num_leaves": 15, "verbose": -1, "num_threads": 1}
    booster = lgb.train(parameters, lgb.Dataset(x, y), 30)
    text = booster.model_to_string()
    meta = BundleMeta(
        version=version,
        feature_hash=FEATURE_HASH,
        feature_names=FEATURE_NAMES,
        calibration_x=(0.0, 0.05, 0.5, 1.0),
        calibration_y=(0.001, 0.02, 0.4, 0.99),
        challenge_at=0.02,
        review_at=0.1,
        decline_at=0.4,
        trained_at_us=1,
        model_sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
    write_bundle(var / "bundles", meta, text)


@dataclass
class Assessed:
    """A folder of embedded state with assessed payments in it.

    Attributes:
        var: The folder.
        decisions: What the engine answered, by trade number, in order.
    """

    var: Path
    seed: int = 7
    decisions: dict[str, Decision] = field(default_factory=dict)

    def __post_init__(self) -> None:
        write_model(self.var, "m1")
        publish(self.var / "bundles", "m1")
        self.engine = Engine(bundle_dir=self.var / "bundles", deadline_us=60_000_000)
        self._rng = np.random.default_rng(self.seed)
        with empty_database(self.var) as conn, conn.begin():
            rules.seed(conn, START_US)
        conn.engine.dispose()

    def assess(self, count: int) -> None:
        """Assess so many more payments, an hour's worth every 60, and store all of it."""
        with empty_database(self.var) as conn, conn.begin():
            for _ in range(count):
                number = len(self.decisions)
                now_us = START_US + number * HOUR_US // 60
                payment = self._payment(number)
                decision = self.engine.assess(payment, now_us)
                self.decisions[payment.event_id] = decision
                row = decision_row(
                    decision, payment.merchant_id, f"D{number}", payment.event_id, now_us
                )
                conn.execute(insert(tables.decisions).values(**row))
                self._log(conn, decision.event)
                if number % 5 == 0:
                    self.label(conn, number // 2, now_us)
        conn.engine.dispose()

    def label(
        self, conn: Connection, number: int, known_at_us: int, verdict: Feedback | None = None
    ) -> None:
        """Let it be known what a payment was; every third is fraud unless told."""
        trade_no = f"T{number:06d}"
        told = verdict or (Feedback.GENUINE if number % 3 else Feedback.FRAUD)
        event = self.engine.record(
            told,
            attempt=self.decisions[trade_no].event.payload,
            trade_no=trade_no,
            known_at_us=known_at_us,
        )
        self._log(conn, event)

    def attempt_without_decision(self, conn: Connection) -> None:
        """Assess a payment whose order could not be stored."""
        payment = self._payment(999_999)
        self._log(conn, self.engine.assess(payment, START_US).event)

    def _log(self, conn: Connection, event: LogEvent) -> None:
        conn.execute(
            insert(tables.risk_events).values(
                seq=event.seq,
                kind=event.kind.value,
                at_us=event.at_us,
                trade_no=event.trade_no,
                payload=event.payload,
            )
        )

    def _payment(self, number: int) -> Transaction:
        user, shop = (int(self._rng.integers(0, top)) for top in (30, 5))
        labels = ("emulator",) if number % 17 == 0 else ()
        return Transaction(
            event_id=f"T{number:06d}",
            merchant_id=f"m{shop}",
            amount_minor=int(np.exp(self._rng.normal(9.0, 1.6))) + 1,
            currency="CNY" if shop else "USD",
            pay_type="alipay",
            context=RiskContext(
                payer=Payer(account_id=f"u{user}"),
                instrument=Instrument(token=f"c{user % 11}"),
                payee=Payee(account_id=f"p{shop}"),
                client=Client(ip=f"198.51.100.{user % 9}"),
                device=Device(device_id=f"d{user % 13}", risk_labels=labels),
                order=Basket(mcc=("5411", "7995", "5944")[shop % 3]),
            ),
        )


def database(var: Path) -> Iterator[Connection]:
    """Yield a connection to the database for more rows."""
    with empty_database(var) as conn, conn.begin():
        yield conn
    conn.engine.dispose()
