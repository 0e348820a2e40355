"""Merchants' keys: made, stored sealed, rotated, ended.

A secret exists in the open twice: in the answer that gives it to the merchant, once, and in the
memory of the process that checks signatures. In the database it is sealed.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sqlalchemy import Connection, insert, or_, select, update

from gateway import sm2
from gateway.domain.errors import InvalidParameter, ObjectNotFound
from gateway.domain.merchant import Algorithm, KeyPurpose
from gateway.store.tables import merchant_keys, merchants
from gateway.store.vault import Vault

KEY_COUNT_MAX = 16  # Live ones of a merchant: each is tried on every request.
_RSA_BITS = 2048
_NAME_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key just made; the only time its secret is shown.

    Attributes:
        key_id: Public name of the key.
        algorithm: The only algorithm it works with.
        secret: The shared secret; or, with RSA2 and SM2, the merchant's private key in PEM if the
            gateway made the pair, empty if the merchant brought its public key.
        platform_public_key: RSA2, SM2: verifies what the gateway sends, PEM; otherwise empty.
        public_key: RSA2, SM2: the merchant's own public key, PEM; otherwise empty.
    """

    key_id: str
    algorithm: Algorithm
    secret: str = field(repr=False)
    platform_public_key: str
    public_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshKey:
    """A key that is made and not yet stored: making a pair takes CPU, storing one a transaction.

    Attributes:
        algorithm: Its algorithm.
        secret: What the merchant keeps, see `NewKey`.
        kept: What the gateway keeps, and seals.
        public_key_pem: The merchant's public key, or empty.
        platform_public_key: The gateway's public key, or empty.
    """

    algorithm: Algorithm
    secret: str = field(repr=False)
    kept: bytes = field(repr=False)
    public_key_pem: bytes = b""
    platform_public_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """A stored key as its owner and operators may see it."""

    key_id: str
    algorithm: str
    purpose: str
    public_key: str
    created_at_us: int
    expires_at_us: int


def make_key(algorithm: Algorithm, public_key_pem: bytes = b"") -> FreshKey:
    """Make a key; an RSA pair takes a tenth of a second of CPU, so keep it off the event loop.

    Args:
        algorithm: Its algorithm.
        public_key_pem: RSA2, SM2: the merchant's own public key, already checked
            (`gateway.signing.read_public_key`); empty: a pair is made.
    """
    if algorithm.is_shared:
        secret = secrets.token_hex(32)
        return FreshKey(algorithm=algorithm, secret=secret, kept=secret.encode())
    secret = ""
    if not public_key_pem:
        secret, public_key_pem = _new_pair(algorithm)
    platform_private_key, platform_public_key = _new_pair(algorithm)
    return FreshKey(
        algorithm=algorithm,
        secret=secret,
        kept=platform_private_key.encode(),
        public_key_pem=public_key_pem,
        platform_public_key=platform_public_key.decode(),
    )


def add_key(
    conn: Connection,
    vault: Vault,
    merchant_id: str,
    fresh: FreshKey,
    created_at_us: int,
    *,
    purpose: KeyPurpose = KeyPurpose.API,
) -> NewKey:
    """Store a key beside those there are; it is the newest from now on.

    Raises:
        ObjectNotFound: (1009) if there is no such merchant.
        InvalidParameter: (1001) for MD5 without the operator's leave, or more keys than a merchant
            may have.
    """
    merchant = conn.execute(
        select(merchants.c.md5_allowed).where(merchants.c.merchant_id == merchant_id)
    ).first()
    if merchant is None:
        raise ObjectNotFound(f"no merchant {merchant_id}")
    if fresh.algorithm is Algorithm.MD5 and not merchant.md5_allowed:
        raise InvalidParameter("algorithm", "MD5 is broken; choose another")
    if len(list_keys(conn, merchant_id, alive_at_us=created_at_us)) >= KEY_COUNT_MAX:
        raise InvalidParameter("key", f"a merchant has at most {KEY_COUNT_MAX} live keys")
    newest_us = conn.execute(
        select(merchant_keys.c.created_at_us)
        .where(merchant_keys.c.merchant_id == merchant_id)
        .order_by(merchant_keys.c.created_at_us.desc())
        .limit(1)
    ).scalar()
    key_id = "K" + random_name(16)
    conn.execute(
        insert(merchant_keys).values(
            merchant_id=merchant_id,
            key_id=key_id,
            algorithm=fresh.algorithm.value,
            secret_sealed=vault.seal(fresh.kept, bound_to=row_name(merchant_id, key_id)),
            public_key_pem=fresh.public_key_pem,
            # Two keys of one microsecond must still say which is the newest.
            created_at_us=max(created_at_us, (newest_us or 0) + 1),
            expires_at_us=0,
            purpose=purpose.value,
        )
    )
    return NewKey(
        key_id=key_id,
        algorithm=fresh.algorithm,
        secret=fresh.secret,
        platform_public_key=fresh.platform_public_key,
        public_key=fresh.public_key_pem.decode(),
    )


