"""The Fraud Detection Handbook's published protocol, to the letter, on the engine's own features.

Published figures exist for this (simulated) data set, so it tells whether the features and the
training are worth anything. The file stays outside the repository; nothing trained on it ships.
The split is that of the book's chapter 3: train one week, skip one week while its labels become
known, test the third; from every test day the cards are removed that were already known to be
defrauded.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.evaluate import average_precision, roc_auc
from models.train import Settings, predict

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

CHAPTER_3_DAY = 115  # 2018-07-25, counted from the data's first day.
FOLD_DAYS = (136, 129, 122, 115)  # Chapters 5 to 7: training starts on these days.
WEEK_DAYS = 7
LABEL_DELAY_DAYS = 7
CARDS_PER_DAY = 100
TREES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Handbook:
    """Columns of the part of the file that is used, in order of time.

    Attributes:
        at_us: Unix microseconds.
        day: Days since the data's first day.
        customer: Number of the card.
        terminal: Number of the payee.
        amount_minor: Hundredths.
        fraud: The label, known `LABEL_DELAY_DAYS` later.
    """

    at_us: Ints
    day: Ints
    customer: Ints
    terminal: Ints
    amount_minor: Ints
    fraud: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which rows train and which are tested."""

    train: Mask
    test: Mask


def read(path: Path, first_day: int, end_day: int) -> Handbook:
    """Read the days first_day..end_day-1; `TX_FRAUD_SCENARIO` is left where it is.

    Raises:
        ValueError: if there is nothing in these days.
    """
    names = ["TX_DATETIME", "TX_TIME_DAYS", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"]
    days = [("TX_TIME_DAYS", ">=", first_day), ("TX_TIME_DAYS", "<", end_day)]
    table = pq.read_table(path, columns=names, filters=days)
    if not table.num_rows:
        raise ValueError(f"{path} has no rows in days {first_day}..{end_day - 1}")
    at_us = pc.cast(table["TX_DATETIME"], "timestamp[us]").cast("int64").to_numpy()
    order = np.argsort(at_us, kind="stable")
    return Handbook(
        at_us=at_us[order],
        day=table["TX_TIME_DAYS"].to_numpy()[order],
        customer=table["CUSTOMER_ID"].to_numpy()[order],
        terminal=table["TERMINAL_ID"].to_numpy()[order],
        amount_minor=np.rint(table["TX_AMOUNT"].to_numpy()[order] * 100).astype(np.int64),
        fraud=table["TX_FRAUD"].to_numpy()[order],
    )


def split(data: Handbook, start_day: int, *, train_days: int = WEEK_DAYS) -> Split:
    """Chapter 3's split; `train_days` counts back from the end of the training week."""
    delay_day = start_day + WEEK_DAYS
    test_day = delay_day + LABEL_DELAY_DAYS
    week = (data.day >= start_day) & (data.day < delay_day)
    known = set(data.customer[week & (data.fraud == 1)].tolist())
    test = np.zeros(len(data.day), dtype=np.bool_)
    for day in range(test_day, test_day + WEEK_DAYS):
        newly_known = (data.day == day - LABEL_DELAY_DAYS - 1) & (data.fraud == 1)
        known |= set(data.customer[newly_known].tolist())
        test |= (data.day == day) & ~np.isin(data.customer, list(known))
    return Split(train=(data.day >= delay_day - train_days) & (data.day < delay_day), test=test)


def card_precision(data: Handbook, test: Mask, score: Floats, *, top: int = CARDS_PER_DAY) -> float:
    """Mean over the test days of the share of defrauded cards among the `top` riskiest.

    Args:
        data: All rows.
        test: Rows under test.
        score: One score for each row under test.
        top: Cards an investigator checks a day; a card found is not counted again later.
    """
    day, customer, fraud = data.day[test], data.customer[test], data.fraud[test]
    found: set[int] = set()
    shares = []
    for today in np.unique(day):
        rows = (day == today) & ~np.isin(customer, list(found))
        cards, place = np.unique(customer[rows], return_inverse=True)
        highest = np.full(len(cards), -np.inf)
        np.maximum.at(highest, place, score[rows])
        is_fraud = np.zeros(len(cards), dtype=np.int64)
        np.maximum.at(is_fraud, place, fraud[rows])
        checked = np.argsort(-highest, kind="stable")[:top]
        hits = checked[is_fraud[checked] == 1]
        shares.append(len(hits) / top)
        found |= set(cards[hits].tolist())
    return float(np.mean(shares))


def measure(
    data: Handbook, x: Floats, start_day: int, *, train_days: int, seed: int = 1
) -> dict[str, float]:
    """Train on one fold and test it: ROC AUC, average precision, card precision at 100."""
    import lightgbm

    part = split(data, start_day, train_days=train_days)
    settings = Settings(learning_rate=0.04, leaves=31, leaf_rows_min=40)
    train_set = lightgbm.Dataset(x[part.train], label=data.fraud[part.train])
    booster = lightgbm.train(settings.parameters(seed), train_set, num_boost_round=TREES)
    score = predict(booster, x[part.test])
    truth = data.fraud[part.test]
    return {
        "train_rows": float(part.train.sum()),
        "train_frauds": float(data.fraud[part.train].sum()),
        "test_rows": float(part.test.sum()),
        "test_frauds": float(truth.sum()),
        "roc_auc": roc_auc(truth, score),
        "average_precision": average_precision(truth, score),
        "card_precision_at_100": card_precision(data, part.test, score),
    }


def handbook(
    data: Handbook, x: Floats, *, folds: bool = False, train_days: int = 28
) -> dict[str, Any]:
    """Run the protocol of chapter 3, and with `folds` also the four of chapters 5 to 7.

    Args:
        data: The payments of `days`.
        x: Their features, one row each.
        folds: Also measure the four folds, and their means.
        train_days: 7 is the book's; 28 uses the three weeks before as well.

    Returns:
        Figures of chapter 3 and, under ``folds``, of each fold.
    """
    figures: dict[str, Any] = {
        "train_days": train_days,
        **measure(data, x, CHAPTER_3_DAY, train_days=train_days),
    }
    if folds:
        figures["folds"] = [measure(data, x, start, train_days=train_days) for start in FOLD_DAYS]
        for name in ("roc_auc", "average_precision", "card_precision_at_100"):
            figures[f"folds_{name}"] = float(np.mean([fold[name] for fold in figures["folds"]]))
    return figures


def days(*, folds: bool, train_days: int) -> tuple[int, int]:
    """Return the first day that is looked at and the day after the last."""
    start = max(FOLD_DAYS) if folds else CHAPTER_3_DAY
    return CHAPTER_3_DAY + WEEK_DAYS - max(train_days, WEEK_DAYS), start + 3 * WEEK_DAYS
