"""The adapter to Alipay: nothing but Alipay's own signed word is believed."""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.channels.alipay import ADAPTER
from gateway.channels.alipay_wire import Wire
from gateway.channels.base import Channel, ChannelProtocolError, Notice, Outcome
from gateway.sandbox.keys import Keys
from tests.contract.channel_world import World, run
from tests.meddler import Meddler
from tests.sandbox_world import START_US, TIMEOUT_S, Clock


def opened(at: World, client: httpx.AsyncClient | None = None, **changes: str) -> Channel:
    return ADAPTER.open("alipay", at.told | changes, client or at.browser, at.clock)


def notice(fields: dict[str, str]) -> Notice:
    return Notice(headers={}, body=urlencode(fields).encode())


def signed(
    var: Path, fields: dict[str, str], algorithm: hashes.HashAlgorithm | None = None
) -> dict[str, str]:
    """Sign as Alipay does, with the sandbox's own key; empty fields are not part of it."""
    text = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if fields[name])
    key = Keys(var / "sandbox.keys").rsa("alipay.platform")
    signature = key.sign(text.encode(), padding.PKCS1v15(), algorithm or hashes.SHA256())
    return fields | {"sign": base64.b64encode(signature).decode(), "sign_type": "RSA2"}


async def heard(at: World) -> dict[str, str]:
    """Pay and return the notification's fields, without its signature."""
    _, reply = await at.open()
    await at.payer(reply, action="pay")
    await at.until(lambda: bool(at.ear.heard))
    fields = dict(parse_qsl(at.ear.heard[0].raw.decode(), keep_blank_values=True))
    del fields["sign"], fields["sign_type"]
    return fields


async def refused(channel: Channel, fields: dict[str, str]) -> bool:
    try:
        await channel.read_notification(notice(fields), timeout_s=TIMEOUT_S)
    except ChannelProtocolError:
        return True
    return False


