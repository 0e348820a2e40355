"""Signatures: the key decides, the text is exact, garbage is refused without noise."""

import base64
import hashlib
import hmac
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway import sm2
from gateway.domain.merchant import Algorithm, MerchantKey
from gateway.signing import (
    BadPublicKey,
    UnusableKey,
    canonical,
    read_public_key,
    sign,
    verify,
    verify_any,
)

PARAMS = {"merchant_id": "M1", "total_amount": "12.30", "subject": "茶"}
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


def public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def shared(secret: bytes = b"s3cret", key_id: str = "K1") -> MerchantKey:
    return MerchantKey(key_id, "M1", Algorithm.HMAC_SHA256, secret, b"", b"", 0)


def pair() -> MerchantKey:
    private = private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return MerchantKey("K2", "M1", Algorithm.RSA2, b"", public_pem(private_key()), private, 0)


def hashed(algorithm: Algorithm, secret: bytes = b"s3cret") -> MerchantKey:
    return MerchantKey(f"K-{algorithm}", "M1", algorithm, secret, b"", b"", 0)


@cache
def sm2_pair() -> MerchantKey:
    private = sm2.PrivateKey.generate()
    public = private.public_key().to_pem()
    return MerchantKey("K-SM2", "M1", Algorithm.SM2, b"", public, private.to_pem(), 0)


EVERY_KEY = [
    shared(),
    pair(),
    sm2_pair(),
    *(hashed(algorithm) for algorithm in (Algorithm.SHA256, Algorithm.SM3, Algorithm.MD5)),
]


def test_every_algorithm_is_tried_here() -> None:
    assert {key.algorithm for key in EVERY_KEY} == set(Algorithm)


def test_the_text_is_sorted_by_bytes_and_drops_sign_and_empty_values() -> None:
    params = {"b": "2", "Z": "0", "_": "1", "sign": "x", "empty": "", "null": None, "名": "值"}

    assert canonical(params) == "Z=0&_=1&b=2&名=值"


def test_the_secret_follows_the_text_directly() -> None:
    text = "merchant_id=M1&subject=茶&total_amount=12.30"
    expected = hmac.new(b"s3cret", f"{text}s3cret".encode(), hashlib.sha256).hexdigest()

    assert sign(shared(), PARAMS) == expected


def test_hex_is_taken_in_either_case() -> None:
    assert verify(shared(), PARAMS, sign(shared(), PARAMS).upper())


@pytest.mark.parametrize("key", EVERY_KEY, ids=repr)
def test_a_signature_holds_for_its_text_alone(key: MerchantKey) -> None:
    signature = sign(key, PARAMS)

    assert verify(key, PARAMS, signature)
    assert not verify(key, PARAMS | {"total_amount": "12.3"}, signature)
    assert not verify(key, PARAMS | {"extra": "1"}, signature)


@pytest.mark.parametrize("key", EVERY_KEY, ids=repr)
@pytest.mark.parametrize(
    "garbage", ["", "x", "é" * 64, "\ud800" * 64, "0" * 64, "=" * 344, "A" * 344]
)
def test_garbage_is_refused_without_an_exception(key: MerchantKey, garbage: str) -> None:
    assert not verify(key, PARAMS, garbage)


def test_text_that_nobody_can_have_signed_is_refused() -> None:
    assert not verify(shared(), {"subject": "\ud800"}, "0" * 64)


def test_a_public_key_is_never_a_shared_secret() -> None:
    # RS/HS confusion: the attacker knows the RSA public key and uses it as an HMAC secret.
    known = pair().public_key_pem
    forged = sign(shared(known), PARAMS)

    assert not verify(pair(), PARAMS, forged)


@pytest.mark.parametrize("key", EVERY_KEY, ids=repr)
def test_no_key_verifies_what_another_algorithm_signed(key: MerchantKey) -> None:
    # The same secret, and the public key as a secret: neither may cross over.
    others = [other for other in EVERY_KEY if other.algorithm is not key.algorithm]
    forged = [hashed(a, key.public_key_pem) for a in Algorithm if a.is_shared]

    for other in others + forged:
        if other.secret or not other.algorithm.is_shared:
            assert not verify(key, PARAMS, sign(other, PARAMS)), other


@pytest.mark.parametrize("algorithm", [Algorithm.SHA256, Algorithm.SM3, Algorithm.MD5])
def test_the_literal_rule_hashes_text_and_secret(algorithm: Algorithm) -> None:
    said = f"{canonical(PARAMS)}s3cret".encode()
    expected = {
        Algorithm.SHA256: hashlib.sha256(said).hexdigest(),
        Algorithm.SM3: sm2.sm3(said).hex(),
        Algorithm.MD5: hashlib.md5(said).hexdigest(),  # noqa: S324 - the algorithm under test
    }

    assert sign(hashed(algorithm), PARAMS) == expected[algorithm]
    assert verify(hashed(algorithm), PARAMS, expected[algorithm].upper())
    assert not verify(hashed(algorithm, b""), PARAMS, expected[algorithm])


def test_sm3_is_the_standards() -> None:
    # GB/T 32905-2016, annex A.1.
    expected = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"

    assert sm2.sm3(b"abc").hex() == expected


