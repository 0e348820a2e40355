"""The cashier: the page behind `pay_url`, for phones and desks, in two languages.

A payer meets every payment system here in one way: a button where the system has a page of its
own, a code to scan where it has an app, a form where it wants one posted. The address carries a
key made from the order's number, so that nobody can walk through other people's orders. What an
order is to the page is read afresh each time; the page asks again until it is paid or closed.
"""

import base64
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final
from urllib.parse import quote

import segno
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from gateway.domain.money import to_major
from gateway.domain.order import Status
from gateway.http.cashier_text import STYLE, WORDS, Words
from gateway.payments.context import Context
from gateway.payments.open import link_again
from gateway.store import orders
from gateway.store.orders import Order

KEY_LENGTH: Final = 22  # 132 bits of the MAC, base64url.
_PHONES: Final = ("Mobile", "Android", "iPhone", "MicroMessenger", "AlipayClient")
_OVER: Final = (Status.SUCCESS, Status.REFUND, Status.CLOSED)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Makes and checks the addresses of the page.

    Attributes:
        base_url: How payers reach the gateway.
        secret: Makes the keys; 32 bytes.
    """

    base_url: str
    secret: bytes

    def key_of(self, trade_no: str) -> str:
        """Return the key of an order's page."""
        mac = hmac.digest(self.secret, trade_no.encode(), "sha256")
        return base64.urlsafe_b64encode(mac).decode()[:KEY_LENGTH]

    def url_of(self, trade_no: str) -> str:
        """Return the address of an order's page."""
        return f"{self.base_url}/cashier/{trade_no}?key={self.key_of(trade_no)}"

    def fits(self, trade_no: str, key: str) -> bool:
        """Whether somebody holds the key of an order, in constant time."""
        return hmac.compare_digest(self.key_of(trade_no).encode(), key.encode())


def cashier_router(context: Context, addresses: Addresses) -> APIRouter:
    """Make the routes of the page."""
    router = APIRouter(tags=["cashier"])

    def known(trade_no: str, key: str) -> Order | None:
        if not addresses.fits(trade_no, key):
            return None
        with context.reader.connect() as conn:
            return orders.get(conn, trade_no)

    @router.get("/cashier/{trade_no}", response_class=HTMLResponse)
    def page(request: Request, trade_no: str, key: str = "", lang: str = "") -> Response:
        """The payer's page of an order; as JSON for programs that ask for it (收银台)."""
        order = known(trade_no, key)
        as_json = "application/json" in request.headers.get("accept", "")
        if order is None:
            return _unknown(_words(request, lang), as_json=as_json)
        form = link_again(context, order).form if order.pay_url else {}
        if as_json:
            return JSONResponse(_said(order) | {"form": dict(form)}, headers=_headers(""))
        nonce = secrets.token_urlsafe(12)
        on_phone = any(word in request.headers.get("user-agent", "") for word in _PHONES)
        html = render(
            order,
            form,
            _words(request, lang),
            here=addresses.url_of(trade_no),
            nonce=nonce,
            on_phone=on_phone,
        )
        return HTMLResponse(html, headers=_headers(nonce, _origin(order.pay_url)))

    @router.get("/cashier/{trade_no}/status")
    def status(trade_no: str, key: str = "") -> JSONResponse:
        """Where the order stands, for the page itself (收银台轮询)."""
        order = known(trade_no, key)
        if order is None:
            return JSONResponse({"code": "FAIL", "error_code": "1003"}, 404, _headers(""))
        return JSONResponse(
            {
                "status": order.status,
                "is_over": order.status in _OVER,
                "payable": bool(order.pay_url),
            },
            headers=_headers(""),
        )

    return router


