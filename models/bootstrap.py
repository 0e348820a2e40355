"""A first model from nothing: synthetic history, features, training, registration, promotion.

Used where an installation has no history of its own yet. A gateway is met at two paces: that of
months, and that of a demo, which pours a day's payments into minutes and starts with an empty
memory, when everything is new and newness means nothing. So the history is several logs, each of
which starts empty: one long and slow, then many short and quick.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from models.dataset import Dataset, PastPayment, from_events, from_history, joined
from models.registry import Registry
from models.synthetic import BOOTSTRAP_ROWS_COUNT, BOOTSTRAP_SEED
from models.synthetic.payment import SyntheticPayment, payments
from models.synthetic.stream import History, blocks
from models.train import TrainedModel, train
from risk.geo import shipped

Progress = Callable[[float, str], None]

QUICK_LOGS_COUNT = 9
QUICK_SHARE = 0.6  # Part of all payments that is in the quick logs.
QUICK_PER_S = 10.0
QUICK_LABEL_DELAY_S = 60.0
PAYMENTS_PER_USER = 6.0
MERCHANTS_COUNT = 24  # Few enough for a demo to onboard them all.
PROGRESS_EVERY = 1_000


def histories(rows_count: int, seed: int) -> tuple[History, ...]:
    """The slow log's history, then the quick ones', later and later, all of one population."""
    users_count = max(400, int(rows_count / PAYMENTS_PER_USER))
    quick_count = round(rows_count * QUICK_SHARE / QUICK_LOGS_COUNT)
    slow_count = rows_count - quick_count * QUICK_LOGS_COUNT
    slow = History(
        rows_count=slow_count,
        seed=seed,
        users_count=users_count,
        merchants_count=MERCHANTS_COUNT,
    )
    day_s = 86_400.0
    return (
        slow,
        *(
            replace(
                slow,
                rows_count=quick_count,
                part=number,
                # A different hour each: the demo may be started at any time of the day.
                start_us=slow.start_us + int((slow.span_s + number * (day_s + 9_000.0)) * 1e6),
                span_s=quick_count / QUICK_PER_S,
                label_delay_s=QUICK_LABEL_DELAY_S,
            )
            for number in range(1, QUICK_LOGS_COUNT + 1)
        ),
    )


def world(rows_count: int = BOOTSTRAP_ROWS_COUNT, seed: int = BOOTSTRAP_SEED) -> History:
    """The history whose `population()` a live stream should share with the bootstrapped model."""
    return histories(rows_count, seed)[0]


def synthetic_dataset(
    rows_count: int = BOOTSTRAP_ROWS_COUNT,
    seed: int = BOOTSTRAP_SEED,
    progress: Progress | None = None,
) -> Dataset:
    """A labelled synthetic training set; payments nobody complained about count as honest."""
    parts = []
    done_count = 0
    for history in histories(rows_count, seed):
        share = history.rows_count / rows_count
        tell = _part(progress, done_count / rows_count, done_count / rows_count + share)
        events = from_history(_past(history, tell), shipped())
        parts.append(from_events(events, unlabelled="genuine"))
        done_count += history.rows_count
    return joined(parts)


def first_model(
    var: Path,
    *,
    rows_count: int = BOOTSTRAP_ROWS_COUNT,
    seed: int = BOOTSTRAP_SEED,
    progress: Progress | None = None,
) -> str:
    """Train on synthetic payments, register and promote; return the version that now decides.

    Args:
        var: Folder of the embedded state.
        rows_count: Synthetic payments to learn from; 120,000 take about a minute on two cores.
        seed: Of the synthetic world and of the training.
        progress: Told a fraction (0 to 1) and what is going on.
    """
    trained = train_synthetic(rows_count=rows_count, seed=seed, progress=_part(progress, 0.0, 0.9))
    if progress is not None:
        progress(0.92, "registering in MLflow")
    registry = Registry(var)
    version = registry.register(trained, run_name=f"synthetic, seed {seed}, {rows_count} payments")
    registry.promote(version)
    if progress is not None:
        progress(1.0, f"model {version} decides")
    return version


def train_synthetic(
    *,
    rows_count: int = BOOTSTRAP_ROWS_COUNT,
    seed: int = BOOTSTRAP_SEED,
    progress: Progress | None = None,
) -> TrainedModel:
    """Train on synthetic payments alone."""
    dataset = synthetic_dataset(rows_count, seed, _part(progress, 0.0, 0.4))
    return train(dataset, seed=seed, progress=_part(progress, 0.4, 1.0))


def past_payment(payment: SyntheticPayment, number: int) -> PastPayment:
    """A synthetic payment as history, its label known only if it ever becomes known."""
    is_known = payment.label_known_at_us is not None
    return PastPayment(
        transaction=payment.transaction(f"SYNTHETIC{number:016d}"),
        at_us=payment.at_us,
        is_fraud=payment.is_fraud if is_known else None,
        label_known_at_us=payment.label_known_at_us,
    )


def _past(history: History, progress: Progress | None) -> Iterator[PastPayment]:
    number = 0
    for table in blocks(history):
        for payment in payments(table):
            number += 1
            if progress is not None and number % PROGRESS_EVERY == 0:
                progress(number / history.rows_count, "synthetic payments and their features")
            yield past_payment(payment, number)


def _part(progress: Progress | None, start: float, end: float) -> Progress | None:
    """Progress of a step as progress of the whole."""
    if progress is None:
        return None
    whole: Progress = progress

    def tell(fraction: float, text: str) -> None:
        whole(start + (end - start) * fraction, text)

    return tell
