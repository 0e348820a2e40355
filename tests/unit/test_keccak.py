"""Keccak-256 as Ethereum knows it, in both of our implementations, against a third."""

import hashlib

from eth_utils.crypto import keccak as peer
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.keccak import keccak256
from gateway.sandbox.protocols.evm_keys import keccak

# The empty text and "abc", as the Keccak team's known-answer files print them.
KNOWN = {
    b"": "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
    b"abc": "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
}


def test_the_published_digests_come_out() -> None:
    for text, digest in KNOWN.items():
        assert keccak256(text).hex() == keccak(text).hex() == digest


def test_it_is_not_sha3() -> None:
    assert keccak256(b"abc") != hashlib.sha3_256(b"abc").digest()


@given(data=st.binary(max_size=600))
@example(data=bytes(135))  # One byte of padding, which is both its first and its last.
@example(data=bytes(136))
def test_three_implementations_agree(data: bytes) -> None:
    assert keccak256(data) == keccak(data) == peer(data)