def test_every_changed_missing_or_added_field_of_a_notification_is_refused(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        whole = signed(tmp_path, await heard(at))
        assert not await refused(at.channel, whole)
        for name in whole:
            assert await refused(at.channel, whole | {name: f"{whole[name]}0"}), name
            without = {each: whole[each] for each in whole if each != name}
            assert await refused(at.channel, without), name
        assert await refused(at.channel, whole | {"refund_fee": "1.00"})
        twice = Notice(headers={}, body=urlencode(whole).encode() + b"&trade_status=TRADE_CLOSED")
        with pytest.raises(ChannelProtocolError, match="stands twice"):
            await at.channel.read_notification(twice, timeout_s=TIMEOUT_S)

    run("alipay", tmp_path, play)


def test_a_notification_for_somebody_else_or_of_no_amount_is_refused(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        fields = await heard(at)
        for change in (
            {"app_id": "2021999999999999"},
            {"seller_id": "2088999999999999"},
            {"total_amount": "12.3"},
            {"total_amount": "-12.30"},
            {"total_amount": "１２.30"},
            {"trade_status": "TRADE_WON"},
            {"notify_id": ""},
            {"out_trade_no": ""},
        ):
            assert await refused(at.channel, signed(tmp_path, fields | change)), change
        other = signed(tmp_path, fields | {"total_amount": "12.31"})
        fact = await at.channel.read_notification(notice(other), timeout_s=TIMEOUT_S)
        assert fact.amount_minor == 12_31  # True to the message; the gateway compares.

    run("alipay", tmp_path, play)


def test_a_field_that_came_empty_is_not_part_of_what_is_signed(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        fields = signed(tmp_path, await heard(at) | {"body": "", "passback_params": ""})
        assert not await refused(at.channel, fields)

    run("alipay", tmp_path, play)


@pytest.mark.parametrize("algorithm", [hashes.SHA1(), hashes.SHA512()])  # noqa: S303 - refused
def test_the_hash_is_never_the_signatures_choice(
    algorithm: hashes.HashAlgorithm, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        fields = await heard(at)
        assert await refused(at.channel, signed(tmp_path, fields, algorithm))
        assert await refused(at.channel, signed(tmp_path, fields) | {"sign_type": "RSA"})

    run("alipay", tmp_path, play)


def test_a_refund_is_told_as_something_to_ask_about(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="pay")
        await at.channel.refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        await at.until(lambda: len(at.ear.heard) == 2)
        of_refund = next(fact for fact in at.ear.heard if fact.refund_no)
        assert of_refund.outcome is Outcome.ASK
        assert of_refund.refund_no == "R0000000001"

    run("alipay", tmp_path, play)


def _changed(old: bytes, new: bytes) -> Callable[[httpx.Response], httpx.Response]:
    def meddle(answer: httpx.Response) -> httpx.Response:
        return httpx.Response(answer.status_code, content=answer.content.replace(old, new))

    return meddle


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"WAIT_BUYER_PAY"', b'"TRADE_SUCCESS"'),
        (b'"12.30"', b'"12.31"'),
        (b'{"alipay_trade_query_response":{', b'{"alipay_trade_query_response": {'),
        (b'{"alipay_trade_query_response":', b'{"error_response":'),
        (b'{"alipay_trade_query_response":', b'{"sign":"","alipay_trade_query_response":'),
        (b',"sign":"', b',"sign":"A'),
        (b',"sign":"', b',"unsigned":"'),
        (b'"sign":', b'"alipay_trade_query_response":{"code":"10000"},"sign":'),
        (b"}", b""),
    ],
)
def test_a_changed_answer_is_refused(old: bytes, new: bytes, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="fail")
        meddler = Meddler(at.browser._transport, _changed(old, new))
        async with httpx.AsyncClient(transport=meddler) as middle:
            with pytest.raises(ChannelProtocolError):
                await opened(at, middle).query(trade, timeout_s=TIMEOUT_S)

    run("alipay", tmp_path, play)


def test_the_signed_answer_to_another_question_is_refused(tmp_path: Path) -> None:
    recorded: list[bytes] = []

    def replay_first(answer: httpx.Response) -> httpx.Response:
        recorded.append(answer.content)
        return httpx.Response(200, content=recorded[0])

    async def play(at: World) -> None:
        first, reply = await at.open("T0000000001")
        await at.payer(reply, action="pay")
        second, _ = await at.open("T0000000002")
        async with httpx.AsyncClient(
            transport=Meddler(at.browser._transport, replay_first)
        ) as middle:
            channel = opened(at, middle)
            assert (await channel.query(first, timeout_s=TIMEOUT_S)).outcome is Outcome.PAID
            with pytest.raises(ChannelProtocolError, match="another out_trade_no"):
                await channel.query(second, timeout_s=TIMEOUT_S)

    run("alipay", tmp_path, play)


def test_a_changed_link_opens_nothing(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        for changed in (
            reply.pay_url.replace("12.30", "0.01"),
            reply.pay_url.replace("gateway.test", "thief.test"),
            re.sub("&sign=[^&]*", "", reply.pay_url),
            reply.pay_url + "&return_url=http%3A%2F%2Fthief.test",
            reply.pay_url.replace("sign_type=RSA2", "sign_type=RSA"),
        ):
            assert changed != reply.pay_url
            answer = await at.browser.get(changed)
            assert answer.status_code == 400
        known = await at.channel.query(trade, timeout_s=TIMEOUT_S)
        assert known.outcome is Outcome.NOT_FOUND

    run("alipay", tmp_path, play)


@pytest.mark.parametrize("key", ["private_key", "app_id"])
def test_a_wrong_setting_says_nothing_about_a_payment(key: str, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, _ = await at.open()
        wrong = {
            "private_key": Keys(tmp_path).rsa_private_pem("stranger"),
            "app_id": "2021999999999999",
        }
        channel = opened(at, None, **{key: wrong[key]})
        with pytest.raises(ChannelProtocolError, match=r"40002"):
            await channel.query(trade, timeout_s=TIMEOUT_S)

    run("alipay", tmp_path, play)


@pytest.mark.parametrize("product", ["wap", "qr"])
def test_the_other_products_are_paid_and_heard_too(product: str, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        at.channel = at.ear.channel = opened(at, product=product)
        trade, reply = await at.open()
        again, _ = await at.open()
        await at.payer(reply, action="pay")
        known = await at.channel.query(trade, timeout_s=TIMEOUT_S)
        await at.until(lambda: bool(at.ear.heard))

        assert again == trade
        assert known.outcome is Outcome.PAID
        assert at.ear.heard[0].outcome is Outcome.PAID

    run("alipay", tmp_path, play)


def test_another_currency_than_yuan_is_rejected_without_a_link(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        request = at.request(currency="USD")
        assert at.channel.link(request) is None
        reply = await at.channel.pay(request, timeout_s=TIMEOUT_S)
        assert reply.outcome is Outcome.REJECTED

    run("alipay", tmp_path, play)


def test_keys_may_be_bare_base64_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    pems = (keys.rsa_private_pem("ours"), keys.rsa_public_pem("theirs"))
    bare = ["".join(pem.splitlines()[1:-1]) for pem in pems]
    assert "sign" in Wire("1", bare[0], bare[1], Clock(START_US)).signed("m", {})
    with pytest.raises(ValueError, match="alipay_public_key"):
        Wire("1", bare[0], "no key", Clock(START_US))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(TEXT.filter(bool), TEXT, max_size=8))
def test_any_form_signed_by_alipay_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any]
) -> None:
    var = tmp_path_factory.getbasetemp() / "alipay-forms"
    fields = {name: fields[name] for name in fields if name not in ("sign", "sign_type")}
    keys = Keys(var / "sandbox.keys")
    wire = Wire(
        "1", keys.rsa_private_pem("ours"), keys.rsa_public_pem("alipay.platform"), Clock(START_US)
    )
    read = wire.read_notice(notice(signed(var, fields)).body)

    assert {name: read.text(name) for name in fields} == fields
