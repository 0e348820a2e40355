"""Every error has its code, its HTTP form and a remedy in two languages."""

import re

import pytest

from gateway.domain import errors
from gateway.domain.errors import ALL_ERRORS, GatewayError

SPECIFIED = {
    "1001": "参数错误",
    "1002": "签名验证失败",
    "1003": "订单不存在",
    "1004": "订单状态异常",
    "1005": "余额不足",
    "1006": "系统繁忙",
}


def defined() -> set[type[GatewayError]]:
    found = {value for value in vars(errors).values() if isinstance(value, type)}
    return {kind for kind in found if issubclass(kind, GatewayError) and kind is not GatewayError}


def test_the_list_of_errors_is_complete() -> None:
    assert set(ALL_ERRORS) == defined()


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_an_error_speaks_both_languages(kind: type[GatewayError]) -> None:
    assert re.search("[\u4e00-\u9fff]", kind.title_zh)
    assert re.search("[\u4e00-\u9fff]", kind.remedy_zh)
    assert kind.title_en.isascii()
    assert kind.remedy_en.isascii()


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_an_error_has_a_code_and_an_http_status(kind: type[GatewayError]) -> None:
    assert re.fullmatch("10[0-9]{2}", kind.code)
    assert 400 <= kind.http_status < 600


@pytest.mark.parametrize(("code", "title_zh"), SPECIFIED.items())
def test_the_specified_codes_have_the_specified_titles(code: str, title_zh: str) -> None:
    assert title_zh in {kind.title_zh for kind in ALL_ERRORS if kind.code == code}


def test_the_table_in_the_docstring_is_the_truth() -> None:
    listed = re.findall(r"x (\w+) +(\d+) +(\d+)", errors.__doc__ or "")

    assert {(kind.__name__, kind.code, str(kind.http_status)) for kind in ALL_ERRORS} == set(listed)
