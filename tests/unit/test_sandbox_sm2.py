"""The sandbox's own SM2: as GB/T 32918.5 prints it, as gmssl computes it, as the gateway does."""

import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from gmssl import sm2 as peer
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import sm2 as ours
from gateway.sandbox import sm2

# GB/T 32918.5-2017, annexes A and C.
SECRET = 0x3945208F_7B2144B1_3F36E38A_C6D39F95_88939369_2860B51A_42FB81EF_4DF7C5B8
POINT = (
    0x09F9DF31_1E5421A1_50DD7D16_1E4BC5C6_72179FAD_1833FC07_6BB08FF3_56F35020,
    0xCCEA490C_E26775A5_2DC6EA71_8CC1AA60_0AED05FB_F35E084A_6632F607_2DA9AD13,
)
SIGNATURE = (
    0xF5A03B06_48D2C463_0EEAC513_E1BB81A1_5944DA38_27D5B741_43AC7EAC_EEE720B3,
    0xB1B6AA29_DF212FD8_763182BC_0D421CA1_BB9038FD_1F7F42D4_840B69C4_85BBC1AA,
)
C1 = (
    0x04EBFC71_8E8D1798_62043226_8E77FEB6_415E2EDE_0E073C0F_4F640ECD_2E149A73,
    0xE858F9D8_1E5430A5_7B36DAAB_8F950A3C_64E6EE6A_63094D99_283AFF76_7E124DF0,
)
C3 = bytes.fromhex("59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766")
C2 = bytes.fromhex("21886CA989CA9C7D58087307CA93092D651EFA")


def der(x: int, y: int, *octets: bytes) -> bytes:
    numbers = encode_dss_signature(x, y)[2:]
    inside = numbers + b"".join(bytes((4, len(each))) + each for each in octets)
    return bytes((0x30, 0x81, len(inside))) + inside


def hex_of(point: tuple[int, int]) -> str:
    return f"{point[0]:064x}{point[1]:064x}"


def peer_of(secret: int) -> peer.CryptSM2:
    made = peer.CryptSM2(private_key=f"{secret:064x}", public_key="", asn1=True)
    made.public_key = hex_of(sm2.public_of(secret))  # Its constructor strips digits off some keys.
    return made


def test_the_published_key_and_signature_fit() -> None:
    published = encode_dss_signature(*SIGNATURE)

    assert sm2.public_of(SECRET) == POINT
    assert sm2.verify(POINT, b"message digest", published)
    assert not sm2.verify(POINT, b"message digesu", published)


def test_the_published_cipher_text_opens() -> None:
    assert sm2.unseal(SECRET, der(*C1, C3, C2)) == b"encryption standard"


@settings(max_examples=25, deadline=None)
@given(message=st.binary(max_size=300))
def test_three_implementations_verify_each_others_signatures(message: bytes) -> None:
    secret = sm2.new_secret()
    key, point, gmssl = ours.PrivateKey(secret), sm2.public_of(secret), peer_of(secret)
    by_gmssl = gmssl.sign_with_sm3(message, f"{secrets.randbelow(2**255):064x}")

    made = sm2.sign(secret, message)

    assert ours.verify(key.public_key(), message, made)
    assert gmssl.verify_with_sm3(made.hex(), message)
    assert sm2.verify(point, message, ours.sign(key, message))
    assert sm2.verify(point, message, bytes.fromhex(by_gmssl))
    assert not sm2.verify(point, message + b"\0", made)


@settings(max_examples=25, deadline=None)
@given(message=st.binary(min_size=1, max_size=100), place=st.integers(0, 10**6))
def test_what_is_sealed_opens_with_its_key_alone_and_unchanged(message: bytes, place: int) -> None:
    secret = sm2.new_secret()
    sealed = sm2.seal(sm2.public_of(secret), message)
    changed = bytearray(sealed)
    changed[place % len(sealed)] ^= 1

    assert sm2.unseal(secret, sealed) == message
    for key, text in ((sm2.new_secret(), sealed), (secret, bytes(changed))):
        with pytest.raises(ValueError, match=r"."):
            sm2.unseal(key, text)


@settings(max_examples=25, deadline=None)
@given(place=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_a_changed_signature_is_refused(place: int, flip: int) -> None:
    changed = bytearray(sm2.sign(SECRET, b"text"))
    changed[place % len(changed)] ^= flip

    assert not sm2.verify(POINT, b"text", bytes(changed))


@pytest.mark.parametrize("s_shift", [0, sm2.ORDER])
def test_a_number_beyond_the_order_is_refused(s_shift: int) -> None:
    r, s = decode_dss_signature(sm2.sign(SECRET, b"text"))

    assert sm2.verify(POINT, b"text", encode_dss_signature(r, s + s_shift)) == (s_shift == 0)


def test_the_addition_law_knows_no_exception() -> None:
    infinite, point = (0, 1, 0), (*POINT, 1)
    opposite = (POINT[0], sm2.PRIME - POINT[1], 1)

    assert sm2._finite(sm2._added(infinite, point)) == POINT
    assert sm2._added(point, opposite)[2] == 0
    assert sm2._finite(sm2._added(point, point)) == sm2._finite(sm2._multiple(2, POINT))
    assert sm2._multiple(sm2.ORDER, POINT)[2] == 0
