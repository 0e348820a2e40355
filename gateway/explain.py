"""Show one stored decision, and prove that it can be made again from what was stored.

The log is replayed up to the decision's own event and the features compared bit for bit; score,
rules, expected costs, outcome, reasons and shadow answers are made again with the model, the rule
set and the policy that are named in it. What differs is said by name.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, text

from gateway.domain.errors import ObjectNotFound
from gateway.domain.money import to_major
from gateway.domain.numbers import utc_text
from gateway.invariants import REPLAY_CHUNK, differences
from gateway.queries.reader import ReaderError, open_reader
from gateway.refusal import Refused
from gateway.store import policies
from gateway.store.database import Database
from gateway.store.rules import rule_set_at
from risk.decision import Reason
from risk.features.catalogue import FEATURE_HASH, FEATURE_NAMES
from risk.features.event import decode, stack
from risk.policy import Policy, PolicyError
from risk.recompute import EQUAL, Means, Recorded, compare, policy_of_version
from risk.rules.shipped import default_rules
from risk.rules.source import RuleSet
from risk.scorer import Bundle, BundleRefused, load_bundle
from risk.state.store import MemoryStateStore, Readings

_DECISION = text(
    "SELECT d.*, o.amount_minor, o.currency, o.status, o.pay_type, o.out_trade_no"
    " FROM decisions d JOIN orders o ON o.merchant_id = d.merchant_id AND o.trade_no = d.trade_no"
    " WHERE d.decision_id = :number OR d.trade_no = :number LIMIT 1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A decision with everything it rested on.

    Attributes:
        facts: The stored row, decoded, by name.
        reasons: Code, family, contribution, and the text in English and Chinese.
        features: By name; None where missing.
        comparison: By part (features, presence, score, rules, outcome, costs, reasons, shadow
            answers): ``equal…``, ``differs…`` and how, or ``not compared…`` and why.
        equal: Whether nothing differs.
    """

    facts: Mapping[str, Any]
    reasons: tuple[Mapping[str, Any], ...]
    features: Mapping[str, float | None]
    comparison: Mapping[str, str]
    equal: bool

    def as_dict(self) -> dict[str, object]:
        """Return one object for `--json`."""
        return {
            **self.facts,
            "reasons": list(self.reasons),
            "features": dict(self.features),
            "comparison": dict(self.comparison),
            "equal": self.equal,
        }

    def lines(self) -> list[str]:
        """Return the explanation for a person."""
        lines = [f"{name:16} {value}" for name, value in self.facts.items() if value != ""]
        lines.append("reasons")
        lines += [
            f"  {reason['code']:28} {reason['contribution']:+.3f}  {reason['en']} / {reason['zh']}"
            for reason in self.reasons
        ]
        lines.append("features")
        lines += [
            f"  {name:40} {'missing' if value is None else f'{value:.6g}'}"
            for name, value in self.features.items()
        ]
        lines += [f"recomputed {what:13} {found}" for what, found in self.comparison.items()]
        return lines


def explain(database: Database, bundle_dir: Path, number: str) -> Explanation:
    """Look up a decision and recompute it.

    Args:
        database: Where it is stored.
        bundle_dir: Where published models are.
        number: A decision's or a payment's number.

    Raises:
        Refused: if there is no database or no such decision.
    """
    try:
        reader = open_reader(database)
    except ReaderError as problem:
        raise Refused(str(problem)) from problem
    try:
        with reader.connect() as conn:
            found = conn.execute(_DECISION, {"number": number}).mappings().first()
            if found is None:
                raise Refused(f"no decision or payment is called {number}")
            row = dict(found)
            comparison = _compare_all(conn, bundle_dir, row)
    finally:
        reader.dispose()
    return Explanation(
        facts=_facts(row),
        reasons=tuple(_reason(reason) for reason in json.loads(row["reasons"])),
        features=_features(row),
        comparison=comparison,
        equal=not any(found.startswith("differs") for found in comparison.values()),
    )


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("decision_id", "trade_no", "merchant_id", "out_trade_no", "pay_type", "status")
    versions = ("model_version", "rule_version", "list_version", "policy_version")
    return {
        **{name: row[name] for name in names},
        "amount": f"{to_major(row['amount_minor'], row['currency'])} {row['currency']}",
        "decided_at": utc_text(row["decided_at_us"]),
        "outcome": row["outcome"],
        "score": row["score"],
        "score_raw": row["score_raw"],
        "category": row["category"],
        "expected_costs": _costs_text(json.loads(row["costs"])),
        "rule_hits": ", ".join(json.loads(row["rule_hits"])),
        "missing": ", ".join(json.loads(row["missing"])),
        **{name: row[name] for name in versions},
        "geo_version": row["geo_version"],
        "engine_version": row["engine_version"],
        "feature_hash": row["feature_hash"],
        "seq": row["seq"],
        "degraded": row["degraded"],
        "step": row["step"],
        "fallback": row["fallback"],
        "shadow": "" if row["shadow"] == "{}" else row["shadow"],
        "elapsed_us": row["elapsed_us"],
    }


