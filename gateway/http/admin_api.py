"""What the console and operators' programs may do: decide, label, reconcile; all of it audited.

The console never writes to the database. It comes here as any other client would, with a bearer
token that says it may and an `X-Actor` header that says who is acting, so that every change has a
name in the audit trail. Nothing here decides anything: `gateway.payments` does.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from gateway.domain.operator import Act
from gateway.http.doorkeeper import (
    MAY_WAIT,
    REASON_LENGTH_MAX,
    Door,
    OperatorBody,
    acting,
    answered,
    needs,
    operators_router,
    refusals,
)
from gateway.payments.acts import MERCHANT_APPROVE
from gateway.payments.approvals import Approvals
from gateway.payments.context import Context
from gateway.payments.review import (
    Opinion,
    Verdict,
    report_label,
    review_merchant,
    review_order,
)
from gateway.store import audit
from risk.decision import Feedback


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminDeps:
    """What the admin API works with.

    Attributes:
        context: The gateway's store, channels, risk and clock.
        door: Who is let in.
        approvals: Asks a second person where one is needed.
        reconcile: Compares a channel's bill of a day (YYYY-MM-DD) with the ledger, stores run and
            breaks, and returns the run as JSON values. Raises `ObjectNotFound` for an unknown
            channel, `InvalidParameter` for an impossible day and `BillUnavailable` if the bill
            can't be had or is damaged.
    """

    context: Context
    door: Door
    reconcile: Callable[[str, str], Awaitable[Mapping[str, object]]]
    approvals: Approvals


class ReviewBody(OperatorBody):
    """A decision about a held order or a waiting merchant."""

    verdict: Literal["approve", "reject", "more"] = Field(
        description="What is decided; more: asks an applicant for what is missing. / 审核结论"
    )
    reason: str = Field(
        min_length=1, max_length=REASON_LENGTH_MAX, description="Why; kept for good. / 原因"
    )
    version: int = Field(ge=1, strict=True, description="The version decided on. / 版本号")


class LabelBody(OperatorBody):
    """Whether a payment was fraud."""

    trade_no: str = Field(min_length=1, max_length=64, description="The payment. / 平台交易号")
    label: Literal["FRAUD", "GENUINE"] = Field(description="What it was. / 标签")
    source: Literal["chargeback", "review", "merchant", "history"] = Field(
        description="Where this is known from. / 来源"
    )
    known_at_us: int | None = Field(
        default=None,
        ge=0,
        strict=True,
        description="When it became known, microseconds since the epoch; default now. / 获知时间",
    )


class ReconBody(OperatorBody):
    """Which bill to compare."""

    channel: str = Field(min_length=1, max_length=32, description="Payment system. / 渠道")
    day: str = Field(
        pattern=r"^\d{4}-\d{2}-\d{2}$", description="Day of the bill, YYYY-MM-DD. / 账单日"
    )


def admin_router(deps: AdminDeps) -> APIRouter:
    """Make the routes under ``/admin``."""
    context = deps.context
    actor_header = Depends(acting)
    router = operators_router(deps.door)

    @router.get("/health")
    @needs(Act.READ)
    async def health() -> dict[str, object]:
        """Say that the gateway is up, what time it is here, and which model decides."""
        return {
            "status": "ok",
            "time_us": context.clock_us(),
            "model_version": context.risk.model_version if context.risk else "",
            "channels": sorted(context.channels),
        }

    @router.post("/orders/{trade_no}/review", responses=refusals(404, 409))
    @needs(Act.REVIEW_ORDER)
    async def decide_order(
        trade_no: str, body: ReviewBody, actor: str = actor_header
    ) -> dict[str, object]:
        """Approve or reject an order that is held for review (审核挂起订单)."""
        order = await review_order(context, trade_no, _opinion(actor, body))
        return {
            "code": "SUCCESS",
            "trade_no": order.trade_no,
            "status": order.status,
            "status_reason": order.status_reason,
            "pay_url": order.pay_url,
            "version": order.version,
        }

    @router.post("/merchants/{merchant_id}/review", responses=refusals(404, 409) | MAY_WAIT)
    @needs(Act.REVIEW_MERCHANT)
    async def decide_merchant(
        merchant_id: str, body: ReviewBody, response: Response, actor: str = actor_header
    ) -> dict[str, object]:
        """Admit a merchant whose application waits, refuse it, or ask for more (审核商户准入)."""
        if body.verdict == "approve":
            shown = {"merchant_id": merchant_id, "version": body.version}
            done = await deps.approvals.perform(
                MERCHANT_APPROVE,
                merchant_id,
                shown | {"reason": body.reason},
                shown=shown,
                actor=actor,
                reason=body.reason,
            )
            return answered(done, response)
        state = await review_merchant(context, merchant_id, _opinion(actor, body))
        return {"code": "SUCCESS", **asdict(state)}

    @router.post("/labels", responses=refusals(404))
    @needs(Act.LABEL)
    async def label(body: LabelBody, actor: str = actor_header) -> dict[str, object]:
        """Say whether a payment was fraud (标注交易)."""
        await report_label(
            context,
            body.trade_no,
            Feedback(body.label),
            actor=actor,
            source=body.source,
            known_at_us=body.known_at_us,
        )
        return {"code": "SUCCESS", "trade_no": body.trade_no, "label": body.label}

    @router.post("/recon/run", responses=refusals(404, 502))
    @needs(Act.RECONCILE)
    async def reconcile(body: ReconBody, actor: str = actor_header) -> dict[str, object]:
        """Compare a channel's bill of a day with the ledger (执行对账)."""
        run = dict(await deps.reconcile(body.channel, body.day))
        now_us = context.clock_us()
        await context.writer.run(
            lambda conn: audit.record(
                conn,
                actor=actor,
                action="recon.run",
                object_id=f"{body.channel}:{body.day}",
                now_us=now_us,
                detail=run,
            )
        )
        return {"code": "SUCCESS", **run}

    return router


def _opinion(actor: str, body: ReviewBody) -> Opinion:
    return Opinion(
        actor=actor, verdict=Verdict(body.verdict), reason=body.reason, version=body.version
    )