def test_an_hmac_of_an_empty_secret_is_refused() -> None:
    forged = hmac.new(b"", canonical(PARAMS).encode(), hashlib.sha256).hexdigest()

    assert not verify(shared(b""), PARAMS, forged)


def test_a_plain_hash_is_no_hmac() -> None:
    literal = hashlib.sha256(f"{canonical(PARAMS)}s3cret".encode()).hexdigest()

    assert not verify(shared(), PARAMS, literal)


def test_one_rsa_signature_has_one_spelling() -> None:
    signature = sign(pair(), PARAMS)
    spare_bits = signature[:-3] + chr(ord(signature[-3]) + 1) + "=="

    assert base64.b64decode(spare_bits) == base64.b64decode(signature)
    assert not verify(pair(), PARAMS, spare_bits)
    assert not verify(pair(), PARAMS, signature + "\n")
    assert not verify(pair(), PARAMS, signature.rstrip("="))


def test_another_hash_under_the_same_rsa_key_is_refused() -> None:
    weak = private_key().sign(canonical(PARAMS).encode(), padding.PKCS1v15(), SHA1())  # noqa: S303
    pss = private_key().sign(
        canonical(PARAMS).encode(), padding.PSS(padding.MGF1(SHA256()), 32), SHA256()
    )

    assert not verify(pair(), PARAMS, base64.b64encode(weak).decode())
    assert not verify(pair(), PARAMS, base64.b64encode(pss).decode())


def test_each_live_key_is_tried_by_its_own_algorithm() -> None:
    keys = (shared(b"new", "K3"), pair(), shared(b"old", "K1"))

    found = [verify_any(keys, PARAMS, sign(key, PARAMS)) for key in keys]

    assert found == list(keys)
    assert verify_any(keys, PARAMS, sign(shared(b"other"), PARAMS)) is None
    assert verify_any((), PARAMS, sign(shared(), PARAMS)) is None


def test_a_sign_type_that_is_not_the_keys_is_refused() -> None:
    claim = PARAMS | {"sign_type": "RSA2"}
    honest = PARAMS | {"sign_type": "HMAC-SHA256"}

    assert verify_any((shared(),), claim, sign(shared(), claim)) is None
    assert verify_any((shared(),), honest, sign(shared(), honest)) == shared()
    assert verify_any((shared(),), PARAMS | {"sign_type": "MD5"}, "0" * 64) is None


def test_a_key_without_its_secret_does_not_sign() -> None:
    broken = MerchantKey("K", "M", Algorithm.RSA2, b"", public_pem(private_key()), b"", 0)

    with pytest.raises(UnusableKey, match="K, M"):
        sign(broken, PARAMS)
    with pytest.raises(UnusableKey):
        sign(shared(b""), PARAMS)
    with pytest.raises(UnusableKey):
        sign(MerchantKey("K", "M", Algorithm.SM2, b"", b"", b"no key", 0), PARAMS)


def test_a_key_never_shows_its_secret() -> None:
    assert "s3cret" not in repr(shared())
    assert "PRIVATE" not in repr(pair())


def test_a_merchants_rsa_key_must_be_strong_and_ordinary() -> None:
    small = rsa.generate_private_key(public_exponent=65_537, key_size=1024)  # noqa: S505 - refused
    odd = rsa.generate_private_key(public_exponent=3, key_size=2048)
    curve = ec.generate_private_key(ec.SECP256R1())
    good = public_pem(private_key())

    assert read_public_key(Algorithm.RSA2, good.decode()) == good
    for key, why in ((small, "2048"), (odd, "65537"), (curve, "RSA")):
        with pytest.raises(BadPublicKey, match=why):
            read_public_key(Algorithm.RSA2, public_pem(key).decode())
    for text in ("nothing", "", "\ud800", sm2_pair().public_key_pem.decode()):
        with pytest.raises(BadPublicKey):
            read_public_key(Algorithm.RSA2, text)


def test_a_merchants_sm2_key_comes_as_pem_or_hex() -> None:
    pem = sm2_pair().public_key_pem
    point = sm2.PublicKey.from_pem(pem).to_bytes().hex()

    assert read_public_key(Algorithm.SM2, pem.decode()) == pem
    assert read_public_key(Algorithm.SM2, point) == pem
    for text in ("", "04", "\ud800", point[:-2] + "00", public_pem(private_key()).decode()):
        with pytest.raises(BadPublicKey):
            read_public_key(Algorithm.SM2, text)


def test_a_shared_secret_has_no_public_key() -> None:
    with pytest.raises(BadPublicKey, match="shared secret"):
        read_public_key(Algorithm.SM3, public_pem(private_key()).decode())


def test_a_weak_stored_key_verifies_nothing() -> None:
    small = rsa.generate_private_key(public_exponent=65_537, key_size=1024)  # noqa: S505 - refused
    weak = MerchantKey("K", "M", Algorithm.RSA2, b"", public_pem(small), b"", 0)
    signature = small.sign(canonical(PARAMS).encode(), padding.PKCS1v15(), SHA256())

    assert not verify(weak, PARAMS, base64.b64encode(signature).decode())
