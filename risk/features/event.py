"""An event of the log as a vector of 96 integers: all the kernel ever sees of a payment.

The vector is what is stored, so a decision can be recomputed from the log alone, on any machine,
without the merchant's words: identifiers are 64-bit hashes, floats are scaled integers. 0 in a
key or a word means "not sent"; the context fields are missing unless their presence bit is set.

Every integer is bounded here, so that the kernel can add without looking: amounts below 2^50,
times below 2^52 microseconds, everything else below 2^53.

Layout (index, name): see `FIELDS`. Feedback events repeat the identities, the words and the amount
of the attempt they are about, so that a state can be rebuilt from any part of the log that holds
it. A TABLE event carries one user's row of a computed table, which counts from its place in the
log on; its four numbers stand in the first context slots (`ATTRIBUTES`).

Vectors of 64 integers are those of the first release; `decode` and `stack` read both.
"""

import struct
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from risk.decision import EventKind, Feedback
from risk.features.event_v1 import WIDTH_V1, widen
from risk.features.fields import (
    CONTEXT_FIELDS,
    Setting,
    read_context,
    read_context_slowly,
    setting_of,
)
from risk.features.identity import code_of, config_of, identify, network_of
from risk.geo.language import primary
from risk.geo.table import NOWHERE, IpTable, Place
from risk.transaction import Client, Device, RiskContext, Transaction

T = TypeVar("T")
IntVector = npt.NDArray[np.int64]

EVENT_WIDTH: Final = 96
HEADER: Final = (
    "seq",  # Dense place in the log, from 1.
    "kind",  # 0 attempt, 1 outcome, 2 label, 3 table row.
    "at_us",  # When it counts from.
    "amount",  # Minor units of `currency`.
    "currency",  # Letters as a number in base 37.
    "pay_type",  # Hash.
    "ref_seq",  # Feedback: the attempt's seq; table row: newest event it looked at.
    "feedback",  # 0 none, else place in `FEEDBACKS` + 1.
)
KEYS: Final = (
    "user",
    "device",
    "ip",
    "card",
    "merchant",
    "payee",
    "place",
    "mcc",
    "network",  # The address's /24, or /48 of IPv6.
    "config",  # The device's configuration: many devices of one farm share it.
    "inflow",  # The payer's account in the role of payee.
    "outflow",  # The payee's account in the role of payer.
)
WORDS: Final = (  # Hashes and codes; 0 is "not sent".
    "country",  # Where the payer is.
    "ip_country",  # The network's, as sent or else as looked up.
    "found_country",  # The network's, as looked up.
    "card_country",
    "ship_country",
    "payer_country",
    "payee_country",
    "language",  # Without its country: zh, en.
    "bin",
    "email",
    "phone",
    "name",
    "ship_address",
    "bill_address",
    "asn",  # The network's operator.
)
FIELDS: Final = (*HEADER, *KEYS, *WORDS, "presence", *CONTEXT_FIELDS)
INDEX: Final = {name: place for place, name in enumerate(FIELDS)}

SEQ: Final = INDEX["seq"]
KIND: Final = INDEX["kind"]
AT_US: Final = INDEX["at_us"]
AMOUNT: Final = INDEX["amount"]
REF_SEQ: Final = INDEX["ref_seq"]
FEEDBACK: Final = INDEX["feedback"]
FIRST_KEY: Final = len(HEADER)
KEY_COUNT: Final = len(KEYS)
FIRST_WORD: Final = FIRST_KEY + KEY_COUNT
PRESENCE: Final = INDEX["presence"]
FIRST_CONTEXT: Final = PRESENCE + 1
CONTEXT_COUNT: Final = len(CONTEXT_FIELDS)

ATTEMPT: Final = 0
OUTCOME: Final = 1
LABEL: Final = 2
TABLE: Final = 3
KINDS: Final = (EventKind.ATTEMPT, EventKind.OUTCOME, EventKind.LABEL, EventKind.TABLE)
FEEDBACKS: Final = tuple(Feedback)
PAID, FAILED, CLOSED, REFUNDED, FRAUD, GENUINE, DECLINED = range(1, 8)
# A table row's numbers, by their place after `presence`.
ATTRIBUTES: Final = (
    "community",  # Number of the user's community.
    "community_fraud_ppm",  # Its share of known fraud, in millionths.
    "pagerank_ppm",  # In millionths of the mean.
    "core",  # The largest k whose k-core holds the user.
)