def rotate_key(
    conn: Connection,
    vault: Vault,
    merchant_id: str,
    overlap_s: int,
    now_us: int,
    *,
    algorithm: Algorithm | None = None,
    public_key_pem: bytes = b"",
    fresh: FreshKey | None = None,
    replaces: str = "",
    purpose: KeyPurpose = KeyPurpose.API,
) -> NewKey:
    """Give a merchant a new key; what it replaces goes on verifying for a while.

    Args:
        conn: A connection in the writer's transaction.
        vault: Seals the secret.
        merchant_id: Whose key.
        overlap_s: How long what it replaces stays valid, in seconds; 0 ends it at once, which is
            what a leaked key needs.
        now_us: The time, microseconds since the epoch.
        algorithm: Of the new key; None: as the newest one of this purpose.
        public_key_pem: RSA2, SM2: the merchant's own public key; empty: a pair is made.
        fresh: The new key, if it was made already.
        replaces: The one key that it replaces; empty: all of this purpose.
        purpose: What the keys are for.

    Raises:
        ObjectNotFound: (1009) if there is no such merchant, or no live key `replaces`.
        InvalidParameter: (1001) as `add_key`.
    """
    present = [
        key
        for key in list_keys(conn, merchant_id, alive_at_us=now_us)
        if key.purpose == purpose and replaces in ("", key.key_id)
    ]
    if replaces and not present:
        raise ObjectNotFound(f"no live key {replaces[:32]}")
    if fresh is None:
        newest = newest_algorithm(conn, merchant_id, purpose)
        fresh = make_key(algorithm or newest, public_key_pem)
    _end(conn, merchant_id, [key.key_id for key in present], now_us + overlap_s * 1_000_000)
    bump(conn, merchant_id)
    return add_key(conn, vault, merchant_id, fresh, now_us, purpose=purpose)


def newest_algorithm(conn: Connection, merchant_id: str, purpose: KeyPurpose) -> Algorithm:
    """Return the algorithm of a merchant's newest key of a purpose.

    Raises:
        ObjectNotFound: (1009) if there is none.
    """
    found = conn.execute(
        select(merchant_keys.c.algorithm)
        .where(merchant_keys.c.merchant_id == merchant_id)
        .where(merchant_keys.c.purpose == purpose.value)
        .order_by(merchant_keys.c.created_at_us.desc(), merchant_keys.c.key_id.desc())
        .limit(1)
    ).scalar()
    if found is None:
        raise ObjectNotFound(f"no merchant {merchant_id[:32]} with a key")
    return Algorithm(found)


def revoke_key(conn: Connection, merchant_id: str, key_id: str, now_us: int) -> None:
    """End one key at once.

    Raises:
        ObjectNotFound: (1009) if the merchant has no such live key.
    """
    alive = {key.key_id for key in list_keys(conn, merchant_id, alive_at_us=now_us)}
    if key_id not in alive:
        raise ObjectNotFound(f"no live key {key_id[:32]}")
    _end(conn, merchant_id, [key_id], now_us)
    bump(conn, merchant_id)


def revoke_all(conn: Connection, merchant_id: str, now_us: int) -> None:
    """End every key of a merchant at once."""
    _end(
        conn,
        merchant_id,
        [key.key_id for key in list_keys(conn, merchant_id, alive_at_us=now_us)],
        now_us,
    )


def list_keys(conn: Connection, merchant_id: str, *, alive_at_us: int = 0) -> tuple[KeyRecord, ...]:
    """Return a merchant's keys, the newest first; those alive at a time, if one is given."""
    table = merchant_keys.c
    statement = (
        select(
            table.key_id,
            table.algorithm,
            table.purpose,
            table.public_key_pem,
            table.created_at_us,
            table.expires_at_us,
        )
        .where(table.merchant_id == merchant_id)
        .order_by(table.created_at_us.desc(), table.key_id.desc())
    )
    if alive_at_us:
        statement = statement.where(
            or_(table.expires_at_us == 0, table.expires_at_us > alive_at_us)
        )
    return tuple(
        KeyRecord(
            key_id=row.key_id,
            algorithm=row.algorithm,
            purpose=row.purpose,
            public_key=row.public_key_pem.decode(),
            created_at_us=row.created_at_us,
            expires_at_us=row.expires_at_us,
        )
        for row in conn.execute(statement)
    )


def bump(conn: Connection, merchant_id: str) -> None:
    """Let whoever looks at a version see that the merchant changed."""
    conn.execute(
        update(merchants)
        .where(merchants.c.merchant_id == merchant_id)
        .values(version=merchants.c.version + 1)
    )


def row_name(merchant_id: str, key_id: str) -> str:
    """What a sealed secret is bound to."""
    return f"{merchant_id}/{key_id}"


def random_name(length: int) -> str:
    """Return letters and digits that can't be mistaken for each other."""
    return "".join(secrets.choice(_NAME_LETTERS) for _ in range(length))


def _end(conn: Connection, merchant_id: str, key_ids: Sequence[str], ends_at_us: int) -> None:
    """Let keys end at a time, unless they end sooner already."""
    table = merchant_keys.c
    conn.execute(
        update(merchant_keys)
        .where(table.merchant_id == merchant_id, table.key_id.in_(key_ids))
        .where(or_(table.expires_at_us == 0, table.expires_at_us > ends_at_us))
        .values(expires_at_us=ends_at_us)
    )


def _new_pair(algorithm: Algorithm) -> tuple[str, bytes]:
    """A fresh pair: private key (PKCS #8) and public key, both PEM."""
    if algorithm is Algorithm.SM2:
        sm2_key = sm2.PrivateKey.generate()
        return sm2_key.to_pem().decode(), sm2_key.public_key().to_pem()
    private_key = rsa.generate_private_key(public_exponent=65_537, key_size=_RSA_BITS)
    return (
        private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        private_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )
