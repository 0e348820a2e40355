"""Reconciliation as the console shows it: runs, breaks, and whether the books balance."""

from dataclasses import dataclass

from sqlalchemy import func, select

from gateway.queries.reader import Reader, fetch
from gateway.store import tables

RUN_COUNT_MAX = 200
BREAK_COUNT_MAX = 5_000
UNBALANCED_COUNT_MAX = 50


@dataclass(frozen=True, slots=True)
class ReconRun:
    """One comparison of a channel's bill with the ledger.

    Attributes:
        bill_day: YYYY-MM-DD in the channel's time zone.
        gap_minor: Bill total minus ledger total, minor units.
    """

    run_id: str
    channel: str
    bill_day: str
    bill_sha256: str
    bill_rows: int
    ledger_rows: int
    matched: int
    breaks: int
    gap_minor: int
    created_at_us: int


@dataclass(frozen=True, slots=True)
class Break:
    """One record on which the two sides differ; amounts in minor units, None where absent."""

    line_no: int
    kind: str
    trade_no: str
    refund_no: str
    merchant_id: str
    ours_minor: int | None
    theirs_minor: int | None
    currency: str
    detail: str
    status: str

    @property
    def difference_minor(self) -> int:
        """Theirs minus ours, minor units; an absent side counts as nothing, refunds count down."""
        difference_minor = (self.theirs_minor or 0) - (self.ours_minor or 0)
        return -difference_minor if self.refund_no else difference_minor


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """What stands on an account in one currency, minor units; debit positive."""

    account: str
    currency: str
    balance_minor: int
    posting_count: int


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """All accounts, and their sum per currency, which must be zero."""

    accounts: tuple[AccountBalance, ...]

    @property
    def sum_minor(self) -> dict[str, int]:
        """Sum of all balances by currency, minor units: zero if the books balance."""
        sums: dict[str, int] = {}
        for account in self.accounts:
            sums[account.currency] = sums.get(account.currency, 0) + account.balance_minor
        return sums

    @property
    def is_balanced(self) -> bool:
        """Whether every currency sums to zero."""
        return not any(self.sum_minor.values())


def recon_runs(reader: Reader, *, channel: str | None = None) -> tuple[ReconRun, ...]:
    """Read reconciliation runs, newest first.

    Raises:
        ReaderError: if the database can't be read.
    """
    runs = tables.recon_runs.c
    statement = (
        select(
            runs.run_id,
            runs.channel,
            runs.bill_day,
            runs.bill_sha256,
            runs.bill_rows,
            runs.ledger_rows,
            runs.matched,
            runs.breaks,
            runs.gap_minor,
            runs.created_at_us,
        )
        .order_by(runs.created_at_us.desc(), runs.run_id.desc())
        .limit(RUN_COUNT_MAX)
    )
    if channel is not None:
        statement = statement.where(runs.channel == channel)
    return tuple(ReconRun(*row) for row in fetch(reader, statement))


def recon_breaks(reader: Reader, run_id: str) -> tuple[Break, ...]:
    """Read the breaks of a run, in the order of the run.

    Raises:
        ReaderError: if the database can't be read.
    """
    rows = tables.recon_breaks.c
    statement = (
        select(
            rows.line_no,
            rows.kind,
            rows.trade_no,
            rows.refund_no,
            rows.merchant_id,
            rows.ours_minor,
            rows.theirs_minor,
            rows.currency,
            rows.detail,
            rows.status,
        )
        .where(rows.run_id == run_id)
        .order_by(rows.line_no)
        .limit(BREAK_COUNT_MAX)
    )
    return tuple(Break(*row) for row in fetch(reader, statement))


def trial_balance(reader: Reader) -> TrialBalance:
    """Sum the whole ledger by account and currency.

    This reads every posting (about a second for a million); callers keep the answer for a while.

    Raises:
        ReaderError: if the database can't be read.
    """
    postings = tables.ledger_postings.c
    rows = fetch(
        reader,
        select(
            postings.account, postings.currency, func.sum(postings.amount_minor), func.count()
        ).group_by(postings.account, postings.currency),
    )
    return TrialBalance(tuple(AccountBalance(*row) for row in rows))


def unbalanced_entries(reader: Reader) -> tuple[str, ...]:
    """Return ids of entries whose legs don't sum to zero in every currency; there should be none.

    Raises:
        ReaderError: if the database can't be read.
    """
    postings = tables.ledger_postings.c
    rows = fetch(
        reader,
        select(postings.entry_id)
        .group_by(postings.merchant_id, postings.entry_id, postings.currency)
        .having(func.sum(postings.amount_minor) != 0)
        .limit(UNBALANCED_COUNT_MAX),
    )
    return tuple(row[0] for row in rows)
