"""The back-test: every payment decided twice, under the set-up in use and under a change of it.

Both sides are recomputed from the stored vectors, so a difference is the change's and nothing
else's; what was decided at the time (by older rules, a fallback, a person) enters only where it
left a payment without a label.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.backtest.history import (
    MERCHANT_ID,
    OUTCOME,
    SCORE_RAW,
    TRADE_NO,
    UNKNOWN,
    Block,
    Bytes,
    History,
    Ints,
    Mask,
    NoHistory,
)
from models.backtest.judging import (
    APPROVE,
    DECLINE,
    REVIEW,
    Outcomes,
    Payments,
    combined,
)
from models.backtest.masks import ListedByName, fired, listed
from models.backtest.report import (
    Examples,
    Facts,
    Mover,
    Report,
    RuleEffect,
    days_count,
    merchants_of,
    months_of,
    moved_between,
    side_of,
)
from models.backtest.setup import Change, Question, Setup
from risk.features.event import AMOUNT, AT_US, INDEX
from risk.rules.emit import Timed
from risk.rules.source import LIST_RULE_PREFIX, RuleSet
from risk.rules.tree import lists_of

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]
"""(payments done, payments in all)."""

_MERCHANT = INDEX["merchant"]
_CURRENCY = INDEX["currency"]
_MCC = INDEX["mcc"]


def backtest(
    history: History,
    present: Setup,
    change: Change,
    question: Question,
    *,
    progress: Progress | None = None,
) -> Report:
    """Decide every payment of a history under two set-ups and compare.

    Args:
        history: What happened.
        present: The set-up in use.
        change: What is tried on top of it.
        question: Which payments, which labels, how many threads.
        progress: Told how many payments are done, of how many.

    Raises:
        NoHistory: no payment is asked about, or a drafted feature was not computed.
        RuleError: the change does not fit the rules.
    """
    changed = change.applied_to(present)
    missing = [one.name for one in change.features if one.name not in history.names]
    if missing:
        raise NoHistory(f"the history holds no {', '.join(missing)}: replay its log with them")
    truth = history.labels(
        known_by_us=question.known_by_us, genuine_after_s=question.genuine_after_s
    )
    work = _Work(history, present, changed, change, question, truth)
    outcomes = work.run(progress)
    return _report(work, outcomes)


def count_hits(
    history: History,
    rules: RuleSet,
    *,
    threads: int = 2,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Return for how many payments each rule that acts is true.

    Args:
        history: What happened; only the columns that the rules name are read.
        rules: The rules, with their lists.
        threads: To work with.
        progress: Told how many payments are done, of how many.
    """
    lists = listed(rules.lists)
    acting = [(r.name, Timed(tree, r.valid_from_us, r.valid_to_us)) for r, tree in rules.acting]

    def counted(block: Block) -> tuple[int, list[int]]:
        masks = [fired(timed, block, lists) for _, timed in acting]
        return block.rows_count, [int(np.count_nonzero(mask)) for mask in masks]

    totals = [0] * len(acting)
    done_count, count = 0, len(history)
    with ThreadPoolExecutor(threads) as pool:
        for rows_count, hits in pool.map(counted, history.blocks()):
            totals = [total + more for total, more in zip(totals, hits, strict=True)]
            done_count += rows_count
            if progress is not None:
                progress(done_count, count)
    return {name: total for (name, _), total in zip(acting, totals, strict=True)}


class _Work:
    """One back-test under way."""

    def __init__(
        self,
        history: History,
        present: Setup,
        changed: Setup,
        change: Change,
        question: Question,
        truth: Bytes,
    ) -> None:
        self.history = history
        self.present = present
        self.changed = changed
        self.question = question
        self.truth = truth
        self._lists = [(side, listed(side.rules.lists)) for side in (present, changed)]
        # A list that changed decides by a rule of its own name too.
        names = {rule.name for rule in change.rules}
        names |= {LIST_RULE_PREFIX + one.name for one in change.lists}
        self._tried = names
        self.effects = {
            rule.name: np.zeros(4, dtype=np.int64)
            for rule, _ in changed.acting
            if rule.name in names
        }
        self.inside = np.zeros(len(history), dtype=np.bool_)

    def run(self, progress: Progress | None) -> tuple[Outcomes, Outcomes]:
        """Decide all blocks; outcomes of payments outside the question stay APPROVE."""
        count = len(self.history)
        sides = np.zeros(count, dtype=np.uint8), np.zeros(count, dtype=np.uint8)
        for model in (self.present.model, self.changed.model):
            if model is not None:
                model.prepare()
        done_count = 0
        with ThreadPoolExecutor(self.question.threads) as pool:
            for block, picked, present, changed, effects in pool.map(self._decide, self._blocks()):
                sides[0][block.rows], sides[1][block.rows] = present, changed
                self.inside[block.rows] = picked
                for name, counts in effects.items():
                    self.effects[name] += counts
                done_count += block.rows_count
                if progress is not None:
                    progress(done_count, count)
        return sides

    def _blocks(self) -> Iterator[Block]:
        return self.history.blocks()

    def _decide(
        self, block: Block
    ) -> tuple[Block, Mask, Outcomes, Outcomes, dict[str, NDArray[np.int64]]]:
        picked = self.question.inside(block.field(AT_US))
        if not picked.any():
            nothing = np.zeros(block.rows_count, dtype=np.uint8)
            return block, picked, nothing, nothing, {}
        known: dict[object, Mask] = {}
        scores: dict[str, Floats] = {}
        outcomes = []
        effects: dict[str, NDArray[np.int64]] = {}
        for side, lists in self._lists:
            hits = []
            for rule, tree in side.acting:
                timed = Timed(tree, rule.valid_from_us, rule.valid_to_us)
                hits.append((rule, _once(known, timed, block, lists)))
                if side is self.changed and rule.name in self._tried:
                    effects[rule.name] = self._counted(hits[-1][1] & picked, block)
            outcomes.append(combined(hits, _scored(side, block, picked, scores)))
        return block, picked, outcomes[0], outcomes[1], effects

    def _counted(self, mask: Mask, block: Block) -> NDArray[np.int64]:
        truth = self.truth[block.rows][mask]
        counts = (len(truth), (truth == 1).sum(), (truth == 0).sum(), (truth < 0).sum())
        return np.array(counts, dtype=np.int64)


