"""The adapter to WeChat Pay: what is stale, changed or somebody else's is refused."""

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from gmssl import sm2 as peer_sm2

from gateway import sm2
from gateway.channels.base import (
    Channel,
    ChannelProtocolError,
    ChannelReply,
    Notice,
    Outcome,
)
from gateway.channels.json_object import JsonObject
from gateway.channels.wechat import ADAPTER
from gateway.sandbox.faults import Faults
from gateway.sandbox.keys import Keys
from gateway.sandbox.protocols.wechat import WeChat
from tests.contract.channel_world import World, run
from tests.meddler import Meddler
from tests.sandbox_world import START_US, TIMEOUT_S, Clock

BY_CERTIFICATE = {"wechatpay_public_key": "", "wechatpay_public_key_id": ""}


def opened(at: World, client: httpx.AsyncClient | None = None, **changes: str) -> Channel:
    return ADAPTER.open("wechat", at.told | changes, client or at.browser, at.clock)


def protocol(at: World) -> WeChat:
    found = at.sandbox.protocols["wechat"]
    assert isinstance(found, WeChat)
    return found


async def heard(at: World) -> dict[str, Any]:
    """Pay and return the notification's body."""
    _, reply = await at.open()
    await at.payer(reply, action="pay")
    await at.until(lambda: bool(at.ear.heard))
    told: dict[str, Any] = json.loads(at.ear.heard[0].raw)
    return told


def sealed(at: World, told: dict[str, Any], **inside: Any) -> Notice:
    """Sign a notification as WeChat Pay does, with other things inside."""
    wire = protocol(at).wire
    if inside:
        at_channel: Any = at.channel
        plain = json.loads(at_channel._wire.opened(_object(told["resource"])))
        told = told | {"resource": wire.sealed(json.dumps(plain | inside).encode(), "transaction")}
    body = json.dumps(told).encode()
    headers = wire.seal(body, by_public_key=True)
    return Notice(headers={name.lower(): value for name, value in headers.items()}, body=body)


def _object(fields: dict[str, Any]) -> Any:
    return JsonObject(fields)


async def read(channel: Channel, notice: Notice) -> ChannelReply:
    return await channel.read_notification(notice, timeout_s=TIMEOUT_S)


