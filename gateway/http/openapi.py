"""The three merchant requests as OpenAPI, in two languages.

They are served by hand for speed, so FastAPI can't derive their description. It is written here
as tables, one line a field, and a test holds it to what `gateway.http.schemas` really accepts.
"""

from dataclasses import dataclass, field
from typing import Any

from gateway.domain.errors import ALL_ERRORS
from gateway.domain.merchant import Algorithm
from gateway.domain.numbers import OUT_TRADE_NO_LENGTH_MAX
from gateway.domain.order import PayType
from gateway.domain.urls import URL_LENGTH_MAX
from gateway.http.schemas import (
    ACCOUNT_LENGTH_MAX,
    BODY_LENGTH_MAX,
    DEFAULT_CURRENCY,
    REASON_LENGTH_MAX,
    RISK_CONTEXT_LENGTH_MAX,
    SIGN_LENGTH_MAX,
    SUBJECT_LENGTH_MAX,
)

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One line of a table: name, meaning in Chinese and English, schema, whether required."""

    name: str
    zh: str
    en: str
    schema: Schema = field(default_factory=lambda: {"type": "string"})
    required: bool = True


def _string(length_max: int, **more: object) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": length_max, **more}


_NUMBER_PATTERN = "^[A-Za-z0-9_-]{1,64}$"
_AMOUNT: Schema = {
    "oneOf": [
        {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,15})(\.[0-9]{1,8})?$"},
        {"type": "number", "exclusiveMinimum": 0},
    ]
}
TIMESTAMP: Schema = {
    "oneOf": [
        {"type": "integer", "minimum": 1_000_000_000, "maximum": 9_999_999_999_999},
        {"type": "string", "pattern": "^[0-9]{10}([0-9]{3})?$"},
    ]
}
_URL: Schema = _string(URL_LENGTH_MAX, format="uri", pattern="^https?://")
NUMBER: Schema = _string(OUT_TRADE_NO_LENGTH_MAX, pattern=_NUMBER_PATTERN)

MERCHANT = Field("merchant_id", "商户ID", "Merchant", _string(32, pattern="^[A-Za-z0-9_-]{1,32}$"))
ORDER_NO = Field("out_trade_no", "商户订单号, 唯一", "The merchant's order number, unique", NUMBER)
SEAL = (
    Field("timestamp", "请求时间戳, 秒或毫秒", "Request time, s or ms since the epoch", TIMESTAMP),
    Field("sign", "签名", "Signature, see SIGNING.md", _string(SIGN_LENGTH_MAX)),
    Field(
        "sign_type",
        "签名算法, 须与密钥一致",
        "Algorithm; must be that of the key",
        {"type": "string", "enum": [algorithm.value for algorithm in Algorithm]},
        required=False,
    ),
)
CREATE_REQUEST = (
    MERCHANT,
    ORDER_NO,
    Field("total_amount", "订单金额, 单位: 元", "Amount in major units, e.g. yuan", _AMOUNT),
    Field(
        "currency",
        "币种, 默认CNY",
        "ISO 4217 code, CNY if absent",
        {"type": "string", "pattern": "^[A-Z]{3,4}$", "default": DEFAULT_CURRENCY},
        required=False,
    ),
    Field("subject", "订单标题", "What is bought", _string(SUBJECT_LENGTH_MAX)),
    Field("body", "订单描述", "More about it", _string(BODY_LENGTH_MAX), required=False),
    Field(
        "pay_type",
        "支付类型",
        "Payment system",
        {"type": "string", "enum": [pay_type.value for pay_type in PayType]},
    ),
    Field("notify_url", "异步通知地址", "Where the outcome is reported", _URL),
    Field("return_url", "同步跳转地址", "Where the payer's browser goes", _URL, required=False),
    Field(
        "risk_context",
        "风控信息, JSON字符串",
        "What is known about payer, device and place: a string of JSON",
        _string(RISK_CONTEXT_LENGTH_MAX, contentMediaType="application/json"),
        required=False,
    ),
    *SEAL,
)
QUERY_REQUEST = (MERCHANT, ORDER_NO, *SEAL)
REFUND_REQUEST = (
    MERCHANT,
    ORDER_NO,
    Field("refund_amount", "退款金额", "Amount in major units of the order's currency", _AMOUNT),
    Field("refund_reason", "退款原因", "Why", _string(REASON_LENGTH_MAX)),
    Field(
        "out_refund_no",
        "商户退款单号, 幂等键",
        "The merchant's refund number; repeating it is the same refund",
        NUMBER,
        required=False,
    ),
    Field(
        "refund_account",
        "退款收款账户(稳定币必填)",
        "Where the customer wants it: an address, for a stablecoin; empty elsewhere",
        _string(ACCOUNT_LENGTH_MAX),
        required=False,
    ),
    *SEAL,
)
HEAD = (
    Field("code", "响应码", "SUCCESS", {"type": "string", "const": "SUCCESS"}),
    Field("msg", "响应消息", "Message"),
)
TAIL = (
    Field("timestamp", "响应时间戳, 毫秒", "Time of the answer, ms", {"type": "integer"}),
    Field("sign", "签名", "Signature"),
)
_RISK_WORDS: Schema = {"type": "string", "enum": ["APPROVE", "CHALLENGE", "REVIEW", "DECLINE"]}
CREATE_ANSWER = (
    *HEAD,
    Field("trade_no", "平台交易号", "The gateway's number"),
    Field("out_trade_no", "商户订单号", "The merchant's number"),
    Field("pay_url", "支付链接 (收银台)", "Where the payer pays; empty while under review"),
    Field(
        "channel_url",
        "渠道支付链接或二维码内容, 用于自建收银台",
        "The payment system's own link or code, for a cashier of your own; may be empty",
    ),
    Field("prepay_id", "预支付交易会话标识 (微信)", "Prepayment session (WeChat); may be empty"),
    Field("currency", "币种", "ISO 4217 code"),
    Field("risk_outcome", "风控结论", "Outcome of risk control", _RISK_WORDS),
    Field("risk_reasons", "风控原因码, 逗号分隔", "Reason codes, comma separated; may be empty"),
    Field(
        "degraded",
        "风控降级: 决策层级:原因, 正常为空",
        "Step that decided and why, where the full risk path did not; else empty",
    ),
    *TAIL,
)
_STATUS_WORDS: Schema = {"type": "string", "enum": ["WAIT_PAY", "SUCCESS", "CLOSED", "REFUND"]}
_SHARE_WORDS: Schema = {"type": "string", "enum": ["NONE", "PARTIAL", "FULL"]}
QUERY_ANSWER = (
    *HEAD,
    Field("trade_status", "交易状态", "Status of the order", _STATUS_WORDS),
    Field("trade_no", "平台交易号", "The gateway's number"),
    Field("out_trade_no", "商户订单号", "The merchant's number"),
    Field("total_amount", "订单金额", "Amount of the order"),
    Field("receipt_amount", "实收金额", "Amount received"),
    Field("currency", "币种", "ISO 4217 code"),
    Field("pay_time", "支付时间 (UTC)", "When it was paid, UTC; empty if it was not"),
    Field("refund_amount", "已退金额", "Amount given back so far"),
    Field("refund_status", "退款情况", "How much was given back", _SHARE_WORDS),
    Field("status_reason", "状态原因", "Why it is held or closed; may be empty"),
    *TAIL,
)
_REFUND_WORDS: Schema = {"type": "string", "enum": ["SUCCESS", "PROCESSING", "FAIL"]}
REFUND_ANSWER = (
    *HEAD,
    Field("refund_no", "退款单号", "The gateway's number of the refund"),
    Field("out_trade_no", "商户订单号", "The merchant's order number"),
    Field("refund_status", "退款状态", "Status of this refund", _REFUND_WORDS),
    Field("refund_amount", "退款金额", "Amount of this refund"),
    *TAIL,
)
FAILURE = (
    Field("code", "响应码", "FAIL", {"type": "string", "const": "FAIL"}),
    Field(
        "error_code",
        "错误码",
        "Error code",
        {"type": "string", "enum": sorted({error.code for error in ALL_ERRORS})},
    ),
    Field("msg", "错误信息", "What is wrong, in both languages"),
    Field("field", "出错参数", "The parameter at fault", required=False),
    Field("remedy", "处理建议", "What to do, in both languages", required=False),
    Field("trade_no", "平台交易号 (风控拦截时)", "Declined by risk: the number", required=False),
    Field("timestamp", "响应时间戳, 毫秒", "The gateway's time, ms", {"type": "integer"}),
    Field("sign", "签名 (商户已验明时)", "Signature, if the sender was known", required=False),
)


def document() -> dict[str, Schema]:
    """Return the ``paths`` of the three requests, for an OpenAPI 3.1 document."""
    return {
        "/api/payment/create": operation(
            "create", "创建支付订单 / Create a payment", CREATE_REQUEST, CREATE_ANSWER
        ),
        "/api/payment/query": operation(
            "query", "查询订单 / Query an order", QUERY_REQUEST, QUERY_ANSWER
        ),
        "/api/payment/refund": operation(
            "refund", "申请退款 / Refund a payment", REFUND_REQUEST, REFUND_ANSWER
        ),
    }


def operation(
    name: str, summary: str, request: tuple[Field, ...], answer: tuple[Field, ...]
) -> Schema:
    """Describe one signed request."""
    schema = _object(request)
    return {
        "post": {
            "tags": ["merchant"],
            "operationId": f"payment_{name}",
            "summary": summary,
            "description": "参数签名见 docs/SIGNING.md。 Every request and answer is signed, see "
            "docs/SIGNING.md. Unknown parameters are signed and ignored; empty ones count as "
            "absent.",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": schema},
                    "application/x-www-form-urlencoded": {"schema": schema},
                },
            },
            "responses": {
                "200": _answer("成功 / Success", _object(answer)),
                **_refusals(),
            },
        }
    }


def _refusals() -> dict[str, Schema]:
    titles: dict[int, list[str]] = {}
    for error in ALL_ERRORS:
        title = f"{error.code} {error.title_zh} / {error.title_en}"
        titles.setdefault(error.http_status, []).append(title)
    failure = _object(FAILURE)
    return {
        str(status): _answer("; ".join(dict.fromkeys(found)), failure)
        for status, found in sorted(titles.items())
    }


def _answer(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _object(fields: tuple[Field, ...]) -> Schema:
    return {
        "type": "object",
        "properties": {f.name: {**f.schema, "description": f"{f.zh} / {f.en}"} for f in fields},
        "required": [f.name for f in fields if f.required],
        "additionalProperties": True,
    }
