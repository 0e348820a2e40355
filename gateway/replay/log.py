"""A mapped history as the log an engine would have written, made a part at a time.

Row by row an event costs tens of microseconds, longer than replaying it. Where a mapping names
nothing but entities (payer, device, card, …), an event is its moment's empty one with the columns
of its names put in, so rows are put together column by column. What a name puts where is observed
on a few events that the engine's own `encode` makes, and a sample of rows is encoded alone and
compared before anything is given out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gateway.replay import rows
from gateway.replay.columns import NEVER_US, Coded
from gateway.replay.mapping import InputRefused, Mapping
from risk.features import event as ev
from risk.features.identity import identify
from risk.transaction import (
    EMPTY_CONTEXT,
    Basket,
    Client,
    Device,
    Geo,
    Instrument,
    Payee,
    Payer,
    RiskContext,
    Transaction,
)

Ints = npt.NDArray[np.int64]

HOUR_US = 3_600_000_000
SAMPLE_ROWS = 64
SAMPLE_WORDS = 3
CHUNK_ROWS = 1 << 20
_NAMED = {
    "payer.account_id": lambda word: RiskContext(payer=Payer(account_id=word)),
    "device.device_id": lambda word: RiskContext(device=Device(device_id=word)),
    "client.ip": lambda word: RiskContext(client=Client(ip=word)),
    "instrument.token": lambda word: RiskContext(instrument=Instrument(token=word)),
    "payee.account_id": lambda word: RiskContext(payee=Payee(account_id=word)),
    "geo.place": lambda word: RiskContext(geo=Geo(place=word)),
    "order.mcc": lambda word: RiskContext(order=Basket(mcc=word)),
}


@dataclass(frozen=True, slots=True)
class _Named:
    """What the words of one column put into an event: row i gets ``values[places[i]]``."""

    places: Ints
    columns: Ints
    values: Ints


class MappedLog:
    """Payments and, at the time each became known, their labels; `len` counts both.

    Attributes:
        at_us: Time of each payment, shape ``(payments,)``.
        labels: 1 fraud, 0 genuine, -1 never labelled, shape ``(payments,)``.
        source: Row of the payment each event is, or ``~row`` for its label; shape ``(events,)``.
    """

    def __init__(
        self,
        *,
        at_us: Ints,
        amount_minor: Ints,
        labels: npt.NDArray[np.int8],
        known_at_us: Ints,
        named: tuple[_Named, ...],
        moments: tuple[Ints, Ints],
    ) -> None:
        """Put payments and labels in the order of the log.

        Args:
            at_us: Times, never falling.
            amount_minor: Amounts.
            labels: As the attribute.
            known_at_us: When each label became known, never before its payment.
            named: What each text column puts into an event.
            moments: Empty events, shape ``(m, EVENT_WIDTH)``, and each payment's place in them.
        """
        self.at_us, self.labels = at_us, labels
        self._amount_minor = np.clip(amount_minor, 0, ev.AMOUNT_BOUND)
        self._known_at_us = np.clip(known_at_us, 0, ev.TIME_BOUND_US)
        self._named = named
        self._moments, self._moment = moments
        self._shared = frozenset(np.flatnonzero(self._moments.any(axis=0)).tolist())
        self.source, self._seq = _merged(at_us, labels, known_at_us)

    def __len__(self) -> int:
        return len(self.source)

    def events(self, first: int, end: int) -> Ints:
        """Return the events first..end-1 of the log, shape ``(n, EVENT_WIDTH)``."""
        return self._fields(tuple(range(ev.EVENT_WIDTH)), first, end)

    def fields(self, names: tuple[str, ...]) -> Ints:
        """Return only these fields (`risk.features.event.FIELDS`) of all events, in their order."""
        return self._fields(tuple(ev.INDEX[name] for name in names), 0, len(self))

    def _fields(self, columns: tuple[int, ...], first: int, end: int) -> Ints:
        source = self.source[first:end]
        is_label = source < 0
        row = np.where(is_label, ~source, source)
        out = np.zeros((len(source), len(columns)), dtype=np.int64)
        for place, column in enumerate(columns):
            if column in self._shared:
                out[:, place] = self._moments[self._moment[row], column]
                if column >= ev.PRESENCE:
                    out[is_label, place] = 0
        for name in self._named:
            for place, column in enumerate(name.columns.tolist()):
                if column in columns:
                    out[:, columns.index(column)] = name.values[:, place][name.places[row]]
        told = row[is_label]
        at_us = np.clip(self.at_us[row], 0, ev.TIME_BOUND_US)
        own = {
            ev.SEQ: np.arange(first + 1, first + 1 + len(source)),
            ev.KIND: np.where(is_label, ev.LABEL, ev.ATTEMPT),
            ev.AT_US: np.where(is_label, self._known_at_us[row], at_us),
            ev.AMOUNT: self._amount_minor[row],
        }
        for column in own.keys() & set(columns):
            out[:, columns.index(column)] = own[column]
        if ev.REF_SEQ in columns:
            out[is_label, columns.index(ev.REF_SEQ)] = self._seq[told]
        if ev.FEEDBACK in columns:
            verdict = np.where(self.labels[told] == 1, ev.FRAUD, ev.GENUINE)
            out[is_label, columns.index(ev.FEEDBACK)] = verdict
        return out


def read(path: Path, mapping: Mapping, rows_max: int | None = None) -> MappedLog:
    """Read a whole history; a label known at the very moment of a later payment comes before it.

    Args:
        path: A ``.parquet`` or ``.csv`` file.
        mapping: What its columns mean; its context may name entities only.
        rows_max: Stop after so many rows; None reads all.

    Raises:
        InputRefused: a row doesn't fit, or the mapping says more than names.
    """
    for rule in mapping.context:
        if f"{rule.group}.{rule.name}" not in _NAMED:
            key = f"context.{rule.group}.{rule.name}"
            raise InputRefused(key, "is no entity's name; such a history is read row by row")
    parts = _Parts()
    last_at_us = -(2**62)
    for reader in rows.readers(path, mapping, rows_max, chunk_rows=CHUNK_ROWS):
        at_us = reader.at_us()
        rows.check_order(at_us, last_at_us, reader.first_row, mapping)
        last_at_us = int(at_us[-1])
        known_at_us = reader.known_at_us(at_us)
        labels = np.where(known_at_us == NEVER_US, np.int8(-1), reader.labels())
        texts = {"merchant": reader.required(mapping.merchant), "pay_type": reader.pay_types()}
        for rule in mapping.context:
            texts[f"{rule.group}.{rule.name}"] = reader.coded(rule.template)
        parts.add((at_us, reader.amounts()[0], labels, known_at_us), texts)
    if not parts.numbers:
        raise InputRefused(path.name, "holds no rows")
    return parts.log(mapping.amount.currency)


class _Parts:
    """Columns of the tables read so far, every text numbered once for the whole file."""

    def __init__(self) -> None:
        self.numbers: list[tuple[npt.NDArray[np.integer], ...]] = []
        self._words: dict[str, dict[str | None, int]] = {}
        self._places: dict[str, list[Ints]] = {}

    def add(self, numbers: tuple[npt.NDArray[np.integer], ...], texts: dict[str, Coded]) -> None:
        self.numbers.append(numbers)
        for field, coded in texts.items():
            words = self._words.setdefault(field, {})
            own = np.array(
                [words.setdefault(word, len(words)) for word in coded.words], dtype=np.int64
            )
            self._places.setdefault(field, []).append(own[coded.places])

    def log(self, currency: str) -> MappedLog:
        at_us, amount_minor, labels, known_at_us = (
            np.concatenate(column) for column in zip(*self.numbers, strict=True)
        )
        hour = at_us // HOUR_US  # Never falling, as the rows are in order.
        starts = np.flatnonzero(np.diff(hour, prepend=hour[0] - 1))
        moment = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(hour)))
        texts = {
            field: Coded(np.concatenate(places), tuple(self._words[field]))
            for field, places in self._places.items()
        }
        encoder = _Encoder(currency)
        log = MappedLog(
            at_us=at_us,
            amount_minor=amount_minor,
            labels=labels.astype(np.int8),
            known_at_us=known_at_us,
            named=tuple(encoder.named(field, coded) for field, coded in texts.items()),
            moments=(encoder.moments(hour[starts] * HOUR_US), moment),
        )
        encoder.check(log, texts, amount_minor)
        return log


class _Encoder:
    """Encodes one thing at a time with the engine's `encode`."""

    def __init__(self, currency: str) -> None:
        self._currency = currency
        self._empty = self._event({}, at_us=0, amount_minor=0)

    def moments(self, at_us: Ints) -> Ints:
        """The events of payments that name nobody, one a moment."""
        return np.stack([self._event({}, at_us=at, amount_minor=0) for at in at_us.tolist()])

    def named(self, field: str, coded: Coded) -> _Named:
        """What each word of a column puts where; the missing word puts nothing."""
        words = coded.words
        some = [word for word in words if word is not None][:SAMPLE_WORDS]
        sample = self._values(field, some)
        (columns,) = np.nonzero((sample != self._empty).any(axis=0))
        kinds = [
            _kind_of(some, sample[:, column].tolist(), int(self._empty[column]))
            for column in columns.tolist()
        ]
        if all(kinds):
            values = np.array([[identify(kind, word) for kind in kinds] for word in words])
        else:
            whole = self._values(field, words)
            (columns,) = np.nonzero((whole != self._empty).any(axis=0))
            values = whole[:, columns]
        values = values.reshape(len(words), len(columns)).astype(np.int64)
        return _Named(coded.places, columns, values)

    def _values(self, field: str, words: Sequence[str | None]) -> Ints:
        each = [self._event({field: word}, at_us=0, amount_minor=0) for word in words]
        return np.array(each, dtype=np.int64).reshape(len(words), ev.EVENT_WIDTH)

    def check(self, log: MappedLog, texts: dict[str, Coded], amount_minor: Ints) -> None:
        """Compare a sample with payments encoded alone.

        Raises:
            RuntimeError: names of this mapping don't stand alone in an event: a fault of ours.
        """
        (attempts,) = np.nonzero(log.source >= 0)
        picked = attempts[np.linspace(0, len(attempts) - 1, SAMPLE_ROWS).astype(np.int64)]
        for place in picked.tolist():
            row = int(log.source[place])
            words = {field: coded.words[coded.places[row]] for field, coded in texts.items()}
            alone = self._event(
                words, at_us=int(log.at_us[row]), amount_minor=int(amount_minor[row])
            )
            alone[ev.SEQ] = place + 1
            if not np.array_equal(alone, log.events(place, place + 1)[0]):
                raise RuntimeError(f"row {row + 1} put together differs from the row encoded alone")

    def _event(self, words: dict[str, str | None], *, at_us: int, amount_minor: int) -> Ints:
        context = EMPTY_CONTEXT
        for field, word in words.items():
            if word is not None and field in _NAMED:
                context = _with(context, field, word)
        return ev.encode(
            Transaction(
                event_id="",
                merchant_id=words.get("merchant") or "",
                amount_minor=amount_minor,
                currency=self._currency,
                pay_type=words.get("pay_type") or "",
                context=context,
            ),
            at_us,
            0,
        )