def _reason(reason: Mapping[str, Any]) -> dict[str, Any]:
    from risk.reasons import text as reason_text

    code = reason["code"]
    return {**reason, "en": reason_text(code, "en"), "zh": reason_text(code, "zh")}


def _features(row: Mapping[str, Any]) -> dict[str, float | None]:
    values = np.frombuffer(row["features"], dtype="<f8")
    names = FEATURE_NAMES
    if row["feature_hash"] != FEATURE_HASH:  # Another release's order: its names are not known.
        names = tuple(f"feature_{place}" for place in range(len(values)))
    pairs = zip(names, values.tolist(), strict=False)  # A degraded decision may have none.
    return {name: None if math.isnan(value) else value for name, value in pairs}


def _costs_text(costs: list[float]) -> str:
    names = ("approve", "challenge", "review", "decline")
    return ", ".join(f"{name} {cost:.2f}" for name, cost in zip(names, costs, strict=False))


def _compare_all(conn: Connection, bundle_dir: Path, row: Mapping[str, Any]) -> dict[str, str]:
    if row["feature_hash"] != FEATURE_HASH:
        why = f"not compared: made by features {row['feature_hash']}, this release has others"
        return dict.fromkeys(("features", "score", "rules", "outcome", "reasons"), why)
    if not row["seq"] or not row["features"]:
        return {"features": "not compared: the decision was made without features"}
    payload = conn.execute(
        text("SELECT payload FROM risk_events WHERE seq = :seq"), {"seq": row["seq"]}
    ).scalar_one_or_none()
    if payload is None:
        return {"features": "differs: the event is not in the log"}
    stored = _recorded(row, payload)
    means = Means(
        rules=rule_set_of(conn, row["rule_version"], row["list_version"]),
        policy=_policy_of(conn, row["policy_version"]),
        bundle=_bundle_of(bundle_dir, row["model_version"]),
        challenger=_bundle_of(bundle_dir, str(stored.shadow.get("model_version") or "none")),
    )
    return _compare_state(conn, row) | compare(stored, means)


def _recorded(row: Mapping[str, Any], payload: bytes) -> Recorded:
    same = ("outcome", "score", "score_raw", "category", "step", "degraded", "fallback")
    versions = ("model_version", "rule_version", "policy_version", "engine_version")
    return Recorded(
        values=decode(payload).tolist(),
        features=np.frombuffer(row["features"], dtype="<f8").astype(np.float64),
        reasons=tuple(Reason(**reason) for reason in json.loads(row["reasons"])),
        rule_hits=tuple(json.loads(row["rule_hits"])),
        costs=tuple(json.loads(row["costs"])),
        shadow=json.loads(row["shadow"]),
        **{name: row[name] for name in (*same, *versions)},
    )


def rule_set_of(conn: Connection, version: str, list_version: str) -> RuleSet | None:
    """Return the rule set of a version with its lists as they were, or None if it is not kept."""
    try:
        return rule_set_at(conn, version, list_version)
    except (ObjectNotFound, ValueError):
        shipped = default_rules()
        return shipped if shipped.version == version else None


def _policy_of(conn: Connection, version: str) -> Policy | None:
    try:
        return policies.find(conn, version) or policy_of_version(version)
    except PolicyError:
        return None


def _bundle_of(bundle_dir: Path, version: str) -> Bundle | None:
    if version == "none":
        return None
    try:
        return load_bundle(bundle_dir, version)
    except (BundleRefused, OSError):
        return None


def _compare_state(conn: Connection, row: Mapping[str, Any]) -> dict[str, str]:
    """Replay the log up to the decision's event and compare what it read there."""
    if "fault:features" in row["degraded"]:
        return {"features": "not compared: they could not be computed then"}
    read = _read_at(conn, row["seq"])
    if read is None:
        return {"features": "differs: the event log has a hole before it"}
    features, presence = read
    places = differences(features, row["features"])
    named = ", ".join(FEATURE_NAMES[place] for place in places)
    return {
        "features": f"differs in {named}" if places else EQUAL,
        "presence": EQUAL if presence == row["presence"] else "differs",
    }


def _read_at(conn: Connection, seq: int) -> tuple[Any, bytes] | None:
    store = MemoryStateStore()
    for first_seq in range(1, seq + 1, REPLAY_CHUNK):
        rows = conn.execute(
            text("SELECT payload FROM risk_events WHERE seq BETWEEN :first AND :last ORDER BY seq"),
            {"first": first_seq, "last": min(seq, first_seq + REPLAY_CHUNK - 1)},
        ).all()
        if len(rows) != min(seq, first_seq + REPLAY_CHUNK - 1) - first_seq + 1:
            return None
        readings: Readings = store.apply(stack([row[0] for row in rows]))
    return readings.features[-1], readings.presence[-1].tobytes()
