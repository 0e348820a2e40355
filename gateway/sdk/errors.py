"""What can go wrong for a merchant, as one tree: catch the leaf you can act on.

* YumenError
  x Refused               the gateway said no; `code`, `remedy` and `field` say why
    x InvalidParameter    1001
    x SignatureRefused    1002
    x OrderNotFound       1003
    x IllegalStatus       1004
    x InsufficientBalance 1005
    x Busy                1006, repeat the same request later
    x Declined            1007, `trade_no` names the closed order
    x Forbidden           1008
  x OutcomeUnknown        no answer came; repeat the same call, it is idempotent
  x NotAuthentic          a message is not signed by the gateway: believe nothing in it
"""

from collections.abc import Mapping


class YumenError(Exception):
    """Base of all errors of this client."""


class Refused(YumenError):
    """The gateway refused the request.

    Attributes:
        code: The gateway's error code, e.g. ``1004``.
        remedy: What to do, in Chinese and English.
        field: The parameter at fault, or empty.
        http_status: Of the answer.
        verified: Whether the refusal is signed by the gateway. A refusal of an unknown sender
            can't be: it tells of a wrong key or merchant id.
        answer: All that the gateway said, by name.
    """

    def __init__(self, answer: Mapping[str, str], http_status: int, *, verified: bool) -> None:
        self.code = answer.get("error_code", "")
        self.remedy = answer.get("remedy", "")
        self.field = answer.get("field", "")
        self.http_status = http_status
        self.verified = verified
        self.answer = dict(answer)
        super().__init__(f"{self.code} {answer.get('msg', '')} ({self.remedy})")


class InvalidParameter(Refused):
    """1001: a parameter is missing or wrong; `field` names it."""


class SignatureRefused(Refused):
    """1002: key, algorithm, merchant id or clock is wrong."""


class OrderNotFound(Refused):
    """1003: the merchant has no such order."""


class IllegalStatus(Refused):
    """1004: the order's status does not allow this."""


class InsufficientBalance(Refused):
    """1005: more than is left of the payment."""


class Busy(Refused):
    """1006: nothing is lost; repeat the same request later."""


class Declined(Refused):
    """1007: risk control declined the payment."""

    @property
    def trade_no(self) -> str:
        """The gateway's number of the closed order."""
        return self.answer.get("trade_no", "")

    @property
    def risk_reasons(self) -> tuple[str, ...]:
        """Reason codes, strongest first."""
        return tuple(filter(None, self.answer.get("risk_reasons", "").split(",")))


class Forbidden(Refused):
    """1008: the merchant may not do this now."""


class OutcomeUnknown(YumenError):
    """No answer came, so nobody here knows what happened. Repeating the same call is safe.

    Attributes:
        params: What was sent, without timestamp and sign; a refund's `out_refund_no` is in it and
            must be given again.
    """

    def __init__(self, message: str, params: Mapping[str, str]) -> None:
        super().__init__(message)
        self.params = dict(params)


class NotAuthentic(YumenError):
    """A message is malformed, stale, for somebody else or not signed by the gateway."""


BY_CODE: dict[str, type[Refused]] = {
    "1001": InvalidParameter,
    "1002": SignatureRefused,
    "1003": OrderNotFound,
    "1004": IllegalStatus,
    "1005": InsufficientBalance,
    "1006": Busy,
    "1007": Declined,
    "1008": Forbidden,
}
