"""Training is repeatable, honest about its data, and its parts do what they say."""

import numpy as np
import pytest

from models.benchmarks import Handbook, card_precision, split
from models.dataset import (
    Dataset,
    FutureKnowledge,
    PastPayment,
    UnusableHistory,
    from_events,
    from_history,
    joined,
    refuse_future,
)
from models.evaluate import Unmeasurable
from models.train import Settings, calibrate, train
from risk.features.catalogue import FEATURE_HASH, FEATURE_NAMES
from risk.features.event import column
from risk.features.replay import replay
from risk.transaction import Payer, RiskContext, Transaction

HOUR_US = 3_600_000_000


def payment(
    number: int, at_us: int, *, fraud: bool | None = None, known_us: int = 0
) -> PastPayment:
    context = RiskContext(payer=Payer(account_id=f"U{number % 3}"))
    transaction = Transaction(
        event_id=f"T{number}",
        merchant_id="M",
        amount_minor=100 + number,
        currency="CNY",
        pay_type="alipay",
        context=context,
    )
    known_at_us = None if fraud is None else known_us
    return PastPayment(
        transaction=transaction, at_us=at_us, is_fraud=fraud, label_known_at_us=known_at_us
    )


def toy(rows_count: int = 1_500) -> Dataset:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows_count, len(FEATURE_NAMES)))
    y = (rng.random(rows_count) < 0.02 + 0.5 * (x[:, 0] > 1.5)).astype(np.int8)
    return Dataset(
        x=x,
        y=y,
        at_us=np.arange(rows_count) * HOUR_US,
        amount_minor=rng.integers(100, 100_000, rows_count),
        seq=np.arange(1, rows_count + 1),
        names=FEATURE_NAMES,
        feature_hash=FEATURE_HASH,
    )


def test_labels_stand_in_the_log_when_they_became_known() -> None:
    log = from_history(
        [
            payment(0, HOUR_US, fraud=True, known_us=3 * HOUR_US),
            payment(1, 2 * HOUR_US, fraud=False, known_us=2 * HOUR_US),
            payment(2, 3 * HOUR_US),
        ]
    )

    assert column(log, "seq").tolist() == [1, 2, 3, 4, 5]
    assert column(log, "kind").tolist() == [0, 0, 2, 2, 0]
    assert column(log, "ref_seq").tolist() == [0, 0, 2, 1, 0]


def test_a_label_not_yet_known_is_no_label() -> None:
    log = from_history(
        [
            payment(0, HOUR_US, fraud=True, known_us=4 * HOUR_US),
            payment(1, 2 * HOUR_US, fraud=False, known_us=3 * HOUR_US),
        ]
    )

    assert from_events(log, known_by_us=4 * HOUR_US).y.tolist() == [1, 0]
    assert from_events(log, known_by_us=4 * HOUR_US - 1).y.tolist() == [0]
    assert from_events(log, known_by_us=2 * HOUR_US, unlabelled="genuine").y.tolist() == [0, 0]
    assert from_events(
        log, known_by_us=2 * HOUR_US, unlabelled="genuine", maturity_s=3_600
    ).seq.tolist() == [1]


@pytest.mark.parametrize(
    ("history", "complaint"),
    [
        ([payment(0, 2), payment(1, 1)], "row 2: 1 is earlier than 2"),
        ([payment(0, 5, fraud=True, known_us=4)], "row 1: its label is known at 4, before 5"),
        (
            [PastPayment(transaction=payment(0, 1).transaction, at_us=1, is_fraud=True)],
            "row 1: a label needs the time",
        ),
    ],
)
def test_a_history_that_can_not_have_happened_is_refused(
    history: list[PastPayment], complaint: str
) -> None:
    with pytest.raises(UnusableHistory, match=complaint):
        from_history(history)


def test_a_feature_that_knows_the_future_is_refused_by_name() -> None:
    log = from_history([payment(number, number * HOUR_US) for number in range(40)])

    def oracle(events: np.ndarray) -> np.ndarray:
        matrix = replay(events)
        matrix[:, 1] = len(events)
        return matrix

    refuse_future(log, replay(log), replay)
    with pytest.raises(FutureKnowledge, match=FEATURE_NAMES[1]):
        refuse_future(log, oracle(log), oracle)


