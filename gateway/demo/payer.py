"""Where a payer ends who opens a `pay_url`: past the cashier, at the sandbox's payer page."""

from typing import Any, Final
from urllib.parse import urlsplit

import httpx

JSON: Final = {"Accept": "application/json"}


async def payer_page(http: httpx.AsyncClient, pay_url: str, sandbox_url: str) -> str:
    """Follow what a payer was given to the page on which the payer acts.

    Args:
        http: Any client.
        pay_url: As the gateway answered it: its cashier, or a channel's own link or code.
        sandbox_url: The sandbox's address, for codes that a phone's camera would read.

    Raises:
        httpx.TransportError: if somebody on the way does not answer.
        httpx.HTTPStatusError: if somebody on the way refuses.
    """
    url, form = pay_url, {}
    if urlsplit(pay_url).path.startswith("/cashier/"):
        told: dict[str, Any] = (await http.get(pay_url, headers=JSON)).raise_for_status().json()
        url, form = told["pay_url"], told["form"]
    if form:
        answer = await http.post(url, data=form, headers=JSON)
    elif url.startswith(("http://", "https://")):
        answer = await http.get(url, headers=JSON)
    else:
        answer = await http.get(f"{sandbox_url}/scan", params={"code": url}, headers=JSON)
    while answer.next_request is not None:
        answer = await http.send(answer.next_request)
    answer.raise_for_status()
    return str(answer.url)
