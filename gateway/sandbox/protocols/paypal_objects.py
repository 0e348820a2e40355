"""PayPal's objects as the sandbox writes them, its requests as it reads them, its certificates.

Written from developer.paypal.com/docs/api; the adapter on the other side shares no code with it.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.domain.money import AMOUNT_MINOR_MAX, MINOR_DIGITS, to_major
from gateway.sandbox.bill import BillRow
from gateway.sandbox.keys import Keys
from gateway.sandbox.trades import Refund, RefundStatus, Trade, TradeStatus

CERTIFICATE_NAME: Final = "messageverificationcerts.paypal.com"
_WITHOUT_DECIMALS: Final = frozenset({"HUF", "JPY", "TWD"})
_TAKEN: Final = frozenset(
    {
        *("AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "ILS"),
        *("JPY", "MXN", "MYR", "NOK", "NZD", "PHP", "PLN", "SEK", "SGD", "THB", "TWD", "USD"),
    }
)
_VALUE: Final = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]{1,2})?", re.ASCII)


class Problem(Exception):
    """Why a request is refused, as PayPal writes it."""

    def __init__(
        self, http_status: int, name: str, issue: str, description: str, field: str = ""
    ) -> None:
        super().__init__(f"{issue}: {description}")
        self.http_status = http_status
        detail = {"issue": issue, "description": description}
        if field:
            detail |= {"field": field, "location": "body"}
        self.body = {
            "name": name,
            "message": "The requested action could not be performed.",
            "details": [detail],
            "links": [],
        }


def invalid(field: str, issue: str = "INVALID_PARAMETER_VALUE") -> Problem:
    """Refuse a field for how it is written."""
    return Problem(400, "INVALID_REQUEST", issue, "The value of a field is invalid.", field)


def unprocessable(issue: str, description: str) -> Problem:
    """Refuse a request for what it asks."""
    return Problem(422, "UNPROCESSABLE_ENTITY", issue, description)


def not_found() -> Problem:
    """Say that there is no such resource."""
    issue = "INVALID_RESOURCE_ID"
    return Problem(404, "RESOURCE_NOT_FOUND", issue, "The specified resource does not exist.")


def part(body: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return an object within another."""
    value = body.get(name)
    if not isinstance(value, dict):
        raise invalid(f"/{name}", "MISSING_REQUIRED_PARAMETER")
    return value


def text(body: Mapping[str, object], name: str, length_max: int, default: str = "") -> str:
    """Return a text that isn't too long."""
    value = body.get(name, default)
    if not isinstance(value, str) or len(value) > length_max:
        raise invalid(f"/{name}", "INVALID_STRING_LENGTH")
    return value


def amount_of(body: Mapping[str, object]) -> tuple[int, str]:
    """Read an amount; return minor units and currency."""
    amount = part(body, "amount")
    currency, value = text(amount, "currency_code", 3), text(amount, "value", 32)
    if currency not in _TAKEN:
        raise unprocessable("CURRENCY_NOT_SUPPORTED", "Currency code is not supported.")
    if _VALUE.fullmatch(value) is None:
        raise invalid("/amount/value", "INVALID_STRING_FORMAT")
    whole, _, fraction = value.partition(".")
    if fraction and currency in _WITHOUT_DECIMALS:
        raise unprocessable("DECIMALS_NOT_SUPPORTED", "Currency does not support decimals.")
    amount_minor = int(whole + fraction.ljust(MINOR_DIGITS[currency], "0"))
    if not 0 < amount_minor <= AMOUNT_MINOR_MAX:
        raise unprocessable("CANNOT_BE_ZERO_OR_NEGATIVE", "Must be greater than zero.")
    return amount_minor, currency


def money(amount_minor: int, currency: str) -> dict[str, str]:
    """Write an amount."""
    major = to_major(amount_minor, currency)
    value = str(int(major)) if currency in _WITHOUT_DECIMALS else str(major)
    return {"currency_code": currency, "value": value}


def when(at_us: int) -> str:
    """Write a time of an order."""
    return f"{datetime.fromtimestamp(at_us // 1_000_000, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"


def order_object(trade: Trade, refunds: list[Refund], payer_url: str) -> object:
    """Write an order with what was captured and given back."""
    kept = json.loads(trade.extra)
    status = "PAYER_ACTION_REQUIRED"
    if kept.get("approved"):
        status = "APPROVED"
    if trade.status is TradeStatus.PAID:
        status = "COMPLETED"
    unit: dict[str, object] = {
        "reference_id": "default",
        "amount": money(trade.amount_minor, trade.currency),
        "custom_id": kept["custom_id"],
        "invoice_id": kept["invoice_id"],
        "description": trade.subject,
    }
    if trade.status is TradeStatus.PAID:
        unit["payments"] = {
            "captures": [capture_object(trade)],
            "refunds": [refund_object(refund) for refund in refunds],
        }
    here = f"{kept['api_url']}/v2/checkout/orders/{trade.channel_trade_no}"
    self_link = {"href": here, "rel": "self", "method": "GET"}
    order: dict[str, object] = {
        "id": trade.channel_trade_no,
        "intent": "CAPTURE",
        "status": status,
        "purchase_units": [unit],
        "create_time": when(trade.opened_at_us),
        "links": [self_link],
    }
    if status == "PAYER_ACTION_REQUIRED":
        order["links"] = [self_link, {"href": payer_url, "rel": "payer-action", "method": "GET"}]
    else:
        order["update_time"] = kept["approved"]
    return order


