"""The form of a chained record never changes: an old chain must verify in every later release."""

import hashlib
import struct
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, Float, MetaData, Table, Text, text

from gateway.store import chain
from gateway.store.chain import DECISIONS, EVENTS, Form, Unreadable

ROW: dict[str, Any] = {
    "merchant_id": "M1",
    "decision_id": "D1",
    "trade_no": "T1",
    "seq": 300,
    "outcome": "APPROVE",
    "score": 0.25,
    "score_raw": -3.0,
    "reasons": "[]",
    "rule_hits": "[]",
    "features": bytes(range(256)) * 2,
    "presence": b"\x07",
    "missing": "[]",
    "feature_hash": "f" * 40,
    "model_version": "茶",
    "rule_version": "r1",
    "policy_version": "p1",
    "engine_version": "e1",
    "key_seqs": b"",
    "degraded": "",
    "fallback": "",
    "elapsed_us": 64,
    "decided_at_us": 1_780_000_000_000_000,
}
TOLD = {"subject_id": 5, "payee_subject_id": 0, "sealed": b"s", "payee_sealed": b""}


def packed(value: Any) -> bytes:
    """MessagePack as its specification says, for the types a record has."""
    if value is None or isinstance(value, float):
        return b"\xc0" if value is None else b"\xcb" + struct.pack(">d", value)
    if isinstance(value, int):
        forms = {128: (b"", ">B"), 256: (b"\xcc", ">B"), 65_536: (b"\xcd", ">H")}
        fitting = (form for bound, form in forms.items() if value < bound)
        head, form = next(fitting, (b"\xcf", ">Q"))
        return head + struct.pack(form, value)
    if isinstance(value, str):
        data = value.encode()
        short = bytes([0xA0 | len(data)]) if len(data) < 32 else b""
        return (short or b"\xd9" + bytes([len(data)])) + data
    if isinstance(value, bytes):
        long = struct.pack(">H", len(value))
        return (b"\xc4" + long[1:] if len(value) < 256 else b"\xc5" + long) + value
    if isinstance(value, tuple):
        return bytes([0x90 | len(value)]) + b"".join(map(packed, value))
    head = (
        bytes([0x80 | len(value)]) if len(value) < 16 else b"\xde" + struct.pack(">H", len(value))
    )
    return head + b"".join(packed(key) + packed(value[key]) for key in sorted(value))


@pytest.mark.parametrize("evidence", [None, TOLD])
def test_a_record_is_the_messagepack_that_the_page_describes(
    evidence: dict[str, Any] | None,
) -> None:
    assert DECISIONS.record(ROW, evidence) == packed(("decisions", ROW, evidence))


def test_a_link_binds_its_place_its_digest_and_all_before_it() -> None:
    digest = hashlib.sha256(packed(("decisions", ROW, None))).digest()

    assert DECISIONS.entry(ROW, None)[0] == digest
    expected = hashlib.sha256(b"\1" * 32 + struct.pack(">Q", 7) + digest).digest()
    assert chain.link_of(b"\1" * 32, 7, digest) == expected


def test_the_chain_of_the_first_release_still_has_its_head() -> None:
    event = {"seq": 1, "kind": "ATTEMPT", "at_us": 2, "trade_no": "T1", "payload": b"p"}
    link = chain.GENESIS
    for n, digest in enumerate((EVENTS.entry(event, None)[0], DECISIONS.entry(ROW, TOLD)[0]), 1):
        link = chain.link_of(link, n, digest)

    assert chain.text_of(2, link) == FIRST_HEAD


FIRST_HEAD = "2:34ed83d115dd49f953c3928f8a83d005fe9d7284db51cb19ce96b829aac28ac4"


def table(*more: Column[Any]) -> Table:
    return Table("things", MetaData(), Column("a", Text, nullable=False), *more)


def test_a_column_that_a_later_release_adds_changes_no_old_record_but_its_edit_does() -> None:
    old = Form(table())
    new = Form(
        table(
            Column("share", Float, nullable=False, server_default=text("1.5")),
            Column("count", BigInteger, nullable=False, server_default=text("0")),
            Column("why", Text, nullable=False, server_default=""),
            Column("note", Text),
        )
    )
    upgraded = {"a": "x", "share": 1.5, "count": 0, "why": "", "note": None}

    assert new.record(upgraded, None) == old.record({"a": "x"}, None)
    for name, value in {"share": 1.25, "count": 1, "why": "y", "note": ""}.items():
        touched = upgraded | {name: value}
        assert new.record(touched, None) != old.record({"a": "x"}, None)
        assert new.changed(touched, None, old.entry({"a": "x"}, None)[1]) == (name,)


def test_a_real_is_the_same_however_it_was_written() -> None:
    written = [ROW | {"score": value} for value in (0, 0.0, -0.0)]

    assert len({DECISIONS.record(row, None) for row in written}) == 1


def test_what_the_gateway_never_writes_has_no_form() -> None:
    for value in (object(), 1 << 70, "\ud800"):
        with pytest.raises(Unreadable):
            DECISIONS.record(ROW | {"outcome": value}, None)


@pytest.mark.parametrize("n", [0, 1, 10**17])
def test_a_head_is_read_as_it_was_written(n: int) -> None:
    link = bytes(range(32))

    assert chain.read_head(chain.text_of(n, link)) == (n, link)


@pytest.mark.parametrize(
    "text_", ["", "1", "1:", "1:" + "0" * 63, "-1:" + "0" * 64, "x:" + "0" * 64]
)
def test_what_is_no_head_is_refused(text_: str) -> None:
    with pytest.raises(ValueError, match="N:HASH"):
        chain.read_head(text_)