def _kind_of(words: list[str], values: list[int], empty: int) -> str:
    """The kind under which `identify` gives these values to these words, or ""."""
    for kind in ("pay_type", *ev.KEYS):
        if empty == 0 and [identify(kind, word) for word in words] == values:
            return kind
    return ""


def _with(context: RiskContext, field: str, word: str) -> RiskContext:
    """The context with one more name; no two names share a group of it."""
    group = field.partition(".")[0]
    return replace(context, **{group: getattr(_NAMED[field](word), group)})


def _merged(at_us: Ints, labels: npt.NDArray[np.int8], known_at_us: Ints) -> tuple[Ints, Ints]:
    """The order of the log: source of each event, and the number of each payment's own event."""
    (told,) = np.nonzero(labels >= 0)
    # A label comes before the first later payment that isn't earlier than it became known.
    slot = np.maximum(np.searchsorted(at_us, known_at_us[told], side="left"), told + 1)
    if len(told) and (np.diff(known_at_us[told]) < 0).any():
        order = np.lexsort((told, known_at_us[told], slot))
        slot, told = slot[order], told[order]
    payments = np.arange(len(at_us))
    place = payments + np.cumsum(np.bincount(slot, minlength=len(at_us) + 1))[:-1]
    source = np.empty(len(at_us) + len(told), dtype=np.int64)
    source[place] = payments
    source[slot + np.arange(len(told))] = ~told
    return source, place + 1
