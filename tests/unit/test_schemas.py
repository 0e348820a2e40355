"""Parameters to commands: each field's rule, and the error that names it."""

import json
from collections.abc import Callable

import pytest

from gateway.domain.errors import BadSignature, InvalidParameter
from gateway.domain.order import PayType
from gateway.http.openapi import CREATE_REQUEST, QUERY_REQUEST, REFUND_REQUEST, Field, document
from gateway.http.schemas import (
    Params,
    check_fresh,
    read_create,
    read_envelope,
    read_query,
    read_refund,
)
from gateway.http.wire import Flag, Number, Value
from risk.transaction import EMPTY_CONTEXT

CREATE: Params = {
    "merchant_id": "M1",
    "out_trade_no": "N1",
    "total_amount": "12.30",
    "subject": "茶",
    "pay_type": "alipay",
    "notify_url": "https://shop.example/notify",
    "timestamp": "1700000000000",
    "sign": "0",
}
REFUND: Params = {
    "merchant_id": "M1",
    "out_trade_no": "N1",
    "refund_amount": "2.30",
    "refund_reason": "cold",
    "timestamp": "1700000000000",
    "sign": "0",
}
QUERY: Params = {"merchant_id": "M1", "out_trade_no": "N1", "timestamp": "1700000000", "sign": "0"}

STRINGS = (
    *("merchant_id", "out_trade_no", "subject", "pay_type", "notify_url", "return_url"),
    *("body", "currency", "risk_context"),
)


def field_refused(read: Callable[[Params], object], params: Params) -> str:
    with pytest.raises(InvalidParameter) as error:
        read(params)
    return error.value.field or ""


def test_a_create_request_becomes_a_command() -> None:
    command = read_create(CREATE)

    assert command.amount_minor == 1230
    assert command.currency == "CNY"
    assert command.pay_type is PayType.ALIPAY
    assert command.body == command.return_url == ""
    assert command.risk_context is EMPTY_CONTEXT


@pytest.mark.parametrize(
    ("read", "base", "name"),
    [(read_create, CREATE, n) for n in CREATE if n not in ("timestamp", "sign")]
    + [(read_refund, REFUND, n) for n in REFUND if n not in ("timestamp", "sign")]
    + [(read_query, QUERY, "out_trade_no"), (read_envelope, QUERY, "merchant_id")]
    + [(read_envelope, QUERY, "timestamp"), (read_envelope, QUERY, "sign")],
)
@pytest.mark.parametrize("absent", ["missing", "null", "empty"])
def test_a_required_field_is_named_when_absent(
    read: Callable[[Params], object], base: Params, name: str, absent: str
) -> None:
    params = {key: value for key, value in base.items() if key != name}
    if absent != "missing":
        params[name] = None if absent == "null" else ""

    assert field_refused(read, params) == name


@pytest.mark.parametrize("name", STRINGS)
@pytest.mark.parametrize("value", [Number("1"), Flag("true")])
def test_a_string_field_takes_no_other_type(name: str, value: Value) -> None:
    assert field_refused(read_create, CREATE | {name: value}) == name


def test_an_amount_may_be_a_number_or_a_string() -> None:
    assert read_create(CREATE | {"total_amount": Number("12.30")}).amount_minor == 1230
    assert field_refused(read_create, CREATE | {"total_amount": Flag("true")}) == "total_amount"
    assert field_refused(read_create, CREATE | {"total_amount": Number("1E2")}) == "total_amount"
    assert field_refused(read_create, CREATE | {"total_amount": "9" * 9000}) == "total_amount"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("merchant_id", "M 1"),
        ("merchant_id", "M" * 33),
        ("out_trade_no", "N/1"),
        ("total_amount", "-1"),
        ("total_amount", "1.234"),
        ("currency", "cny"),
        ("currency", "XYZ"),
        ("currency", "CNYX"),
        ("subject", "x" * 257),
        ("subject", "a\nb"),
        ("subject", "a\x00b"),
        ("subject", "a\u2028b"),
        ("body", "x" * 513),
        ("body", "a\x1bb"),
        ("pay_type", "Alipay"),
        ("pay_type", "cash"),
        ("notify_url", "shop.example"),
        ("notify_url", "http://127.0.0.1/n"),
        ("notify_url", "https://shop.example/" + "x" * 512),
        ("return_url", "javascript:alert(1)"),
        ("risk_context", "{"),
        ("risk_context", "[]"),
        ("risk_context", '{"payer": 1}'),
        ("risk_context", "[" * 10_000),
        ("risk_context", '{"x":' * 3_000),
        ("risk_context", '{"geo": {"lat": NaN}}'),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    assert field_refused(read_create, CREATE | {name: value}) == name