def _scored(side: Setup, block: Block, picked: Mask, scores: dict[str, Floats]) -> Outcomes:
    """What the score alone says; a stored output of the very model is taken as it is.

    Args:
        side: Model and policy.
        block: The payments.
        picked: Those asked about; the others are not scored.
        scores: Probabilities by model, shared by both sides.
    """
    model = side.model
    if model is None:
        return np.zeros(block.rows_count, dtype=np.uint8)
    version = model.meta.version
    if version not in scores:
        stored = block.scored_by(version)
        raw = np.zeros(block.rows_count)
        if stored.any():
            raw[stored] = block.column(SCORE_RAW)[stored]
        missing = picked & ~stored
        if missing.any():
            raw[missing] = model.raw(block.features_of(missing), int(missing.sum()))
        scores[version] = model.probability(raw)
    payments = Payments(
        amount_minor=block.field(AMOUNT),
        currency=block.field(_CURRENCY),
        merchant=block.field(_MERCHANT),
        mcc=block.field(_MCC),
    )
    return side.tariff.outcomes(scores[version], payments, model.thresholds)


def _once(known: dict[object, Mask], rule: Timed, block: Block, lists: ListedByName) -> Mask:
    """Evaluate a rule that both sides have only once; lists may differ between the sides."""
    key = (rule, id(lists)) if lists_of(rule.tree) else rule
    if key not in known:
        known[key] = fired(rule, block, lists)
    return known[key]


def _report(work: _Work, outcomes: tuple[Outcomes, Outcomes]) -> Report:
    history, question, inside = work.history, work.question, work.inside
    rows = np.flatnonzero(inside)
    if not len(rows):
        raise NoHistory("no payment of the history is in the time asked about")
    facts = Facts(
        truth=work.truth[rows],
        at_us=history.field("at_us")[rows],
        payments=Payments(
            amount_minor=history.field("amount")[rows],
            currency=history.field("currency")[rows],
            merchant=history.field("merchant")[rows],
            mcc=history.field("mcc")[rows],
        ),
        utc_offset_s=question.utc_offset_s,
        tariff=work.present.tariff,
    )
    present, changed = outcomes[0][rows], outcomes[1][rows]
    merchants = _named(history, merchants_of(facts, present, changed), rows)
    return Report(
        payments_count=len(rows),
        fraud_count=int((facts.truth == 1).sum()),
        genuine_count=int((facts.truth == 0).sum()),
        unlabelled_count=int((facts.truth == UNKNOWN).sum()),
        undecided_count=history.undecided_count,
        stopped_unlabelled_count=_stopped_unlabelled(history, rows, facts.truth),
        known_by_us=question.known_by_us,
        since_us=int(facts.at_us.min()),
        until_us=int(facts.at_us.max()),
        days_count=days_count(facts),
        present=side_of(facts, present),
        changed=side_of(facts, changed),
        moved=moved_between(present, changed),
        rules=tuple(
            RuleEffect(
                name=name,
                hits_count=int(counts[0]),
                fraud_count=int(counts[1]),
                genuine_count=int(counts[2]),
                unlabelled_count=int(counts[3]),
            )
            for name, counts in work.effects.items()
        ),
        months=months_of(facts, present, changed),
        merchants=merchants,
        cost_currency=work.present.policy.currency,
        examples=_examples(history, facts, present, changed, rows, question.examples_count),
        versions={
            "features": history.feature_hash,
            **work.present.versions("present"),
            **work.changed.versions("changed"),
        },
    )


def _stopped_unlabelled(history: History, rows: Ints, truth: Bytes) -> int:
    try:
        given = history.column(OUTCOME)[rows]
    except KeyError:
        return 0  # A history made from a log alone does not know what was decided.
    return int((np.isin(given, (REVIEW, DECLINE)) & (truth < 0)).sum())


def _named(history: History, movers: tuple[Mover, ...], rows: Ints) -> tuple[Mover, ...]:
    """Give merchants their names in place of a row of theirs."""
    places = np.array([int(mover.key) for mover in movers], dtype=np.int64)
    names = history.words(MERCHANT_ID, rows[places])
    numbers = history.field("merchant")[rows[places]].tolist()
    return tuple(
        replace(mover, key=name or f"{number:016x}")
        for mover, name, number in zip(movers, names, numbers, strict=True)
    )


def _examples(
    history: History, facts: Facts, present: Outcomes, changed: Outcomes, rows: Ints, count: int
) -> Examples:
    gained = (present == APPROVE) & (changed != APPROVE)
    freed = (present != APPROVE) & (changed == APPROVE)

    def largest(mask: Mask) -> tuple[str, ...]:
        places = np.flatnonzero(mask)
        order = np.argsort(-facts.payments.amount_minor[places], kind="stable")[:count]
        return tuple(name for name in history.words(TRADE_NO, rows[places[order]]) if name)

    return Examples(
        caught=largest(gained & (facts.truth == 1)),
        lost=largest(freed & (facts.truth == 1)),
        freed=largest(freed & (facts.truth == 0)),
        bothered=largest(gained & (facts.truth == 0)),
        unknown=largest((present != changed) & (facts.truth < 0)),
    )
