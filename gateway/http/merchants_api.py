"""Merchants for operators: what they handed in, their status, keys and limits.

Papers are shown in the clear to whoever may review, and each look is in the audit trail.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from gateway.domain.errors import ObjectNotFound
from gateway.domain.limits import RATE_PER_S_MAX
from gateway.domain.merchant import MerchantStatus
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
from gateway.http.onboarding_api import AccountBody, KeyBody, file_json, key_json
from gateway.payments import merchants, onboard
from gateway.payments.acts import SETTLEMENT_CHANGE
from gateway.payments.approvals import Approvals
from gateway.payments.merchants import Change
from gateway.payments.onboard import Desk
from gateway.store import applications, audit
from gateway.store.applications import standing

_ACTING = Depends(acting)
_Reason = Annotated[
    str, Field(min_length=1, max_length=REASON_LENGTH_MAX, description="Why. / 原因")
]


class StatusBody(OperatorBody):
    """Where a merchant is to stand."""

    status: Literal["ACTIVE", "FROZEN", "CLOSED"] = Field(description="目标状态")
    version: int = Field(ge=1, strict=True, description="The version decided on. / 版本号")
    reason: _Reason


class OrderedKeyBody(KeyBody):
    """A key an operator gives."""

    reason: _Reason


class LimitsBody(OperatorBody):
    """How often a merchant may call, from where, and whether MD5 serves it."""

    rate_per_s: int = Field(
        ge=0, le=RATE_PER_S_MAX, strict=True, description="Requests a second; 0: default. / 限流"
    )
    networks: list[str] = Field(max_length=64, description="CIDR; empty: any. / IP 白名单")
    md5_allowed: bool = Field(description="Old merchants alone. / 允许 MD5")
    reason: _Reason


class ReasonBody(OperatorBody):
    """Why."""

    reason: _Reason


class OrderedAccountBody(AccountBody):
    """Another settlement account, asked for by an operator."""

    reason: _Reason


def merchants_router(
    desk: Desk, door: Door, approvals: Approvals, forget: Callable[[str], None]
) -> APIRouter:
    """Make the routes under ``/admin/merchants`` but the review's.

    Args:
        desk: What the verbs work with.
        door: Who is let in.
        approvals: Asks a second person.
        forget: Told which merchant changed, so that its next request sees it.
    """
    router = operators_router(door, "/admin/merchants/{merchant_id}")
    _add_reading(router, desk)
    _add_changes(router, desk, approvals, forget)
    _add_keys(router, desk, forget)
    return router


def _add_reading(router: APIRouter, desk: Desk) -> None:
    @router.get("", responses=refusals(404))
    @needs(Act.READ)
    async def show(merchant_id: str) -> dict[str, object]:
        """A merchant, its application masked, its papers by name, its history (商户详情)."""
        with desk.context.reader.connect() as conn:
            merchant = standing(conn, merchant_id)
            history = audit.read(conn, object_id=merchant_id)
        try:
            application: dict[str, object] | None = file_json(onboard.read_file(desk, merchant_id))
        except ObjectNotFound:
            application = None
        return {"merchant": asdict(merchant), "application": application, "history": history}

    @router.get(
        "/materials/{material_id}",
        responses=refusals(404) | {200: {"content": {"application/octet-stream": {}}}},
        response_class=Response,
    )
    @needs(Act.VIEW_MATERIAL)
    async def material(merchant_id: str, material_id: str, actor: str = _ACTING) -> Response:
        """A paper in the clear; the look is in the audit trail (查看材料)."""
        with desk.context.reader.connect() as conn:
            content_type, content = applications.open_material(
                conn, desk.vault, merchant_id, material_id
            )
        now_us = desk.context.clock_us()
        await desk.context.writer.run(
            lambda conn: audit.record(
                conn,
                actor=actor,
                action="material.view",
                object_id=merchant_id,
                now_us=now_us,
                detail={"material_id": material_id},
            )
        )
        # A stranger's file: it is saved, never run in the console's own name.
        return Response(
            content,
            media_type=content_type,
            headers={
                "content-disposition": f'attachment; filename="{material_id}"',
                "content-security-policy": "sandbox; default-src 'none'",
                "x-content-type-options": "nosniff",
                "cache-control": "no-store",
            },
        )


def _add_changes(
    router: APIRouter, desk: Desk, approvals: Approvals, forget: Callable[[str], None]
) -> None:
    @router.post("/status", responses=refusals(404, 409))
    @needs(Act.SUSPEND_MERCHANT)
    async def set_status(
        merchant_id: str, body: StatusBody, actor: str = _ACTING
    ) -> dict[str, object]:
        """Suspend a merchant, let it go on, or close it for good (冻结、解冻、关闭)."""
        after = await merchants.set_status(
            desk,
            merchant_id,
            MerchantStatus(body.status),
            body.version,
            Change(actor=actor, reason=body.reason),
        )
        forget(merchant_id)
        return {"code": "SUCCESS", **asdict(after)}

    @router.put("/limits", responses=refusals(404))
    @needs(Act.MANAGE_KEYS)
    async def set_limits(
        merchant_id: str, body: LimitsBody, actor: str = _ACTING
    ) -> dict[str, object]:
        """Say how often, from where and whether by MD5 it may call (限流与白名单)."""
        change = Change(actor=actor, reason=body.reason)
        kept = await merchants.set_networks(desk, merchant_id, body.networks, change)
        await merchants.set_limits(
            desk,
            merchant_id,
            rate_per_s=body.rate_per_s,
            md5_allowed=body.md5_allowed,
            change=change,
        )
        forget(merchant_id)
        return {"code": "SUCCESS", "networks": kept, "rate_per_s": body.rate_per_s}

    @router.post("/settlement-account", responses=refusals(404) | MAY_WAIT)
    @needs(Act.CHANGE_SETTLEMENT)
    async def change_account(
        merchant_id: str, body: OrderedAccountBody, response: Response, actor: str = _ACTING
    ) -> dict[str, object]:
        """Pay a merchant's money to another account (变更结算账户)."""
        account = body.model_dump(exclude={"reason"})
        done = await approvals.perform(
            SETTLEMENT_CHANGE,
            merchant_id,
            {"merchant_id": merchant_id, **account},
            shown=merchants.checked_account(desk, merchant_id, account),
            actor=actor,
            reason=body.reason,
        )
        return answered(done, response)


