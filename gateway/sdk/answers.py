"""What the gateway answers, typed: amounts as Decimal in major units, words as the API's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Self


def _amount(answer: Mapping[str, str], name: str) -> Decimal:
    return Decimal(answer.get(name) or "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """An order as it was created.

    Attributes:
        trade_no: The gateway's number.
        out_trade_no: The merchant's number.
        pay_url: Send the payer there; empty while the order is held for review.
        prepay_id: WeChat's prepayment session, or empty.
        currency: ISO 4217 code.
        risk_outcome: ``APPROVE``, ``CHALLENGE`` or ``REVIEW`` (``DECLINE`` raises `Declined`).
        risk_reasons: Reason codes, strongest first.
        degraded: Empty, or the step of risk control that decided and why the full path did not,
            e.g. ``rules:deadline``.
        answer: All that was said, by name.
    """

    trade_no: str
    out_trade_no: str
    pay_url: str
    prepay_id: str
    currency: str
    risk_outcome: str
    risk_reasons: tuple[str, ...]
    degraded: str
    answer: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, answer: Mapping[str, str]) -> Self:
        """Read a verified answer to create."""
        return cls(
            trade_no=answer.get("trade_no", ""),
            out_trade_no=answer.get("out_trade_no", ""),
            pay_url=answer.get("pay_url", ""),
            prepay_id=answer.get("prepay_id", ""),
            currency=answer.get("currency", ""),
            risk_outcome=answer.get("risk_outcome", ""),
            risk_reasons=tuple(filter(None, answer.get("risk_reasons", "").split(","))),
            degraded=answer.get("degraded", ""),
            answer=answer,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderState:
    """An order as it stands.

    Attributes:
        trade_status: ``WAIT_PAY``, ``SUCCESS``, ``CLOSED`` or ``REFUND``.
        trade_no: The gateway's number.
        out_trade_no: The merchant's number.
        total_amount: What was asked for, major units.
        receipt_amount: What was received, major units; 0 if unpaid.
        currency: ISO 4217 code.
        pay_time: UTC, ISO 8601; empty if unpaid.
        refund_amount: Given back so far, major units.
        refund_status: ``NONE``, ``PARTIAL`` or ``FULL``.
        status_reason: Why it is held or closed, or empty.
        answer: All that was said, by name.
    """

    trade_status: str
    trade_no: str
    out_trade_no: str
    total_amount: Decimal
    receipt_amount: Decimal
    currency: str
    pay_time: str
    refund_amount: Decimal
    refund_status: str
    status_reason: str
    answer: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, answer: Mapping[str, str]) -> Self:
        """Read a verified answer to query."""
        return cls(
            trade_status=answer.get("trade_status", ""),
            trade_no=answer.get("trade_no", ""),
            out_trade_no=answer.get("out_trade_no", ""),
            total_amount=_amount(answer, "total_amount"),
            receipt_amount=_amount(answer, "receipt_amount"),
            currency=answer.get("currency", ""),
            pay_time=answer.get("pay_time", ""),
            refund_amount=_amount(answer, "refund_amount"),
            refund_status=answer.get("refund_status", ""),
            status_reason=answer.get("status_reason", ""),
            answer=answer,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """A refund as it stands.

    Attributes:
        refund_no: The gateway's number.
        out_refund_no: The merchant's number; give it again to repeat the call.
        out_trade_no: The order.
        refund_status: ``SUCCESS``, ``PROCESSING`` or ``FAIL``.
        refund_amount: Of this refund, major units.
        answer: All that was said, by name.
    """

    refund_no: str
    out_refund_no: str
    out_trade_no: str
    refund_status: str
    refund_amount: Decimal
    answer: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, answer: Mapping[str, str], out_refund_no: str) -> Self:
        """Read a verified answer to refund."""
        return cls(
            refund_no=answer.get("refund_no", ""),
            out_refund_no=out_refund_no,
            out_trade_no=answer.get("out_trade_no", ""),
            refund_status=answer.get("refund_status", ""),
            refund_amount=_amount(answer, "refund_amount"),
            answer=answer,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A verified notification. It may come twice: act once per `event_id`.

    Attributes:
        event_id: The same for every repeat of one event.
        trade_status: ``SUCCESS``, ``REFUND`` or ``CLOSED``.
        trade_no: The gateway's number.
        out_trade_no: The merchant's number: look the order up and compare the amount.
        total_amount: What was asked for, major units.
        receipt_amount: What was received, major units.
        currency: ISO 4217 code.
        pay_time: UTC, ISO 8601; empty if unpaid.
        refund_amount: Given back so far, major units.
        refund_status: ``NONE``, ``PARTIAL`` or ``FULL``.
        params: All that was said, by name.
    """

    event_id: str
    trade_status: str
    trade_no: str
    out_trade_no: str
    total_amount: Decimal
    receipt_amount: Decimal
    currency: str
    pay_time: str
    refund_amount: Decimal
    refund_status: str
    params: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, params: Mapping[str, str]) -> Self:
        """Read verified parameters."""
        return cls(
            event_id=params.get("event_id", ""),
            trade_status=params.get("trade_status", ""),
            trade_no=params.get("trade_no", ""),
            out_trade_no=params.get("out_trade_no", ""),
            total_amount=_amount(params, "total_amount"),
            receipt_amount=_amount(params, "receipt_amount"),
            currency=params.get("currency", ""),
            pay_time=params.get("pay_time", ""),
            refund_amount=_amount(params, "refund_amount"),
            refund_status=params.get("refund_status", ""),
            params=params,
        )