def test_every_changed_header_or_byte_of_a_notification_is_refused(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        good = sealed(at, await heard(at))
        assert (await read(at.channel, good)).outcome is Outcome.PAID
        for name in good.headers:
            other = "x" if name == "wechatpay-signature-type" else "1"
            for value in (good.headers[name] + other, ""):
                changed = Notice(headers={**good.headers, name: value}, body=good.body)
                with pytest.raises(ChannelProtocolError):
                    await read(at.channel, changed)
        for place in range(0, len(good.body), 7):
            body = bytearray(good.body)
            body[place] ^= 1
            with pytest.raises(ChannelProtocolError):
                await read(at.channel, Notice(headers=good.headers, body=bytes(body)))

    run("wechat", tmp_path, play)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_notification_of_another_time_is_refused(seconds: int, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        good = sealed(at, await heard(at))
        at.clock.forward(seconds)
        with pytest.raises(ChannelProtocolError, match="stale"):
            await read(at.channel, good)
        at.clock.forward(-seconds // 301)  # A second back: the edge itself is good.
        assert (await read(at.channel, good)).outcome is Outcome.PAID

    run("wechat", tmp_path, play)


def test_wechats_own_probe_is_refused_and_answered_as_a_failure(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        good = sealed(at, await heard(at))
        probe = good.headers["wechatpay-signature"][20:]
        headers = {**good.headers, "wechatpay-signature": f"WECHATPAY/SIGNTEST/{probe}"}
        with pytest.raises(ChannelProtocolError, match="wrong signature"):
            await read(at.channel, Notice(headers=headers, body=good.body))
        answer = at.channel.notification_answer(accepted=False)
        assert (answer.http_status, json.loads(answer.body)["code"]) == (500, "FAIL")
        assert at.channel.notification_answer(accepted=True).http_status == 204

    run("wechat", tmp_path, play)


@pytest.mark.parametrize(
    "inside",
    [
        {"mchid": "1900000000"},
        {"appid": "wx0000000000000000"},
        {"trade_state": "NOTPAY"},
        {"trade_state": "WON"},
        {"amount": {"total": "1230", "currency": "CNY"}},
        {"amount": {"total": 12.3, "currency": "CNY"}},
    ],
)
def test_a_signed_notification_about_somebody_else_is_refused(
    inside: dict[str, Any], tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        told = await heard(at)
        with pytest.raises(ChannelProtocolError):
            await read(at.channel, sealed(at, told, **inside))

    run("wechat", tmp_path, play)


def test_another_amount_is_reported_as_it_was_said(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        other = sealed(at, await heard(at), amount={"total": 12_31, "currency": "CNY"})
        assert (await read(at.channel, other)).amount_minor == 12_31

    run("wechat", tmp_path, play)


@pytest.mark.parametrize("part", ["ciphertext", "nonce", "associated_data", "algorithm"])
def test_a_resource_that_was_changed_before_signing_does_not_open(
    part: str, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        told = await heard(at)
        value = told["resource"][part]
        told["resource"][part] = ("B" if value[0] == "A" else "A") + value[1:]
        with pytest.raises(ChannelProtocolError):
            await read(at.channel, sealed(at, told))

    run("wechat", tmp_path, play)


@pytest.mark.parametrize("event", ["REFUND.CLOSED", "REFUND.ABNORMAL"])
def test_a_refund_that_did_not_succeed_is_asked_about(event: str, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="pay")
        await at.channel.refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        await at.until(lambda: any(fact.refund_no for fact in at.ear.heard))
        done = next(fact for fact in at.ear.heard if fact.refund_no)
        fact = await read(at.channel, sealed(at, json.loads(done.raw) | {"event_type": event}))

        assert (done.outcome, done.amount_minor) == (Outcome.REFUNDED, 2_30)
        assert (fact.outcome, fact.refund_no) == (Outcome.ASK, "R0000000001")

    run("wechat", tmp_path, play)


def test_platform_certificates_are_fetched_once_and_then_believed(tmp_path: Path) -> None:
    asked: list[str] = []

    class Counting(httpx.AsyncBaseTransport):
        def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
            self.inner = inner

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request.url.path.rpartition("/")[2])
            return await self.inner.handle_async_request(request)

    async def play(at: World) -> None:
        counting = httpx.AsyncClient(transport=Counting(at.browser._transport))
        at.channel = at.ear.channel = opened(at, counting, **BY_CERTIFICATE)
        trade, reply = await at.open()
        await at.payer(reply, action="pay")
        await at.until(lambda: bool(at.ear.heard))
        assert (await at.channel.query(trade, timeout_s=TIMEOUT_S)).outcome is Outcome.PAID
        assert asked.count("certificates") == 1
        forged = sealed(at, json.loads(at.ear.heard[0].raw))  # Under the public key's id.
        for _ in range(3):
            with pytest.raises(ChannelProtocolError, match="don't know"):
                await read(at.channel, forged)
        assert asked.count("certificates") == 1
        await counting.aclose()

    run("wechat", tmp_path, play)


def _edited(old: bytes, new: bytes) -> Callable[[httpx.Response], httpx.Response]:
    def edit(answer: httpx.Response) -> httpx.Response:
        headers = [(n, v) for n, v in answer.headers.items() if n != "content-length"]
        body = answer.content.replace(old, new)
        return httpx.Response(answer.status_code, headers=headers, content=body)

    return edit


def _bare(answer: httpx.Response) -> httpx.Response:
    return httpx.Response(answer.status_code, content=answer.content)


def _as_missing(answer: httpx.Response) -> httpx.Response:
    headers = [(n, v) for n, v in answer.headers.items() if n != "content-length"]
    body = b'{"code":"ORDER_NOT_EXIST","message":""}'
    return httpx.Response(404, headers=headers, content=body)


@pytest.mark.parametrize(
    "meddle", [_edited(b"NOTPAY", b"SUCCESS"), _edited(b"1230", b"1231"), _bare, _as_missing]
)
def test_a_changed_answer_is_refused(
    meddle: Callable[[httpx.Response], httpx.Response], tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        trade, _ = await at.open()
        async with httpx.AsyncClient(transport=Meddler(at.browser._transport, meddle)) as middle:
            with pytest.raises(ChannelProtocolError):
                await opened(at, middle).query(trade, timeout_s=TIMEOUT_S)

    run("wechat", tmp_path, play)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda file: file[:-9], "cut off"),
        (lambda file: gzip.compress(gzip.decompress(file).replace(b"12.30", b"12.31")), "its hash"),
        (gzip.decompress, "no gzip"),
    ],
)
def test_a_bill_without_its_hash_is_refused(
    change: Callable[[bytes], bytes], reason: str, tmp_path: Path
) -> None:
    def swap(answer: httpx.Response) -> httpx.Response:
        is_file = answer.content[:2] == b"\x1f\x8b"
        return httpx.Response(200, content=change(answer.content)) if is_file else answer

    async def play(at: World) -> None:
        await heard(at)
        async with httpx.AsyncClient(transport=Meddler(at.browser._transport, swap)) as middle:
            with pytest.raises(ChannelProtocolError, match=reason):
                await opened(at, middle).bill("2025-11-22", timeout_s=TIMEOUT_S)
        with pytest.raises(ChannelProtocolError, match="no bill of 2025-11-23"):
            await at.channel.bill("2025-11-23", timeout_s=TIMEOUT_S)

    run("wechat", tmp_path, play)


@pytest.mark.parametrize(
    ("product", "payer"),
    [
        ("app", {}),
        ("jsapi", {"payer_id": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}),
        ("h5", {"payer_ip": "203.0.113.7"}),
    ],
)
def test_the_other_products_open_and_are_paid(
    product: str, payer: dict[str, str], tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        at.channel = at.ear.channel = opened(at, product=product)
        trade, reply = await at.open(**payer)
        code = reply.pay_url or reply.prepay_id
        await at.payer(ChannelReply(outcome=reply.outcome, trade_no="", pay_url=code), action="pay")

        assert (await at.channel.query(trade, timeout_s=TIMEOUT_S)).outcome is Outcome.PAID
        if product != "h5":
            assert reply.form["package"] == f"prepay_id={reply.prepay_id}"
            assert reply.form["paySign"]

    run("wechat", tmp_path, play)


@pytest.mark.parametrize("product", ["jsapi", "h5"])
def test_a_payer_nobody_knows_is_rejected_before_wechat_is_asked(
    product: str, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        reply = await opened(at, product=product).pay(at.request(), timeout_s=TIMEOUT_S)
        assert reply.outcome is Outcome.REJECTED

    run("wechat", tmp_path, play)


@pytest.mark.parametrize("change", ["private_key", "serial_no", "mch_id", "app_id"])
def test_a_wrong_setting_says_nothing_about_a_payment(change: str, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        wrong = {
            "private_key": Keys(tmp_path).rsa_private_pem("stranger"),
            "serial_no": "1A",
            "mch_id": "1900000000",
            "app_id": "wx0000000000000000",
        }
        with pytest.raises(ChannelProtocolError):
            await opened(at, None, **{change: wrong[change]}).pay(at.request(), timeout_s=TIMEOUT_S)

    run("wechat", tmp_path, play)


def test_a_slow_refund_is_under_way_until_it_is_told(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="pay")
        refund = at.refund_of(2_30)
        first = await at.channel.refund(trade, refund, timeout_s=TIMEOUT_S)
        asked = await at.channel.query_refund(trade, refund, timeout_s=TIMEOUT_S)
        at.clock.forward(3)
        await at.until(lambda: any(fact.refund_no for fact in at.ear.heard))

        assert first.outcome is asked.outcome is Outcome.ACCEPTED
        assert at.ear.heard[-1].outcome is Outcome.REFUNDED

    run("wechat", tmp_path, play, faults=Faults(slow_refund_ratio=1.0))


def test_the_national_suite_signs_and_opens_as_another_implementation_does() -> None:
    """WeChat's side is `gmssl` here: SM2 over SM3, and SM4-GCM under half of the key's SM3."""
    ours, theirs = sm2.PrivateKey.generate(), sm2.PrivateKey.generate()
    api_key = "0123456789abcdef0123456789abcdef"
    settings = {
        "mch_id": "1900000109",
        "app_id": "wx8888888888888888",
        "serial_no": "1A",
        "private_key": ours.to_pem().decode(),
        "apiv3_key": api_key,
        "wechatpay_public_key": theirs.public_key().to_pem().decode(),
        "wechatpay_public_key_id": "PUB_KEY_ID_1",
        "algorithm": "SM2",
    }
    channel: Any = ADAPTER.open("wechat", settings, httpx.AsyncClient(), Clock(START_US))

    header = channel._wire.authorization("GET", "/v3/x?a=1", b"")
    said = dict(part.split("=", 1) for part in header.partition(" ")[2].split(","))
    message = f"GET\n/v3/x?a=1\n{said['timestamp'][1:-1]}\n{said['nonce_str'][1:-1]}\n\n".encode()
    assert header.startswith("WECHATPAY2-SM2-WITH-SM3 ")
    peer = peer_sm2.CryptSM2(
        private_key="", public_key=ours.public_key().to_bytes().hex()[2:], asn1=True
    )
    signature = base64.b64decode(said["signature"][1:-1]).hex()
    assert peer.verify_with_sm3(signature, message)

    cipher = Cipher(algorithms.SM4(sm2.sm3(api_key.encode())[:16]), modes.GCM(b"n" * 12))
    encryptor = cipher.encryptor()
    encryptor.authenticate_additional_data(b"transaction")
    text = encryptor.update(b'{"a":1}') + encryptor.finalize() + encryptor.tag
    resource = {
        "algorithm": "AEAD_SM4_GCM",
        "nonce": "n" * 12,
        "associated_data": "transaction",
        "ciphertext": base64.b64encode(text).decode(),
    }
    assert channel._wire.opened(_object(resource)) == b'{"a":1}'
    with pytest.raises(ChannelProtocolError):
        channel._wire.opened(_object(resource | {"algorithm": "AEAD_AES_256_GCM"}))