def test_ordinary_text_of_any_script_is_taken() -> None:
    subject = "红茶\u3000🍰 \u0634\u0627\u064a 👩\u200d🍳"

    assert read_create(CREATE | {"subject": subject, "body": "a\nb\tc"}).subject == subject


def test_sandbox_mode_allows_loopback() -> None:
    params = CREATE | {"notify_url": "http://127.0.0.1:9000/n"}

    assert read_create(params, sandbox_mode=True).notify_url.startswith("http://127")


def test_a_risk_context_is_read_and_a_mistyped_one_names_the_path() -> None:
    text = json.dumps({"payer": {"account_id": "u1"}, "geo": {"lat": 1}, "later": {"x": [1]}})
    context = read_create(CREATE | {"risk_context": text}).risk_context

    assert (context.payer.account_id, context.geo.lat, context.device.os) == ("u1", 1.0, None)
    with pytest.raises(InvalidParameter, match=r"\$\.payer\.kyc_level"):
        read_create(CREATE | {"risk_context": '{"payer": {"kyc_level": "2"}}'})


def test_a_repeat_says_the_same_at_another_time() -> None:
    first = read_create(CREATE)
    again = read_create(CREATE | {"timestamp": "1700000009", "sign": "1", "sign_type": "RSA2"})
    other = read_create(CREATE | {"subject": "水"})
    unknown = read_create(CREATE | {"colour": "red"})

    assert first.request_sha256 == again.request_sha256
    assert len({first.request_sha256, other.request_sha256, unknown.request_sha256}) == 3


def test_a_refund_without_a_number_is_known_by_its_bytes() -> None:
    first, again = read_refund(REFUND), read_refund(REFUND | {"sign": "other"})
    later = read_refund(REFUND | {"timestamp": "1700000000001"})

    assert first.out_refund_no == again.out_refund_no
    assert first.out_refund_no != later.out_refund_no
    assert first.out_refund_no.startswith("~")  # No merchant's own number can.
    assert read_refund(REFUND | {"out_refund_no": "R1"}).out_refund_no == "R1"
    assert field_refused(read_refund, REFUND | {"out_refund_no": "~1"}) == "out_refund_no"


def test_a_refunds_amount_waits_for_the_orders_currency() -> None:
    command = read_refund(REFUND | {"refund_amount": Number("2.30")})

    assert command.amount_minor("CNY") == 230
    with pytest.raises(InvalidParameter) as error:
        command.amount_minor("JPY")
    assert error.value.field == "refund_amount"
    assert field_refused(read_refund, REFUND | {"refund_amount": "-2.30"}) == "refund_amount"


@pytest.mark.parametrize("value", [Number("1700000000"), "1700000000", "1700000000000"])
def test_a_timestamp_is_seconds_or_milliseconds(value: str) -> None:
    assert read_envelope(QUERY | {"timestamp": value}).timestamp_ms == 1_700_000_000_000


@pytest.mark.parametrize(
    "value",
    ["170000000", "17000000000", "1.7e9", "-1700000000", "now", Flag("true"), "\uff11" * 10],
)
def test_any_other_timestamp_is_refused(value: str) -> None:
    assert field_refused(read_envelope, QUERY | {"timestamp": value}) == "timestamp"


@pytest.mark.parametrize("offset_ms", [-300_001, 300_001])
def test_a_timestamp_outside_the_window_is_refused(offset_ms: int) -> None:
    now_us = 1_700_000_000_000_000

    with pytest.raises(BadSignature):
        check_fresh(now_us // 1000 + offset_ms, now_us, 300)
    check_fresh(now_us // 1000 + (offset_ms > 0) * 600_000 - 300_000, now_us, 300)


@pytest.mark.parametrize(
    ("read", "base", "fields"),
    [
        (read_create, CREATE, CREATE_REQUEST),
        (read_query, QUERY, QUERY_REQUEST),
        (read_refund, REFUND, REFUND_REQUEST),
    ],
)
def test_the_openapi_document_requires_what_the_reader_requires(
    read: Callable[[Params], object], base: Params, fields: tuple[Field, ...]
) -> None:
    def refused_without(name: str) -> bool:
        rest = {key: value for key, value in base.items() if key != name}
        try:
            read_envelope(rest)
            read(rest)
        except InvalidParameter:
            return True
        return False

    assert {f.name for f in fields if f.required} == {
        f.name for f in fields if refused_without(f.name)
    }


def test_the_openapi_document_speaks_both_languages() -> None:
    for path in document().values():
        schema = path["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert all(" / " in line["description"] for line in schema["properties"].values())