def _add_keys(router: APIRouter, desk: Desk, forget: Callable[[str], None]) -> None:
    @router.get("/keys", responses=refusals(404))
    @needs(Act.READ)
    async def list_keys(merchant_id: str) -> dict[str, object]:
        """A merchant's keys that still work; no secret (密钥列表)."""
        return {"keys": [asdict(key) for key in merchants.live_keys(desk, merchant_id)]}

    @router.post("/keys", status_code=201, responses=refusals(404, 409))
    @needs(Act.MANAGE_KEYS)
    async def order_key(
        merchant_id: str, body: OrderedKeyBody, actor: str = _ACTING
    ) -> dict[str, object]:
        """Give another key, or replace some; the secret is shown once (新增或轮换密钥)."""
        made = await merchants.order_key(
            desk, merchant_id, body.as_order(), Change(actor=actor, reason=body.reason)
        )
        forget(merchant_id)
        return {"code": "SUCCESS", "key": key_json(made)}

    @router.post("/keys/{key_id}/revoke", responses=refusals(404))
    @needs(Act.MANAGE_KEYS)
    async def revoke(
        merchant_id: str, key_id: str, body: ReasonBody, actor: str = _ACTING
    ) -> dict[str, object]:
        """End a key at once (吊销密钥)."""
        await merchants.end_key(desk, merchant_id, key_id, Change(actor=actor, reason=body.reason))
        forget(merchant_id)
        return {"code": "SUCCESS", "key_id": key_id}
