"""A merchant and a bank of e-CNY as gmssl plays them, and a bank that says what it is told to."""

import base64
import hashlib
import json
import secrets
from typing import Any

import httpx
from gmssl import sm2 as peer

from gateway import sm2
from gateway.channels.ecny import EcnyChannel
from gateway.channels.registry import ADAPTERS
from tests.contract.channel_world import World

DAY = "2025-11-22"
ORDER = "/polypay/v1.0/mchorders/ecny/unifiedOrder"
QUERY = "/polypay/v1.0/mchorders/orderquery"


def peer_of(secret: int, point: bytes) -> peer.CryptSM2:
    """Play gmssl with a key pair; its constructor strips digits off some keys, so set after."""
    made = peer.CryptSM2(private_key=f"{secret:064x}", public_key="", mode=1, asn1=True)
    made.public_key = point.hex()
    return made


def as_merchant(at: World) -> peer.CryptSM2:
    """The merchant as gmssl plays it."""
    secret = int(at.told["private_key_hex"], 16)
    return peer_of(secret, sm2.PrivateKey(secret).public_key().to_bytes()[1:])


def as_bank(at: World) -> peer.CryptSM2:
    """The bank's public key in gmssl's hands."""
    return peer_of(0, base64.b64decode(at.told["bank_public_key"])[-64:])


def text_of(message: dict[str, str]) -> bytes:
    named = [f"{name}={message[name]}" for name in sorted(message) if name != "sign"]
    return "&".join(named).encode()


async def ask(at: World, path: str, content: dict[str, str], **changes: str) -> dict[str, str]:
    """Ask as a merchant with gmssl would."""
    head = {"merId": at.told["merchant_no"], "userId": at.told["cashier_no"]}
    message = {
        "biz_content": json.dumps(head | content),
        "encoding": "UTF-8",
        "signMethod": "02",
        "version": "0.0.1",
    }
    nonce = f"{secrets.randbelow(2**255):064x}"
    signature = bytes.fromhex(as_merchant(at).sign_with_sm3(text_of(message), nonce))
    message["sign"] = base64.b64encode(signature).decode()
    stamp = str(at.clock() // 1_000_000)
    app = (
        f"appid={at.told['app_id']}&secret={at.told['app_secret']}"
        f"&sign={message['sign']}&timestamp={stamp}"
    )
    headers = {
        "appid": at.told["app_id"],
        "timestamp": stamp,
        "apisign": hashlib.md5(app.encode()).hexdigest(),  # noqa: S324 - the bank's choice.
    }
    answer = await at.browser.post(
        at.told["base_url"] + path, json=message | changes, headers=headers
    )
    said: dict[str, str] = answer.json()
    assert as_bank(at).verify_with_sm3(base64.b64decode(said["sign"]).hex(), text_of(said))
    return said


def terms(at: World, **changes: str) -> dict[str, str]:
    return {
        "orderId": "T0000000001",
        "notifyUrl": "http://gateway.test/api/channel/ecny/notify",
        "currencyCode": "156",
        "transactionType": "TT01",
        "txnAmt": "1230",
        "terminalNo": "00000001",
        "terminalIp": "127.0.0.1",
        "goodsName": "茶",
        "tradePlace": "https://shop.example",
        "orderTimeExpire": "2025-11-22T17:00:00",
    } | changes


def answering(at: World, fields: dict[str, str], content: dict[str, str] | None) -> EcnyChannel:
    """The adapter before a bank that always gives one well-signed answer."""
    ecny: Any = at.sandbox.protocols["ecny"]
    said = ecny.bank.say(
        fields, None if content is None else {"merId": at.told["merchant_no"]} | content
    )
    client = httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=said))
    )
    channel = ADAPTERS["ecny"].open("ecny", at.told, client, at.clock)
    assert isinstance(channel, EcnyChannel)
    return channel


FINE = {"returnCode": "SUCCESS", "respCode": "SUCCESS"}


def failed(code: str) -> dict[str, str]:
    return {"returnCode": "SUCCESS", "respCode": "FAIL", "errCode": code}
