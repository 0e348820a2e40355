"""The synthetic traffic that `yumen bench backtest` measures on: its log, rules and model."""

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.backtest import BatchModel
from models.bootstrap import past_payment
from models.dataset import from_history
from models.synthetic.payment import payments
from models.synthetic.stream import History as World
from models.synthetic.stream import blocks
from risk.features.catalogue import FEATURE_HASH, FEATURE_NAMES, PLACES
from risk.features.event import AT_US, FIRST_KEY, KIND, PRESENCE, REF_SEQ, SEQ
from risk.rules.source import Action, Rule, RuleSet
from risk.scorer import BundleMeta

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WORLD_COUNT: Final = 20_000
RULES_COUNT: Final = 50
TREES: Final = 300
LEAVES: Final = 63
ROUNDS_A_PAYER_STAYS: Final = 5
ODD: Final = 0x9E3779B97F4A7  # Any number that makes other payers of those there are.


def small_log() -> Ints:
    """Return the log of a small synthetic world."""
    world = World(rows_count=WORLD_COUNT, seed=5, users_count=WORLD_COUNT // 5)
    history = (payment for table in blocks(world) for payment in payments(table))
    return from_history(past_payment(one, number) for number, one in enumerate(history))


def repeated(events: Ints, count: int) -> Ints:
    """Return the log again and again, later each time, until it holds `count` payments."""
    attempts_count = int((events[:, KIND] == 0).sum())
    span_us = int(events[:, AT_US].max() - events[:, AT_US].min()) + 1
    copies = []
    for number in range(-(-count // attempts_count)):
        copy = events.copy()
        copy[:, SEQ] += number * len(events)
        copy[:, REF_SEQ] += np.where(copy[:, REF_SEQ] > 0, number * len(events), 0)
        copy[:, AT_US] += number * span_us
        keys = copy[:, FIRST_KEY:PRESENCE]
        keys[keys != 0] ^= (number // ROUNDS_A_PAYER_STAYS) * ODD
        copies.append(copy)
    log = np.concatenate(copies)
    last = np.flatnonzero(log[:, KIND] == 0)[count - 1]
    return log[: last + 1]


def fifty_rules(matrix: Floats, count: int = RULES_COUNT) -> RuleSet:
    """Return rules on distinct features that each fire for a small part of these payments.

    Every other one also looks at the amount, every fifth at a word.
    """
    rng = np.random.default_rng(1)
    rules: list[Rule] = []
    for name in FEATURE_NAMES:
        column = matrix[:, PLACES[name]]
        known = column[~np.isnan(column)]
        if name == "amount" or len(known) < len(column) // 10 or known.min() == known.max():
            continue
        level = float(np.quantile(known, 0.99))
        expression = f"{name} >= {max(level, 0.0):.6f}"
        if len(rules) % 2:
            expression += f" and amount >= {int(rng.integers(1_000, 100_000))}"
        if len(rules) % 5 == 0:
            expression += ' and pay_type != "unionpay"'
        action = (Action.CHALLENGE, Action.REVIEW, Action.DECLINE)[len(rules) % 3]
        number = len(rules)
        rules.append(Rule(name=f"r{number}", expression=expression, action=action, reason="BURST"))
        if len(rules) == count:
            break
    return RuleSet(rules)


def bench_model(matrix: Floats) -> BatchModel:
    """Train 300 trees on a made-up label of four features; only their shape matters here."""
    import lightgbm

    rng = np.random.default_rng(1)
    names = ("amount", "amount_user_zscore_30d", "behaviour_form_ms", "time_user_gap_s")
    columns = [np.nan_to_num(matrix[:, PLACES[name]]) for name in names]
    score = sum(column.argsort().argsort() / len(column) for column in columns)
    label = score + rng.normal(0, 0.3, len(matrix)) > np.quantile(score, 0.97)
    parameters = {
        "objective": "binary",
        "num_leaves": LEAVES,
        "learning_rate": 0.05,
        "num_threads": 1,
        "verbose": -1,
        "seed": 1,
        "deterministic": True,
    }
    text = lightgbm.train(parameters, lightgbm.Dataset(matrix, label), TREES).model_to_string()
    meta = BundleMeta(
        version="bench",
        feature_hash=FEATURE_HASH,
        feature_names=FEATURE_NAMES,
        calibration_x=(0.0, 1.0),
        calibration_y=(0.0, 1.0),
        challenge_at=0.2,
        review_at=0.5,
        decline_at=0.9,
        trained_at_us=0,
        model_sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
    return BatchModel(meta, text)
