"""Bytes to parameters: literal text kept, ambiguity refused by name."""

import json

import pytest

from gateway.domain.errors import InvalidParameter
from gateway.http.wire import Flag, Number, Value, parse

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def refused(body: bytes, content_type: str = JSON) -> str:
    with pytest.raises(InvalidParameter) as error:
        parse(content_type, body)
    return error.value.field or ""


def test_numbers_keep_their_own_digits() -> None:
    params = parse(JSON, b'{"a": 10.00, "b": 1E5, "c": -0, "d": 123456789012345678901234567890}')

    assert params == {"a": "10.00", "b": "1E5", "c": "-0", "d": "123456789012345678901234567890"}
    assert {type(value) for value in params.values()} == {Number}


def test_every_kind_of_value_is_told_apart() -> None:
    params = parse(JSON, b'{"text": "1", "number": 1, "yes": true, "no": false, "null": null}')

    kinds: dict[str, type[Value]] = {name: type(value) for name, value in params.items()}
    assert kinds == {
        "text": str,
        "number": Number,
        "yes": Flag,
        "no": Flag,
        "null": type(None),
    }
    assert (params["yes"], params["no"]) == ("true", "false")


def test_a_form_gives_the_same_parameters_as_json() -> None:
    form = b"subject=%E8%8C%B6+%26+cake&total_amount=10.00&body="

    assert parse(FORM + "; charset=UTF-8", form) == parse(
        JSON, '{"subject": "茶 & cake", "total_amount": "10.00", "body": ""}'.encode()
    )


def test_no_content_type_means_json() -> None:
    assert parse("", b'{"a": "1"}') == {"a": "1"}


def test_escapes_and_whole_surrogate_pairs_are_read() -> None:
    assert parse(JSON, b'{"a": "\\ud83c\\udf70\\u8336"}') == {"a": "\U0001f370茶"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b"{",
        b'{"a": }',
        b'{"a": "1",}',
        b"{'a': '1'}",
        b'{"a": "1"} {}',
        b'{"a": 01}',
        b'{"a": +1}',
        b'{"a": "line\nbreak"}',
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        b'{"": "1"}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
    ],
)
def test_what_is_not_a_json_object_in_utf8_is_refused(body: bytes) -> None:
    assert refused(body) == "body"


@pytest.mark.parametrize("value", [b"{}", b"[]", b'{"b": 1}', b"[1, 2]", b'[{"b": "c"}]'])
def test_nested_values_are_refused_by_name(value: bytes) -> None:
    assert refused(b'{"risk_context": ' + value + b"}") == "risk_context"


def test_duplicate_names_are_refused_in_both_forms() -> None:
    assert refused(b'{"total_amount": "1", "a": "2", "total_amount": "1"}') == "total_amount"
    assert refused(b"total_amount=1&a=2&total_amount=1", FORM) == "total_amount"


def test_a_name_escaped_is_the_same_name() -> None:
    assert refused(b'{"total_amount": "1", "total\\u005famount": "2"}') == "total_amount"


def test_half_a_surrogate_pair_is_refused() -> None:
    assert refused(b'{"subject": "\\ud800"}') == "subject"
    assert refused(b'{"\\udfff": "1"}') == "\\udfff"


def test_too_much_is_refused() -> None:
    many = {f"p{index}": "1" for index in range(65)}

    assert refused(json.dumps(many).encode()) == "body"
    assert refused("&".join(f"{name}=1" for name in many).encode(), FORM) == "body"
    assert refused(json.dumps({"n" * 65: "1"}).encode()) == "body"
    assert refused(json.dumps({"subject": "x" * 16_385}).encode()) == "subject"
    assert (
        len(parse(JSON, json.dumps({"subject": "x" * 16_384}).encode())["subject"] or "") == 16_384
    )
    assert len(parse(JSON, json.dumps(dict(list(many.items())[:64])).encode())) == 64


@pytest.mark.parametrize("body", [b"a", b"a=1&&b=2", b"a=%ff", b"\xff=1", b"%ff=1", b"=1"])
def test_a_broken_form_is_refused(body: bytes) -> None:
    assert refused(body, FORM) == "body"


def test_only_an_ampersand_separates_a_form() -> None:
    assert parse(FORM, b"a=1;b=2") == {"a": "1;b=2"}
    assert parse(FORM, b"") == {}


def test_json_sent_as_a_form_says_so() -> None:
    with pytest.raises(InvalidParameter, match="application/json for a JSON body"):
        parse(FORM, b'{"a": "1"}')


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", "application/jsonx", "a;b"]
)
def test_other_content_types_are_refused(content_type: str) -> None:
    assert refused(b"{}", content_type) == "content_type"


def test_another_charset_is_refused() -> None:
    assert refused(b"{}", "application/json; charset=gbk") == "content_type"
    assert parse('application/JSON ; charset="UTF-8"', b"{}") == {}


def test_a_value_that_could_be_read_as_two_parameters_is_refused() -> None:
    assert refused(b'{"subject": "tea&total_amount=0.01"}') == "subject"
    assert refused(b'{"subject": "tea\\u0026total_amount=0.01"}') == "subject"
    assert refused(b"subject=tea%26currency=JPY", FORM) == "subject"
    assert refused(b'{"a&total_amount": "1"}') == "a&total_amount"
    assert refused(b'{"a=1": "1"}') == "a=1"


def test_an_ordinary_ampersand_is_no_offence() -> None:
    url = "https://shop.example/n?a=1&b=2"

    assert parse(JSON, json.dumps({"notify_url": url}).encode())["notify_url"] == url
