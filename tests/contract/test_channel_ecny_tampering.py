"""Whatever was changed on its way between gateway and bank is refused, in both directions."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest

from gateway.channels.base import ChannelProtocolError, Notice, Outcome
from gateway.channels.registry import ADAPTERS
from gateway.recon.bills import BillRefused, read_bill
from gateway.sandbox.protocols.ecny import Ecny
from tests.contract.channel_world import World, run
from tests.contract.ecny_world import DAY, FINE, answering
from tests.sandbox_world import TIMEOUT_S


async def notification(at: World) -> dict[str, str]:
    """A payment's notification as the bank would send it."""
    ecny = at.sandbox.protocols["ecny"]
    assert isinstance(ecny, Ecny)
    content = {
        "merId": at.told["merchant_no"],
        "orderId": "T0000000001",
        "cmbOrderId": "SB1",
        "txnAmt": "1230",
        "currencyCode": "156",
        "payType": "EC",
    }
    return ecny.bank.notification(json.dumps(content), valid=True)


def changed_content(name: str, value: str) -> Callable[[dict[str, str]], dict[str, str]]:
    def change(message: dict[str, str]) -> dict[str, str]:
        content = json.loads(message["biz_content"]) | {name: value}
        return message | {"biz_content": json.dumps(content)}

    return change


@pytest.mark.parametrize(
    "change",
    [
        changed_content("txnAmt", "1"),
        changed_content("orderId", "T0000000002"),
        lambda message: message | {"version": "0.0.2"},
        lambda message: message | {"signMethod": "01"},
        lambda message: message | {"more": "1"},
        lambda message: {name: text for name, text in message.items() if name != "sign"},
        lambda message: message | {"sign": message["sign"][:-4] + "AAA="},
        lambda message: message | {"sign": "§"},
    ],
)
def test_a_changed_notification_is_refused(
    change: Callable[[dict[str, str]], dict[str, str]], tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        good = await notification(at)
        for message, fine in ((good, True), (change(good), False)):
            notice = Notice(headers={}, body=urlencode(message).encode())
            if fine:
                fact = await at.channel.read_notification(notice, timeout_s=TIMEOUT_S)
                assert (fact.outcome, fact.amount_minor) == (Outcome.PAID, 12_30)
            else:
                with pytest.raises(ChannelProtocolError):
                    await at.channel.read_notification(notice, timeout_s=TIMEOUT_S)

    run("ecny", tmp_path, play)


@pytest.mark.parametrize(
    "content",
    [
        {"merId": "308999170120XXX"},
        {"currencyCode": "840"},
        {"payType": "ZF"},
        {"txnAmt": "12.3"},
        {"txnAmt": "١٢"},
        {"cmbOrderId": ""},
        {"orderId": ""},
    ],
)
def test_a_well_signed_notification_of_something_else_is_refused(
    content: dict[str, str], tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        good = json.loads((await notification(at))["biz_content"])
        ecny: Any = at.sandbox.protocols["ecny"]
        message = ecny.bank.notification(json.dumps(good | content), valid=True)
        notice = Notice(headers={}, body=urlencode(message).encode())

        with pytest.raises(ChannelProtocolError):
            await at.channel.read_notification(notice, timeout_s=TIMEOUT_S)

    run("ecny", tmp_path, play)


def test_a_signature_of_another_method_is_refused_even_if_it_fits(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        ecny: Any = at.sandbox.protocols["ecny"]
        message = ecny.bank.signed(await notification(at) | {"signMethod": "01"})
        notice = Notice(headers={}, body=urlencode(message).encode())

        with pytest.raises(ChannelProtocolError, match="method"):
            await at.channel.read_notification(notice, timeout_s=TIMEOUT_S)

    run("ecny", tmp_path, play)


def test_a_field_that_stands_twice_is_refused(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        message = await notification(at)
        body = urlencode([*message.items(), ("biz_content", message["biz_content"])])

        assert parse_qsl(body)
        with pytest.raises(ChannelProtocolError, match="twice"):
            await at.channel.read_notification(
                Notice(headers={}, body=body.encode()), timeout_s=TIMEOUT_S
            )

    run("ecny", tmp_path, play)


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ({"returnCode": "FAIL", "errCode": "SIGN_ERROR"}, None),
        ({"returnCode": "SUCCESS"}, None),
        (FINE, {"orderId": "T0000000002", "tradeState": "S"}),
        (FINE, {"orderId": "T0000000001", "tradeState": "S", "currencyCode": "840"}),
        (FINE, {"orderId": "T0000000001", "currencyCode": "156", "tradeState": "X"}),
        (FINE, {"merId": "1", "orderId": "T0000000001"}),
        (FINE, None),
    ],
)
def test_a_well_signed_answer_to_something_else_is_refused(
    fields: dict[str, str], content: dict[str, str] | None, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        channel = answering(at, fields, content)

        with pytest.raises(ChannelProtocolError):
            await channel.query(at.trade_of(at.request()), timeout_s=TIMEOUT_S)

    run("ecny", tmp_path, play)


@pytest.mark.parametrize(
    ("old", "new"), [(b'"P', b'"S'), (b"1230", b"1231"), (b"SUCCESS", b"FAIL"), (b'"02"', b'"01"')]
)
def test_a_changed_answer_is_refused(old: bytes, new: bytes, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, _ = await at.open()

        async def answer(request: httpx.Request) -> httpx.Response:
            true = await at.browser.send(
                at.browser.build_request(
                    "POST", str(request.url), content=request.content, headers=request.headers
                )
            )
            body = true.content.replace(old, new)
            assert body != true.content or old == b'"P'
            return httpx.Response(200, content=body.replace(b'\\"P\\"', b'\\"S\\"'))

        client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        channel = ADAPTERS["ecny"].open("ecny", at.told, client, at.clock)

        with pytest.raises(ChannelProtocolError):
            await channel.query(trade, timeout_s=TIMEOUT_S)

    run("ecny", tmp_path, play)


def repacked(file: bytes, change: Callable[[str], str]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        (entry,) = archive.infolist()
        text = archive.read(entry).decode("utf-8-sig")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(entry.filename, change(text))
    return out.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",1230,", ",1231,", 1),
        lambda text: text.partition("合计")[0],
        lambda text: text.replace("156", "840"),
        lambda text: text.replace("收款", "付款"),
        lambda text: text.replace("20251122", "20251121"),
        lambda text: text.replace("20251122", "2025112２"),
        lambda text: text.replace("交易类型", "类型"),
        lambda text: text + "收款\r\n",
        lambda text: text.replace("T0000000001", "T-1"),
        lambda text: text.replace(",0,0,", ",0,1,"),
    ],
)
def test_a_damaged_statement_is_refused_whole(change: Callable[[str], str], tmp_path: Path) -> None:
    async def play(at: World) -> None:
        _, reply = await at.open()
        await at.payer(reply, action="pay")
        file = await at.channel.bill(DAY, timeout_s=TIMEOUT_S)

        assert len(read_bill("ecny", DAY, repacked(file, str)).records) == 1
        with pytest.raises(BillRefused):
            read_bill("ecny", DAY, repacked(file, change))
        with pytest.raises(BillRefused):
            read_bill("ecny", DAY, file[:-20])

    run("ecny", tmp_path, play)
