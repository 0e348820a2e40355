"""The payer's page, in Chinese and English: one amount, one merchant, a few ways to behave."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from types import MappingProxyType
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from gateway.domain.money import to_major
from gateway.sandbox.trades import Refusal, Trade, TradeStatus

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'"
)

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --quiet: #8a8f98; --go: #1463ff; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, "PingFang SC", "Noto Sans SC", sans-serif; margin: 0;
  min-height: 100vh; display: grid; place-items: center; padding: 16px; }
main { width: 100%; max-width: 420px; border: 1px solid var(--line); border-radius: 16px;
  padding: 28px 24px; }
h1 { font-size: 15px; font-weight: 500; margin: 0; color: var(--quiet); }
.amount { font-size: 40px; font-weight: 650; margin: 4px 0 0; font-variant-numeric: tabular-nums; }
.amount small { font-size: 18px; font-weight: 500; color: var(--quiet); }
dl { display: grid; grid-template-columns: auto 1fr; gap: 6px 16px; margin: 20px 0;
  padding: 16px 0; border-block: 1px solid var(--line); font-size: 14px; }
dt { color: var(--quiet); } dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
form { display: grid; gap: 10px; }
button { font: inherit; padding: 11px; border-radius: 10px; border: 1px solid var(--line);
  background: transparent; color: inherit; cursor: pointer; }
button.go { background: var(--go); border-color: var(--go); color: #fff; font-weight: 600; }
button:focus-visible, input:focus-visible { outline: 3px solid #1463ff66; outline-offset: 1px; }
details { font-size: 14px; } details > div { display: grid; gap: 8px; padding-top: 10px; }
summary { cursor: pointer; color: var(--quiet); padding: 4px 0; }
label { display: grid; gap: 4px; font-size: 14px; }
input { font: inherit; padding: 9px 11px; border-radius: 10px; border: 1px solid var(--line);
  background: transparent; color: inherit; }
.note { font-size: 13px; color: var(--quiet); margin: 16px 0 0; }
.problem { border-left: 3px solid #d33; padding-left: 10px; }
"""

_STATUS_TEXT = {
    TradeStatus.WAITING: "等待付款 · Waiting for payment",
    TradeStatus.PAID: "已付款 · Paid",
    TradeStatus.CLOSED: "已关闭 · Closed",
}
_OTHER_WAYS = (
    ("fail", "付款失败 · Fail this attempt"),
    ("delay", "延迟付款 · Pay after the delay"),
    ("duplicate", "付款, 通知发两次 · Pay, notify twice"),
    ("late", "迟到付款 (关闭后也到账) · Late success, even after closing"),
    ("close", "放弃付款 · Give up"),
)


def _document(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="zh-CN"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>"
    )


