"""Merchants: where an application stands, and which key signs with which algorithm."""

from dataclasses import dataclass
from enum import StrEnum


class MerchantStatus(StrEnum):
    """Where a merchant stands; only an active one may take payments."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    REJECTED = "REJECTED"
    FROZEN = "FROZEN"


MERCHANT_TRANSITIONS: dict[MerchantStatus, frozenset[MerchantStatus]] = {
    MerchantStatus.PENDING: frozenset({MerchantStatus.ACTIVE, MerchantStatus.REJECTED}),
    MerchantStatus.ACTIVE: frozenset({MerchantStatus.FROZEN}),
    MerchantStatus.REJECTED: frozenset({MerchantStatus.PENDING}),
    MerchantStatus.FROZEN: frozenset({MerchantStatus.ACTIVE}),
}


class Algorithm(StrEnum):
    """Signature algorithms; each is bound to a key on the server, never chosen by a request.

    MD5 is broken and serves only merchants for whom an operator switched it on by name.
    """

    HMAC_SHA256 = "HMAC-SHA256"
    SHA256 = "SHA256"
    RSA2 = "RSA2"
    SM3 = "SM3"
    SM2 = "SM2"
    MD5 = "MD5"

    @property
    def is_shared(self) -> bool:
        """Whether both sides know one secret; otherwise each signs with a pair of its own."""
        return self not in (Algorithm.RSA2, Algorithm.SM2)


@dataclass(frozen=True, slots=True)
class MerchantKey:
    """One key of a merchant, able to verify what it sends and to sign what it is sent.

    Attributes:
        key_id: Public name of the key.
        merchant_id: Its owner.
        algorithm: The only algorithm this key verifies.
        secret: The shared secret; empty if each side has a pair.
        public_key_pem: RSA2, SM2: the merchant's public key; otherwise empty.
        platform_private_key_pem: RSA2, SM2: the gateway's own key, which signs answers; otherwise
            empty.
        expires_at_us: After this the key verifies nothing (rotation's overlap); 0 = no end.
    """

    key_id: str
    merchant_id: str
    algorithm: Algorithm
    secret: bytes
    public_key_pem: bytes
    platform_private_key_pem: bytes
    expires_at_us: int

    def __repr__(self) -> str:  # Secrets never reach a log through a repr.
        return f"MerchantKey({self.key_id}, {self.merchant_id}, {self.algorithm})"
