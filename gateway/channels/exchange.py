"""One question to a payment system over HTTP, bounded in time: an answer, or nothing known.

What an answer means is each adapter's own; this says only when there is none to read.
"""

import asyncio
from collections.abc import Mapping

import httpx

from gateway.channels.base import ChannelProtocolError


async def ask(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    timeout_s: float,
    content: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> httpx.Response | None:
    """Send one request and return the answer, or None if nothing is known about its effect.

    Args:
        client: Shared HTTP client; never closed here.
        method: GET, POST, ...
        url: Where to; redirects are not followed.
        timeout_s: For the whole exchange, not for each of its steps as httpx has it.
        content: The body.
        headers: Sent as they are.

    Returns:
        The answer; None after a timeout, a broken connection, a 5xx or a 429.

    Raises:
        ChannelProtocolError: if the answer is no readable HTTP.
    """
    try:
        async with asyncio.timeout(timeout_s):
            response = await client.request(
                method,
                url,
                content=content,
                headers=headers,
                timeout=timeout_s,
                follow_redirects=False,
            )
    except (TimeoutError, httpx.TransportError):
        return None
    except (httpx.RequestError, httpx.InvalidURL) as error:
        raise ChannelProtocolError(f"unreadable answer: {error!r:.200}") from error
    status = response.status_code
    if status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.TOO_MANY_REQUESTS:
        return None
    return response
