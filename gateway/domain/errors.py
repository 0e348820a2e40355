"""Every error a caller can meet, with the code it carries on the wire.

* GatewayError
  x InvalidParameter     1001  400
  x BadSignature         1002  401
  x OrderNotFound        1003  404
  x IllegalTransition    1004  409
  x IllegalRuleMove      1004  409
  x IllegalMerchantMove  1004  409
  x InsufficientBalance  1005  402
  x Busy                 1006  503
  x RateLimited          1006  429
  x RiskDeclined         1007  403
  x OrderConflict        1001  409
  x PayloadTooLarge      1001  413
  x Forbidden            1008  403
  x Unauthorized         1008  401
  x ObjectNotFound       1009  404
  x StaleVersion         1010  409
  x BillUnavailable      1011  502

Codes 1001 to 1006 are the specification's; 1007 and above are ours. An error says which field,
what is wrong and what to do; it never carries a secret.
"""

from typing import ClassVar


class GatewayError(Exception):
    """Base of all errors that reach a merchant; `code` and `http_status` are its wire form."""

    code: ClassVar[str]
    http_status: ClassVar[int]
    title_en: ClassVar[str]
    title_zh: ClassVar[str]
    remedy_en: ClassVar[str]
    remedy_zh: ClassVar[str]
    field: str | None = None


class InvalidParameter(GatewayError):
    """A field of the request is missing, malformed or out of range."""

    code = "1001"
    http_status = 400
    title_en = "Invalid parameter"
    title_zh = "参数错误"
    remedy_en = "Check the request parameters."
    remedy_zh = "检查请求参数"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class OrderConflict(InvalidParameter):
    """The order number is taken by a request with another body."""

    http_status = 409
    remedy_en = "Use a new out_trade_no, or repeat the first request unchanged."
    remedy_zh = "请更换商户订单号, 或原样重发首次请求"


class PayloadTooLarge(InvalidParameter):
    """The request body is larger than the gateway reads."""

    http_status = 413
    remedy_en = "Send a smaller request body."
    remedy_zh = "请缩小请求体"


class BadSignature(GatewayError):
    """The signature, the merchant, the timestamp or the freshness of a request is wrong.

    One answer for all of them, so that it can't be used to find out which merchants exist.
    """

    code = "1002"
    http_status = 401
    title_en = "Signature verification failed"
    title_zh = "签名验证失败"
    remedy_en = "Check the signature algorithm, the key and the clock."
    remedy_zh = "检查签名算法和密钥"


class OrderNotFound(GatewayError):
    """The merchant has no such order."""

    code = "1003"
    http_status = 404
    title_en = "Order not found"
    title_zh = "订单不存在"
    remedy_en = "Check the order number."
    remedy_zh = "检查订单号"

    def __init__(self, out_trade_no: str) -> None:
        super().__init__(f"no order {out_trade_no}")
        self.field = "out_trade_no"


class IllegalTransition(GatewayError):
    """The order's present status does not allow what was asked."""

    code = "1004"
    http_status = 409
    title_en = "Illegal order status"
    title_zh = "订单状态异常"
    remedy_en = "Query the order and act on its present status."
    remedy_zh = "检查订单状态"

    def __init__(self, status: str, target: str) -> None:
        super().__init__(f"an order in {status} cannot become {target}")
        self.status = status
        self.target = target


class IllegalRuleMove(IllegalTransition):
    """A rule can't go where it was sent: it only moves towards retirement, and stays there."""

    title_en = "The rule can't move there"
    title_zh = "规则状态不允许此操作"
    remedy_en = "Add a new version of the rule; a draft may be tried in shadow or go live."
    remedy_zh = "请新增规则版本; 草稿可先影子运行或直接上线"

    def __init__(self, label: str, state: str, target: str) -> None:
        GatewayError.__init__(self, f"{label} is {state} and cannot become {target}")
        self.status = state
        self.target = target


