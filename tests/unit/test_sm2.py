"""SM2 as GB/T 32918.5 prints it, and as OpenSSL and gmssl compute it."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from gmssl import sm2 as peer
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import sm2
from gateway.sm2 import BadKey, DecryptionFailed, PrivateKey, PublicKey
from gateway.sm2_curve import GX, GY, N, add, times, times_base, to_affine

# GB/T 32918.5-2017, annexes A and C: key, nonce, signature and cipher text.
SCALAR = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"
X = 0x09F9DF31_1E5421A1_50DD7D16_1E4BC5C6_72179FAD_1833FC07_6BB08FF3_56F35020
Y = 0xCCEA490C_E26775A5_2DC6EA71_8CC1AA60_0AED05FB_F35E084A_6632F607_2DA9AD13
E = 0xF0B43E94_BA45ACCA_ACE692ED_534382EB_17E6AB5A_19CE7B31_F4486FDF_C0D28640
NONCE = 0x59276E27_D506861A_16680F3A_D9C02DCC_EF3CC1FA_3CDBE4CE_6D54B80D_EAC1BC21
R = 0xF5A03B06_48D2C463_0EEAC513_E1BB81A1_5944DA38_27D5B741_43AC7EAC_EEE720B3
S = 0xB1B6AA29_DF212FD8_763182BC_0D421CA1_BB9038FD_1F7F42D4_840B69C4_85BBC1AA
CIPHER_TEXT = bytes.fromhex(
    "04"
    "04EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73"
    "E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0"
    "59983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766"
    "21886CA989CA9C7D58087307CA93092D651EFA"
)
KEY = PrivateKey.from_hex(SCALAR)


def test_the_published_signature_comes_out() -> None:
    public = KEY.public_key()

    assert (public.x, public.y) == (X, Y)
    assert sm2.message_digest(public, b"message digest", sm2.DEFAULT_USER_ID) == E
    assert sm2._signature(KEY.scalar, E, NONCE) == (R, S)
    assert sm2.verify(public, b"message digest", encode_dss_signature(R, S))


def test_the_published_cipher_text_comes_out() -> None:
    made = sm2._encryption(KEY.public_key(), b"encryption standard", NONCE)

    assert made == CIPHER_TEXT
    assert sm2.decrypt(KEY, CIPHER_TEXT) == b"encryption standard"


@settings(max_examples=20, deadline=None)
@given(message=st.binary(max_size=200), user_id=st.binary(max_size=40))
def test_what_is_signed_verifies_for_that_text_user_and_key_alone(
    message: bytes, user_id: bytes
) -> None:
    signature = sm2.sign(KEY, message, user_id)

    assert sm2.verify(KEY.public_key(), message, signature, user_id)
    assert not sm2.verify(KEY.public_key(), message + b"\0", signature, user_id)
    assert not sm2.verify(KEY.public_key(), message, signature, user_id + b"\0")
    assert not sm2.verify(PrivateKey.generate().public_key(), message, signature, user_id)


@settings(max_examples=20, deadline=None)
@given(message=st.binary(min_size=1, max_size=200), position=st.integers(0, 10**6))
def test_what_is_encrypted_opens_and_a_changed_byte_does_not(message: bytes, position: int) -> None:
    sealed = sm2.encrypt(KEY.public_key(), message)
    at = position % len(sealed)
    damaged = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]

    assert sm2.decrypt(KEY, sealed) == message
    with pytest.raises(DecryptionFailed):
        sm2.decrypt(KEY, damaged)
    with pytest.raises(DecryptionFailed):
        sm2.decrypt(PrivateKey.generate(), sealed)


def test_two_signatures_of_one_text_differ() -> None:
    assert sm2.sign(KEY, b"text") != sm2.sign(KEY, b"text")


def variants(signature: bytes) -> list[bytes]:
    """Other spellings and other numbers of one signature."""
    r, s = decode_dss_signature(signature)
    padded = b"\x30" + bytes([signature[1] + 1]) + b"\x02" + bytes([signature[3] + 1]) + b"\0"
    return [
        b"",
        signature + b"\0",
        b"\x30\x81" + signature[1:],
        padded + signature[4:],
        encode_dss_signature(r, N - s),
        encode_dss_signature(r + N, s),
        encode_dss_signature(r, s + N),
        encode_dss_signature(s, r),
        encode_dss_signature(0, s),
        encode_dss_signature(r, 0),
        encode_dss_signature(r, N - r),
    ]


def test_a_signature_has_one_spelling() -> None:
    signature = sm2.sign(KEY, b"text")

    for other in variants(signature):
        assert not sm2.verify(KEY.public_key(), b"text", other), other.hex()


@pytest.mark.parametrize("scalar", [1, 2, 15, 16, 17, 256, N - 1, N - 2, N - 16, (N - 1) // 2])
def test_the_two_ways_to_multiply_agree_with_adding(scalar: int) -> None:
    slow, power, rest = (1, 1, 0), (GX, GY, 1), scalar
    while rest:
        slow = add(slow, power) if rest & 1 else slow
        power, rest = add(power, power), rest >> 1

    assert to_affine(times_base(scalar)) == to_affine(slow)
    assert to_affine(times(scalar, (GX, GY))) == to_affine(slow)


def test_the_group_closes() -> None:
    assert to_affine(times_base(0)) is None
    assert to_affine(times_base(N)) is None
    assert to_affine(times(N, (X, Y))) is None


@pytest.mark.parametrize("form", range(4))
def test_a_private_key_is_read_in_every_form_in_use(form: int) -> None:
    label = "EC PRIVATE KEY" if form == 3 else "PRIVATE KEY"

    assert PrivateKey.from_pem(sm2._to_pem(KEY.encodings()[form], label)) == KEY


def test_keys_survive_writing_and_reading() -> None:
    public = KEY.public_key()

    assert PrivateKey.from_pem(KEY.to_pem()) == KEY
    assert PublicKey.from_pem(public.to_pem()) == public
    assert PublicKey.from_bytes(public.to_bytes()) == public
    assert PublicKey.from_hex(public.to_bytes().hex()) == public
    assert PublicKey.from_hex(public.to_bytes().hex()[2:]) == public


@pytest.mark.parametrize(
    "text",
    ["", "zz", "00" * 32, "ff" * 32, f"{N - 1:064x}", SCALAR[:-2], SCALAR + "00", " " + SCALAR],
)
def test_what_is_no_private_key_is_refused(text: str) -> None:
    with pytest.raises(BadKey):
        PrivateKey.from_hex(text)


def test_what_is_no_public_key_is_refused() -> None:
    raw = KEY.public_key().to_bytes()
    other_curve = KEY.public_key().to_pem().replace(b"oEcz1UBgi0", b"ZIzj0DAQcD")

    for bad in (b"", raw[:-1], b"\x02" + raw[1:33], raw[:-1] + bytes([raw[-1] ^ 1]), bytes(65)):
        with pytest.raises(BadKey):
            PublicKey.from_bytes(bad)
    for pem in (b"", b"-----BEGIN PUBLIC KEY-----\n?\n-----END PUBLIC KEY-----", other_curve):
        with pytest.raises(BadKey):
            PublicKey.from_pem(pem)


def test_a_private_key_with_another_public_key_inside_is_refused() -> None:
    mine, other = KEY.encodings()[0], PrivateKey.generate().encodings()[0]

    with pytest.raises(BadKey):
        PrivateKey.from_pem(sm2._to_pem(mine[:-64] + other[-64:], "PRIVATE KEY"))


def test_a_secret_is_not_shown() -> None:
    assert SCALAR.lower() not in repr(KEY).lower()
    assert str(KEY.scalar) not in repr(KEY)


def openssl(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["openssl", *words],  # noqa: S607 - whichever the machine has
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_openssl_and_we_accept_each_other(tmp_path: Path) -> None:
    if "SM2" not in openssl(tmp_path, "list", "-public-key-algorithms"):
        pytest.skip("this machine's openssl has no SM2")
    text = b"amount=12.30"
    (tmp_path / "text").write_bytes(text)
    (tmp_path / "ours.pem").write_bytes(KEY.public_key().to_pem())
    (tmp_path / "ours.sig").write_bytes(sm2.sign(KEY, text))
    distid = ("-pkeyopt", f"distid:{sm2.DEFAULT_USER_ID.decode()}")
    openssl(tmp_path, "genpkey", "-algorithm", "SM2", "-out", "theirs.pem")
    openssl(tmp_path, "pkey", "-in", "theirs.pem", "-pubout", "-out", "theirs_pub.pem")
    sign = ("pkeyutl", "-sign", "-inkey", "theirs.pem", "-rawin", "-digest", "sm3", *distid)
    openssl(tmp_path, *sign, "-in", "text", "-out", "theirs.sig")

    theirs = PrivateKey.from_pem((tmp_path / "theirs.pem").read_bytes())
    assert theirs.public_key() == PublicKey.from_pem((tmp_path / "theirs_pub.pem").read_bytes())
    assert sm2.verify(theirs.public_key(), text, (tmp_path / "theirs.sig").read_bytes())
    check = ("pkeyutl", "-verify", "-pubin", "-inkey", "ours.pem", "-rawin", "-digest", "sm3")
    said = openssl(tmp_path, *check, *distid, "-in", "text", "-sigfile", "ours.sig")
    assert "Verified Successfully" in said


def test_gmssl_and_we_accept_each_other() -> None:
    public_hex = KEY.public_key().to_bytes().hex()[2:]
    gmssl = peer.CryptSM2(private_key=SCALAR.lower(), public_key=public_hex, mode=1, asn1=True)
    text = b"amount=12.30"

    assert sm2.verify(KEY.public_key(), text, bytes.fromhex(gmssl.sign_with_sm3(text)))
    assert gmssl.verify_with_sm3(sm2.sign(KEY, text).hex(), text)
    assert sm2.decrypt(KEY, b"\x04" + gmssl.encrypt(text)) == text
    assert gmssl.decrypt(sm2.encrypt(KEY.public_key(), text)[1:]) == text
