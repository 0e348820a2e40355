"""Merchants and their keys: made, rotated, and found again in microseconds.

A secret exists in the open twice: in the answer that gives it to the merchant, once, and in the
memory of the process that checks signatures. In the database it is sealed.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sqlalchemy import Connection, Engine, Row, bindparam, insert, or_, select, update

from gateway import sm2
from gateway.domain.errors import InvalidParameter, ObjectNotFound
from gateway.domain.merchant import Algorithm, MerchantKey, MerchantStatus
from gateway.store.tables import merchant_keys, merchants
from gateway.store.vault import Vault

_Row = Row[*tuple[Any, ...]]

REFRESH_AFTER_US = 1_000_000  # How long a freeze or a rotation may take to be seen.
CACHED_COUNT_MAX = 20_000
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
    """

    key_id: str
    algorithm: Algorithm
    secret: str = field(repr=False)
    platform_public_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMerchant:
    """A merchant just made, with its first key (see `NewKey`)."""

    merchant_id: str
    app_id: str
    key_id: str
    algorithm: Algorithm
    secret: str = field(repr=False)
    platform_public_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantRecord:
    """A merchant as a request needs it.

    Attributes:
        merchant_id: Its name on the wire.
        name: Its name for people.
        mcc: Merchant category code, ISO 18245; may be empty.
        status: Where it stands.
        keys: Unexpired keys, newest first; the first one signs notifications.
    """

    merchant_id: str
    name: str
    mcc: str
    status: MerchantStatus
    keys: tuple[MerchantKey, ...]


def create_merchant(
    conn: Connection,
    vault: Vault,
    name: str,
    algorithm: Algorithm = Algorithm.HMAC_SHA256,
    mcc: str = "",
    *,
    now_us: int,
    status: MerchantStatus = MerchantStatus.ACTIVE,
    merchant_id: str = "",
    public_key_pem: bytes = b"",
) -> NewMerchant:
    """Write a new merchant and its first key.

    Args:
        conn: A connection in the writer's transaction.
        vault: Seals the secret.
        name: For people.
        algorithm: Of its first key.
        mcc: Merchant category code; may be empty.
        now_us: The time, microseconds since the epoch.
        status: Where it starts.
        merchant_id: A name of the caller's choice (1 to 32 letters, digits, ``_``, ``-``); made
            up if empty.
        public_key_pem: RSA2, SM2: the merchant's own public key, already checked
            (`gateway.signing.read_public_key`); empty: a pair is made.

    Raises:
        InvalidParameter: (1001) for MD5.
        sqlalchemy.exc.IntegrityError: if `merchant_id` is taken.
    """
    merchant_id = merchant_id or "M" + _random_name(10)
    app_id = "A" + _random_name(16)
    conn.execute(
        insert(merchants).values(
            merchant_id=merchant_id,
            app_id=app_id,
            name=name,
            mcc=mcc,
            status=status.value,
            created_at_us=now_us,
        )
    )
    key = _add_key(conn, vault, merchant_id, algorithm, public_key_pem, now_us)
    return NewMerchant(
        merchant_id=merchant_id,
        app_id=app_id,
        key_id=key.key_id,
        algorithm=key.algorithm,
        secret=key.secret,
        platform_public_key=key.platform_public_key,
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
) -> NewKey:
    """Give a merchant a new key; the old ones go on verifying for a while.

    Args:
        conn: A connection in the writer's transaction.
        vault: Seals the secret.
        merchant_id: Whose key.
        overlap_s: How long the present keys stay valid, in seconds; 0 ends them at once, which is
            what a leaked key needs.
        now_us: The time, microseconds since the epoch.
        algorithm: Of the new key; None: as the newest one.
        public_key_pem: RSA2, SM2: the merchant's own public key; empty: a pair is made.

    Raises:
        ObjectNotFound: (1009) if there is no such merchant.
        InvalidParameter: (1001) for MD5.
    """
    newest = conn.execute(
        select(merchant_keys.c.algorithm, merchant_keys.c.created_at_us)
        .where(merchant_keys.c.merchant_id == merchant_id)
        .order_by(merchant_keys.c.created_at_us.desc(), merchant_keys.c.key_id.desc())
        .limit(1)
    ).first()
    if newest is None:
        raise ObjectNotFound(f"no merchant {merchant_id}")
    ends_at_us = now_us + overlap_s * 1_000_000
    conn.execute(
        update(merchant_keys)
        .where(merchant_keys.c.merchant_id == merchant_id)
        .where(or_(merchant_keys.c.expires_at_us == 0, merchant_keys.c.expires_at_us > ends_at_us))
        .values(expires_at_us=ends_at_us)
    )
    conn.execute(
        update(merchants)
        .where(merchants.c.merchant_id == merchant_id)
        .values(version=merchants.c.version + 1)
    )
    # Two rotations in one microsecond must still say which key is the newest.
    created_at_us = max(now_us, newest.created_at_us + 1)
    return _add_key(
        conn,
        vault,
        merchant_id,
        algorithm or Algorithm(newest.algorithm),
        public_key_pem,
        created_at_us,
    )


