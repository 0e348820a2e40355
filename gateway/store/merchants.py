"""Merchants: made with their first key, and found again with their live keys in microseconds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, Row, bindparam, insert, select

from gateway.domain.limits import Network, read_networks
from gateway.domain.merchant import Algorithm, KeyPurpose, MerchantKey, MerchantStatus, Mode
from gateway.store.keys import add_key, make_key, random_name, row_name
from gateway.store.tables import merchant_keys, merchants
from gateway.store.vault import Vault

_Row = Row[*tuple[Any, ...]]

REFRESH_AFTER_US = 1_000_000  # How long a freeze or a rotation may take to be seen.
CACHED_COUNT_MAX = 20_000


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
        keys: Unexpired keys for the API, newest first.
        mode: Real money, or none.
        networks: From where it may call; empty: from anywhere.
        rate_per_s: How often it may call, in requests a second; 0: as the installation says.
        notify_key: What signs notifications; None: the newest of `keys`.
    """

    merchant_id: str
    name: str
    mcc: str
    status: MerchantStatus
    keys: tuple[MerchantKey, ...]
    mode: Mode = Mode.LIVE
    networks: tuple[Network, ...] = ()
    rate_per_s: int = 0
    notify_key: MerchantKey | None = None


def insert_merchant(
    conn: Connection,
    name: str,
    mcc: str,
    status: MerchantStatus,
    now_us: int,
    *,
    mode: Mode = Mode.LIVE,
    merchant_id: str = "",
) -> tuple[str, str]:
    """Write a new merchant that has no key yet, and return its merchant_id and app_id."""
    merchant_id = merchant_id or "M" + random_name(10)
    app_id = "A" + random_name(16)
    conn.execute(
        insert(merchants).values(
            merchant_id=merchant_id,
            app_id=app_id,
            name=name,
            mcc=mcc,
            status=status.value,
            created_at_us=now_us,
            mode=mode.value,
        )
    )
    return merchant_id, app_id


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
    merchant_id, app_id = insert_merchant(conn, name, mcc, status, now_us, merchant_id=merchant_id)
    fresh = make_key(algorithm, public_key_pem)
    key = add_key(conn, vault, merchant_id, fresh, now_us)
    return NewMerchant(
        merchant_id=merchant_id,
        app_id=app_id,
        key_id=key.key_id,
        algorithm=key.algorithm,
        secret=key.secret,
        platform_public_key=key.platform_public_key,
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
        keys: dict[KeyPurpose, list[MerchantKey]] = {purpose: [] for purpose in KeyPurpose}
        ends_at_us = now_us + REFRESH_AFTER_US
        for row in rows:
            if row.key_id is None or 0 < row.expires_at_us <= now_us:
                continue
            if row.algorithm == Algorithm.MD5 and not row.md5_allowed:
                continue
            keys[KeyPurpose(row.purpose)].append(self._key(row))
            if row.expires_at_us:
                ends_at_us = min(ends_at_us, row.expires_at_us)
        first = rows[0]
        record = MerchantRecord(
            merchant_id=first.merchant_id,
            name=first.name,
            mcc=first.mcc,
            status=MerchantStatus(first.status),
            keys=tuple(keys[KeyPurpose.API]),
            mode=Mode(first.mode),
            networks=_networks(first.networks),
            rate_per_s=first.rate_per_s,
            notify_key=next(iter(keys[KeyPurpose.NOTIFY]), None),
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
        merchants.c.mode,
        merchants.c.networks,
        merchants.c.rate_per_s,
        merchants.c.md5_allowed,
        merchant_keys.c.key_id,
        merchant_keys.c.algorithm,
        merchant_keys.c.secret_sealed,
        merchant_keys.c.public_key_pem,
        merchant_keys.c.expires_at_us,
        merchant_keys.c.purpose,
    )
    .select_from(
        merchants.outerjoin(merchant_keys, merchants.c.merchant_id == merchant_keys.c.merchant_id)
    )
    .where(merchants.c.merchant_id == bindparam("merchant_id"))
    .order_by(merchant_keys.c.created_at_us.desc(), merchant_keys.c.key_id.desc())
)


def _open_key(vault: Vault, row: _Row) -> MerchantKey:
    opened = vault.open(row.secret_sealed, bound_to=row_name(row.merchant_id, row.key_id))
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


@lru_cache(maxsize=4096)
def _networks(stored: str) -> tuple[Network, ...]:
    return read_networks(stored.split())