def _headers(nonce: str, pay_origin: str = "") -> dict[str, str]:
    script = f"script-src 'nonce-{nonce}'; connect-src 'self'; " if nonce else ""
    return {
        "Content-Security-Policy": f"default-src 'none'; style-src 'unsafe-inline'; {script}"
        f"form-action 'self' {pay_origin}; base-uri 'none'; frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _origin(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.split('/', 1)[0]}" if scheme in {"http", "https"} else ""


def _words(request: Request, lang: str) -> Words:
    wanted = lang or request.headers.get("accept-language", "zh")[:2].lower()
    return WORDS["zh" if wanted.startswith("zh") else "en"]


def _said(order: Order) -> dict[str, object]:
    return {
        "trade_no": order.trade_no,
        "status": order.status,
        "total_amount": str(to_major(order.amount_minor, order.currency)),
        "currency": order.currency,
        "subject": order.subject,
        "pay_type": order.pay_type,
        "pay_url": order.pay_url,
        "prepay_id": order.prepay_id,
        "return_url": order.return_url,
        "expires_at_s": order.expires_at_us // 1_000_000,
    }


def _unknown(words: Words, *, as_json: bool) -> Response:
    if as_json:
        return JSONResponse({"code": "FAIL", "error_code": "1003"}, 404, _headers(""))
    body = f'<p class="problem" role="alert">{escape(words.unknown)}</p>'
    return HTMLResponse(_document(words, words.title, body), 404, _headers(""))


def render(
    order: Order,
    form: Mapping[str, str],
    words: Words,
    *,
    here: str,
    nonce: str,
    on_phone: bool,
) -> str:
    """Render the page of an order as it stands.

    Args:
        order: The order.
        form: What the payer's browser must post to `order.pay_url`; empty if nothing.
        words: In which language.
        here: The page's own address.
        nonce: Allows its script.
        on_phone: Whether an app can be opened from here; elsewhere a code is shown to scan.
    """
    amount = f"{to_major(order.amount_minor, order.currency):,}"
    method = words.methods.get(order.pay_type, order.pay_type)
    status = escape(words.statuses[order.status])
    parts = [
        f"<h1>{escape(words.title)}</h1>",
        f'<p class="amount"><small>{escape(order.currency)}</small> {amount}</p>',
        f"<dl><dt>{words.item}</dt><dd>{escape(order.subject)}</dd>",
        f"<dt>{words.method}</dt><dd>{escape(method)}</dd>",
        f"<dt>{words.number}</dt><dd>{escape(order.trade_no)}</dd>",
        f'<dt>{words.status}</dt><dd id="status" data-status="{order.status}">{status}</dd></dl>',
    ]
    if order.status in _OVER:
        parts.append(_back(order, words))
    elif not order.pay_url:
        parts.append(f'<p class="note" role="status">{escape(words.held)}</p>')
    else:
        parts.append(_way_to_pay(order, form, words, here=here, on_phone=on_phone))
        parts.append(_back(order, words))
    other = f"{here}&lang={words.other_lang}"
    parts.append(f'<p class="note"><a href="{escape(other)}">{words.other_name}</a></p>')
    if order.status not in _OVER:
        parts.append(_script(order, here, nonce))
    return _document(words, f"{order.subject} · {words.title}", "".join(parts))


def _way_to_pay(
    order: Order, form: Mapping[str, str], words: Words, *, here: str, on_phone: bool
) -> str:
    if form:
        fields = "".join(
            f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
            for name, value in form.items()
        )
        return (
            f'<form method="post" action="{escape(order.pay_url)}" id="pay">{fields}'
            f'<button class="go">{words.pay}</button></form>'
        )
    is_page = order.pay_url.startswith(("http://", "https://"))
    button = (
        f'<a class="go" id="pay" href="{escape(order.pay_url)}" rel="noreferrer">{words.pay}</a>'
    )
    if is_page and on_phone:
        return button
    scanned = here if is_page else order.pay_url
    code = segno.make(scanned, error="m", micro=False)
    drawn = code.svg_inline(scale=5, border=2, dark="#111", light="#fff", omitsize=True)
    hint = words.on_phone if is_page else words.scan
    qr = (
        f'<figure id="code" data-code="{escape(scanned)}">{drawn}'
        f"<figcaption>{escape(hint)}</figcaption></figure>"
    )
    if is_page:
        return button + qr
    return qr + (button.replace(words.pay, words.open_app) if on_phone else "")


def _back(order: Order, words: Words) -> str:
    if not order.return_url:
        return ""
    return (
        f'<p class="note"><a id="back" href="{escape(order.return_url)}" rel="noreferrer">'
        f"{words.back}</a></p>"
    )


def _script(order: Order, here: str, nonce: str) -> str:
    """Ask where the order stands, ever more rarely, and load the page when that changed."""
    path, _, query = here.partition("?")
    ask = json.dumps(f"{path.partition('://')[2].partition('/')[2]}/status?{query}")
    now = json.dumps([order.status, bool(order.pay_url)])
    return (
        f'<script nonce="{nonce}">(function(){{var wait=1500,now=JSON.stringify({now});'
        f"function look(){{fetch('/'+{ask},{{cache:'no-store'}})"
        ".then(function(r){return r.json()}).then(function(s){"
        "if(JSON.stringify([s.status,s.payable])!==now){location.reload()}"
        "else{next()}}).catch(next)}"
        "function next(){wait=Math.min(wait*1.15,10000);setTimeout(look,wait)}"
        "setTimeout(look,wait)})()</script>"
    )


def _document(words: Words, title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="{quote(words.lang)}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>"
    )