def test_sets_of_different_features_can_not_be_joined() -> None:
    mine = toy()
    other = Dataset(
        x=mine.x, y=mine.y, at_us=mine.at_us, amount_minor=mine.amount_minor, seq=mine.seq,
        names=mine.names, feature_hash="another",
    )  # fmt: skip

    assert len(joined([mine, mine])) == 2 * len(mine)
    with pytest.raises(UnusableHistory, match="another"):
        joined([mine, other])


def test_the_same_data_and_seed_give_the_same_trees() -> None:
    settings = Settings(trees_max=20, threads=1)

    first, second = (train(toy(), seed=3, settings=settings) for _ in range(2))

    assert first == second
    assert first.metrics["roc_auc"] > 0.6
    assert first.trained_at_us == 1_499 * HOUR_US
    assert 0 <= first.thresholds.challenge_at <= first.thresholds.decline_at <= 1
    assert train(toy(), seed=4, settings=settings).model_text != first.model_text


def test_progress_rises_to_one() -> None:
    told: list[float] = []

    train(
        toy(), settings=Settings(trees_max=5, threads=1), progress=lambda part, _: told.append(part)
    )

    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 2


def test_a_set_without_fraud_in_one_of_its_parts_is_refused() -> None:
    data = toy()

    with pytest.raises(Unmeasurable, match="newest part has 0 frauds"):
        train(Dataset(
            x=data.x, y=np.where(data.seq > 1_200, 0, data.y).astype(np.int8), at_us=data.at_us,
            amount_minor=data.amount_minor, seq=data.seq, names=data.names,
            feature_hash=data.feature_hash,
        ))  # fmt: skip


def test_calibrated_probabilities_match_the_frequencies_and_never_reach_certainty() -> None:
    rng = np.random.default_rng(2)
    score = rng.random(20_000)
    y = (rng.random(20_000) < score**2).astype(np.int8)

    calibration = calibrate(y, score)

    assert (np.diff(calibration.x) > 0).all()
    assert (np.diff(calibration.y) > 0).all()
    assert calibration(np.array([0.5]))[0] == pytest.approx(0.25, abs=0.04)
    assert 0.0 < calibration.y[0] <= calibration.y[-1] < 1.0


def test_calibration_keeps_the_ranking() -> None:
    rng = np.random.default_rng(3)
    score = np.sort(rng.random(2_000))

    probability = calibrate((rng.random(2_000) < score).astype(np.int8), score)(score)

    assert (np.diff(probability) > 0).all()


def test_a_constant_score_still_calibrates() -> None:
    calibration = calibrate(np.array([0, 1, 0, 0], dtype=np.int8), np.full(4, 0.3))

    # One fraud of four, and one payment of each sort that shrinking adds: 2 of 6.
    assert calibration(np.array([0.3]))[0] == pytest.approx(0.25, abs=0.1)


def book(day: list[int], customer: list[int], fraud: list[int]) -> Handbook:
    return Handbook(
        at_us=np.array(day) * 24 * HOUR_US,
        day=np.array(day),
        customer=np.array(customer),
        terminal=np.zeros(len(day), dtype=np.int64),
        amount_minor=np.full(len(day), 100),
        fraud=np.array(fraud),
    )


def test_the_handbooks_split_removes_cards_once_their_fraud_is_known() -> None:
    # Training week 0-6, delay 7-13, test 14-20. Card 1: fraud in training; card 2: on day 7,
    # known on day 14 and so removed from day 15 on; card 3: never.
    data = book([1, 7, 14, 14, 14, 15, 15], [1, 2, 1, 2, 3, 2, 3], [1, 1, 1, 1, 0, 1, 0])

    part = split(data, 0)

    assert np.flatnonzero(part.train).tolist() == [0]
    assert np.flatnonzero(part.test).tolist() == [3, 4, 6]


def test_card_precision_counts_a_found_card_once() -> None:
    data = book([1, 1, 1, 2, 2], [1, 1, 2, 1, 3], [0, 1, 0, 1, 1])
    score = np.array([0.1, 0.9, 0.5, 0.95, 0.2])

    # Day 1: card 1 is found. Day 2: only card 3 is left, and it is found too.
    assert card_precision(data, np.ones(5, dtype=np.bool_), score, top=1) == 1.0