class KeyRing:
    """Finds a merchant and its live keys; safe and fast enough for the event loop.

    An answer is at most a second old, so a freeze or a rotation by another process is seen within
    that time; within it a lookup is a dictionary access. An unknown merchant is always looked up
    (one indexed SELECT): a new one works at once, and strangers fill no memory.

    Args:
        reader: Engine for reads, used on the caller's thread.
        vault: Opens the secrets.
        clock_us: The time, microseconds since the epoch.
    """

    def __init__(self, reader: Engine, vault: Vault, clock_us: Callable[[], int]) -> None:
        self._reader = reader
        self._vault = vault
        self._clock_us = clock_us
        self._found: dict[str, tuple[MerchantRecord, int, int]] = {}
        self._opened: dict[tuple[str, str, bytes], MerchantKey] = {}

    def find(self, merchant_id: str) -> MerchantRecord | None:
        """Return a merchant with its unexpired keys, newest first, or None if there is none.

        Raises:
            VaultDamaged: if a stored secret can't be opened.
        """
        now_us = self._clock_us()
        cached = self._found.get(merchant_id)
        if cached is not None and cached[1] <= now_us < cached[2]:
            return cached[0]
        with self._reader.connect() as conn:
            rows = conn.execute(_FIND, {"merchant_id": merchant_id}).all()
        if not rows:
            self._found.pop(merchant_id, None)
            return None
        record, ends_at_us = self._record(rows, now_us)
        if len(self._found) >= CACHED_COUNT_MAX:
            self._found.clear()  # Rare and cheap: the next lookup of each is one SELECT.
            self._opened.clear()
        self._found[merchant_id] = (record, now_us, ends_at_us)
        return record

    def forget(self, merchant_id: str) -> None:
        """Look a merchant up anew next time: call it after changing one in this process."""
        self._found.pop(merchant_id, None)

    def _record(self, rows: Sequence[_Row], now_us: int) -> tuple[MerchantRecord, int]:
        keys: list[MerchantKey] = []
        ends_at_us = now_us + REFRESH_AFTER_US
        for row in rows:
            if row.key_id is None or 0 < row.expires_at_us <= now_us:
                continue
            keys.append(self._key(row))
            if row.expires_at_us:
                ends_at_us = min(ends_at_us, row.expires_at_us)
        first = rows[0]
        record = MerchantRecord(
            merchant_id=first.merchant_id,
            name=first.name,
            mcc=first.mcc,
            status=MerchantStatus(first.status),
            keys=tuple(keys),
        )
        return record, ends_at_us

    def _key(self, row: _Row) -> MerchantKey:
        opened = self._opened.get((row.merchant_id, row.key_id, row.secret_sealed))
        if opened is None or opened.expires_at_us != row.expires_at_us:
            opened = _open_key(self._vault, row)
            self._opened[row.merchant_id, row.key_id, row.secret_sealed] = opened
        return opened


_FIND = (
    select(
        merchants.c.merchant_id,
        merchants.c.name,
        merchants.c.mcc,
        merchants.c.status,
        merchant_keys.c.key_id,
        merchant_keys.c.algorithm,
        merchant_keys.c.secret_sealed,
        merchant_keys.c.public_key_pem,
        merchant_keys.c.expires_at_us,
    )
    .select_from(
        merchants.outerjoin(merchant_keys, merchants.c.merchant_id == merchant_keys.c.merchant_id)
    )
    .where(merchants.c.merchant_id == bindparam("merchant_id"))
    .order_by(merchant_keys.c.created_at_us.desc(), merchant_keys.c.key_id.desc())
)


def _open_key(vault: Vault, row: _Row) -> MerchantKey:
    opened = vault.open(row.secret_sealed, bound_to=_row_name(row.merchant_id, row.key_id))
    algorithm = Algorithm(row.algorithm)
    return MerchantKey(
        key_id=row.key_id,
        merchant_id=row.merchant_id,
        algorithm=algorithm,
        secret=opened if algorithm.is_shared else b"",
        public_key_pem=row.public_key_pem,
        platform_private_key_pem=b"" if algorithm.is_shared else opened,
        expires_at_us=row.expires_at_us,
    )


def _add_key(
    conn: Connection,
    vault: Vault,
    merchant_id: str,
    algorithm: Algorithm,
    public_key_pem: bytes,
    created_at_us: int,
) -> NewKey:
    if algorithm is Algorithm.MD5:
        raise InvalidParameter("algorithm", "MD5 is broken; choose another")
    key_id = "K" + _random_name(16)
    if algorithm.is_shared:
        secret, platform_public_key, public_key_pem = secrets.token_hex(32), "", b""
        kept = secret.encode()
    else:
        secret = ""
        if not public_key_pem:
            secret, public_key_pem = _new_pair(algorithm)
        platform_private_key, platform_public = _new_pair(algorithm)
        kept, platform_public_key = platform_private_key.encode(), platform_public.decode()
    conn.execute(
        insert(merchant_keys).values(
            merchant_id=merchant_id,
            key_id=key_id,
            algorithm=algorithm.value,
            secret_sealed=vault.seal(kept, bound_to=_row_name(merchant_id, key_id)),
            public_key_pem=public_key_pem,
            created_at_us=created_at_us,
        )
    )
    return NewKey(
        key_id=key_id,
        algorithm=algorithm,
        secret=secret,
        platform_public_key=platform_public_key,
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


def _row_name(merchant_id: str, key_id: str) -> str:
    return f"{merchant_id}/{key_id}"


def _random_name(length: int) -> str:
    return "".join(secrets.choice(_NAME_LETTERS) for _ in range(length))
