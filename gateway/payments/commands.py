"""What a merchant asks for, once it is known to be well-formed: the verbs' only input.

A command holds money as minor units and a decoded risk context; no literal text of the wire is
left but the refund's amount, whose currency is the order's.
"""

from dataclasses import dataclass, field

from gateway.domain.money import parse_minor
from gateway.domain.order import PayType
from risk.transaction import EMPTY_CONTEXT, RiskContext


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateCommand:
    """Open an order.

    Attributes:
        merchant_id: Who sells.
        out_trade_no: The merchant's number, unique for it; the idempotency key.
        amount_minor: Positive, minor units of `currency`.
        currency: ISO 4217 code.
        subject: What is bought, for people.
        pay_type: The payment system asked for.
        notify_url: Where the merchant hears of the outcome.
        body: More about it; may be empty.
        return_url: Where the payer's browser goes afterwards; may be empty.
        risk_context: What the merchant knows about the payment.
        request_sha256: Digest of all that was said but timestamp, sign and sign_type: a repeat
            under the same number must have the same.
    """

    merchant_id: str
    out_trade_no: str
    amount_minor: int
    currency: str
    subject: str
    pay_type: PayType
    notify_url: str
    body: str = ""
    return_url: str = ""
    risk_context: RiskContext = EMPTY_CONTEXT
    request_sha256: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryCommand:
    """Ask where an order stands."""

    merchant_id: str
    out_trade_no: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundCommand:
    """Give a payment back, or a part of it.

    Attributes:
        merchant_id: Who gives back.
        out_trade_no: The merchant's number of the order.
        refund_amount: Literal text of a plain positive decimal in major units.
        refund_reason: Why, for people.
        out_refund_no: The idempotency key: the merchant's number of the refund or, without one,
            ``~`` and the digest of the whole signed request, so that a byte-identical repeat is
            the same refund and any other request is another.
        request_sha256: Digest of all that was said but timestamp, sign and sign_type.
        refund_account: Where the customer wants it, at channels that ask for that; may be empty.
    """

    merchant_id: str
    out_trade_no: str
    refund_amount: str
    refund_reason: str
    out_refund_no: str
    refund_account: str = ""
    request_sha256: bytes = field(default=b"", repr=False)

    def amount_minor(self, currency: str) -> int:
        """Return the amount in minor units of the order's `currency`.

        Raises:
            InvalidParameter: (1001) more decimals than the currency has, or beyond the limit.
        """
        return parse_minor(self.refund_amount, currency, field="refund_amount")
