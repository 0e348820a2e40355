"""Training sets that know only what was known: a log of risk events in, columns out.

Features are not computed here. The log is replayed through the risk engine's own kernel, so a
column is bit for bit what the engine saw online; what would have to be proved elsewhere (no
future, no skew between training and serving) holds because there is no second implementation.
Labels are events of the same log, at the time they became known.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from risk.decision import Feedback
from risk.features import event as events_layout
from risk.features.catalogue import FEATURE_HASH, FEATURE_NAMES
from risk.features.replay import replay
from risk.geo import IpTable
from risk.transaction import Transaction

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Replay = Callable[[Ints], Floats]

CUTS_COUNT = 3
CUT_EVENTS_MAX = 20_000


class FutureKnowledge(ValueError):
    """A feature's value changes with what happened after it; its names are in the message."""


class UnusableHistory(ValueError):
    """The history can't become a training set; the message says which row and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Labelled payments with the features of their moment, in the order of the log.

    Attributes:
        x: Features, NaN where missing; shape (n, number of features).
        y: 1 for fraud, 0 for honest.
        at_us: When each was assessed, Unix microseconds.
        amount_minor: Its amount.
        seq: Its place in the log.
        names: Names of the features, in the order of the columns.
        feature_hash: Hash of the feature catalogue that computed them.
    """

    x: Floats
    y: NDArray[np.int8]
    at_us: Ints
    amount_minor: Ints
    seq: Ints
    names: tuple[str, ...]
    feature_hash: str

    def __len__(self) -> int:
        return len(self.y)

    def where(self, picked: NDArray[np.bool_]) -> "Dataset":
        """The rows for which `picked` is true."""
        return Dataset(
            x=self.x[picked],
            y=self.y[picked],
            at_us=self.at_us[picked],
            amount_minor=self.amount_minor[picked],
            seq=self.seq[picked],
            names=self.names,
            feature_hash=self.feature_hash,
        )

    def split_at(self, share: float) -> tuple["Dataset", "Dataset"]:
        """The earlier `share` (0 to 1) of the rows and the rest: by time, never at random."""
        first = np.arange(len(self)) < round(share * len(self))
        return self.where(first), self.where(~first)


@dataclass(frozen=True, slots=True, kw_only=True)
class PastPayment:
    """One payment of a history and what became known of it.

    Attributes:
        transaction: As the engine would have been told of it.
        at_us: When it happened, Unix microseconds.
        is_fraud: The truth, or None if it never became known.
        label_known_at_us: When it became known; None with `is_fraud` None.
    """

    transaction: Transaction
    at_us: int
    is_fraud: bool | None = None
    label_known_at_us: int | None = None


def from_history(history: Iterable[PastPayment], geo: IpTable | None = None) -> Ints:
    """Encode a history as the log an engine would have written, labels at their own time.

    Args:
        history: Payments in the order of their time.
        geo: Where addresses are, as the engine that will score is told; None looks nothing up.

    Returns:
        Stack of events, shape (events, EVENT_WIDTH), with dense sequence numbers from 1. A label
        known at the very moment of a payment stands before it.

    Raises:
        UnusableHistory: a payment is earlier than the one before it, a label is known before its
            payment, or only one of label and time is given.
    """
    rows = list(_merged(history, geo))
    if not rows:
        return np.zeros((0, events_layout.EVENT_WIDTH), dtype=np.int64)
    return np.stack(rows)


def from_log(
    payloads: Iterable[bytes],
    *,
    known_by_us: int | None = None,
    unlabelled: Literal["drop", "genuine"] = "drop",
    maturity_s: float = 0.0,
) -> Dataset:
    """The training set of a stored log, given as the payloads of its events in order.

    See `from_events`.
    """
    return from_events(
        events_layout.stack(list(payloads)),
        known_by_us=known_by_us,
        unlabelled=unlabelled,
        maturity_s=maturity_s,
    )