def capture_object(trade: Trade) -> dict[str, object]:
    """Write the capture of an order."""
    kept = json.loads(trade.extra)
    part_back = "PARTIALLY_REFUNDED" if trade.refunded_minor else "COMPLETED"
    is_back = trade.refunded_minor == trade.amount_minor
    return {
        "id": f"CAP{trade.channel_trade_no}",
        "status": "REFUNDED" if is_back else part_back,
        "amount": money(trade.amount_minor, trade.currency),
        "final_capture": True,
        "custom_id": kept["custom_id"],
        "invoice_id": kept["invoice_id"],
        "supplementary_data": {"related_ids": {"order_id": trade.channel_trade_no}},
        "create_time": when(trade.paid_at_us or 0),
        "update_time": when(trade.paid_at_us or 0),
    }


_REFUND_WORDS: Final = {
    RefundStatus.PROCESSING: "PENDING",
    RefundStatus.REFUNDED: "COMPLETED",
    RefundStatus.FAILED: "FAILED",
}


def refund_object(refund: Refund) -> dict[str, object]:
    """Write a refund."""
    return {
        "id": refund.channel_refund_no,
        "status": _REFUND_WORDS[refund.status],
        "amount": money(refund.amount_minor, refund.trade.currency),
        **json.loads(refund.extra),
        "create_time": when(refund.created_at_us),
        "update_time": when(refund.refunded_at_us or refund.created_at_us),
    }


def transaction(row: BillRow) -> dict[str, object]:
    """Write a row of the report."""
    kept, is_pay = json.loads(row.extra), row.kind == "PAY"
    at = datetime.fromtimestamp(row.at_us // 1_000_000, tz=UTC)
    amount = money(row.amount_minor, row.currency)
    if not is_pay:
        amount["value"] = f"-{amount['value']}"
    info: dict[str, object] = {
        "transaction_id": f"CAP{row.channel_trade_no}" if is_pay else row.channel_refund_no,
        "transaction_event_code": "T0006" if is_pay else "T1107",
        "transaction_initiation_date": f"{at:%Y-%m-%dT%H:%M:%S}+0000",
        "transaction_updated_date": f"{at:%Y-%m-%dT%H:%M:%S}+0000",
        "transaction_amount": amount,
        "transaction_status": "S",
        "transaction_subject": row.subject,
        "invoice_id": kept["invoice_id"],
        "custom_field": kept["custom_id"],
        "protection_eligibility": "01",
    }
    if not is_pay:
        info |= {
            "paypal_reference_id": f"CAP{row.channel_trade_no}",
            "paypal_reference_id_type": "TXN",
        }
    return {"transaction_info": info}


# The certificates that webhooks are signed under.


def root_pem(keys: Keys) -> bytes:
    """Return the root that the sandbox's webhook certificate leads to."""
    return keys.kept("paypal.root.crt", lambda: _root(keys).public_bytes(Encoding.PEM))


def chain_pem(keys: Keys) -> bytes:
    """Return the webhook certificate and its root, as the certificate's address serves them."""
    return keys.kept("paypal.webhook.crt", lambda: _leaf_pem(keys)) + root_pem(keys)


def _root(keys: Keys) -> x509.Certificate:
    key = keys.rsa("paypal.root")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Sandbox Root CA")])
    usage = {"key_cert_sign": True, "crl_sign": True, "digital_signature": False}
    return (
        _certificate(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(usage), critical=True)
        .sign(key, SHA256())
    )


def _leaf_pem(keys: Keys) -> bytes:
    root = x509.load_pem_x509_certificate(root_pem(keys))
    key = keys.rsa("paypal.webhook")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CERTIFICATE_NAME)])
    usage = {"key_cert_sign": False, "crl_sign": False, "digital_signature": True}
    issuer_key = keys.rsa("paypal.root")
    leaf = (
        _certificate(name, root.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(CERTIFICATE_NAME)]), critical=False
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, SHA256())
    )
    return leaf.public_bytes(Encoding.PEM)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: RSAPrivateKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2049, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(of: Mapping[str, bool]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=of["digital_signature"],
        key_cert_sign=of["key_cert_sign"],
        crl_sign=of["crl_sign"],
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
