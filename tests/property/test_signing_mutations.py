"""One change to a signed request, whatever it is, and the request is refused.

The count below is small; `pytest tests/property/test_signing_mutations.py --mutations 100000 -s`
tries as many changed requests as it is told to, and prints how many were admitted.
"""

import asyncio
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import sm2
from gateway.domain.errors import BadSignature, GatewayError, InvalidParameter
from gateway.domain.merchant import Algorithm, MerchantKey, MerchantStatus
from gateway.http import admission
from gateway.http.schemas import Params, read_create, read_query, read_refund
from gateway.http.wire import KNOWN_NAMES, parse
from gateway.sdk.signature import SharedSecret
from gateway.sdk.signature import canonical as clients_canonical
from gateway.signing import canonical, sign, verify
from gateway.store.merchants import MerchantRecord

NOW_US = 1_700_000_000_000_000
KEY = MerchantKey("K1", "M1", Algorithm.HMAC_SHA256, b"secret", b"", b"", 0)

text = st.text(st.characters(codec="utf-8"), max_size=24)
names = st.text(st.characters(codec="utf-8", exclude_characters="&="), min_size=1, max_size=12)
contents = st.dictionaries(names, text, max_size=8)


class OneMerchant:
    """A ring with one merchant and one key."""

    def __init__(self, key: MerchantKey = KEY) -> None:
        self.key = key

    def find(self, merchant_id: str) -> MerchantRecord | None:
        if merchant_id != "M1":
            return None
        return MerchantRecord(
            merchant_id="M1", name="", mcc="", status=MerchantStatus.ACTIVE, keys=(self.key,)
        )


