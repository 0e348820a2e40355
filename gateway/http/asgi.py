"""The little of ASGI that the hot routes need, without a framework between.

Measured, a framework's routing and validation cost more CPU than a whole create; these routes
read and write bytes. Everything else in the gateway is an ordinary FastAPI app.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from gateway.domain.errors import PayloadTooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Disconnected(Exception):
    """The client went away before its request was complete; nobody is left to answer."""


def header(scope: Scope, name: bytes) -> str:
    """Return a request header (lower-case name), or an empty string."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return ""


async def read_body(scope: Scope, receive: Receive, limit_bytes: int) -> bytes:
    """Read the whole body of a request.

    Raises:
        PayloadTooLarge: (1001) as soon as it is known to exceed `limit_bytes`.
        Disconnected: if the client leaves before its end.
    """
    said = header(scope, b"content-length")
    if said.isdecimal() and int(said) > limit_bytes:
        raise PayloadTooLarge("body", f"is larger than {limit_bytes} bytes")
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit_bytes:
            raise PayloadTooLarge("body", f"is larger than {limit_bytes} bytes")
        return body
    parts: list[bytes] = []
    size_bytes = 0
    while True:
        if message["type"] != "http.request":
            raise Disconnected
        part = message.get("body", b"")
        size_bytes += len(part)
        if size_bytes > limit_bytes:
            raise PayloadTooLarge("body", f"is larger than {limit_bytes} bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()


async def respond(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: bytes = b"application/json; charset=utf-8",
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    """Send a whole answer."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", content_type),
                (b"content-length", str(len(body)).encode()),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
