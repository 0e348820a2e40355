"""The further merchant requests as OpenAPI, and examples of all of them in two languages."""

from typing import Any, Final

from gateway.domain.numbers import OUT_TRADE_NO_LENGTH_MAX
from gateway.http.openapi import (
    HEAD,
    MERCHANT,
    NUMBER,
    QUERY_ANSWER,
    QUERY_REQUEST,
    SEAL,
    TAIL,
    TIMESTAMP,
    Field,
    Schema,
    operation,
)
from gateway.queries.merchant import PAGE_MAX

_CURSOR = Field("cursor", "翻页游标", "next_cursor of the page before", required=False)
_LIMIT = Field(
    "limit",
    "每页条数",
    "Rows of a page",
    {"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE_MAX},
    required=False,
)
_NEXT: Final = (
    Field("count", "本页条数", "Rows of this page", {"type": "integer"}),
    Field("next_cursor", "下一页游标, 空为末页", "Where the next page begins; empty at the end"),
)


def _time(name: str, zh: str, en: str) -> Field:
    return Field(name, zh, en, TIMESTAMP, required=False)


def _words(name: str, zh: str, en: str, words: list[str]) -> Field:
    return Field(name, zh, en, {"type": "string", "enum": words}, required=False)


def _rows(name: str, zh: str, en: str) -> Field:
    return Field(name, zh, en, {"type": "string", "contentMediaType": "application/json"})


REFUND_QUERY_REQUEST = (
    MERCHANT,
    Field("refund_no", "平台退款单号, 二选一", "The gateway's number; or", NUMBER, required=False),
    Field("out_refund_no", "商户退款单号", "the merchant's", NUMBER, required=False),
    *SEAL,
)
REFUND_QUERY_ANSWER = (
    *HEAD,
    Field("refund_no", "平台退款单号", "The gateway's number of the refund"),
    Field("out_refund_no", "商户退款单号", "The merchant's number; may be empty"),
    Field("trade_no", "平台交易号", "The gateway's number of the order"),
    Field("out_trade_no", "商户订单号", "The merchant's order number"),
    Field(
        "refund_status",
        "退款状态",
        "Status of this refund",
        {"type": "string", "enum": ["SUCCESS", "PROCESSING", "FAIL"]},
    ),
    Field("refund_amount", "退款金额", "Amount of this refund"),
    Field("currency", "币种", "ISO 4217 code"),
    Field("refund_reason", "退款原因", "Why"),
    Field("refund_time", "退款完成时间 (UTC)", "When it was done, UTC; may be empty"),
    *TAIL,
)
LIST_REQUEST = (
    MERCHANT,
    _time("start_time", "起始时间, 含", "From, inclusive; default a day before end_time"),
    _time("end_time", "结束时间, 不含", "Until, exclusive; default now"),
    _words("trade_status", "交易状态", "Status", ["WAIT_PAY", "SUCCESS", "CLOSED", "REFUND"]),
    _CURSOR,
    _LIMIT,
    *SEAL,
)
LIST_ANSWER = (*HEAD, _rows("orders", "订单, JSON 文本", "Orders: a string of JSON"), *_NEXT, *TAIL)
BILL_REQUEST = (
    MERCHANT,
    Field(
        "day",
        "账单日 YYYY-MM-DD (UTC+8)",
        "Business day of UTC+08:00",
        {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
    ),
    *SEAL,
)
BILL_ANSWER = (
    *HEAD,
    Field("day", "账单日", "Business day"),
    Field("sha256", "账单摘要", "SHA-256 of the bill, hex"),
    Field("bill", "账单, CSV 文本", "The bill: CSV", {"type": "string"}),
    *TAIL,
)
NOTIFICATIONS_REQUEST = (
    MERCHANT,
    Field(
        "out_trade_no",
        "商户订单号",
        "Of one order",
        {"type": "string", "maxLength": OUT_TRADE_NO_LENGTH_MAX},
        required=False,
    ),
    _words("status", "通知状态", "How it stands", ["PENDING", "DELIVERED", "GIVEN_UP"]),
    _CURSOR,
    _LIMIT,
    *SEAL,
)
NOTIFICATIONS_ANSWER = (
    *HEAD,
    _rows("notifications", "通知记录, JSON 文本", "Notifications: a string of JSON"),
    *_NEXT,
    *TAIL,
)
RESEND_REQUEST = (
    MERCHANT,
    Field("event_id", "通知编号", "Of the notification", {"type": "string", "maxLength": 160}),
    *SEAL,
)
RESEND_ANSWER = (*HEAD, Field("event_id", "通知编号", "Of the notification"), *TAIL)

_SIGNED: Final = {"timestamp": 1_763_800_000, "sign": "…"}
_SHOP: Final = {"merchant_id": "M1001"}
_EXAMPLES: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "create": (
        {
            "out_trade_no": "M1001202511221626401A2B3C",
            "total_amount": "12.30",
            "subject": "明前龙井",
            "pay_type": "alipay",
            "notify_url": "https://shop.example/notify",
        },
        {
            "out_trade_no": "M1001202511221626404D5E6F",
            "total_amount": "19.99",
            "currency": "USD",
            "subject": "Green tea",
            "pay_type": "stripe",
            "notify_url": "https://shop.example/notify",
            "return_url": "https://shop.example/thanks",
        },
    ),
    "query": (
        {"out_trade_no": "M1001202511221626401A2B3C"},
        {"out_trade_no": "M1001202511221626404D5E6F"},
    ),
    "refund": (
        {
            "out_trade_no": "M1001202511221626401A2B3C",
            "refund_amount": "2.30",
            "refund_reason": "茶凉了",
            "out_refund_no": "R1",
        },
        {
            "out_trade_no": "M1001202511221626404D5E6F",
            "refund_amount": "5.00",
            "refund_reason": "One cup was cold",
            "out_refund_no": "R2",
        },
    ),
}


def document_more() -> dict[str, Schema]:
    """Return the ``paths`` of the further requests, for an OpenAPI 3.1 document."""
    table = {
        "close": ("关闭订单 / Close an unpaid order", QUERY_REQUEST, QUERY_ANSWER),
        "refund/query": ("查询退款 / Find a refund", REFUND_QUERY_REQUEST, REFUND_QUERY_ANSWER),
        "list": ("订单列表 / List orders, newest first", LIST_REQUEST, LIST_ANSWER),
        "bill": ("下载账单 / Download the bill of a day", BILL_REQUEST, BILL_ANSWER),
        "notification/list": (
            "通知记录 / How notifications went",
            NOTIFICATIONS_REQUEST,
            NOTIFICATIONS_ANSWER,
        ),
        "notification/resend": (
            "重发通知 / Send a notification again",
            RESEND_REQUEST,
            RESEND_ANSWER,
        ),
    }
    return {
        f"/api/payment/{path}": operation(path.replace("/", "_"), summary, request, answer)
        for path, (summary, request, answer) in table.items()
    }


def with_examples(paths: dict[str, Schema]) -> dict[str, Schema]:
    """Add a Chinese and an English example to each of the three requests, in place."""
    for name, (zh, en) in _EXAMPLES.items():
        content = paths[f"/api/payment/{name}"]["post"]["requestBody"]["content"]
        content["application/json"]["examples"] = {
            "zh": {"summary": "中文示例", "value": _SHOP | zh | _SIGNED},
            "en": {"summary": "English example", "value": _SHOP | en | _SIGNED},
        }
    return paths