def render_trade(
    trade: Trade,
    *,
    one_time_code: str,
    problem: str = "",
    ways: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Render the page of a trade as it stands.

    Args:
        trade: The trade.
        one_time_code: The code the payer must type; shown as a hint if the trade asks for one.
        problem: What was wrong with the last try, in both languages; may be empty.
        ways: What the payers of this protocol alone can do: action and label.
    """
    amount = f"{to_major(trade.amount_minor, trade.currency):,}"
    parts = [
        "<h1>沙箱收银台 · Sandbox cashier</h1>",
        f'<p class="amount"><small>{escape(trade.currency)}</small> {amount}</p>',
        "<dl>",
        f"<dt>商品 · Item</dt><dd>{escape(trade.subject)}</dd>",
        f"<dt>方式 · Method</dt><dd>{escape(trade.pay_type)}</dd>",
        f"<dt>交易号 · Trade</dt><dd>{escape(trade.trade_no)}</dd>",
        "<dt>状态 · Status</dt>",
        f'<dd id="status" data-status="{trade.status}">{_STATUS_TEXT[trade.status]}</dd>',
        "</dl>",
    ]
    if problem:
        parts.append(f'<p class="problem" role="alert">{escape(problem)}</p>')
    if trade.failed_attempts and trade.status is TradeStatus.WAITING:
        parts.append(
            f'<p class="problem" role="status">失败次数 · Failed attempts: '
            f"{trade.failed_attempts}</p>"
        )
    if trade.pay_at_us is not None:
        parts.append('<p class="note">付款在途 · A payment is on its way.</p>')
    if trade.status is not TradeStatus.PAID:
        parts.append(_form(trade, one_time_code, ways))
    if trade.return_url:
        parts.append(
            f'<p class="note"><a href="{escape(trade.return_url)}" rel="noreferrer">'
            "返回商户 · Back to the merchant</a></p>"
        )
    parts.append('<p class="note">沙箱环境, 不涉及真实资金。 Sandbox: no real money moves.</p>')
    return _document(f"{trade.subject} · 沙箱收银台", "".join(parts))


def _form(trade: Trade, one_time_code: str, own: Mapping[str, str]) -> str:
    code = (
        '<label>验证码 · One-time code <input name="otp" inputmode="numeric" maxlength="6"'
        f' autocomplete="one-time-code" placeholder="沙箱提示 · sandbox hint: {one_time_code}">'
        "</label>"
        if trade.challenge
        else ""
    )
    pay = (
        '<button class="go" name="action" value="pay">立即付款 · Pay</button>'
        if trade.status is TradeStatus.WAITING
        else ""
    )
    waiting = trade.status is TradeStatus.WAITING
    ways = (*own.items(), *_OTHER_WAYS) if waiting else (_OTHER_WAYS[3],)
    others = "".join(
        f'<button name="action" value="{action}">{label}</button>' for action, label in ways
    )
    return (
        f'<form method="post">{code}{pay}<details><summary>其他情形 · Other ways</summary><div>'
        '<label>延迟 (秒) · Delay (s) <input name="delay_s" type="number" min="0" max="86400"'
        f' step="any" placeholder="5"></label>{others}</div></details></form>'
    )


def render_refusal(refusal: Refusal) -> str:
    """Render the page of a link that can't be followed."""
    return _document(
        "沙箱收银台 · Sandbox cashier",
        "<h1>沙箱收银台 · Sandbox cashier</h1>"
        f'<p class="problem" role="alert">{escape(refusal.message_zh)}<br>'
        f"{escape(refusal.message_en)}</p>",
    )


_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """How a page is wanted: for people, or as JSON for tests; and its own address, relative.

    `ways` is what the payers of this protocol alone can do: action and label.
    """

    as_json: bool
    here: str
    ways: Mapping[str, str]

    @classmethod
    def of(cls, request: Request, ways: Mapping[str, str] = MappingProxyType({})) -> "Shown":
        """Read it from the request."""
        query = request.scope["query_string"].decode("ascii", "replace")
        name = request.url.path.rpartition("/")[2]
        here = f"?{query}" if query else name
        return cls("application/json" in request.headers.get("accept", ""), here, ways)


def shown_refusal(shown: Shown, refusal: Refusal) -> Response:
    """Answer a payer whose link can't be followed."""
    if shown.as_json:
        said = {
            "code": refusal.code,
            "message_en": refusal.message_en,
            "message_zh": refusal.message_zh,
        }
        return JSONResponse(said, refusal.http_status, _HEADERS)
    return HTMLResponse(render_refusal(refusal), refusal.http_status, _HEADERS)


def shown_trade(
    shown: Shown,
    trade: Trade,
    one_time_code: str,
    refusal: Refusal | None = None,
    *,
    acted: bool = False,
) -> Response:
    """Answer a payer with a trade as it stands.

    Args:
        shown: How it is wanted.
        trade: The trade.
        one_time_code: The code the payer must type if the trade asks for one.
        refusal: Why the last try was refused.
        acted: The payer did something: a reload of the page must not do it again.
    """
    if shown.as_json:
        return JSONResponse(_as_json(trade, one_time_code), headers=_HEADERS)
    if acted:
        return RedirectResponse(shown.here, 303)
    problem = f"{refusal.message_zh} · {refusal.message_en}" if refusal else ""
    return HTMLResponse(
        render_trade(trade, one_time_code=one_time_code, problem=problem, ways=shown.ways),
        refusal.http_status if refusal else 200,
        _HEADERS,
    )


def _as_json(trade: Trade, one_time_code: str) -> dict[str, object]:
    shown: dict[str, object] = {
        "code": "OK",
        "trade_no": trade.trade_no,
        "channel_trade_no": trade.channel_trade_no,
        "status": str(trade.status),
        "amount_minor": trade.amount_minor,
        "currency": trade.currency,
        "refunded_minor": trade.refunded_minor,
        "subject": trade.subject,
        "pay_type": trade.pay_type,
        "return_url": trade.return_url,
        "failed_attempts": trade.failed_attempts,
        "challenge": trade.challenge,
    }
    if trade.challenge:
        shown["otp_hint"] = one_time_code
    return shown