AMOUNT_BOUND: Final = 1 << 50
TIME_BOUND_US: Final = 1 << 52
_PACK: Final = struct.Struct(f"<{EVENT_WIDTH}q")
_BYTES_V1: Final = WIDTH_V1 * 8
_PADDING: Final = (0,) * (EVENT_WIDTH - len(FIELDS))


def values_of(
    transaction: Transaction, now_us: int, seq: int, geo: IpTable | None = None
) -> tuple[list[int], list[str]]:
    """Return the integers of an attempt, and the names of context fields that were unusable.

    Args:
        transaction: What is to be assessed.
        now_us: Unix time of the attempt, microseconds.
        seq: Its place in the log.
        geo: Where addresses are; without it that is not known.
    """
    at_us = min(max(now_us, 0), TIME_BOUND_US)
    context = transaction.context
    found = geo.find(context.client.ip) if geo is not None else NOWHERE
    setting = setting_of(context, at_us, found, transaction.order_no)
    keys = [read(transaction) for read in _KEY_READERS.values()]
    keys += [read(context, setting) for read in _WORD_READERS.values()]
    broken: list[str] = []
    try:
        presence, fields = read_context(context, setting)
    except (TypeError, ValueError, OverflowError, AttributeError, ArithmeticError):
        # Rare, so the fast path pays nothing for it: read again, one field at a time.
        presence, fields, broken = read_context_slowly(context, at_us, found, transaction.order_no)
    header = [
        seq,
        ATTEMPT,
        at_us,
        min(max(transaction.amount_minor, 0), AMOUNT_BOUND),
        code_of(transaction.currency),
        identify("pay_type", transaction.pay_type),
        0,
        0,
    ]
    return [*header, *keys, presence, *fields, *_PADDING], broken


def _config_of(device: Device, client: Client) -> int:
    return config_of(device.fp_hash, device.os, device.model, client.screen)


def _language_of(tag: str | None) -> int:
    return identify("language", primary(tag)) if tag else 0


def _place_of(context: RiskContext) -> int:
    return identify("place", context.geo.place or context.order.ship_addr_hash)


_KEY_READERS: Final[dict[str, Callable[[Transaction], int]]] = {
    "user": lambda t: identify("user", t.context.payer.account_id),
    "device": lambda t: identify("device", t.context.device.device_id),
    "ip": lambda t: identify("ip", t.context.client.ip),
    "card": lambda t: identify("card", t.context.instrument.token),
    "merchant": lambda t: identify("merchant", t.merchant_id),
    "payee": lambda t: identify("payee", t.context.payee.account_id),
    "place": lambda t: _place_of(t.context),
    "mcc": lambda t: identify("mcc", t.context.order.mcc),
    "network": lambda t: network_of(t.context.client.ip),
    "config": lambda t: _config_of(t.context.device, t.context.client),
    "inflow": lambda t: identify("payee", t.context.payer.account_id),
    "outflow": lambda t: identify("user", t.context.payee.account_id),
}
_WORD_READERS: Final[dict[str, Callable[[RiskContext, Setting], int]]] = {
    "country": lambda c, s: code_of(c.geo.country or s.ip_country),
    "ip_country": lambda _, s: code_of(s.ip_country),
    "found_country": lambda _, s: code_of(s.found.country),
    "card_country": lambda c, _: code_of(c.instrument.issuer_country),
    "ship_country": lambda c, _: code_of(c.order.ship_country),
    "payer_country": lambda c, _: code_of(c.payer.country),
    "payee_country": lambda c, _: code_of(c.payee.country),
    "language": lambda c, _: _language_of(c.client.language),
    "bin": lambda c, _: identify("bin", c.instrument.bin),
    "email": lambda c, _: identify("email", c.payer.email_hash),
    "phone": lambda c, _: identify("phone", c.payer.phone_hash),
    "name": lambda c, _: identify("name", c.payer.name_hash),
    "ship_address": lambda c, _: identify("address", c.order.ship_addr_hash),
    "bill_address": lambda c, _: identify("address", c.order.bill_addr_hash),
    "asn": lambda _, s: identify("asn", str(s.found.asn)) if s.found.asn else 0,
}


