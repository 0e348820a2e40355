"""Who may come in: the order of the questions and what a stranger learns."""

import asyncio

import pytest

from gateway.domain.errors import BadSignature, InvalidParameter
from gateway.domain.merchant import Algorithm, MerchantKey, MerchantStatus
from gateway.http import admission
from gateway.http.admission import Sender, Stale
from gateway.http.schemas import Params
from gateway.signing import sign
from gateway.store.merchants import MerchantRecord

NOW_US = 1_700_000_000_000_000
OLD = MerchantKey("K1", "M1", Algorithm.HMAC_SHA256, b"old", b"", b"", 0)
NEW = MerchantKey("K2", "M1", Algorithm.HMAC_SHA256, b"new", b"", b"", 0)


class TwoKeys:
    """A ring with one merchant in the middle of a rotation."""

    def find(self, merchant_id: str) -> MerchantRecord | None:
        if merchant_id != "M1":
            return None
        return MerchantRecord(
            merchant_id="M1", name="", mcc="", status=MerchantStatus.ACTIVE, keys=(NEW, OLD)
        )


def admit(params: Params, keys: TwoKeys, *, now_us: int, window_s: int) -> Sender:
    return asyncio.run(admission.admit(params, keys, now_us=now_us, window_s=window_s))


def request(key: MerchantKey = OLD, **changes: str) -> Params:
    params: Params = {"merchant_id": "M1", "timestamp": str(NOW_US // 1000), **changes}
    return params | {"sign": sign(key, params)}


def test_the_key_that_signed_is_named_so_that_it_can_sign_the_answer() -> None:
    sender = admit(request(OLD), TwoKeys(), now_us=NOW_US, window_s=300)

    assert sender.key is OLD
    assert sender.merchant.merchant_id == "M1"


def test_an_unknown_merchant_and_a_wrong_key_get_the_same_answer() -> None:
    stranger = MerchantKey("K", "M1", Algorithm.HMAC_SHA256, b"guess", b"", b"", 0)
    said = []
    for params in (request(stranger), request(merchant_id="M2")):
        with pytest.raises(BadSignature) as refused:
            admit(params, TwoKeys(), now_us=NOW_US, window_s=300)
        said.append(str(refused.value))

    assert said[0] == said[1]


def test_an_old_request_is_refused_only_after_its_signature_held() -> None:
    late_us = NOW_US + 301_000_000

    with pytest.raises(Stale) as stale:
        admit(request(), TwoKeys(), now_us=late_us, window_s=300)
    with pytest.raises(BadSignature) as wrong:
        admit(request() | {"x": "1"}, TwoKeys(), now_us=late_us, window_s=300)

    assert stale.value.sender.key is OLD
    assert not isinstance(wrong.value, Stale)


@pytest.mark.parametrize("name", ["merchant_id", "timestamp", "sign"])
def test_what_says_who_and_when_must_be_there(name: str) -> None:
    params = {key: value for key, value in request().items() if key != name}

    with pytest.raises(InvalidParameter) as refused:
        admit(params, TwoKeys(), now_us=NOW_US, window_s=300)

    assert refused.value.field == name


def test_fields_are_not_judged_before_the_sender_is_known() -> None:
    with pytest.raises(BadSignature):
        admit(request() | {"total_amount": "-1"}, TwoKeys(), now_us=NOW_US, window_s=300)
