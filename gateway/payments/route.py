"""Which account at which payment system a payment goes through; another one only when it is safe.

A merchant's own accounts come before the house's, the lowest priority first; one that doesn't
answer is passed over for a while. The choice is made before the order is written. Afterwards an
order changes its account only on a definite word: the first account refused it, or closed it.
While an outcome is unknown nobody else is asked: that is how a payer is charged twice.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.channels.base import ChannelReply, Outcome

FAILURES_MAX: Final = 5
OUT_US: Final = 30_000_000


@dataclass(slots=True)
class Health:
    """How an account answered lately.

    After `FAILURES_MAX` unanswered questions in a row it counts as out for `OUT_US`; then one
    payment may try it again, and a single silence puts it out once more.
    """

    clock_us: Callable[[], int]
    _failures: dict[str, int] = field(default_factory=dict)
    _out_until_us: dict[str, int] = field(default_factory=dict)

    def heard(self, account: str, outcome: Outcome) -> None:
        """Note an answer, or that there was none (UNKNOWN)."""
        if outcome is not Outcome.UNKNOWN:
            self._failures.pop(account, None)
            self._out_until_us.pop(account, None)
            return
        failures = self._failures[account] = self._failures.get(account, 0) + 1
        if failures >= FAILURES_MAX:
            self._out_until_us[account] = self.clock_us() + OUT_US

    def is_out(self, account: str) -> bool:
        """Whether an account should be passed over now."""
        return self._out_until_us.get(account, 0) > self.clock_us()

    def out(self) -> list[str]:
        """Return the accounts that are out now."""
        return sorted(name for name in self._out_until_us if self.is_out(name))


@dataclass(slots=True)
class Routes:
    """The accounts for each merchant and pay_type, those asked first in front.

    Attributes:
        health: How the accounts answered lately.
    """

    health: Health
    _candidates: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def use(self, served: Iterable[tuple[str, str, str]]) -> None:
        """Take over a table of (merchant_id or '', pay_type, account), in order of priority."""
        table: dict[tuple[str, str], tuple[str, ...]] = {}
        for merchant_id, pay_type, account in served:
            key = (merchant_id, pay_type)
            table[key] = (*table.get(key, ()), account)
        self._candidates = table

    def candidates(self, merchant_id: str, pay_type: str) -> tuple[str, ...]:
        """Return the accounts that may serve a payment, those asked first in front."""
        own = self._candidates.get((merchant_id, pay_type), ())
        return own + self._candidates.get(("", pay_type), ())

    def choose(self, merchant_id: str, pay_type: str) -> str:
        """Return the account a new payment goes through; '' if nobody serves this pay_type."""
        candidates = self.candidates(merchant_id, pay_type)
        for account in candidates:
            if not self.health.is_out(account):
                return account
        return candidates[0] if candidates else ""

    def after(self, merchant_id: str, pay_type: str, tried: Iterable[str]) -> str:
        """Return the next account that was not tried and answers; '' if there is none."""
        spent = set(tried)
        for account in self.candidates(merchant_id, pay_type):
            if account not in spent and not self.health.is_out(account):
                return account
        return ""


def is_definite_no(reply: ChannelReply) -> bool:
    """Whether an answer proves that this account holds no payment and never will."""
    return reply.outcome in (Outcome.REJECTED, Outcome.CLOSED)
