"""The door of the operators' routes: who is it, may they do this, and nothing large.

Every route names its act with `needs`; one that names none does not start. The caller is judged
before the body is read. Two kinds of tokens open the door: the installation's own (the console's
and the first administrator's), with an `X-Actor` header that says who acts; and operators' tokens,
which say it themselves.
"""

import hmac
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict

from gateway.domain.errors import (
    Forbidden,
    GatewayError,
    InvalidParameter,
    PayloadTooLarge,
    RateLimited,
    Unauthorized,
)
from gateway.domain.operator import Act, Role, may
from gateway.store.operators import Operator

ACTOR_LENGTH_MAX = 64
REASON_LENGTH_MAX = 500
BODY_BYTES_MAX = 16_384
_BEARER = "Bearer "
F = TypeVar("F", bound=Callable[..., Any])


class OperatorBody(BaseModel):
    """What operators send: nothing that is not named."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Who is let in.

    Attributes:
        token: The installation's own token; counts as an administrator. Not empty.
        find: Whose token another one is, or None.
    """

    token: str
    find: Callable[[str], Operator | None] = lambda _token: None

    def __post_init__(self) -> None:
        if not self.token:
            raise ValueError("the admin token is empty: it would let everybody in")

    def enter(self, request: Request, act: Act) -> Operator:
        """Say who sends a request; whoever only reads with the installation's token is nobody.

        Raises:
            Unauthorized: (1008) if no token was sent that opens the door.
            Forbidden: (1008) if it doesn't for this act.
        """
        operator = self._who(request, act)
        if not may(operator.role, act):
            raise Forbidden(f"a {operator.role} may not {act}")
        return operator

    def _who(self, request: Request, act: Act) -> Operator:
        given = request.headers.get("authorization", "")
        # As bytes: comparing text refuses anything that isn't ASCII with a TypeError.
        if hmac.compare_digest(given.encode(), f"{_BEARER}{self.token}".encode()):
            named = "x-actor" in request.headers or act is not Act.READ
            name = read_actor(request.headers.get("x-actor")) if named else ""
            return Operator(name=name, role=Role.ADMIN)
        found = self.find(given.removeprefix(_BEARER)) if given.startswith(_BEARER) else None
        if found is None:
            raise Unauthorized("send the operator token as Authorization: Bearer")
        return found


def needs(act: Act) -> Callable[[F], F]:
    """Say what a route does; stands under the router's decorator."""

    def mark(endpoint: F) -> F:
        endpoint.act = act  # type: ignore[attr-defined]  # read back by the route
        return endpoint

    return mark


def operators_router(door: Door, prefix: str = "/admin") -> APIRouter:
    """Make a router that lets in only whom the door knows, each to what the role may do."""
    return APIRouter(
        prefix=prefix,
        tags=["admin"],
        route_class=_route_class(door),
        # Checked by the route class before this; here for the OpenAPI document alone.
        dependencies=[Depends(HTTPBearer(auto_error=False))],
        responses=refusals(400, 401, 403, 413),
    )


def _route_class(door: Door) -> type[APIRoute]:
    class AdminRoute(APIRoute):
        """Checks the caller before the body is read; answers refusals in the gateway's form."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            act: Act | None = getattr(self.endpoint, "act", None)
            if act is None:
                raise RuntimeError(f"{self.path} names no act: mark it with needs(...)")

            async def answer(request: Request) -> Response:
                try:
                    request.state.operator = door.enter(request, act)
                    check_size(request, BODY_BYTES_MAX)
                    return await handle(request)
                except GatewayError as error:
                    return error_response(error)
                except RequestValidationError as error:
                    return error_response(first_problem(error))

            return answer

    return AdminRoute


def check_size(request: Request, bytes_max: int) -> None:
    """Refuse a body that says it is too large, or does not say how large it is.

    Raises:
        PayloadTooLarge: (1001) otherwise.
    """
    chunked = "transfer-encoding" in request.headers
    length = request.headers.get("content-length", "0")
    if chunked or not length.isdecimal() or int(length) > bytes_max:
        raise PayloadTooLarge("body", f"must say its length, and be at most {bytes_max} bytes")


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe refusals for the OpenAPI document."""
    return {
        status: {"description": "Refused: error_code, msg and remedy say why. / 拒绝"}
        for status in statuses
    }


def error_response(error: GatewayError) -> JSONResponse:
    """Write an error as an answer: code, bilingual message, field, remedy."""
    text = str(error)
    content: dict[str, object] = {
        "code": "FAIL",
        "error_code": error.code,
        "msg": f"{error.title_zh} / {error.title_en}" + (f": {text}" if text else ""),
        "remedy": f"{error.remedy_zh} / {error.remedy_en}",
    }
    if error.field:
        content["field"] = error.field
    headers = {}
    if isinstance(error, RateLimited):
        headers["retry-after"] = str(error.retry_after_s)
    return JSONResponse(content, status_code=error.http_status, headers=headers)


def first_problem(error: RequestValidationError) -> InvalidParameter:
    """Name the first field that is wrong."""
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


def entered(request: Request) -> Operator:
    """Say who was let in, as a dependency of a route."""
    operator: Operator = request.state.operator
    return operator


def acting(
    request: Request,
    x_actor: Annotated[  # noqa: ARG001 - read at the door; here for the OpenAPI document
        str, Header(description="Who acts, percent-encoded; with the admin token. / 操作人")
    ] = "",
) -> str:
    """Say who acts, as a dependency of a route."""
    return entered(request).name


def answered(done: Mapping[str, object], response: Response) -> dict[str, object]:
    """Answer an act that may have to wait for a second person: 202 if it does."""
    if "approval_id" in done:
        response.status_code = 202
    return {"code": "SUCCESS", **done}


MAY_WAIT: dict[int | str, dict[str, Any]] = {
    202: {"description": "A second person must agree first. / 等待复核"}
}
