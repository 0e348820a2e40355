"""One change to a signed request, whatever it is, and the request is refused."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.errors import BadSignature, GatewayError, InvalidParameter
from gateway.domain.merchant import Algorithm, MerchantKey, MerchantStatus
from gateway.http.admission import admit
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

    def find(self, merchant_id: str) -> MerchantRecord | None:
        if merchant_id != "M1":
            return None
        return MerchantRecord(
            merchant_id="M1", name="", mcc="", status=MerchantStatus.ACTIVE, keys=(KEY,)
        )


def signed(content: dict[str, str]) -> dict[str, str]:
    base = {"merchant_id": "M1", "timestamp": str(NOW_US // 1000)}
    params = {k: v for k, v in content.items() if k not in ("sign", "sign_type")} | base
    return params | {"sign": sign(KEY, params)}


def admitted(body: bytes) -> Params | None:
    try:
        params = parse("application/json", body)
        admit(params, OneMerchant(), now_us=NOW_US, window_s=300)
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
