"""Merchants, keys and the vault on a real database file."""

import base64
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, select, update
from sqlalchemy.exc import IntegrityError

from gateway import sm2
from gateway.domain.errors import InvalidParameter, ObjectNotFound
from gateway.domain.merchant import Algorithm, MerchantStatus
from gateway.sdk.signature import KeyPair
from gateway.signing import canonical, sign, verify, verify_any
from gateway.store.keys import rotate_key
from gateway.store.merchants import KeyRing, NewMerchant, create_merchant
from gateway.store.tables import merchant_keys, merchants, metadata
from gateway.store.vault import Vault, VaultDamaged

NOW_US = 1_700_000_000_000_000
SECOND_US = 1_000_000
PARAMS = {"merchant_id": "M1", "total_amount": "1.00"}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_us = NOW_US

    def __call__(self) -> int:
        return self.now_us


class Stand:
    """A database, a vault, a clock and a ring over them."""

    def __init__(self, engine: Engine, var: Path) -> None:
        self.engine = engine
        self.vault = Vault(var)
        self.clock = Clock()
        self.ring = KeyRing(engine, self.vault, self.clock)

    def merchant(
        self, algorithm: Algorithm = Algorithm.HMAC_SHA256, merchant_id: str = ""
    ) -> NewMerchant:
        with self.engine.begin() as conn:
            return create_merchant(
                conn,
                self.vault,
                "Tea shop",
                algorithm,
                "5499",
                now_us=self.clock.now_us,
                merchant_id=merchant_id,
            )


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    engine = create_engine(f"sqlite:///{tmp_path}/keys.db")
    metadata.create_all(engine)
    yield Stand(engine, tmp_path)
    engine.dispose()


def test_a_new_merchant_can_sign_at_once(stand: Stand) -> None:
    assert stand.ring.find("nobody") is None
    made = stand.merchant()

    found = stand.ring.find(made.merchant_id)

    assert found is not None
    assert (found.name, found.mcc, found.status) == ("Tea shop", "5499", MerchantStatus.ACTIVE)
    assert found.keys[0].secret == made.secret.encode()
    assert len(made.merchant_id) <= 32
    assert made.secret not in repr(made)


def test_a_secret_is_not_in_the_database(stand: Stand, tmp_path: Path) -> None:
    secrets_made = [stand.merchant().secret for _ in range(3)]

    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    assert not any(secret.encode() in written for secret in secrets_made)


def test_rsa2_gives_two_pairs_that_fit(stand: Stand) -> None:
    made = stand.merchant(Algorithm.RSA2)
    found = stand.ring.find(made.merchant_id)

    assert found is not None
    theirs = KeyPair(made.secret, made.platform_public_key)
    assert verify(found.keys[0], PARAMS, theirs.sign(PARAMS))
    assert theirs.verify(PARAMS, sign(found.keys[0], PARAMS))


def test_sm2_gives_two_pairs_that_fit(stand: Stand) -> None:
    made = stand.merchant(Algorithm.SM2)
    found = stand.ring.find(made.merchant_id)

    assert found is not None
    theirs, platform = (
        sm2.PrivateKey.from_pem(made.secret.encode()),
        sm2.PublicKey.from_pem(made.platform_public_key.encode()),
    )
    text = canonical(PARAMS).encode()
    assert verify(found.keys[0], PARAMS, base64.b64encode(sm2.sign(theirs, text)).decode())
    assert sm2.verify(platform, text, base64.b64decode(sign(found.keys[0], PARAMS)))


def test_md5_is_not_given_out(stand: Stand) -> None:
    with pytest.raises(InvalidParameter):
        stand.merchant(Algorithm.MD5)


def test_a_merchant_may_bring_its_own_public_key(stand: Stand) -> None:
    other = stand.merchant(Algorithm.RSA2)
    public_key_pem = stand.ring.find(other.merchant_id).keys[0].public_key_pem  # type: ignore[union-attr]  # just made
    with stand.engine.begin() as conn:
        made = create_merchant(
            conn,
            stand.vault,
            "Own key",
            Algorithm.RSA2,
            now_us=NOW_US,
            public_key_pem=public_key_pem,
        )

    assert made.secret == ""
    assert made.platform_public_key != other.platform_public_key


def test_a_taken_name_is_refused(stand: Stand) -> None:
    stand.merchant(merchant_id="M1")

    with pytest.raises(IntegrityError):
        stand.merchant(merchant_id="M1")


