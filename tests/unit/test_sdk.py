"""The merchants' client, against the gateway's own signing and an in-memory transport."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway import sm2
from gateway.domain.merchant import Algorithm, MerchantKey
from gateway.http.schemas import read_create, read_query, read_refund
from gateway.http.wire import KNOWN_NAMES, parse
from gateway.sdk import (
    AsyncClient,
    Client,
    Declined,
    InvalidParameter,
    NotAuthentic,
    OrderNotFound,
    OutcomeUnknown,
    Refused,
    SignatureRefused,
    wire,
)
from gateway.sdk.signature import ExternalKey, SharedSecret
from gateway.signing import sign, verify

NOW_S = 1_700_000_000.0
SECRET = "secret-of-a-test"  # noqa: S105 - made up
KEY = MerchantKey("K1", "M1", Algorithm.HMAC_SHA256, SECRET.encode(), b"", b"", 0)
CREATED = {
    "code": "SUCCESS",
    "msg": "ok",
    "trade_no": "T1",
    "out_trade_no": "N1",
    "pay_url": "http://127.0.0.1/pay?a=1",
    "prepay_id": "",
    "currency": "CNY",
    "risk_outcome": "CHALLENGE",
    "risk_reasons": "DEVICE_EMULATOR,AMOUNT_HIGH",
    "timestamp": 1_700_000_000_000,
}
Answer = dict[str, Any]


def text_of(answer: Answer) -> dict[str, str]:
    return {name: str(value) for name, value in answer.items()}


class Gateway:
    """Answers what it is told to, signed; keeps what it was asked."""

    def __init__(self, answer: Answer, *, key: MerchantKey | None = KEY, status: int = 200) -> None:
        self.asked: list[dict[str, str | None]] = []
        self._answer = answer
        self._key = key
        self._status = status

    def __call__(self, request: httpx.Request) -> httpx.Response:
        params = parse(request.headers["content-type"], request.content)
        assert verify(KEY, params, str(params["sign"]))
        self.asked.append(params)
        answer = dict(self._answer)
        if self._key is not None:
            answer["sign"] = sign(self._key, text_of(answer))
        return httpx.Response(self._status, json=answer)


def client(handler: Callable[[httpx.Request], httpx.Response]) -> Client:
    return Client(
        "http://gateway.test/",
        "M1",
        secret=SECRET,
        clock=lambda: NOW_S,
        http=httpx.Client(transport=httpx.MockTransport(handler)),
    )


def create(shop: Client, **more: Any) -> Any:
    return shop.create("N1", "12.30", "茶", "alipay", "https://shop.example/n", **more)


def test_a_create_is_what_the_gateway_reads() -> None:
    gateway = Gateway(CREATED)

    paid = create(client(gateway), risk_context={"payer": {"account_id": "a&body=b"}}, body="hot")

    command = read_create(gateway.asked[0])
    assert (command.amount_minor, command.subject, command.body) == (1230, "茶", "hot")
    assert command.risk_context.payer.account_id == "a&body=b"
    assert (paid.trade_no, paid.risk_outcome) == ("T1", "CHALLENGE")
    assert paid.risk_reasons == ("DEVICE_EMULATOR", "AMOUNT_HIGH")


def test_the_asynchronous_client_says_the_same() -> None:
    gateway, twin = Gateway(CREATED), Gateway(CREATED)

    async def ask() -> None:
        http = httpx.AsyncClient(transport=httpx.MockTransport(twin))
        async with AsyncClient(
            "http://gateway.test", "M1", secret=SECRET, clock=lambda: NOW_S, http=http
        ) as shop:
            await shop.create("N1", "12.30", "茶", "alipay", "https://shop.example/n")
        await http.aclose()

    create(client(gateway))
    asyncio.run(ask())

    assert gateway.asked == twin.asked


def test_a_query_gives_exact_amounts() -> None:
    gateway = Gateway(
        {
            "code": "SUCCESS",
            "trade_status": "SUCCESS",
            "total_amount": "12.30",
            "receipt_amount": "12.30",
            "refund_amount": "",
            "refund_status": "NONE",
        }
    )

    state = client(gateway).query("N1")

    assert read_query(gateway.asked[0]).out_trade_no == "N1"
    assert (state.total_amount, state.refund_amount) == (Decimal("12.30"), Decimal(0))


def test_a_refund_always_carries_a_number() -> None:
    gateway = Gateway({"code": "SUCCESS", "refund_no": "R1", "refund_status": "SUCCESS"})
    shop = client(gateway)

    made_up = shop.refund("N1", Decimal("2.30"), "cold")
    given = shop.refund("N1", 2, "cold", "MY-1")

    assert read_refund(gateway.asked[0]).out_refund_no == made_up.out_refund_no
    assert len(made_up.out_refund_no) >= 32
    assert given.out_refund_no == "MY-1"


@pytest.mark.parametrize("amount", [12.3, True, None, [1]])
def test_an_inexact_amount_is_refused(amount: Any) -> None:
    with pytest.raises(TypeError):
        client(Gateway(CREATED)).refund("N1", amount, "cold")


def test_a_large_decimal_is_written_plainly() -> None:
    assert wire.amount_text(Decimal("1E+3")) == "1000"


def test_an_ambiguous_value_is_never_signed() -> None:
    gateway = Gateway(CREATED)

    with pytest.raises(ValueError, match="ambiguous"):
        client(gateway).create("N1", "1", "tea&currency=JPY", "alipay", "https://shop.example/n")

    assert gateway.asked == []


def test_client_and_gateway_know_the_same_names() -> None:
    for name in KNOWN_NAMES:
        with pytest.raises(ValueError, match="ambiguous"):
            client(Gateway(CREATED)).create("N1", "1", f"x&{name}=", "alipay", "https://a.example")


@pytest.mark.parametrize(
    ("code", "kind"), [("1003", OrderNotFound), ("1007", Declined), ("4711", Refused)]
)
def test_a_signed_refusal_becomes_its_own_error(code: str, kind: type[Refused]) -> None:
    refusal = {
        "code": "FAIL",
        "error_code": code,
        "msg": "不行 / no",
        "remedy": "改 / change it",
        "trade_no": "T1",
    }

    with pytest.raises(kind) as error:
        create(client(Gateway(refusal, status=404)))

    assert (error.value.code, error.value.remedy, error.value.verified) == (
        code,
        "改 / change it",
        True,
    )


def test_a_declined_payment_names_the_closed_order() -> None:
    refusal = {"code": "FAIL", "error_code": "1007", "trade_no": "T1", "risk_reasons": "A,B"}

    with pytest.raises(Declined) as error:
        create(client(Gateway(refusal, status=403)))

    assert (error.value.trade_no, error.value.risk_reasons) == ("T1", ("A", "B"))


def test_who_is_not_known_is_refused_without_a_signature() -> None:
    refusal = {"code": "FAIL", "error_code": "1002", "msg": "wrong key"}

    with pytest.raises(SignatureRefused) as error:
        create(client(Gateway(refusal, key=None, status=401)))

    assert not error.value.verified


def test_a_refusal_names_the_field() -> None:
    refusal = {"code": "FAIL", "error_code": "1001", "field": "subject"}

    with pytest.raises(InvalidParameter) as error:
        create(client(Gateway(refusal, status=400)))

    assert error.value.field == "subject"


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        (CREATED, None),
        (CREATED, MerchantKey("K", "M1", Algorithm.HMAC_SHA256, b"other", b"", b"", 0)),
        ({"code": "FAIL", "error_code": "1007", "trade_no": "T1"}, None),
        ({"code": "MAYBE"}, KEY),
    ],
)
def test_an_answer_that_is_not_the_gateways_is_not_believed(
    answer: Answer, key: MerchantKey | None
) -> None:
    with pytest.raises(NotAuthentic):
        create(client(Gateway(answer, key=key)))


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"a": {}}', b'{"a": 1, "a": 2}', b"\xff"]
)
def test_an_answer_that_is_no_flat_object_is_not_believed(body: bytes) -> None:
    with pytest.raises(NotAuthentic):
        create(client(lambda _: httpx.Response(502, content=body)))


def test_no_answer_is_an_unknown_outcome_that_can_be_repeated() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow", request=request)

    with pytest.raises(OutcomeUnknown) as error:
        client(broken).refund("N1", "2.30", "cold")

    assert error.value.params["out_refund_no"]
    assert "sign" not in error.value.params


def told(**changes: str) -> dict[str, str]:
    params = {
        "merchant_id": "M1",
        "trade_no": "T1",
        "out_trade_no": "N1",
        "trade_status": "SUCCESS",
        "total_amount": "12.30",
        "receipt_amount": "12.30",
        "currency": "CNY",
        "event_id": "T1:SUCCESS",
        "timestamp": str(int(NOW_S * 1000)),
    } | changes
    return params | {"sign": sign(KEY, params)}


def test_a_notification_is_verified_and_read() -> None:
    shop = client(Gateway(CREATED))

    read = shop.read_notification(json.dumps(told()).encode())
    as_form = shop.read_notification(
        str(httpx.QueryParams(told())), "application/x-www-form-urlencoded"
    )

    assert (read.out_trade_no, read.receipt_amount) == ("N1", Decimal("12.30"))
    assert as_form == read


@pytest.mark.parametrize(
    "params",
    [
        told() | {"total_amount": "0.01"},
        told() | {"extra": "1"},
        {name: value for name, value in told().items() if name != "sign"},
        told(merchant_id="M2"),
        told(timestamp=str(int(NOW_S * 1000) - 300_001)),
        told(timestamp=str(int(NOW_S * 1000) + 300_001)),
        told(timestamp="soon"),
        told(timestamp=""),
    ],
)
def test_a_forged_foreign_or_stale_notification_is_not_believed(params: dict[str, str]) -> None:
    with pytest.raises(NotAuthentic):
        client(Gateway(CREATED)).read_notification(json.dumps(params))


def test_a_secret_in_rotation_still_verifies() -> None:
    old, new = SharedSecret("old"), SharedSecret("new", previous=("old",))

    assert new.verify({"a": "1"}, old.sign({"a": "1"}))
    assert not old.verify({"a": "1"}, new.sign({"a": "1"}))
    assert not new.verify({"a": "1"}, "é")


def test_rsa2_signs_with_the_merchants_key_and_verifies_with_the_platforms() -> None:
    merchant = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    platform = rsa.generate_private_key(public_exponent=65_537, key_size=2048)

    def private(key: rsa.RSAPrivateKey) -> bytes:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def public(key: rsa.RSAPrivateKey) -> bytes:
        return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    key = MerchantKey("K", "M1", Algorithm.RSA2, b"", public(merchant), private(platform), 0)

    def answer(request: httpx.Request) -> httpx.Response:
        params = parse("", request.content)
        assert verify(key, params, str(params["sign"]))
        return httpx.Response(200, json=CREATED | {"sign": sign(key, text_of(CREATED))})

    shop = Client(
        "http://gateway.test",
        "M1",
        private_key_pem=private(merchant).decode(),
        platform_public_key_pem=public(platform).decode(),
        algorithm="RSA2",
        http=httpx.Client(transport=httpx.MockTransport(answer)),
    )

    assert create(shop).trade_no == "T1"


def test_a_key_in_a_module_of_the_merchants_signs_sm2() -> None:
    merchant, platform = sm2.PrivateKey.generate(), sm2.PrivateKey.generate()
    key = MerchantKey(
        "K", "M1", Algorithm.SM2, b"", merchant.public_key().to_pem(), platform.to_pem(), 0
    )
    theirs = ExternalKey(
        "SM2",
        sign=lambda text: sm2.sign(merchant, text),
        verify=lambda text, raw: sm2.verify(platform.public_key(), text, raw),
    )

    def answer(request: httpx.Request) -> httpx.Response:
        params = parse("", request.content)
        assert verify(key, params, str(params["sign"]))
        return httpx.Response(200, json=CREATED | {"sign": sign(key, text_of(CREATED))})

    http = httpx.Client(transport=httpx.MockTransport(answer))

    assert create(Client("http://gateway.test", "M1", credentials=theirs, http=http)).trade_no
    assert not theirs.verify({"a": "1"}, "no base64")


def test_keys_that_do_not_fit_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="either secret"):
        Client("http://gateway.test", "M1")
    with pytest.raises(ValueError, match="not RSA2"):
        Client("http://gateway.test", "M1", secret="s", algorithm="RSA2")  # noqa: S106 - made up


@pytest.mark.parametrize("merchant_id", ["M1", "M1001", "M" * 32])
def test_an_order_number_is_as_recommended(merchant_id: str) -> None:
    number = wire.new_out_trade_no(merchant_id, NOW_S)

    assert 32 <= len(number) <= 64
    assert number.startswith(f"{merchant_id}20231114221320")
    assert number != wire.new_out_trade_no(merchant_id, NOW_S)
