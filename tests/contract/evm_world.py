"""The adapter of the EVM chain told otherwise, or before a network that meddles."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

import httpx

from gateway.channels.base import Channel
from gateway.channels.registry import ADAPTERS
from tests.contract.channel_world import World


async def forwarded(at: World, request: httpx.Request) -> httpx.Response:
    headers = [(k, v) for k, v in request.headers.items() if k.startswith(("x-", "content-t"))]
    return await at.browser.request(
        request.method, str(request.url), content=request.content, headers=headers
    )


Answer = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


def other(at: World, answer: Answer | None = None, **told: str) -> Channel:
    """The adapter told otherwise, or before a meddling network."""
    client = at.browser
    if answer is not None:
        client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return ADAPTERS["evm"].open("evm", at.told | told, client, at.clock)


def node_says(at: World, method: str, change: Callable[[Any], object]) -> Channel:
    """The adapter before a node that answers one question otherwise."""

    async def answer(request: httpx.Request) -> httpx.Response:
        true = await forwarded(at, request)
        if str(request.url).endswith("/rpc") and json.loads(request.content)["method"] == method:
            result = change(true.json()["result"])
            return httpx.Response(200, json={"jsonrpc": "2.0", "id": 1, "result": result})
        return true

    return other(at, answer)


def each_log(**changes: object) -> Callable[[Any], object]:
    return lambda logs: [log | changes for log in logs]