class IllegalMerchantMove(IllegalTransition):
    """A merchant's status does not allow what was asked."""

    title_en = "The merchant's status does not allow this"
    title_zh = "商户状态不允许此操作"
    remedy_en = "Read the merchant's present status and act on that."
    remedy_zh = "请查询商户当前状态后再操作"

    def __init__(self, status: str, target: str) -> None:
        GatewayError.__init__(self, f"a merchant in {status} cannot become {target}")
        self.status = status
        self.target = target


class InsufficientBalance(GatewayError):
    """What is asked for is more than what is there, such as a refund beyond what was paid."""

    code = "1005"
    http_status = 402
    title_en = "Insufficient balance"
    title_zh = "余额不足"
    remedy_en = "Lower the amount to what is still available."
    remedy_zh = "提示用户充值或降低金额"


class Busy(GatewayError):
    """The gateway or the channel can't answer now; nothing was lost, and a repeat is safe."""

    code = "1006"
    http_status = 503
    title_en = "System busy"
    title_zh = "系统繁忙"
    remedy_en = "Repeat the same request later."
    remedy_zh = "稍后重试"


class RateLimited(Busy):
    """The caller sends faster than it may; nothing was done.

    Attributes:
        retry_after_s: When the next request will be let in, in whole seconds from now.
    """

    http_status = 429
    title_en = "Too many requests"
    title_zh = "请求过于频繁"
    remedy_en = "Wait as long as Retry-After says, then repeat the same request."
    remedy_zh = "请按 Retry-After 等待后原样重试"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class RiskDeclined(GatewayError):
    """Risk control declined the payment; the order exists and is closed."""

    code = "1007"
    http_status = 403
    title_en = "Declined by risk control"
    title_zh = "交易存在风险, 已拦截"
    remedy_en = "Do not retry; contact support with the trade number."
    remedy_zh = "请勿重试, 可凭平台交易号联系客服"


class Unauthorized(GatewayError):
    """The caller of an operator's interface did not show who they are."""

    code = "1008"
    http_status = 401
    title_en = "Not signed in"
    title_zh = "未登录"
    remedy_en = "Send a valid operator token."
    remedy_zh = "请提供有效的操作员令牌"


class Forbidden(GatewayError):
    """The caller is known and may not do this."""

    code = "1008"
    http_status = 403
    title_en = "Not allowed"
    title_zh = "无权限"
    remedy_en = "Ask somebody with the required role."
    remedy_zh = "请联系有相应权限的人员"


class ObjectNotFound(GatewayError):
    """An operator named a thing that does not exist."""

    code = "1009"
    http_status = 404
    title_en = "Not found"
    title_zh = "对象不存在"
    remedy_en = "Check the identifier."
    remedy_zh = "检查标识"


class StaleVersion(GatewayError):
    """Somebody else changed the thing after it was read; nothing was written."""

    code = "1010"
    http_status = 409
    title_en = "Changed by somebody else"
    title_zh = "已被他人处理"
    remedy_en = "Load it again and decide on what it is now."
    remedy_zh = "请刷新后按最新状态处理"

    def __init__(self, object_id: str, stands: str, version: int, actor: str = "") -> None:
        by = f", last changed by {actor}" if actor else ""
        super().__init__(f"{object_id} is {stands} at version {version} now{by}")
        self.version = version
        self.actor = actor


class BillUnavailable(GatewayError):
    """A channel's bill could not be had or is damaged; nothing was compared."""

    code = "1011"
    http_status = 502
    title_en = "Bill unavailable"
    title_zh = "对账单不可用"
    remedy_en = "Try again later, or ask the channel for a new bill."
    remedy_zh = "请稍后重试, 或联系渠道重新出账"


ALL_ERRORS: tuple[type[GatewayError], ...] = (
    InvalidParameter,
    OrderConflict,
    PayloadTooLarge,
    BadSignature,
    OrderNotFound,
    IllegalTransition,
    IllegalRuleMove,
    IllegalMerchantMove,
    InsufficientBalance,
    Busy,
    RateLimited,
    RiskDeclined,
    Unauthorized,
    Forbidden,
    ObjectNotFound,
    StaleVersion,
    BillUnavailable,
)
