"""The merchants' Python client: signs, calls, verifies; stands alone and may be copied out whole.

    from gateway.sdk import Client
    shop = Client("http://127.0.0.1:8000", merchant_id, secret=secret)
    number = shop.new_out_trade_no()
    paid = shop.create(number, "12.30", "Tea", "alipay", "https://shop.example/notify")
    print(paid.pay_url, shop.query(number).trade_status)

A refund is ``shop.refund(number, "2.30", "one cup was cold")``. The page behind notify_url:

    told = shop.read_notification(request_body, content_type)   # raises NotAuthentic
    if told.trade_status == "SUCCESS": ship(told.out_trade_no)  # once per told.event_id
    return SUCCESS_ANSWER
"""

from gateway.sdk.answers import Notification, OrderState, Payment, Refund
from gateway.sdk.client import AsyncClient, Client
from gateway.sdk.errors import (
    Busy,
    Declined,
    Forbidden,
    IllegalStatus,
    InsufficientBalance,
    InvalidParameter,
    NotAuthentic,
    OrderNotFound,
    OutcomeUnknown,
    Refused,
    SignatureRefused,
    YumenError,
)
from gateway.sdk.signature import ExternalKey, KeyPair, SharedSecret
from gateway.sdk.wire import FAIL_ANSWER, SUCCESS_ANSWER, new_out_trade_no

__all__ = [
    "FAIL_ANSWER",
    "SUCCESS_ANSWER",
    "AsyncClient",
    "Busy",
    "Client",
    "Declined",
    "ExternalKey",
    "Forbidden",
    "IllegalStatus",
    "InsufficientBalance",
    "InvalidParameter",
    "KeyPair",
    "NotAuthentic",
    "Notification",
    "OrderNotFound",
    "OrderState",
    "OutcomeUnknown",
    "Payment",
    "Refund",
    "Refused",
    "SharedSecret",
    "SignatureRefused",
    "YumenError",
    "new_out_trade_no",
]
