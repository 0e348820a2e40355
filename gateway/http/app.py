"""The gateway's ASGI app: hot routes by hand, everything else an ordinary FastAPI app."""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.http.asgi import App, Receive, Scope, Send, respond
from gateway.http.merchant_api import MerchantApi
from gateway.http.openapi import document
from gateway.http.openapi_more import document_more, with_examples

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
_NOTIFY = re.compile(r"/api/channel/[a-z0-9_-]{1,32}/notify")
_NOT_POST = '{"code":"FAIL","error_code":"1001","msg":"请使用 POST / use POST"}'.encode()


def build_app(
    api: MerchantApi,
    *routers: APIRouter,
    lifespan: Lifespan,
    more: Mapping[str, App] | None = None,
    mounts: dict[str, App] | None = None,
) -> App:
    """Put the doors together.

    Args:
        api: The merchants' and channels' routes.
        *routers: Further routes, e.g. the operators'.
        lifespan: Starts what works behind the doors and stops it.
        more: Further signed routes of merchants, by path; POST like the rest.
        mounts: Whole apps under a path, e.g. the sandbox.
    """
    rest = _operations(api, lifespan)
    for router in routers:
        rest.include_router(router)
    for mount_path, mounted in (mounts or {}).items():
        rest.mount(mount_path, mounted)
    _describe(rest)
    hot: dict[str, App] = {
        "/api/payment/create": api.create,
        "/api/payment/query": api.query,
        "/api/payment/refund": api.refund,
        **(more or {}),
    }

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await rest(scope, receive, send)
            return
        path = scope["path"]
        handler = hot.get(path)
        if handler is None and _NOTIFY.fullmatch(path):
            handler = api.notified
        if handler is None:
            await rest(scope, receive, send)
        elif scope["method"] == "POST":
            await handler(scope, receive, send)
        else:
            await respond(send, 405, _NOT_POST, headers=((b"allow", b"POST"),))

    return app


def _operations(api: MerchantApi, lifespan: Lifespan) -> FastAPI:
    rest = FastAPI(title="Yumen", version="0.1.0", redoc_url=None, lifespan=lifespan)

    @rest.get("/healthz", tags=["operations"])
    def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @rest.get("/readyz", tags=["operations"])
    def readyz() -> JSONResponse:
        """The process can take payments: database readable, risk state restored."""
        api.context.raw_reader.execute("SELECT 1 FROM merchants LIMIT 1").fetchone()
        risk = api.context.risk
        return JSONResponse(
            {"status": "ok", "model_version": risk.model_version if risk else "none"}
        )

    @rest.get("/metrics", tags=["operations"])
    def metrics() -> Response:
        """Prometheus metrics."""
        return Response(generate_latest(api.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return rest


def _describe(rest: FastAPI) -> None:
    """Add the hot routes to the OpenAPI document, which FastAPI can't know of."""
    plain = rest.openapi

    def described() -> dict[str, Any]:
        if rest.openapi_schema is None:
            schema = plain()
            schema["paths"] = with_examples(document()) | document_more() | schema["paths"]
            rest.openapi_schema = schema
        return rest.openapi_schema

    rest.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way.
