"""Show one stored decision, and prove that it can be recomputed from what was stored.

The log is replayed up to the decision's own event and the features compared bit for bit; the
model that decided is loaded again and its score compared; what differs is said by name.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, text

from gateway.domain.money import to_major
from gateway.domain.numbers import utc_text
from gateway.invariants import differences, replayed
from gateway.queries.reader import ReaderError, open_reader
from gateway.refusal import Refused
from risk.features.catalogue import FEATURE_HASH, FEATURE_NAMES

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
        comparison: For ``features`` and ``score``: ``equal``, or what differs or why it can't
            be compared.
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
        lines += [f"recomputed {what:9} {found}" for what, found in self.comparison.items()]
        return lines


def explain(var: Path, number: str) -> Explanation:
    """Look up a decision and recompute it.

    Args:
        var: Folder of the embedded state.
        number: A decision's or a payment's number.

    Raises:
        Refused: if there is no database or no such decision.
    """
    try:
        reader = open_reader(var)
    except ReaderError as problem:
        raise Refused(str(problem)) from problem
    try:
        with reader.connect() as conn:
            found = conn.execute(_DECISION, {"number": number}).mappings().first()
            if found is None:
                raise Refused(f"no decision or payment is called {number}")
            row = dict(found)
            comparison = {
                "features": _compare_features(conn, row),
                "score": _compare_score(var / "bundles", row),
            }
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
    versions = ("model_version", "rule_version", "policy_version", "engine_version")
    return {
        **{name: row[name] for name in names},
        "amount": f"{to_major(row['amount_minor'], row['currency'])} {row['currency']}",
        "decided_at": utc_text(row["decided_at_us"]),
        "outcome": row["outcome"],
        "score": row["score"],
        "score_raw": row["score_raw"],
        "rule_hits": ", ".join(json.loads(row["rule_hits"])),
        "missing": ", ".join(json.loads(row["missing"])),
        **{name: row[name] for name in versions},
        "feature_hash": row["feature_hash"],
        "seq": row["seq"],
        "degraded": row["degraded"],
        "fallback": row["fallback"],
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


def _compare_features(conn: Connection, row: Mapping[str, Any]) -> str:
    if row["feature_hash"] != FEATURE_HASH:
        return f"not compared: made by features {row['feature_hash']}, this release has others"
    if not row["seq"] or not row["features"]:
        return "not compared: the decision was made without features"
    for first_seq, features in replayed(conn, row["seq"]):
        if first_seq <= row["seq"] < first_seq + len(features):
            places = differences(features[row["seq"] - first_seq], row["features"])
            if places:
                return f"differs in {', '.join(FEATURE_NAMES[place] for place in places)}"
            return "equal, bit for bit"
    return "differs: the event is not in the log"


def _compare_score(bundle_dir: Path, row: Mapping[str, Any]) -> str:
    from risk.scorer import BundleRefused, load_bundle

    if row["model_version"] == "none":
        return "not compared: no model took part"
    try:
        bundle = load_bundle(bundle_dir, row["model_version"])
    except (BundleRefused, OSError) as problem:
        return f"not compared: {problem}"
    score, raw = bundle.score(np.frombuffer(row["features"], dtype="<f8"))
    if (raw, score) == (row["score_raw"], row["score"]):
        return "equal, bit for bit"
    return f"differs: stored {row['score_raw']!r}, {row['score']!r}; now {raw!r}, {score!r}"
