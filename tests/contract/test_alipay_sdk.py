"""`python-alipay-sdk`, unmodified, pays, asks, refunds and hears through the sandbox."""

import io
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from alipay import AliPay
from alipay.exceptions import AliPayException, AliPayValidationError

from gateway.clock import wall_clock_us
from gateway.recon.bills import read_bill
from gateway.recon.record import day_of
from gateway.sandbox.keys import Keys
from gateway.sandbox.protocols.registry import account
from tests.live_sandbox import LiveSandbox, live_sandbox

TODAY = day_of("alipay", wall_clock_us())


@pytest.fixture
def at(tmp_path: Path) -> Iterator[LiveSandbox]:
    with live_sandbox(tmp_path) as sandbox:
        yield sandbox


def client(at: LiveSandbox, **changes: str) -> Any:
    told = account("alipay", at.var, at.base_url)
    known = {
        "appid": told["app_id"],
        "app_notify_url": at.notify_url,
        "app_private_key_string": told["private_key"],
        "alipay_public_key_string": told["alipay_public_key"],
        "sign_type": "RSA2",
    }
    sdk = AliPay(**(known | changes))
    sdk._gateway = told["gateway_url"]
    return sdk


def notices(at: LiveSandbox, sdk: Any) -> list[dict[str, str]]:
    """What the merchant heard; the SDK must believe each."""
    read = []
    for _, body in at.heard:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
        sign = fields.pop("sign")
        assert sdk.verify(dict(fields), sign)
        read.append(fields)
    return read


def test_the_sdk_pays_by_a_page_asks_refunds_and_hears(at: LiveSandbox) -> None:
    sdk = client(at)
    link = sdk.api_alipay_trade_page_pay(
        subject="茶, biscuits {100%}", out_trade_no="T0000000001", total_amount="12.30"
    )
    unopened = sdk.api_alipay_trade_query("T0000000001")

    at.payer(f"{sdk._gateway}?{link}", action="pay")
    paid = sdk.api_alipay_trade_query(out_trade_no="T0000000001")
    at.wait(lambda: len(at.heard) == 1)
    part = sdk.api_alipay_trade_refund(
        out_trade_no="T0000000001", refund_amount="2.30", out_request_no="R0000000001"
    )
    again = sdk.api_alipay_trade_refund(
        out_trade_no="T0000000001", refund_amount="2.30", out_request_no="R0000000001"
    )
    known = sdk.api_alipay_trade_fastpay_refund_query("R0000000001", out_trade_no="T0000000001")
    beyond = sdk.api_alipay_trade_refund(
        out_trade_no="T0000000001", refund_amount="10.01", out_request_no="R0000000002"
    )
    at.wait(lambda: len(at.heard) == 2)

    assert unopened["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    assert (paid["code"], paid["trade_status"], paid["total_amount"]) == (
        "10000",
        "TRADE_SUCCESS",
        "12.30",
    )
    assert (part["fund_change"], part["refund_fee"]) == ("Y", "2.30")
    assert (again["fund_change"], again["refund_fee"]) == ("N", "2.30")
    assert known["refund_status"] == "REFUND_SUCCESS"
    assert (beyond["code"], beyond["sub_code"]) == ("40004", "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL")
    first, second = notices(at, sdk)
    assert (first["trade_status"], first["total_amount"]) == ("TRADE_SUCCESS", "12.30")
    assert "gmt_refund" not in first
    assert (second["out_biz_no"], second["refund_fee"]) == ("R0000000001", "2.30")
    assert first["notify_id"] != second["notify_id"]


def test_the_sdk_pays_by_a_code_and_closes_another(at: LiveSandbox) -> None:
    sdk = client(at)
    code = sdk.api_alipay_trade_precreate(
        subject="茶", out_trade_no="T0000000001", total_amount=0.1
    )["qr_code"]
    unscanned = sdk.api_alipay_trade_query(out_trade_no="T0000000001")
    at.payer(code, action="fail")
    waiting = sdk.api_alipay_trade_query(out_trade_no="T0000000001")
    closed = sdk.api_alipay_trade_close(out_trade_no="T0000000001")
    too_late = at.payer(code, action="pay")
    after = sdk.api_alipay_trade_query(out_trade_no="T0000000001")

    assert unscanned["sub_code"] == "ACQ.TRADE_NOT_EXIST"
    assert waiting["trade_status"] == "WAIT_BUYER_PAY"
    assert closed["code"] == "10000"
    assert too_late["http"] == 409
    assert after["trade_status"] == "TRADE_CLOSED"


def test_the_sdk_is_told_in_alipays_words_that_it_signs_wrongly(at: LiveSandbox) -> None:
    right = client(at)
    strangers_key = client(at, app_private_key_string=Keys(at.var).rsa_private_pem("stranger"))

    assert strangers_key.api_alipay_trade_query("T1")["sub_code"] == "isv.invalid-signature"
    with pytest.raises(AliPayException, match="invalid-app-id"):
        client(at, appid="2021999999999999").api_alipay_trade_query("T1")
    old = client(at, sign_type="RSA")
    with pytest.raises(AliPayValidationError):  # The refusal is signed with SHA256, never SHA1.
        old.api_alipay_trade_query("T1")
    assert right.api_alipay_trade_query("T1")["sub_code"] == "ACQ.TRADE_NOT_EXIST"


def test_the_sdk_finds_the_bill_and_reconciliation_reads_it(at: LiveSandbox) -> None:
    sdk = client(at)
    link = sdk.api_alipay_trade_page_pay(
        subject="茶, 一, 二", out_trade_no="T0000000001", total_amount="12.30"
    )
    at.payer(f"{sdk._gateway}?{link}", action="pay")

    answer = sdk.server_api(
        "alipay.data.dataservice.bill.downloadurl.query",
        {"bill_type": "trade", "bill_date": TODAY},
    )
    with urllib.request.urlopen(answer["bill_download_url"]) as response:  # noqa: S310 - loopback
        file = response.read()

    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        names = [name.encode("cp437").decode("gbk") for name in archive.namelist()]
    assert [name.rpartition("_")[2] for name in names] == ["业务明细.csv", "业务明细(汇总).csv"]
    (record,) = read_bill("alipay", TODAY, file).records
    assert (record.trade_no, record.amount_minor) == ("T0000000001", 12_30)
