"""A merchant walks only along its table, and whoever was CLOSED stays so."""

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, insert, select
from sqlalchemy.pool import StaticPool

from gateway.domain.errors import IllegalMerchantMove, InvalidParameter, StaleVersion
from gateway.domain.limits import TokenBucket, is_allowed, read_networks
from gateway.domain.merchant import (
    EDITABLE,
    MERCHANT_TRANSITIONS,
    Algorithm,
    KeyPurpose,
    MerchantStatus,
    advance_merchant,
)
from gateway.domain.onboarding import is_citizen_no, is_licence_no
from gateway.payments.review import Opinion, Verdict, decide_merchant
from gateway.store import applications, keys
from gateway.store.keys import make_key
from gateway.store.merchants import KeyRing, insert_merchant
from gateway.store.tables import applications as application_table
from gateway.store.tables import audit_log, metadata
from gateway.store.vault import Vault

NOW_US = 1_700_000_000_000_000
S = MerchantStatus
FIRST_DAY_TO_LAST = {
    (S.REGISTERED, S.PENDING),
    (S.PENDING, S.APPROVED),
    (S.PENDING, S.ACTIVE),
    (S.PENDING, S.INCOMPLETE),
    (S.PENDING, S.REJECTED),
    (S.INCOMPLETE, S.PENDING),
    (S.REJECTED, S.PENDING),
    (S.APPROVED, S.ACTIVE),
    (S.APPROVED, S.REJECTED),
    (S.ACTIVE, S.FROZEN),
    (S.FROZEN, S.ACTIVE),
    *((status, S.CLOSED) for status in S if status is not S.CLOSED),
}


@pytest.mark.parametrize(("status", "target"), list(product(S, S)))
def test_every_pair_of_statuses_is_decided(status: S, target: S) -> None:
    if (status, target) in FIRST_DAY_TO_LAST:
        assert advance_merchant(status, target) is target
    else:
        with pytest.raises(IllegalMerchantMove) as refused:
            advance_merchant(status, target)
        assert refused.value.code == "1004"


def test_the_table_knows_every_status() -> None:
    assert set(MERCHANT_TRANSITIONS) == set(S)
    assert S.ACTIVE not in EDITABLE