def test_during_a_rotation_both_keys_verify_and_afterwards_the_new_one(stand: Stand) -> None:
    made = stand.merchant()
    old = stand.ring.find(made.merchant_id).keys[0]  # type: ignore[union-attr]  # just made
    stand.clock.now_us += 5 * SECOND_US
    with stand.engine.begin() as conn:
        new = rotate_key(conn, stand.vault, made.merchant_id, 60, stand.clock.now_us)

    during = stand.ring.find(made.merchant_id)
    stand.clock.now_us += 60 * SECOND_US
    after = stand.ring.find(made.merchant_id)

    assert during is not None
    assert after is not None
    assert [key.key_id for key in during.keys] == [new.key_id, made.key_id]
    assert verify_any(during.keys, PARAMS, sign(old, PARAMS)) is not None
    assert [key.key_id for key in after.keys] == [new.key_id]
    assert verify_any(after.keys, PARAMS, sign(old, PARAMS)) is None


def test_a_key_ends_on_time_even_within_the_cached_second(stand: Stand) -> None:
    made = stand.merchant()
    with stand.engine.begin() as conn:
        conn.execute(update(merchant_keys).values(expires_at_us=NOW_US + 1000))

    before = stand.ring.find(made.merchant_id)
    stand.clock.now_us += 1000
    after = stand.ring.find(made.merchant_id)

    assert before is not None
    assert after is not None
    assert (len(before.keys), len(after.keys)) == (1, 0)


def test_a_leaked_key_ends_at_once(stand: Stand) -> None:
    made = stand.merchant()
    with stand.engine.begin() as conn:
        rotate_key(conn, stand.vault, made.merchant_id, 3600, NOW_US)
        last = rotate_key(conn, stand.vault, made.merchant_id, 0, NOW_US)

    found = stand.ring.find(made.merchant_id)

    assert found is not None
    assert [key.key_id for key in found.keys] == [last.key_id]


def test_a_rotation_may_change_the_algorithm(stand: Stand) -> None:
    made = stand.merchant()
    with stand.engine.begin() as conn:
        new = rotate_key(conn, stand.vault, made.merchant_id, 60, NOW_US, algorithm=Algorithm.RSA2)
        same = rotate_key(conn, stand.vault, made.merchant_id, 60, NOW_US)

    assert (new.algorithm, same.algorithm) == (Algorithm.RSA2, Algorithm.RSA2)


def test_an_unknown_merchant_has_no_key_to_rotate(stand: Stand) -> None:
    with stand.engine.begin() as conn, pytest.raises(ObjectNotFound):
        rotate_key(conn, stand.vault, "nobody", 60, NOW_US)


def test_a_freeze_is_seen_within_a_second(stand: Stand) -> None:
    made = stand.merchant()
    stand.ring.find(made.merchant_id)
    with stand.engine.begin() as conn:
        conn.execute(update(merchants).values(status="FROZEN"))

    stand.clock.now_us += SECOND_US
    found = stand.ring.find(made.merchant_id)

    assert found is not None
    assert found.status is MerchantStatus.FROZEN


def test_within_the_second_nothing_is_read_unless_told_to(stand: Stand) -> None:
    made = stand.merchant()
    first = stand.ring.find(made.merchant_id)
    with stand.engine.begin() as conn:
        conn.execute(update(merchants).values(status="FROZEN"))

    assert stand.ring.find(made.merchant_id) is first
    stand.ring.forget(made.merchant_id)
    assert stand.ring.find(made.merchant_id) is not first


def test_the_vault_is_the_owners_alone_and_stays_the_same(tmp_path: Path) -> None:
    sealed = Vault(tmp_path / "var").seal(b"secret")
    key_file = tmp_path / "var" / "master.key"

    assert Vault(tmp_path / "var").open(sealed) == b"secret"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert list(key_file.parent.iterdir()) == [key_file]


def test_a_seal_opens_nowhere_else(tmp_path: Path) -> None:
    vault, other = Vault(tmp_path / "a"), Vault(tmp_path / "b")
    sealed = vault.seal(b"secret", bound_to="M1/K1")
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])

    assert vault.open(sealed, bound_to="M1/K1") == b"secret"
    attempts = (
        (vault, sealed, "M2/K1"),
        (other, sealed, "M1/K1"),
        (vault, changed, "M1/K1"),
        (vault, b"", "M1/K1"),
        (vault, b"\x01short", "M1/K1"),
    )
    for opener, seal, bound_to in attempts:
        with pytest.raises(VaultDamaged):
            opener.open(seal, bound_to=bound_to)


def test_a_moved_row_does_not_open(stand: Stand) -> None:
    rich, poor = stand.merchant(), stand.merchant()
    with stand.engine.begin() as conn:
        sealed = conn.scalar(
            select(merchant_keys.c.secret_sealed).where(
                merchant_keys.c.merchant_id == poor.merchant_id
            )
        )
        conn.execute(
            update(merchant_keys)
            .where(merchant_keys.c.merchant_id == rich.merchant_id)
            .values(secret_sealed=sealed)
        )

    with pytest.raises(VaultDamaged):
        stand.ring.find(rich.merchant_id)


def test_a_damaged_master_key_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_bytes(b"short")

    with pytest.raises(VaultDamaged, match=r"master\.key"):
        Vault(tmp_path)
