"""Circles of money against a plain reading of the definition: paths in order of time."""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from itertools import pairwise, product

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from risk import flows
from risk.features import layout, memory

HOUR_US = 3_600_000_000
START_US = 1_700_000_000_000_000
ACCOUNTS_COUNT = 5
HOURS = (0, 0, 0, 1, 1, 8, 24, 71, 72)
# Just within and just beyond a tenth of each other, and around what is too small to keep.
AMOUNTS_MINOR = (500, 501, 540, 1_000, 1_000, 1_090, 1_100, 1_101, 1_111, 1_112, 5_000)
Payment = tuple[int, int, int, int]


def stream_of(seed: int) -> list[Payment]:
    """80 payments among 5 accounts: payer, payee, hours passed, amount."""
    rng = np.random.default_rng(seed)
    people = rng.integers(1, ACCOUNTS_COUNT + 1, (80, 2)).tolist()
    # A stream is hasty or slow as a whole: else hardly a list would fill within three days.
    hours = rng.choice(HOURS[: int(rng.integers(3, len(HOURS) + 1))], 80).tolist()
    amounts_minor = rng.choice(AMOUNTS_MINOR, 80).tolist()
    return [
        (payer, payee, passed, amount_minor)
        for (payer, payee), passed, amount_minor in zip(people, hours, amounts_minor, strict=True)
    ]


@dataclass
class Oracle:
    """The newest 16 payments out and in of every account, and all paths through them."""

    outs: dict[int, deque[tuple[int, int, int]]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=flows.CAP))
    )
    ins: dict[int, deque[tuple[int, int, int]]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=flows.CAP))
    )

    def circles(self, payer: int, payee: int, now_us: int, amount_minor: int) -> int:
        if amount_minor <= layout.MICRO_AMOUNT:
            return 0
        found = 0
        for between in range(3):
            others = [a for a in range(1, ACCOUNTS_COUNT + 1) if a not in {payer, payee}]
            for middle in product(others, repeat=between):
                path = (payee, *middle, payer)
                if len(set(path)) == len(path) and self.walked(path, now_us, amount_minor):
                    found |= 1 << between
        return found

    def walked(self, path: tuple[int, ...], now_us: int, amount_minor: int) -> bool:
        reached = {0}
        for place, (one, other) in enumerate(pairwise(path)):
            last = place == len(path) - 2
            steps = (
                [(at, paid) for by, at, paid in self.ins[other] if by == one]
                if last
                else [(at, paid) for to, at, paid in self.outs[one] if to == other]
            )
            reached = {
                at
                for at, paid in steps
                if now_us - at < 72 * HOUR_US
                and abs(paid - amount_minor) * 10 <= amount_minor
                and any(before <= at for before in reached)
            }
        return bool(reached)

    def note(self, payer: int, payee: int, now_us: int, amount_minor: int) -> None:
        if amount_minor > layout.MICRO_AMOUNT:
            self.outs[payer].append((payee, now_us, amount_minor))
            self.ins[payee].append((payer, now_us, amount_minor))


class Books:
    """The same in a state's arena."""

    def __init__(self) -> None:
        self.arena: npt.NDArray[np.int64] = np.zeros(1 << 16, dtype=np.int64)
        self.table = np.zeros(64, dtype=np.int64)
        self.meta = np.zeros(memory.META_WIDTH, dtype=np.int64)
        self.meta[memory.USED] = layout.HEADER_WIDTH
        self.outs = {}
        self.ins = {}
        for account in range(1, ACCOUNTS_COUNT + 1):
            user = memory.insert(self.arena, self.table, self.meta, account, layout.USER)
            payee = memory.insert(self.arena, self.table, self.meta, account + 100, layout.PAYEE)
            self.outs[account], self.ins[account] = user + flows.OUTS, payee + flows.INS

    def circles(self, payer: int, payee: int, now_us: int, amount_minor: int) -> int:
        money = flows.money_of(amount_minor, 1)
        outs, ins = int(self.arena[self.outs[payee]]), int(self.arena[self.ins[payer]])
        return flows.circles(self.arena, self.table, outs, ins, payer, payee, now_us, money)

    def note(self, payer: int, payee: int, now_us: int, amount_minor: int) -> None:
        money = flows.money_of(amount_minor, 1)
        flows.note(self.arena, self.meta, self.outs[payer], payee, now_us, money)
        flows.note(self.arena, self.meta, self.ins[payee], payer, now_us, money)


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_circles_are_those_of_the_definition(seed: int) -> None:
    oracle, books = Oracle(), Books()
    now_us = START_US
    for payer, payee, hours, amount_minor in stream_of(seed):
        now_us += hours * HOUR_US
        seen = books.circles(payer, payee, now_us, amount_minor)
        wanted = 0 if payer == payee else oracle.circles(payer, payee, now_us, amount_minor)
        assert seen == wanted
        books.note(payer, payee, now_us, amount_minor)
        oracle.note(payer, payee, now_us, amount_minor)
