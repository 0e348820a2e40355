"""The kernel against a plain Python reading of the definitions: lists, dicts and no tiles.

The oracle keeps every event of every entity and looks at all of them each time. It shares no code
with the kernel but the layout of the event vector.
"""

import math
import os
import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.features.catalogue import PLACES
from risk.features.event import AMOUNT, AT_US, FEEDBACK, FIRST_KEY, FRAUD, GENUINE, KIND
from risk.features.replay import replay
from tests.property.risk_streams import Act, busy_streams, events_of, streams

MINUTE, HOUR, DAY = 60 * 10**6, 3_600 * 10**6, 86_400 * 10**6
ROLES = ("user", "device", "ip", "card", "merchant", "payee")


@dataclass
class Entity:
    """All that ever happened to one entity, at the times it counted for it."""

    clock: int = 0
    paid: list[tuple[int, int]] = field(default_factory=list)
    verdicts: list[tuple[int, bool, int]] = field(default_factory=list)
    outcomes: list[tuple[int, int, int]] = field(default_factory=list)
    met: dict[str, OrderedDict[int, tuple[int, int]]] = field(default_factory=dict)
    first_met: dict[tuple[str, int], int] = field(default_factory=dict)

    def since(self, now: int, tile: int, tiles: int) -> list[int]:
        return [amount for at, amount in self.paid if now // tile - at // tile < tiles]

    def recent(self, now: int, window: int) -> list[int]:
        return [amount for at, amount in self.paid[-64:] if now - at < window]

    def became(self, feedback: int, now: int, tile: int, tiles: int) -> list[int]:
        """Amounts of outcomes of a kind within a window of tiles."""
        return [
            amount
            for at, what, amount in self.outcomes
            if what == feedback and now // tile - at // tile < tiles
        ]

    def frauds(self, now: int, days: int) -> tuple[int, int]:
        known = [bad for at, bad, _ in self.verdicts if now // DAY - at // DAY <= days]
        return sum(known), len(known) - sum(known)


def _moments(amounts: list[int]) -> tuple[float, float]:
    """Mean and deviation the slow, exact way: fractions of integers until the last step."""
    count, total = len(amounts), sum(amounts)
    squares = sum(amount * amount for amount in amounts)
    variance = (squares * count - total * total) / (count * count)
    return total / count, max(1.0, math.sqrt(max(variance, 0.0)))


class Oracle:
    """Feature values by definition."""

    def __init__(self) -> None:
        self.entities: dict[int, Entity] = {}

    def read(self, event: np.ndarray) -> dict[str, float]:
        keys = dict(zip(ROLES, event[FIRST_KEY : FIRST_KEY + 6].tolist(), strict=True))
        out: dict[str, float] = {}
        for role, key in keys.items():
            if key:
                entity = self.entities.get(key, Entity())
                now = max(int(event[AT_US]), entity.clock)
                out |= self._role(role, entity, now, int(event[AMOUNT]))
        user = self.entities.get(keys["user"], Entity())
        now = max(int(event[AT_US]), user.clock)
        if keys["user"]:
            devices = user.met.get("device", OrderedDict())
            out["user_devices_30d"] = sum(now - at < 30 * DAY for at, _ in devices.values())
            if keys["device"]:
                out["device_known_to_user"] = float(keys["device"] in devices)
            if keys["payee"]:
                paid = user.met.get("payee", OrderedDict()).get(keys["payee"], (0, 0))
                out["graph_payee_times_paid"] = paid[1]
        return out

    def _role(self, role: str, entity: Entity, now: int, amount: int) -> dict[str, float]:
        day, month = entity.since(now, HOUR, 25), entity.since(now, DAY, 31)
        out: dict[str, float] = {}
        if role == "user":
            week = entity.since(now, DAY, 8)
            out["time_user_count_1m"] = len(entity.recent(now, MINUTE))
            out["time_user_count_10m"] = len(entity.recent(now, 10 * MINUTE))
            out["time_user_count_1h"] = len(entity.recent(now, HOUR))
            out["time_user_count_24h"] = len(day)
            out["time_user_count_7d"] = len(week)
            out["time_user_count_30d"] = len(month)
            out["amount_user_sum_24h"] = sum(day)
            out["amount_user_micro_1h"] = sum(a <= 500 for a in entity.recent(now, HOUR))
            if len(month) >= 2:
                mean, deviation = _moments(month)
                out["amount_user_std_30d"] = deviation
                out["amount_user_zscore_30d"] = (amount - mean) / deviation
            good = [paid for _, bad, paid in entity.verdicts if not bad]
            if len(good) >= 2:
                mean, deviation = _moments(good)
                out["amount_user_genuine_zscore"] = (amount - mean) / deviation
            out["time_user_failed_24h"] = len(entity.became(2, now, HOUR, 25))
            out |= self._user(entity, now, amount, month)
            if entity.paid:
                out["time_user_gap_s"] = (now - entity.paid[-1][0]) / 10**6
        if role == "payee":
            out |= self._payee(entity, now, month)
        if role == "ip":
            out["geo_ip_failed_1h"] = len(entity.became(2, now, HOUR, 2))
        if role == "device":
            users = entity.met.get("user", OrderedDict())
            out["device_users_24h"] = sum(now - at < DAY for at, _ in users.values())
            out["device_fraud_30d"] = entity.frauds(now, 30)[0]
        return out

    def _user(self, entity: Entity, now: int, amount: int, month: list[int]) -> dict[str, float]:
        out: dict[str, float] = {
            "time_user_count_5m": len(entity.recent(now, 5 * MINUTE)),
            "time_user_count_90d": len(entity.since(now, 7 * DAY, 14)),
            "time_user_declined_24h": len(entity.became(7, now, HOUR, 25)),
        }
        if month and max(month) > 0:
            out["amount_user_over_max_30d"] = amount / max(month)
        if sum(month) > 0:
            refunded = sum(entity.became(4, now, DAY, 31))
            out["amount_user_refund_share_30d"] = refunded / sum(month)
            out["time_user_declined_share_30d"] = len(entity.became(7, now, DAY, 31)) / len(month)
        quarter = entity.since(now, 7 * DAY, 14)
        if quarter:
            out["amount_user_mean_90d"] = sum(quarter) / len(quarter)
        out["amount_user_near_limit_24h"] = sum(
            any(top - top // 20 <= paid < top for top in (5_000_000, 1_000_000, 500_000))
            for paid in entity.since(now, HOUR, 25)
        )
        times = [at for at, _ in entity.paid[-16:]] + [now]
        if len(times) > 3:
            *others, own = [b - a for a, b in pairwise(times)]
            below = sum(2 * (gap < own) + (gap == own) for gap in others)
            out["time_user_gap_rank"] = below / (2 * len(others))
        gaps = [min((b - a) // 1_000, 1 << 28) for a, b in pairwise(times)]
        if len(gaps) >= 3 and sum(gaps) > 0:
            mean, deviation = _moments(gaps)
            out["time_user_gap_spread"] = deviation / mean
        return out

    def _payee(self, entity: Entity, now: int, month: list[int]) -> dict[str, float]:
        out: dict[str, float] = {"payee_count_30d": len(month)}
        payers = entity.met.get("user", OrderedDict()).items()
        of_day = [payer for payer, (at, _) in payers if now - at < DAY]
        new = [p for p in of_day if now - entity.first_met["user", p] // 10**6 * 10**6 < DAY]
        if of_day:
            out["payee_new_payer_share_24h"] = len(new) / len(of_day)
        bad, good = entity.frauds(now, 30)
        out["payee_fraud_30d"] = bad
        out["payee_fraud_7d"] = entity.frauds(now, 7)[0]
        out["payee_fraud_share_30d"] = bad / (bad + good) if bad + good else math.nan
        verdicts = [bad for _, bad, _ in entity.verdicts]
        out["payee_last_label"] = float(verdicts[-1]) if verdicts else math.nan
        out["payee_previous_label"] = float(verdicts[-2]) if len(verdicts) > 1 else math.nan
        if True in verdicts:
            out["payee_genuine_since_fraud"] = verdicts[::-1].index(True)
        return out

    def apply(self, event: np.ndarray) -> None:
        keys = dict(zip(ROLES, event[FIRST_KEY : FIRST_KEY + 6].tolist(), strict=True))
        amount = min(int(event[AMOUNT]), 3 * 10**9)
        for key in keys.values():
            if not key:
                continue
            entity = self.entities.setdefault(key, Entity())
            entity.clock = max(entity.clock, int(event[AT_US]))
            if event[KIND] == 0:
                entity.paid.append((entity.clock, amount))
                for role, other in keys.items():
                    if other:
                        met = entity.met.setdefault(role, OrderedDict())
                        met[other] = (entity.clock, met.get(other, (0, 0))[1] + 1)
                        entity.first_met.setdefault((role, other), entity.clock)
            elif event[FEEDBACK] in (FRAUD, GENUINE):
                bad = bool(event[FEEDBACK] == FRAUD)
                entity.verdicts.append((entity.clock, bad, amount))
            else:
                entity.outcomes.append((entity.clock, int(event[FEEDBACK]), amount))


@settings(max_examples=120, deadline=None)
@given(stream=st.one_of(streams, busy_streams))
def test_windows_verdicts_and_sets_are_what_their_definitions_say(stream: list[Act]) -> None:
    events = events_of(stream)
    found = replay(events)
    oracle = Oracle()
    checked = 0
    for row, event in enumerate(events):
        if event[KIND] == 0:
            for name, expected in oracle.read(event).items():
                value = found[row, PLACES[name]]
                same = math.isnan(value) if math.isnan(expected) else _close(value, expected)
                assert same, (row, name, value, expected)
                checked += 1
        oracle.apply(event)
    assert checked > 0 or all(event[FIRST_KEY] == 0 for event in events)


def _close(value: float, expected: float) -> bool:
    return math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-6)


def test_the_interpreted_kernel_gives_the_bits_of_the_compiled_one() -> None:
    program = """
import hashlib, numpy as np
from risk_streams import Act, events_of
from risk.decision import Feedback
from risk.features.catalogue import FEATURES
from risk.features.replay import replay
rng = np.random.default_rng(11)
stream = [
    Act(int(rng.integers(0, 90_000)), tuple(int(n) for n in rng.integers(0, 3, 7)),
        int(rng.integers(1, 10**10)), (float(rng.uniform(-90, 90)), float(rng.uniform(-180, 180))),
        list(Feedback)[rng.integers(6)] if rng.random() < 0.3 else None, int(rng.integers(1_000)))
    for _ in range(120)
]
events = events_of(stream)
few = tuple(feature for feature in FEATURES if "graph." not in str(feature.formula))[::20]
found = replay(events).tobytes() + replay(events, features=few).tobytes()
print(hashlib.sha256(found).hexdigest())
"""
    digests = []
    for disabled in ("0", "1"):
        answer = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env={**os.environ, "NUMBA_DISABLE_JIT": disabled, "PYTHONPATH": ".:tests/property"},  # noqa: TID251
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=180,
            check=True,
        )
        digests.append(answer.stdout.strip())

    assert digests[0] == digests[1] != ""
