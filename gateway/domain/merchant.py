"""Merchants: where one stands, what its keys are for, and which key signs with which algorithm."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.domain.errors import IllegalMerchantMove


class MerchantStatus(StrEnum):
    """Where a merchant stands, from its first form to its end; only an active one takes payments.

    REGISTERED: filling in its application. PENDING: handed in, waits for a person. INCOMPLETE:
    asked for more. APPROVED: let in, has not accepted the agreement yet. FROZEN: suspended.
    """

    REGISTERED = "REGISTERED"
    PENDING = "PENDING"
    INCOMPLETE = "INCOMPLETE"
    APPROVED = "APPROVED"
    ACTIVE = "ACTIVE"
    REJECTED = "REJECTED"
    FROZEN = "FROZEN"
    CLOSED = "CLOSED"


_AT = MerchantStatus
MERCHANT_TRANSITIONS: dict[MerchantStatus, frozenset[MerchantStatus]] = {
    _AT.REGISTERED: frozenset({_AT.PENDING, _AT.CLOSED}),
    # Straight to ACTIVE goes only a merchant whom an operator entered: it has no application.
    _AT.PENDING: frozenset({_AT.APPROVED, _AT.ACTIVE, _AT.INCOMPLETE, _AT.REJECTED, _AT.CLOSED}),
    _AT.INCOMPLETE: frozenset({_AT.PENDING, _AT.CLOSED}),
    _AT.APPROVED: frozenset({_AT.ACTIVE, _AT.REJECTED, _AT.CLOSED}),
    _AT.ACTIVE: frozenset({_AT.FROZEN, _AT.CLOSED}),
    _AT.REJECTED: frozenset({_AT.PENDING, _AT.CLOSED}),
    _AT.FROZEN: frozenset({_AT.ACTIVE, _AT.CLOSED}),
    _AT.CLOSED: frozenset(),
}

# Where the applicant may still change what it says of itself.
EDITABLE = frozenset({_AT.REGISTERED, _AT.INCOMPLETE, _AT.REJECTED})


def advance_merchant(status: MerchantStatus, target: MerchantStatus) -> MerchantStatus:
    """Return `target` if a merchant in `status` may go there.

    Raises:
        IllegalMerchantMove: (1004) otherwise.
    """
    if target not in MERCHANT_TRANSITIONS[status]:
        raise IllegalMerchantMove(status.value, target.value)
    return target


class Mode(StrEnum):
    """Which money a merchant's record is about: real money, or none at all.

    An applicant has one record of each kind, so that every table that is keyed by `merchant_id`
    keeps the two apart.
    """

    LIVE = "LIVE"
    SANDBOX = "SANDBOX"


class KeyPurpose(StrEnum):
    """What a key is for: the API both ways, or notifications alone."""

    API = "API"
    NOTIFY = "NOTIFY"


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
        return self is not Algorithm.RSA2 and self is not Algorithm.SM2


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
