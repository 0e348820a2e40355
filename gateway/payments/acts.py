"""The acts that may need a second person: what each does, and who may agree to it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection

from gateway.domain.errors import ObjectNotFound
from gateway.domain.operator import Act
from gateway.payments.approvals import Execute
from gateway.payments.merchants import Change, settle_to
from gateway.payments.onboard import Desk
from gateway.payments.review import Opinion, Verdict, decide_merchant
from gateway.store import policies

MERCHANT_APPROVE: Final = "merchant.approve"
SETTLEMENT_CHANGE: Final = "settlement.change"
POLICY_LIVE: Final = "policy.live"

# What an operator must be allowed, to ask for an act or to agree to it.
PERMISSIONS: Final[Mapping[str, Act]] = {
    MERCHANT_APPROVE: Act.REVIEW_MERCHANT,
    SETTLEMENT_CHANGE: Act.CHANGE_SETTLEMENT,
    POLICY_LIVE: Act.CHANGE_RULES,
}


def acts_of(desk: Desk) -> dict[str, Execute]:
    """Return what each act does, with the merchants' desk at hand."""

    def approve(
        conn: Connection, request: dict[str, Any], actor: str, now_us: int
    ) -> Mapping[str, object]:
        opinion = Opinion(
            actor=actor,
            verdict=Verdict.APPROVE,
            reason=request["reason"],
            version=request["version"],
        )
        return asdict(decide_merchant(conn, request["merchant_id"], opinion, now_us))

    def settle(
        conn: Connection, request: dict[str, Any], actor: str, _now_us: int
    ) -> Mapping[str, object]:
        account = {name: value for name, value in request.items() if name != "merchant_id"}
        change = Change(actor=actor, reason="agreed")
        return settle_to(conn, desk, request["merchant_id"], account, change)

    return {MERCHANT_APPROVE: approve, SETTLEMENT_CHANGE: settle, POLICY_LIVE: _let_live}


def _let_live(
    conn: Connection, request: dict[str, Any], actor: str, now_us: int
) -> Mapping[str, object]:
    policy = policies.find(conn, request["version"])
    if policy is None:
        raise ObjectNotFound(f"no policy {request['version'][:64]}")
    policies.publish(conn, policy, author=actor, note=request["reason"], now_us=now_us)
    return {"version": policy.version}
