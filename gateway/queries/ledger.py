"""The ledger as accountants read it: trial balance, a merchant's statement, settlements."""

from dataclasses import dataclass

from sqlalchemy import case, func, select

from gateway.queries.reader import Reader, fetch, fetch_named
from gateway.store.money_tables import settlements
from gateway.store.tables import ledger_entries, ledger_postings


@dataclass(frozen=True, slots=True)
class Balance:
    """An account's balance in one currency: minor units, debit positive, credit negative."""

    account: str
    currency: str
    debit_minor: int
    credit_minor: int

    @property
    def net_minor(self) -> int:
        """Debits less credits."""
        return self.debit_minor - self.credit_minor


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One movement on a merchant's account.

    `change_minor` is what it adds to what we owe the merchant; `balance_minor` is that after it.
    """

    at_us: int
    kind: str
    entry_id: str
    trade_no: str
    change_minor: int
    balance_minor: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A merchant's account in one currency over a time; amounts in minor units.

    Attributes:
        opening_minor: What we owed the merchant at the beginning.
        lines: Every movement, in the order of booking.
        closing_minor: What we owe at the end: the opening and all changes.
    """

    merchant_id: str
    currency: str
    opening_minor: int
    lines: tuple[StatementLine, ...]
    closing_minor: int


_AMOUNT = ledger_postings.c.amount_minor
_JOINED = (ledger_entries.c.merchant_id == ledger_postings.c.merchant_id) & (
    ledger_entries.c.entry_id == ledger_postings.c.entry_id
)


def trial_balance(reader: Reader, until_us: int) -> list[Balance]:
    """Return every account's balance of what was booked before `until_us` (microseconds, epoch).

    In each currency the debits of all accounts equal the credits.
    """
    statement = (
        select(
            ledger_postings.c.account,
            ledger_postings.c.currency,
            func.sum(case((_AMOUNT > 0, _AMOUNT), else_=0)),
            func.sum(case((_AMOUNT < 0, -_AMOUNT), else_=0)),
        )
        .join_from(ledger_postings, ledger_entries, _JOINED)
        .where(ledger_entries.c.created_at_us < until_us)
        .group_by(ledger_postings.c.account, ledger_postings.c.currency)
        .order_by(ledger_postings.c.currency, ledger_postings.c.account)
    )
    return [
        Balance(account, currency, int(debit), int(credit))
        for account, currency, debit, credit in fetch(reader, statement)
    ]


def statement_of(
    reader: Reader, merchant_id: str, currency: str, from_us: int, until_us: int
) -> Statement:
    """Return a merchant's statement of [from_us, until_us), microseconds since the epoch."""
    own = (
        ledger_postings.c.merchant_id == merchant_id,
        ledger_postings.c.account == f"merchant:{merchant_id}",
        ledger_postings.c.currency == currency,
    )
    before = (
        select(func.coalesce(func.sum(-_AMOUNT), 0))
        .join_from(ledger_postings, ledger_entries, _JOINED)
        .where(*own, ledger_entries.c.created_at_us < from_us)
    )
    during = (
        select(
            ledger_entries.c.created_at_us,
            ledger_entries.c.kind,
            ledger_entries.c.entry_id,
            ledger_entries.c.trade_no,
            -_AMOUNT,
        )
        .join_from(ledger_postings, ledger_entries, _JOINED)
        .where(
            *own,
            ledger_entries.c.created_at_us >= from_us,
            ledger_entries.c.created_at_us < until_us,
        )
        .order_by(ledger_entries.c.created_at_us, ledger_entries.c.entry_id)
    )
    opening_minor = balance_minor = int(fetch(reader, before)[0][0])
    lines: list[StatementLine] = []
    for at_us, kind, entry_id, trade_no, change_minor in fetch(reader, during):
        balance_minor += change_minor
        lines.append(StatementLine(at_us, kind, entry_id, trade_no, change_minor, balance_minor))
    return Statement(merchant_id, currency, opening_minor, tuple(lines), balance_minor)


def settlements_of(
    reader: Reader, *, merchant_id: str = "", day: str = "", limit: int = 200
) -> list[dict[str, object]]:
    """Return settlements, newest first; of one merchant or day if asked."""
    statement = select(settlements).order_by(
        settlements.c.day.desc(), settlements.c.merchant_id, settlements.c.currency
    )
    if merchant_id:
        statement = statement.where(settlements.c.merchant_id == merchant_id)
    if day:
        statement = statement.where(settlements.c.day == day)
    return fetch_named(reader, statement.limit(limit))
