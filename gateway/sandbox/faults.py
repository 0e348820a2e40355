"""Faults on purpose, by seed: what a payment system does on a bad day.

All are off by default. Faults of the wire are drawn from one seeded stream; those of the bill
depend on the row alone, so that the same bill downloaded twice is the same file.
"""

import hashlib
import random
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often each fault happens, as a probability from 0 to 1.

    Attributes:
        seed: Makes a run repeatable.
        timeout_ratio: Requests answered only after `timeout_s`; half of them take effect.
        timeout_s: How long such an answer is held back, in seconds.
        error_ratio: Requests answered 500; half of them take effect.
        duplicate_ratio: Callbacks sent twice.
        reorder_ratio: Callbacks held back up to `reorder_s`, so that later ones overtake them.
        reorder_s: Longest such delay, in seconds.
        wrong_amount_ratio: Callbacks preceded by one that names a wrong amount.
        bad_signature_ratio: Callbacks whose first try is wrongly signed.
        slow_refund_ratio: Refunds that are PROCESSING for `slow_refund_s` before they are done.
        slow_refund_s: How long such a refund takes, in seconds.
        bill_missing_ratio: Rows left out of the bill.
        bill_wrong_amount_ratio: Rows with one minor unit too much in the bill.
        bill_duplicate_ratio: Rows that stand twice in the bill.
    """

    seed: int = 0
    timeout_ratio: float = 0.0
    timeout_s: float = 10.0
    error_ratio: float = 0.0
    duplicate_ratio: float = 0.0
    reorder_ratio: float = 0.0
    reorder_s: float = 3.0
    wrong_amount_ratio: float = 0.0
    bad_signature_ratio: float = 0.0
    slow_refund_ratio: float = 0.0
    slow_refund_s: float = 2.0
    bill_missing_ratio: float = 0.0
    bill_wrong_amount_ratio: float = 0.0
    bill_duplicate_ratio: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name.endswith("_ratio") and not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be between 0 and 1, was {value}")
            if name.endswith("_s") and value < 0.0:
                raise ValueError(f"{name} must not be negative, was {value}")


NO_FAULTS = Faults()


class ApiFault(StrEnum):
    """What goes wrong with a request; each either before it takes effect or after."""

    NONE = "NONE"
    TIMEOUT_BEFORE = "TIMEOUT_BEFORE"
    TIMEOUT_AFTER = "TIMEOUT_AFTER"
    ERROR_BEFORE = "ERROR_BEFORE"
    ERROR_AFTER = "ERROR_AFTER"


class BillFault(StrEnum):
    """What is wrong with a row of the bill."""

    NONE = "NONE"
    MISSING = "MISSING"
    WRONG_AMOUNT = "WRONG_AMOUNT"
    DUPLICATE = "DUPLICATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackFault:
    """What goes wrong with one callback."""

    copies: int = 1
    delay_s: float = 0.0
    wrong_amount: bool = False
    bad_signature: bool = False


class FaultDice:
    """Draws faults from one seeded stream, and those of the bill from the row."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._random = random.Random(faults.seed)  # noqa: S311 - faults must be repeatable.

    def api(self) -> ApiFault:
        """Draw what goes wrong with the next request."""
        draw = self._random.random()
        timeout, error = self.faults.timeout_ratio, self.faults.error_ratio
        if draw < timeout:
            return ApiFault.TIMEOUT_BEFORE if draw < timeout / 2 else ApiFault.TIMEOUT_AFTER
        if draw < timeout + error:
            early = draw < timeout + error / 2
            return ApiFault.ERROR_BEFORE if early else ApiFault.ERROR_AFTER
        return ApiFault.NONE

    def callback(self) -> CallbackFault:
        """Draw what goes wrong with the next callback."""
        faults, rng = self.faults, self._random
        return CallbackFault(
            copies=2 if rng.random() < faults.duplicate_ratio else 1,
            delay_s=rng.random() * faults.reorder_s if rng.random() < faults.reorder_ratio else 0.0,
            wrong_amount=rng.random() < faults.wrong_amount_ratio,
            bad_signature=rng.random() < faults.bad_signature_ratio,
        )

    def refund_delay_s(self) -> float:
        """Draw how long the next refund stays PROCESSING, in seconds; 0 is done at once."""
        slow = self._random.random() < self.faults.slow_refund_ratio
        return self.faults.slow_refund_s if slow else 0.0

    def bill_row(self, key: str) -> BillFault:
        """Say what is wrong with the bill's row `key`; the same row always gets the same."""
        digest = hashlib.sha256(f"{self.faults.seed}:{key}".encode()).digest()
        draw = int.from_bytes(digest[:7], "big") / 2**56
        missing = self.faults.bill_missing_ratio
        wrong = missing + self.faults.bill_wrong_amount_ratio
        if draw < missing:
            return BillFault.MISSING
        if draw < wrong:
            return BillFault.WRONG_AMOUNT
        return (
            BillFault.DUPLICATE
            if draw < wrong + self.faults.bill_duplicate_ratio
            else BillFault.NONE
        )
