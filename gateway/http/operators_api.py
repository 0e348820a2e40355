"""Operators, the acts that wait for a second one, and the audit trail."""

from dataclasses import asdict, dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from gateway.domain.errors import Forbidden, InvalidParameter, ObjectNotFound
from gateway.domain.operator import PERMITTED, Act, Role, may
from gateway.http.doorkeeper import (
    ACTOR_LENGTH_MAX,
    MAY_WAIT,
    REASON_LENGTH_MAX,
    Door,
    OperatorBody,
    acting,
    answered,
    entered,
    needs,
    operators_router,
    refusals,
)
from gateway.payments.acts import PERMISSIONS, POLICY_LIVE
from gateway.payments.approvals import Approvals
from gateway.payments.context import Context
from gateway.store import audit, operators, policies
from gateway.store.operators import Operator, OperatorBook

AUDIT_COUNT_MAX = 500
_ACTING = Depends(acting)
_ENTERED = Depends(entered)
_Reason = Annotated[
    str, Field(min_length=1, max_length=REASON_LENGTH_MAX, description="Why. / 原因")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorDeps:
    """What the routes work with.

    Attributes:
        context: Store and clock.
        door: Who is let in.
        book: Finds operators by token.
        approvals: The acts that wait.
    """

    context: Context
    door: Door
    book: OperatorBook
    approvals: Approvals


class NewOperatorBody(OperatorBody):
    """Somebody who is to use the admin API."""

    name: str = Field(
        min_length=1,
        max_length=ACTOR_LENGTH_MAX,
        pattern=r"^[^\s:()](.*[^\s:()])?$",
        description="Name in the audit trail. / 姓名",
    )
    role: Role = Field(description="What they may do. / 角色")
    reason: _Reason


class ReasonBody(OperatorBody):
    """Why."""

    reason: _Reason


class DecisionBody(OperatorBody):
    """Agreement to an act, or refusal."""

    agreed: bool = Field(strict=True, description="true: it is done now. / 是否同意")
    reason: _Reason


def operators_and_audit_router(deps: OperatorDeps) -> APIRouter:
    """Make the routes under ``/admin`` about operators, approvals and the audit trail."""
    router = operators_router(deps.door)
    _add_operators(router, deps)
    _add_approvals(router, deps)
    _add_policies(router, deps)

    @router.get("/audit")
    @needs(Act.READ_AUDIT)
    async def read_audit(
        object_id: Annotated[str, Query(max_length=128)] = "",
        actor: Annotated[str, Query(max_length=128)] = "",
        before_id: Annotated[int, Query(ge=0, le=2**53)] = 0,
        limit: Annotated[int, Query(ge=1, le=AUDIT_COUNT_MAX)] = 100,
    ) -> dict[str, object]:
        """What was done by whom and why, the newest first (审计日志)."""
        with deps.context.reader.connect() as conn:
            acts = audit.read(
                conn, object_id=object_id, actor=actor, before_id=before_id, limit=limit
            )
        return {"acts": acts}

    return router


def _add_operators(router: APIRouter, deps: OperatorDeps) -> None:
    context = deps.context

    @router.get("/me")
    @needs(Act.READ)
    async def me(operator: Operator = _ENTERED) -> dict[str, object]:
        """Who the caller is, and what they may do (当前操作员)."""
        return {
            "name": operator.name,
            "role": operator.role.value,
            "acts": sorted(PERMITTED[operator.role]),
        }

    @router.get("/operators")
    @needs(Act.MANAGE_OPERATORS)
    async def list_operators() -> dict[str, object]:
        """Everybody who has or had a token (操作员列表)."""
        with context.reader.connect() as conn:
            return {"operators": [one.as_json() for one in operators.list_operators(conn)]}

    @router.post("/operators", status_code=201)
    @needs(Act.MANAGE_OPERATORS)
    async def create(body: NewOperatorBody, actor: str = _ACTING) -> dict[str, object]:
        """Enter an operator; the token is shown once (新增操作员)."""
        now_us = context.clock_us()
        token = await context.writer.run(
            lambda conn: operators.create_operator(
                conn, body.name, body.role, actor=actor, reason=body.reason, now_us=now_us
            )
        )
        deps.book.forget()
        return {"code": "SUCCESS", "name": body.name, "role": body.role.value, "token": token}

    @router.post("/operators/{name}/revoke", responses=refusals(404))
    @needs(Act.MANAGE_OPERATORS)
    async def revoke(name: str, body: ReasonBody, actor: str = _ACTING) -> dict[str, object]:
        """Take an operator's token away (吊销操作员)."""
        now_us = context.clock_us()
        await context.writer.run(
            lambda conn: operators.revoke_operator(
                conn, name, actor=actor, reason=body.reason, now_us=now_us
            )
        )
        deps.book.forget()
        return {"code": "SUCCESS", "name": name}


def _add_approvals(router: APIRouter, deps: OperatorDeps) -> None:
    @router.get("/approvals")
    @needs(Act.READ)
    async def waiting() -> dict[str, object]:
        """Acts that wait for a second person, the oldest first (待复核)."""
        return {"approvals": [asdict(one) for one in deps.approvals.waiting()]}

    @router.post("/approvals/{approval_id}/decision", responses=refusals(404, 409))
    @needs(Act.READ)
    async def decide(
        approval_id: str,
        body: DecisionBody,
        actor: str = _ACTING,
        operator: Operator = _ENTERED,
    ) -> dict[str, object]:
        """Agree to an act, which does it, or refuse it (复核)."""
        if not actor:
            raise InvalidParameter("X-Actor", "must name the person who decides")
        act = PERMISSIONS[deps.approvals.find(approval_id).act]
        if not may(operator.role, act):
            raise Forbidden(f"a {operator.role} may not {act}")
        done = await deps.approvals.decide(
            approval_id, agreed=body.agreed, actor=actor, reason=body.reason
        )
        return {"code": "SUCCESS", "approval_id": approval_id, "agreed": body.agreed, **done}


def _add_policies(router: APIRouter, deps: OperatorDeps) -> None:
    @router.post("/policies/{version}/live", responses=refusals(404) | MAY_WAIT)
    @needs(Act.CHANGE_RULES)
    async def let_live(
        version: str, body: ReasonBody, response: Response, actor: str = _ACTING
    ) -> dict[str, object]:
        """Let a stored policy decide from now on (策略上线)."""
        with deps.context.reader.connect() as conn:
            if policies.find(conn, version) is None:
                raise ObjectNotFound(f"no policy {version[:64]}")
        shown = {"version": version}
        done = await deps.approvals.perform(
            POLICY_LIVE,
            version,
            shown | {"reason": body.reason},
            shown=shown,
            actor=actor,
            reason=body.reason,
        )
        return answered(done, response)
