"""What the console and operators' programs may do: decide, label, reconcile; all of it audited.

The console never writes to the database. It comes here as any other client would, with a bearer
token that says it may and an `X-Actor` header that says who is acting, so that every change has a
name in the audit trail. Nothing here decides anything: `gateway.payments` does.
"""

import hmac
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from gateway.domain.errors import GatewayError, InvalidParameter, PayloadTooLarge, Unauthorized
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

ACTOR_LENGTH_MAX = 64
REASON_LENGTH_MAX = 500
BODY_BYTES_MAX = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminDeps:
    """What the admin API works with.

    Attributes:
        context: The gateway's store, channels, risk and clock.
        token: What a caller must show; not empty.
        reconcile: Compares a channel's bill of a day (YYYY-MM-DD) with the ledger, stores run and
            breaks, and returns the run as JSON values. Raises `ObjectNotFound` for an unknown
            channel, `InvalidParameter` for an impossible day and `BillUnavailable` if the bill
            can't be had or is damaged.
    """

    context: Context
    token: str
    reconcile: Callable[[str, str], Awaitable[Mapping[str, object]]]


class OperatorBody(BaseModel):
    """What operators send: nothing that is not named."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class ReviewBody(OperatorBody):
    """A decision about a held order or a waiting merchant."""

    verdict: Literal["approve", "reject"] = Field(description="What is decided. / 审核结论")
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


def _route_class(expected: bytes) -> type[APIRoute]:
    """Make the kind of route that lets nobody in without the token, and nothing large."""

    class AdminRoute(APIRoute):
        """Checks the caller before the body is read; answers refusals in the gateway's form."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def answer(request: Request) -> Response:
                try:
                    _check(request, expected)
                    return await handle(request)
                except GatewayError as error:
                    return error_response(error)
                except RequestValidationError as error:
                    return error_response(_first_problem(error))

            return answer

    return AdminRoute


def _check(request: Request, expected: bytes) -> None:
    given = request.headers.get("authorization", "")
    # As bytes: comparing text refuses anything that isn't ASCII with a TypeError.
    if not hmac.compare_digest(given.encode(), expected):
        raise Unauthorized("send the operator token as Authorization: Bearer")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
        raise PayloadTooLarge("body", f"is larger than {BODY_BYTES_MAX} bytes")


def error_response(error: GatewayError) -> JSONResponse:
    """Write an error as the admin API's answer: code, bilingual message, field, remedy."""
    text = str(error)
    content: dict[str, object] = {
        "code": "FAIL",
        "error_code": error.code,
        "msg": f"{error.title_zh} / {error.title_en}" + (f": {text}" if text else ""),
        "remedy": f"{error.remedy_zh} / {error.remedy_en}",
    }
    if error.field:
        content["field"] = error.field
    return JSONResponse(content, status_code=error.http_status)


def _first_problem(error: RequestValidationError) -> InvalidParameter:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if part != "body"]
    return InvalidParameter(".".join(path) or "body", str(first["msg"]))


def read_actor(header: str | None) -> str:
    """Read who acts from `X-Actor`: percent-encoded UTF-8, so that any name can be sent.

    Raises:
        Unauthorized: (1008) if nobody is named, or the name is no name.

    Examples:
        >>> read_actor("%E5%BC%A0%E4%B8%89")
        '张三'
    """
    name = unquote(header or "", errors="replace").strip()
    if not 1 <= len(name) <= ACTOR_LENGTH_MAX or not name.isprintable() or "\ufffd" in name:
        raise Unauthorized("X-Actor must name the person who acts (1 to 64 characters)")
    return name


def acting(
    x_actor: Annotated[str, Header(description="Who acts, percent-encoded. / 操作人")] = "",
) -> str:
    """Say who acts, as a dependency of a route."""
    return read_actor(x_actor)


def operators_router(token: str, prefix: str = "/admin") -> APIRouter:
    """Make a router that lets nobody in without the token, and nothing large.

    Raises:
        ValueError: if the token is empty: it would let everybody in.
    """
    if not token:
        raise ValueError("the admin token is empty")
    return APIRouter(
        prefix=prefix,
        tags=["admin"],
        route_class=_route_class(f"Bearer {token}".encode()),
        # Checked by the route class before this; here for the OpenAPI document alone.
        dependencies=[Depends(HTTPBearer(auto_error=False))],
    )


def admin_router(deps: AdminDeps) -> APIRouter:
    """Make the routes under ``/admin``.

    Raises:
        ValueError: if the token is empty: it would let everybody in.
    """
    context = deps.context
    actor_header = Depends(acting)
    router = operators_router(deps.token)

    @router.get("/health")
    async def health() -> dict[str, object]:
        """Say that the gateway is up, what time it is here, and which model decides."""
        return {
            "status": "ok",
            "time_us": context.clock_us(),
            "model_version": context.risk.model_version if context.risk else "",
            "channels": sorted(context.channels),
        }

    @router.post("/orders/{trade_no}/review")
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

    @router.post("/merchants/{merchant_id}/review")
    async def decide_merchant(
        merchant_id: str, body: ReviewBody, actor: str = actor_header
    ) -> dict[str, object]:
        """Admit or refuse a merchant whose application waits (审核商户准入)."""
        state = await review_merchant(context, merchant_id, _opinion(actor, body))
        return {"code": "SUCCESS", **asdict(state)}

    @router.post("/labels")
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

    @router.post("/recon/run")
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
