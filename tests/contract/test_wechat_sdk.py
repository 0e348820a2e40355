"""`wechatpayv3`, unmodified, pays, refunds and hears through the sandbox, in both key modes."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.responses import Response
from wechatpayv3 import WeChatPay, WeChatPayType

from gateway.clock import wall_clock_us
from gateway.recon.bills import read_bill
from gateway.recon.record import day_of
from gateway.sandbox.certificates import certificate, pem_of
from gateway.sandbox.keys import Keys
from gateway.sandbox.protocols.registry import account, keys_in
from tests.live_sandbox import LiveSandbox, live_sandbox

TODAY = day_of("wechat", wall_clock_us())


@pytest.fixture(params=["public key", "platform certificate"])
def at(tmp_path: Path) -> Iterator[LiveSandbox]:
    with live_sandbox(tmp_path) as sandbox:
        sandbox.answer = Response(status_code=204)
        yield sandbox


@pytest.fixture
def sdk(at: LiveSandbox, request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return client(at, tmp_path, by_public_key="public key" in request.node.name)


def client(at: LiveSandbox, folder: Path, *, by_public_key: bool, **changes: str) -> Any:
    told = account("wechat", at.var, at.base_url)
    known: dict[str, Any] = {
        "wechatpay_type": WeChatPayType.NATIVE,
        "mchid": told["mch_id"],
        "private_key": told["private_key"],
        "cert_serial_no": told["serial_no"],
        "apiv3_key": told["apiv3_key"],
        "appid": told["app_id"],
        "notify_url": at.notify_url,
    }
    if by_public_key:
        known["public_key"] = told["wechatpay_public_key"]
        known["public_key_id"] = told["wechatpay_public_key_id"]
    else:  # A certificate in the folder spares the constructor a call to the real address.
        platform = certificate(keys_in(at.var), "wechat.platform", "Tenpay.com sign (sandbox)")
        (folder / "certs").mkdir(exist_ok=True)
        (folder / "certs" / "known.pem").write_text(pem_of(platform))
        known["cert_dir"] = str(folder / "certs")
    made = WeChatPay(**(known | changes))
    made._core._gate_way = told["base_url"]
    return made


def test_the_sdk_pays_asks_refunds_and_hears(at: LiveSandbox, sdk: Any) -> None:
    code, opened = sdk.pay(
        description="茶, biscuits", out_trade_no="T0000000001", amount={"total": 12_30}
    )
    assert code == 200, opened
    assert json.loads(sdk.query(out_trade_no="T0000000001")[1])["trade_state"] == "NOTPAY"

    at.payer(json.loads(opened)["code_url"], action="pay")
    paid = json.loads(sdk.query(out_trade_no="T0000000001")[1])
    by_id = json.loads(sdk.query(transaction_id=paid["transaction_id"])[1])
    at.wait(lambda: len(at.heard) == 1)
    part = {"total": 12_30, "refund": 2_30, "currency": "CNY"}
    made = sdk.refund(out_trade_no="T0000000001", out_refund_no="R0000000001", amount=part)
    again = sdk.refund(out_trade_no="T0000000001", out_refund_no="R0000000001", amount=part)
    known = json.loads(sdk.query_refund(out_refund_no="R0000000001")[1])
    beyond = sdk.refund(
        out_trade_no="T0000000001",
        out_refund_no="R0000000002",
        amount=part | {"refund": 10_01},
    )
    at.wait(lambda: len(at.heard) == 2)
    after = json.loads(sdk.query(out_trade_no="T0000000001")[1])

    assert (paid["trade_state"], paid["amount"]["total"]) == ("SUCCESS", 12_30)
    assert by_id == paid
    assert (made[0], json.loads(made[1])["status"]) == (200, "PROCESSING")
    assert json.loads(again[1])["refund_id"] == json.loads(made[1])["refund_id"]
    assert (known["status"], known["amount"]["refund"]) == ("SUCCESS", 2_30)
    assert (beyond[0], json.loads(beyond[1])["code"]) == (400, "INVALID_REQUEST")
    assert after["trade_state"] == "REFUND"
    notices = [sdk.callback(headers, body) for headers, body in at.heard]
    assert [each["event_type"] for each in notices] == ["TRANSACTION.SUCCESS", "REFUND.SUCCESS"]
    assert notices[0]["resource"]["out_trade_no"] == "T0000000001"
    assert notices[1]["resource"]["amount"]["refund"] == 2_30
    headers, body = at.heard[0]
    assert sdk.callback(headers | {"wechatpay-nonce": "other"}, body) is None


def test_the_sdk_closes_and_cannot_close_what_is_paid(at: LiveSandbox, sdk: Any) -> None:
    opened = json.loads(
        sdk.pay(description="茶", out_trade_no="T0000000001", amount={"total": 1})[1]
    )
    closed = sdk.close("T0000000001")
    too_late = at.payer(opened["code_url"], action="pay")
    other = sdk.pay(
        description="茶",
        out_trade_no="T0000000002",
        amount={"total": 1},
        payer={"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
        pay_type=WeChatPayType.JSAPI,
    )
    at.payer(json.loads(other[1])["prepay_id"], action="pay")

    assert closed[0] == 204
    assert too_late["http"] == 409
    assert json.loads(sdk.close("T0000000002")[1])["code"] == "ORDERPAID"
    assert json.loads(sdk.close("T0000000003")[1])["code"] == "ORDER_NOT_EXIST"
    assert json.loads(sdk.close("T0000000001")[1])["code"] == "ORDER_CLOSED"


def test_the_sdk_learns_the_platforms_certificates(at: LiveSandbox, sdk: Any) -> None:
    sdk._core._update_certificates()
    assert len(sdk._core._certificates) == 1


def test_the_sdk_is_told_that_it_signs_wrongly(at: LiveSandbox, tmp_path: Path) -> None:
    stranger = Keys(tmp_path / "stranger").rsa_private_pem("stranger")
    for change in ({"private_key": stranger}, {"cert_serial_no": "1A"}, {"mchid": "1900000000"}):
        code, said = client(at, tmp_path, by_public_key=True, **change).query(
            out_trade_no="T0000000001"
        )
        assert (code, json.loads(said)["code"]) == (401, "SIGN_ERROR"), change


def test_the_sdk_downloads_the_bill_and_reconciliation_reads_it(at: LiveSandbox, sdk: Any) -> None:
    opened = sdk.pay(description="茶,`二", out_trade_no="T0000000001", amount={"total": 12_30})
    at.payer(json.loads(opened[1])["code_url"], action="pay")

    told = json.loads(sdk.trade_bill(TODAY, tar_type="GZIP")[1])
    below = urlsplit(told["download_url"].removeprefix(at.base_url))
    code, file = sdk._core.request(f"{below.path}?{below.query}", skip_verify=True)

    assert (code, file[:2]) == (200, b"\x1f\x8b")
    assert gzip.decompress(file).startswith(b"\xef\xbb\xbf")
    (record,) = read_bill("wechat", TODAY, file).records
    assert (record.trade_no, record.amount_minor) == ("T0000000001", 12_30)