def from_events(
    events: Ints,
    *,
    known_by_us: int | None = None,
    unlabelled: Literal["drop", "genuine"] = "drop",
    maturity_s: float = 0.0,
) -> Dataset:
    """The training set of a log, as somebody at `known_by_us` could have made it.

    Args:
        events: The log from its beginning, in order; shape (n, EVENT_WIDTH).
        known_by_us: Neither payments nor labels from after this moment are used; None: all are.
        unlabelled: Leave payments without a label out, or take them as honest: right where
            honest payments never get a label and fraud does.
        maturity_s: With ``genuine``: how old a payment must be before silence means honest.

    Raises:
        FutureKnowledge: a feature depends on later events.
    """
    if known_by_us is not None:
        events = events[events_layout.column(events, "at_us") <= known_by_us]
    matrix = replay(events)
    refuse_future(events, matrix, replay)
    verdicts = events_layout.labels_of(events, known_by_us=known_by_us)
    attempts = events_layout.column(events, "kind") == events_layout.ATTEMPT
    seq = events_layout.column(events, "seq")[attempts]
    at_us = events_layout.column(events, "at_us")[attempts]
    y = np.array([verdicts.get(place, -1) for place in seq.tolist()], dtype=np.int8)
    if unlabelled == "genuine":
        latest_us = known_by_us if known_by_us is not None else int(at_us.max(initial=0))
        mature = at_us <= latest_us - int(maturity_s * 1e6)
        y[(y < 0) & mature] = 0
    return Dataset(
        x=matrix[attempts],
        y=y,
        at_us=at_us,
        amount_minor=events_layout.column(events, "amount")[attempts],
        seq=seq,
        names=FEATURE_NAMES,
        feature_hash=FEATURE_HASH,
    ).where(y >= 0)


def joined(parts: Sequence[Dataset]) -> Dataset:
    """Several training sets, from logs that each began empty, as one; earliest first.

    Raises:
        UnusableHistory: there is none, or they come from different feature catalogues.
    """
    hashes = {part.feature_hash for part in parts}
    if len(hashes) != 1:
        raise UnusableHistory(f"cannot join sets of features {sorted(hashes)}")
    return Dataset(
        x=np.concatenate([part.x for part in parts]),
        y=np.concatenate([part.y for part in parts]),
        at_us=np.concatenate([part.at_us for part in parts]),
        amount_minor=np.concatenate([part.amount_minor for part in parts]),
        seq=np.concatenate([part.seq for part in parts]),
        names=parts[0].names,
        feature_hash=parts[0].feature_hash,
    )


def refuse_future(events: Ints, matrix: Floats, replay_again: Replay) -> None:
    """Cut the log short, replay the beginning and compare: the past must not have changed.

    Args:
        events: The log.
        matrix: Features of the whole log, as `replay_again` computed them.
        replay_again: How features are computed from a log.

    Raises:
        FutureKnowledge: naming the features that knew what came after a cut.
    """
    for part in range(1, CUTS_COUNT + 1):
        cut = min(len(events) * part // (CUTS_COUNT + 1), CUT_EVENTS_MAX * part // CUTS_COUNT)
        again = replay_again(events[:cut])
        differs = (again.view(np.int64) != matrix[:cut].view(np.int64)).any(axis=0)
        if differs.any():
            names = [name for name, is_so in zip(FEATURE_NAMES, differs, strict=True) if is_so]
            raise FutureKnowledge(f"depend on events after them: {', '.join(names)}")


def _merged(history: Iterable[PastPayment], geo: IpTable | None) -> Iterator[Ints]:
    """Encode payments and, in between, the labels that have become known meanwhile."""
    waiting: list[tuple[int, int, Feedback, Ints]] = []
    seq, previous_us = 0, None
    for number, payment in enumerate(history, start=1):
        _check(number, payment, previous_us)
        previous_us = payment.at_us
        while waiting and waiting[0][0] <= payment.at_us:
            seq += 1
            yield _label(heapq.heappop(waiting), seq)
        seq += 1
        attempt = events_layout.encode(payment.transaction, payment.at_us, seq, geo)
        if payment.label_known_at_us is not None:
            verdict = Feedback.FRAUD if payment.is_fraud else Feedback.GENUINE
            heapq.heappush(waiting, (payment.label_known_at_us, seq, verdict, attempt))
        yield attempt
    while waiting:
        seq += 1
        yield _label(heapq.heappop(waiting), seq)


def _label(waiting: tuple[int, int, Feedback, Ints], seq: int) -> Ints:
    known_at_us, _, verdict, attempt = waiting
    return events_layout.encode_feedback(verdict, attempt, seq=seq, known_at_us=known_at_us)


def _check(number: int, payment: PastPayment, previous_us: int | None) -> None:
    if previous_us is not None and payment.at_us < previous_us:
        raise UnusableHistory(
            f"row {number}: {payment.at_us} is earlier than {previous_us} before it"
        )
    known_at_us = payment.label_known_at_us
    if (payment.is_fraud is None) != (known_at_us is None):
        raise UnusableHistory(f"row {number}: a label needs the time it became known")
    if known_at_us is not None and known_at_us < payment.at_us:
        raise UnusableHistory(
            f"row {number}: its label is known at {known_at_us}, before {payment.at_us}"
        )
