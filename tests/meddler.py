"""Somebody between the gateway and a payment system, who changes what is said."""

from collections.abc import Callable

import httpx


class Meddler(httpx.AsyncBaseTransport):
    """A transport that changes every answer on its way."""

    def __init__(
        self, inner: httpx.AsyncBaseTransport, meddle: Callable[[httpx.Response], httpx.Response]
    ) -> None:
        self.inner = inner
        self.meddle = meddle

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.inner.handle_async_request(request)
        await answer.aread()
        return self.meddle(answer)
