"""Decisions as an analyst reads them: outcome, score, ranked reasons, and the payment behind."""

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select

from gateway.queries.reader import Reader, fetch_named
from gateway.store import tables
from risk.decision import Reason

LATEST_COUNT_MAX = 500


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One decision and the payment it was made for; times in microseconds, money in minor units."""

    decision_id: str
    trade_no: str
    merchant_id: str
    merchant_name: str
    amount_minor: int
    currency: str
    pay_type: str
    status: str
    status_reason: str
    outcome: str
    score: float
    reasons: tuple[Reason, ...]
    rule_hits: tuple[str, ...]
    model_version: str
    degraded: str
    elapsed_us: int
    decided_at_us: int


def read_reasons(stored: str) -> tuple[Reason, ...]:
    """Read the stored JSON list of reasons, strongest first.

    Examples:
        >>> read_reasons('[{"code": "NEW_DEVICE", "family": "device", "contribution": 0.5}]')
        (Reason(code='NEW_DEVICE', family='device', contribution=0.5),)
    """
    return tuple(
        Reason(
            code=str(item["code"]),
            family=str(item.get("family", "")),
            contribution=float(item.get("contribution", 0.0)),
        )
        for item in json.loads(stored)
    )


def latest_decisions(
    reader: Reader, *, until_us: int, limit: int = 50, outcome: str | None = None
) -> tuple[DecisionRow, ...]:
    """Read the latest decisions, newest first.

    Args:
        reader: From `open_reader`.
        until_us: Only decisions made before this time.
        limit: At most so many, at most `LATEST_COUNT_MAX`.
        outcome: Only decisions with this outcome.

    Raises:
        ReaderError: if the database can't be read.
    """
    decisions, orders, merchants = tables.decisions.c, tables.orders.c, tables.merchants.c
    statement = (
        select(
            decisions.decision_id,
            decisions.trade_no,
            decisions.merchant_id,
            merchants.name,
            orders.amount_minor,
            orders.currency,
            orders.pay_type,
            orders.status,
            orders.status_reason,
            decisions.outcome,
            decisions.score,
            decisions.reasons,
            decisions.rule_hits,
            decisions.model_version,
            decisions.degraded,
            decisions.elapsed_us,
            decisions.decided_at_us,
        )
        .select_from(
            tables.decisions.join(
                tables.orders,
                and_(
                    orders.merchant_id == decisions.merchant_id,
                    orders.trade_no == decisions.trade_no,
                ),
            ).outerjoin(tables.merchants, merchants.merchant_id == decisions.merchant_id)
        )
        .where(decisions.decided_at_us < until_us)
        .order_by(decisions.decided_at_us.desc())
        .limit(min(limit, LATEST_COUNT_MAX))
    )
    if outcome is not None:
        statement = statement.where(decisions.outcome == outcome)
    return tuple(_decision_row(row) for row in fetch_named(reader, statement))


def _decision_row(values: dict[str, Any]) -> DecisionRow:
    return DecisionRow(
        merchant_name=values.pop("name") or "",
        reasons=read_reasons(values.pop("reasons")),
        rule_hits=tuple(json.loads(values.pop("rule_hits"))),
        **values,
    )