def signed(content: dict[str, str], key: MerchantKey = KEY) -> dict[str, str]:
    base = {"merchant_id": "M1", "timestamp": str(NOW_US // 1000)}
    params = {k: v for k, v in content.items() if k not in ("sign", "sign_type")} | base
    return params | {"sign": sign(key, params)}


@pytest.fixture(scope="module", autouse=True)
def loop() -> Iterator[None]:
    with asyncio.Runner() as runner:
        _runner.append(runner)
        yield
        _runner.clear()


_runner: list[asyncio.Runner] = []


def admitted(body: bytes, key: MerchantKey = KEY) -> Params | None:
    try:
        params = parse("application/json", body)
        coming = admission.admit(params, OneMerchant(key), now_us=NOW_US, window_s=300)
        _runner[0].run(coming)
    except (InvalidParameter, BadSignature):
        return None
    return params


def meaning(params: dict[str, Any]) -> dict[str, Any]:
    """What a request says: without its signature and what counts as absent."""
    return {k: v for k, v in params.items() if v and k != "sign"}


def encoded(params: dict[str, Any]) -> bytes:
    return json.dumps(params, ensure_ascii=False).encode()


@given(contents)
def test_what_was_signed_is_admitted(content: dict[str, str]) -> None:
    request = signed(content)

    assert verify(KEY, request, request["sign"])
    params = admitted(encoded(request))
    # None: a value that reads as two parameters is refused, signed or not.
    assert params == request or any("&" in value for value in request.values())


@settings(max_examples=2000)
@given(contents, st.data())
def test_no_change_of_meaning_is_admitted(content: dict[str, str], data: Any) -> None:
    request = signed(content)
    changed: dict[str, Any] = dict(request)
    name = data.draw(st.sampled_from(sorted(request)))
    match data.draw(st.sampled_from(["value", "drop", "add", "rename", "byte"])):
        case "value":
            changed[name] = data.draw(text)
        case "drop":
            del changed[name]
        case "add":
            changed[data.draw(names)] = data.draw(text)
        case "rename":
            changed[data.draw(names)] = changed.pop(name)
        case _:  # One byte of the body.
            raw = bytearray(encoded(request))
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
            params = admitted(bytes(raw))
            assert params is None or meaning(params) == meaning(request)
            return

    params = admitted(encoded(changed))

    assert params is None or meaning(params) == meaning(request)


def pems() -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    return (
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def key_of(algorithm: Algorithm) -> MerchantKey:
    """A key whose two sides are one pair, so that it can make what it must verify."""
    if algorithm is Algorithm.RSA2:
        public, private = pems()
    elif algorithm is Algorithm.SM2:
        pair = sm2.PrivateKey.generate()
        public, private = pair.public_key().to_pem(), pair.to_pem()
    else:
        return replace(KEY, algorithm=algorithm)
    return MerchantKey("K1", "M1", algorithm, b"", public, private, 0)


ORDER = {
    "out_trade_no": "M1001202410281234567890ABCDEF",
    "total_amount": "12.30",
    "currency": "CNY",
    "subject": "明前龙井 & 茶点",
    "pay_type": "alipay",
    "notify_url": "https://shop.example/notify?a=1",
    "risk_context": '{"payer":{"account_id":"u-7"}}',
    "gift": "true",
}
LETTERS = '0123456789abcdefABCDEF+/=&%"\\{}é \x00'


def in_bytes(raw: bytes, dice: random.Random) -> bytes:
    """One byte changed, put in, taken out, or a piece said twice."""
    at = dice.randrange(len(raw))
    match dice.randrange(4):
        case 0:
            return raw[:at] + bytes([raw[at] ^ dice.randint(1, 255)]) + raw[at + 1 :]
        case 1:
            return raw[:at] + bytes([dice.randrange(256)]) + raw[at:]
        case 2:
            return raw[:at] + raw[at + 1 :]
        case _:
            end = dice.randrange(at, len(raw))
            return raw[:end] + raw[at:end] + raw[end:]


def in_text(value: str, dice: random.Random) -> str:
    at = dice.randrange(len(value) + 1)
    cut = dice.choice((0, 0, 1, 3))
    return value[:at] + dice.choice(("", dice.choice(LETTERS))) + value[at + cut :]


def in_params(params: dict[str, Any], others: list[dict[str, str]], dice: random.Random) -> bytes:
    """One parameter changed, dropped, added, renamed, swapped or taken from another request."""
    changed, name = dict(params), dice.choice(sorted(params))
    match dice.randrange(8):
        case 0:
            changed[name] = in_text(changed[name], dice)
        case 1:
            del changed[name]
        case 2:
            changed[in_text(name, dice) or "x"] = dice.choice(("1", "", "true", ORDER["subject"]))
        case 3:
            changed[in_text(name, dice) or "x"] = changed.pop(name)
        case 4:
            other = dice.choice(sorted(params))
            changed[name], changed[other] = changed[other], changed[name]
        case 5:
            changed["sign"] = dice.choice(others)["sign"]
        case 6:
            changed["sign"] = in_text(changed["sign"], dice)
        case _:
            changed["sign_type"] = dice.choice([*Algorithm, "none", "md5"])
    return encoded(changed)


def proof(params: Mapping[str, Any], key: MerchantKey) -> str:
    """The signature as it counts: hex in either case is one signature."""
    given = str(params.get("sign"))
    return given.lower() if key.algorithm.is_shared else given


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_of_many_changed_requests_none_is_admitted(
    algorithm: Algorithm, pytestconfig: pytest.Config
) -> None:
    wanted_count = pytestconfig.getoption("--mutations") // len(Algorithm)
    seed = random.SystemRandom().randrange(2**32)
    dice, key = random.Random(seed), key_of(algorithm)  # noqa: S311 - reproducible, no secret
    requests = [signed(ORDER | {"total_amount": f"{n}.30"}, key) for n in range(1, 21)]
    # What other algorithms, secrets and hands made of the very same texts.
    strangers = [signed(ORDER, key_of(other)) for other in Algorithm]
    changed_count, through = 0, []

    while changed_count < wanted_count:
        request = dice.choice(requests)
        body = encoded(request)
        make: Callable[[], bytes] = dice.choice(
            (
                lambda raw=body: in_bytes(raw, dice),
                lambda said=request: in_params(said, requests + strangers, dice),
            )
        )
        params = admitted(mutant := make(), key)
        same = params is not None and (
            meaning(params) == meaning(request) and proof(params, key) == proof(request, key)
        )
        changed_count += not same
        if params is not None and not same:
            through.append(mutant)

    print(  # noqa: T201 - the figure
        f"{algorithm}: {changed_count} changed requests, {len(through)} admitted (seed {seed})"
    )
    assert through == [], f"seed {seed}"


def test_a_required_parameter_cannot_be_smuggled_out_of_a_value() -> None:
    # The payer chose the subject; the merchant signed it; both requests have one canonical text.
    at = str(NOW_US // 1000)
    honest = signed({"subject": f"tea&timestamp={at}&total_amount=0.01&x=", "total_amount": "100"})
    split = {
        "merchant_id": "M1",
        "subject": "tea",
        "timestamp": at,
        "total_amount": "0.01",
        "x": f"&timestamp={at}&total_amount=100",
        "sign": honest["sign"],
    }

    assert canonical(split) == canonical(honest)
    assert admitted(encoded(split)) is None
    assert admitted(encoded(honest)) is None


@settings(max_examples=1000)
@given(st.binary(max_size=400), st.sampled_from(["", "application/json", "text/x", "a;charset=x"]))
def test_arbitrary_bytes_raise_nothing_but_1001(body: bytes, content_type: str) -> None:
    for kind in (content_type, "application/x-www-form-urlencoded"):
        try:
            parse(kind, body)
        except InvalidParameter as error:
            str(error).encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(KNOWN_NAMES)


@settings(max_examples=300)
@given(st.dictionaries(fields, json_values))
def test_arbitrary_json_raises_nothing_but_1001(body: dict[str, Any]) -> None:
    refused: list[GatewayError] = []
    for read in (read_create, read_query, read_refund):
        try:
            read(parse("", json.dumps(body).encode()))
        except GatewayError as error:
            refused.append(error)

    assert {error.code for error in refused} <= {"1001"}


@settings(max_examples=500)
@given(contents, st.sampled_from(["HMAC-SHA256", "RSA2", "MD5", "none", "hmac-sha256"]))
def test_a_request_cannot_choose_its_algorithm(content: dict[str, str], claimed: str) -> None:
    request = signed(content)
    del request["sign"]
    request["sign_type"] = claimed
    request["sign"] = sign(KEY, request)

    params = admitted(encoded(request))

    assert params is None or claimed == "HMAC-SHA256"


@given(contents)
def test_gateway_and_client_sign_alike(content: dict[str, str]) -> None:
    content.pop("sign", None)

    assert canonical(content).encode() == clients_canonical(content)
    assert sign(KEY, content) == SharedSecret("secret").sign(content)


@given(st.dictionaries(text.filter(bool), text, max_size=8))
def test_the_text_is_sorted_by_utf8_bytes(content: dict[str, str]) -> None:
    kept = {name: value for name, value in content.items() if value and name != "sign"}
    by_bytes = sorted(kept, key=str.encode)

    assert canonical(content) == "&".join(f"{name}={kept[name]}" for name in by_bytes)