def safe_values_of(
    transaction: Transaction, now_us: int, seq: int, geo: IpTable | None = None
) -> tuple[list[int], list[str]]:
    """Like `values_of` for a transaction that breaks it: every part alone, the rest missing."""
    broken: list[str] = []

    def attempt(name: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except Exception:  # noqa: BLE001 - whatever is in it, the event must not be lost
            broken.append(name)
            return otherwise

    t = transaction
    at_us = attempt("now_us", lambda: min(max(int(now_us), 0), TIME_BOUND_US), 0)
    found = attempt("ip", lambda: _find(geo, t.context), NOWHERE)
    unknown = Setting(at_us, found, found.country, found.country, at_us // 60_000_000)
    setting = attempt("setting", lambda: setting_of(t.context, at_us, found, t.order_no), unknown)
    header = [
        seq,
        ATTEMPT,
        at_us,
        attempt("amount", lambda: min(max(int(t.amount_minor), 0), AMOUNT_BOUND), 0),
        attempt("currency", lambda: code_of(t.currency), 0),
        attempt("pay_type", lambda: identify("pay_type", t.pay_type), 0),
        0,
        0,
    ]
    keys = [attempt(key, partial(read, t), 0) for key, read in _KEY_READERS.items()]
    keys += [
        attempt(word, partial(read, t.context, setting), 0) for word, read in _WORD_READERS.items()
    ]
    presence, context, fields = read_context_slowly(t.context, at_us, found, t.order_no)
    return [*header, *keys, presence, *context, *_PADDING], broken + fields


def _find(geo: IpTable | None, context: RiskContext) -> Place:
    return geo.find(context.client.ip) if geo is not None else NOWHERE


def write_attempt(
    transaction: Transaction,
    now_us: int,
    seq: int,
    into: memoryview,
    geo: IpTable | None = None,
) -> tuple[list[int], list[str]]:
    """Write the vector of an attempt into a buffer; whatever the transaction holds, it succeeds.

    Args:
        transaction: What is to be assessed.
        now_us: Unix time of the attempt, microseconds.
        seq: Its place in the log.
        into: Bytes of an event.
        geo: Where addresses are; without it that is not known.

    Returns:
        The integers written, and the names of fields that could not be used.
    """
    try:
        values, broken = values_of(transaction, now_us, seq, geo)
        _PACK.pack_into(into, 0, *values)
    except Exception:  # noqa: BLE001 - an event must not be lost over a field of it
        values, broken = safe_values_of(transaction, now_us, seq, geo)
        _PACK.pack_into(into, 0, *values)
    return values, broken


def encode(
    transaction: Transaction, now_us: int, seq: int, geo: IpTable | None = None
) -> IntVector:
    """Return the vector of an attempt, shape ``(EVENT_WIDTH,)``; unusable context is missing."""
    event = np.zeros(EVENT_WIDTH, dtype=np.int64)
    write_attempt(transaction, now_us, seq, event.data.cast("B"), geo)
    return event


def pack(values: list[int]) -> bytes:
    """Return the stored form of an event's integers: little-endian int64."""
    return _PACK.pack(*values)


def encode_feedback(
    feedback: Feedback, attempt: IntVector, *, seq: int, known_at_us: int, amount_minor: int = 0
) -> IntVector:
    """Return the vector of an outcome or label of an earlier attempt.

    Args:
        feedback: What became known.
        attempt: The attempt's own vector.
        seq: The feedback's place in the log.
        known_at_us: When it became known, Unix microseconds.
        amount_minor: For a refund, how much; else the attempt's amount stands.
    """
    event = np.zeros(EVENT_WIDTH, dtype=np.int64)
    event[FIRST_KEY:PRESENCE] = attempt[FIRST_KEY:PRESENCE]
    event[SEQ] = seq
    event[KIND] = KINDS.index(feedback.kind)
    event[AT_US] = min(max(known_at_us, 0), TIME_BOUND_US)
    refunded = feedback is Feedback.REFUNDED and amount_minor > 0
    event[AMOUNT] = min(amount_minor, AMOUNT_BOUND) if refunded else attempt[AMOUNT]
    event[INDEX["currency"]] = attempt[INDEX["currency"]]
    event[INDEX["pay_type"]] = attempt[INDEX["pay_type"]]
    event[REF_SEQ] = attempt[SEQ]
    event[FEEDBACK] = FEEDBACKS.index(feedback) + 1
    return event


def encode_attributes(
    user: int, attributes: tuple[int, int, int, int], *, seq: int, at_us: int, ref_seq: int
) -> IntVector:
    """Return the vector of one user's row of a computed table.

    Args:
        user: The user's key, as attempts carry it.
        attributes: Numbers in the order of `ATTRIBUTES`, each within ±2^53.
        seq: Its place in the log: it counts from there on.
        at_us: When it was computed, Unix microseconds.
        ref_seq: The newest event the computation looked at.
    """
    event = np.zeros(EVENT_WIDTH, dtype=np.int64)
    event[SEQ] = seq
    event[KIND] = TABLE
    event[AT_US] = min(max(at_us, 0), TIME_BOUND_US)
    event[REF_SEQ] = ref_seq
    event[FIRST_KEY] = user
    event[PRESENCE] = (1 << len(ATTRIBUTES)) - 1
    event[FIRST_CONTEXT : FIRST_CONTEXT + len(ATTRIBUTES)] = attributes
    return event


def decode(payload: bytes) -> IntVector:
    """Return the vector stored in `payload`, writable, in today's layout.

    Raises:
        ValueError: it has another length than an event.
    """
    if len(payload) == _PACK.size:
        return np.frombuffer(payload, dtype="<i8").astype(np.int64)
    if len(payload) != _BYTES_V1:
        raise ValueError(f"an event has {_PACK.size} bytes, got {len(payload)}")
    vector: IntVector = stack([payload])[0]
    return vector


def stack(payloads: list[bytes]) -> npt.NDArray[np.int64]:
    """Return many payloads as one matrix, shape ``(n, EVENT_WIDTH)``, in today's layout.

    Raises:
        ValueError: one has another length than an event.
    """
    old = [place for place, payload in enumerate(payloads) if len(payload) != _PACK.size]
    if not old:
        return _matrix(payloads, EVENT_WIDTH)
    rows = np.zeros((len(payloads), EVENT_WIDTH), dtype=np.int64)
    first = _matrix([payloads[place] for place in old], WIDTH_V1)
    rows[old] = widen(first, width=EVENT_WIDTH, index=INDEX)
    new = [place for place, payload in enumerate(payloads) if len(payload) == _PACK.size]
    rows[new] = _matrix([payloads[place] for place in new], EVENT_WIDTH)
    return rows


def _matrix(payloads: list[bytes], width: int) -> npt.NDArray[np.int64]:
    if any(len(payload) != width * 8 for payload in payloads):
        raise ValueError("a payload has the wrong length")
    return np.frombuffer(b"".join(payloads), dtype="<i8").astype(np.int64).reshape(-1, width)


def kind_of(event: IntVector) -> EventKind:
    """Return what an event is."""
    return KINDS[int(event[KIND])]


def feedback_of(event: IntVector) -> Feedback | None:
    """Return what a feedback event says, or None for any other."""
    place = int(event[FEEDBACK])
    return FEEDBACKS[place - 1] if place else None


def column(events: npt.NDArray[np.int64], name: str) -> npt.NDArray[np.int64]:
    """Return one field of a stack of events, by its name in `FIELDS`; shape ``(n,)``."""
    return events[:, INDEX[name]]


def labels_of(events: npt.NDArray[np.int64], *, known_by_us: int | None = None) -> dict[int, bool]:
    """Return attempt seq -> is fraud, from the LABEL events known by then; the last one wins."""
    picked = events[:, KIND] == LABEL
    if known_by_us is not None:
        picked &= events[:, AT_US] <= known_by_us
    rows = events[picked]
    verdicts = rows[:, FEEDBACK] == FRAUD
    return dict(zip(rows[:, REF_SEQ].tolist(), verdicts.tolist(), strict=True))