@cache
def database() -> Engine:
    """One database for all examples: each has a merchant of its own."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    metadata.create_all(engine)
    return engine


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    database().dispose()


steps = st.lists(
    st.sampled_from(
        ["submit", "approve", "reject", "more", "agree", "freeze", "thaw", "close", "stale"]
    ),
    max_size=14,
)


@given(steps)
def test_a_random_walk_keeps_to_the_table_and_leaves_a_trail(walk: list[str]) -> None:
    with database().begin() as conn:
        merchant_id = _applicant(conn)
        for step in walk:
            before = applications.standing(conn, merchant_id)
            count = len(conn.execute(select(audit_log.c.id)).all())
            try:
                _step(conn, merchant_id, step)
            except (IllegalMerchantMove, StaleVersion):
                assert applications.standing(conn, merchant_id) == before
                continue
            after = applications.standing(conn, merchant_id)
            assert after.status in MERCHANT_TRANSITIONS[before.status]
            assert after.version == before.version + 1
            decided = step in ("approve", "reject", "more")
            assert len(conn.execute(select(audit_log.c.id)).all()) == count + decided


def _applicant(conn: Connection) -> str:
    merchant_id, _ = insert_merchant(conn, "tea", "", S.REGISTERED, NOW_US)
    conn.execute(
        insert(application_table).values(
            merchant_id=merchant_id,
            sandbox_merchant_id="",
            token_sha256=b"",
            algorithm="SM3",
            contact_sealed=b"",
            details_sealed=b"",
            created_at_us=NOW_US,
        )
    )
    return merchant_id


def _step(conn: Connection, merchant_id: str, step: str) -> None:
    found = applications.standing(conn, merchant_id)
    targets = {"submit": S.PENDING, "agree": S.ACTIVE, "freeze": S.FROZEN, "close": S.CLOSED}
    if step in ("approve", "reject", "more"):
        opinion = Opinion(actor="lin", verdict=Verdict(step), reason="x", version=found.version)
        decide_merchant(conn, merchant_id, opinion, NOW_US)
    elif step == "stale":
        applications.move(conn, found, S.CLOSED, version=found.version - 1)
    else:
        applications.move(conn, found, targets.get(step, S.ACTIVE))


@given(st.lists(st.integers(0, 3_000_000), max_size=60), st.integers(1, 5), st.integers(1, 8))
def test_a_bucket_never_lets_more_through_than_it_may(
    pauses_us: list[int], rate_per_s: int, burst: int
) -> None:
    token_us = 1_000_000 // rate_per_s
    bucket = TokenBucket(token_us=token_us, burst=burst)
    now_us, through = NOW_US, []
    for pause_us in pauses_us:
        now_us += pause_us
        wait_us = bucket.take(now_us)
        if wait_us == 0:
            through.append(now_us)
        else:
            # Exactly then, and not a microsecond before, is there a token again.
            assert TokenBucket(token_us, burst, bucket.full_at_us).take(now_us + wait_us) == 0
            assert TokenBucket(token_us, burst, bucket.full_at_us).take(now_us + wait_us - 1) > 0

    for first, last in product(range(len(through)), repeat=2):
        if first < last:
            span_us = through[last] - through[first]
            assert last - first + 1 <= burst + span_us // token_us


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_network_lets_in_its_own_addresses_alone(address: Any, bits: int) -> None:
    assume(getattr(address, "ipv4_mapped", None) is None)  # Judged as IPv4, see the doctest.
    bits = min(bits, address.max_prefixlen)
    network = read_networks([f"{address}/{address.max_prefixlen}"])[0].supernet(new_prefix=bits)

    assert is_allowed(str(address), (network,))
    other: Any = type(address)(int(address) ^ (1 << (address.max_prefixlen - 1)))
    assert is_allowed(str(other), (network,)) == (bits == 0)
    assert not is_allowed("unix:", (network,))


@pytest.mark.parametrize("text", ["", "host.example", "10.0.0.1/8", "1.2.3.4/33", "::/129", "é"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameter):
        read_networks([text])


@given(st.data())
def test_one_wrong_character_is_seen_by_its_check_character(data: st.DataObject) -> None:
    for check, good, letters in (
        (is_licence_no, "91350100M000100Y43", "0123456789ABCDEFGHJKLMNPQRTUWXY"),
        (is_citizen_no, "11010519491231002X", "0123456789"),
    ):
        at = data.draw(st.integers(0, 16))
        letter = data.draw(st.sampled_from(letters.replace(good[at], "")))
        assert check(good)
        assert not check(good[:at] + letter + good[at + 1 :])


@given(st.lists(st.sampled_from(["rotate", "all", "add", "revoke", "notify", "wait"]), max_size=8))
def test_a_merchant_that_never_ends_its_last_key_always_has_one(walk: list[str]) -> None:
    engine, vault = database(), _OpenVault()
    with engine.begin() as conn:
        merchant_id, _ = insert_merchant(conn, "tea", "", S.ACTIVE, NOW_US)
        fresh = make_key(Algorithm.SM3)
        keys.add_key(conn, vault, merchant_id, fresh, NOW_US)
    now_us = NOW_US
    for step in walk:
        now_us += 1_000_000
        with engine.begin() as conn:
            alive = keys.list_keys(conn, merchant_id, alive_at_us=now_us)
            api = [key for key in alive if key.purpose == KeyPurpose.API]
            match step:
                case "rotate":
                    keys.rotate_key(conn, vault, merchant_id, 1, now_us, replaces=api[0].key_id)
                case "all":
                    keys.rotate_key(conn, vault, merchant_id, 2, now_us)
                case "add":
                    keys.add_key(conn, vault, merchant_id, fresh, now_us)
                case "notify":
                    keys.add_key(conn, vault, merchant_id, fresh, now_us, purpose=KeyPurpose.NOTIFY)
                case "revoke" if len([key for key in api if not key.expires_at_us]) > 1:
                    keys.revoke_key(conn, merchant_id, api[-1].key_id, now_us)
                case _:
                    now_us += 5_000_000
    ring = KeyRing(engine, vault, lambda: now_us)
    found = ring.find(merchant_id)

    assert found is not None
    assert found.keys


class _OpenVault(Vault):
    """A vault that seals nothing: what is under test is which keys live."""

    def __init__(self) -> None:
        return

    def seal(self, plain: bytes, *, bound_to: str = "") -> bytes:
        return plain

    def open(self, sealed: bytes, *, bound_to: str = "") -> bytes:
        return sealed
