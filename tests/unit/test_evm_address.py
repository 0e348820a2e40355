"""Addresses derived from a public key: BIP-32's and EIP-55's vectors, eth-account, the wallet."""

import hmac

import pytest
from eth_account import Account
from eth_account.hdaccount.deterministic import HDPath
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.evm_address import (
    HARDENED,
    LEVELS,
    BadAddress,
    ExtendedKey,
    N,
    _affine,
    _doubled,
    _sum,
    _times,
    address_of,
    checksummed,
    path_of,
    read_address,
)
from gateway.sandbox.protocols.evm_keys import Node

# BIP-32, test vector 2: the parent m and its non-hardened child m/0.
M = (
    "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY"
    "47LJhkJ8UB7WEGuduB"
)
M_0 = (
    "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap"
    "6r1D3tgFxHmwMkQTPH"
)
# BIP-32, test vector 1: the seed, and the account m/0'.
SEED = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
# EIP-55's own examples.
CHECKSUMMED = (
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
)
numbers = st.text(st.sampled_from("0123456789ABCDEF"), min_size=8, max_size=31)


def account_of(seed: bytes) -> Node:
    mixed = hmac.digest(b"Bitcoin seed", seed, "sha512")
    return Node(int.from_bytes(mixed[:32]), mixed[32:]).below((44 + 2**31, 60 + 2**31, 2**31))


def test_bip_32_derives_the_published_child() -> None:
    assert ExtendedKey.from_text(M).child(0) == ExtendedKey.from_text(M_0)


def test_eip_55_writes_the_published_checksums() -> None:
    for text in CHECKSUMMED:
        assert checksummed(bytes.fromhex(text[2:])) == text
        assert read_address(text) == read_address(text.lower()) == text


@settings(max_examples=15, deadline=None)
@given(seed=st.binary(min_size=16, max_size=64), number=numbers)
def test_the_public_key_and_eth_account_lead_to_the_same_address(seed: bytes, number: str) -> None:
    node = account_of(seed)
    path = path_of(number)
    text = "m/44'/60'/0'/" + "/".join(map(str, path))

    ours = address_of(ExtendedKey.from_text(node.xpub()), number)

    assert ours == Account.from_key(HDPath(text).derive(seed)).address
    assert ours == node.below(path).address()


@given(first=numbers, second=numbers)
def test_two_orders_have_two_paths_and_one_order_has_one(first: str, second: str) -> None:
    assert (path_of(first) == path_of(second)) == (first == second)
    assert len(path_of(first)) == LEVELS
    assert all(0 <= index < HARDENED for index in path_of(first))


@given(address=st.binary(min_size=20, max_size=20))
def test_checksums_are_eth_utils_own(address: bytes) -> None:
    assert checksummed(address) == to_checksum_address(address)


@given(place=st.integers(2, 41), address=st.binary(min_size=20, max_size=20))
def test_a_letter_in_the_wrong_case_is_a_mistyped_address(place: int, address: bytes) -> None:
    text = checksummed(address)
    changed = text[:place] + text[place].swapcase() + text[place + 1 :]

    mixed = changed[2:] not in (changed[2:].lower(), changed[2:].upper())
    if changed != text and mixed:
        with pytest.raises(BadAddress, match="mistyped"):
            read_address(changed)


@pytest.mark.parametrize(
    "text", ["", "0x", "0x" + "0" * 39, "0x" + "g" * 40, "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        read_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "xpub",
        M[:-1] + "C",
        M.replace("1", "0"),
        # The private key of the same vector: an account must never be given one.
        (
            "xprv9s21ZrQH143K31xYSDQpPDxsXRTUcvj2iNHm5NUtrGiGG5e2DtALGdso3pGz6ssrdK4PFmM8NSpSBHNqPqm55"
            "Qn3LqFtT2emdEXVYsCzC2U"
        ),
    ],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"xpub|checksum|base58"):
        ExtendedKey.from_text(text)


def test_a_hardened_child_needs_the_private_key() -> None:
    with pytest.raises(ValueError, match="private key"):
        ExtendedKey.from_text(M).child(HARDENED)


def test_the_addition_knows_equal_opposite_and_infinite_points() -> None:
    one, two = _times(1), _times(2)

    assert _affine(_sum(one, one)) == _affine(two) == _affine(_doubled(one))
    assert _sum(one, _times(N - 1))[2] == 0
    assert _sum((1, 1, 0), one) == one == _sum(one, (1, 1, 0))
    assert _times(N)[2] == 0
