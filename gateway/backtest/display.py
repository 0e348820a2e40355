"""A back-test's progress and its report on a terminal, in English and Chinese."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Final

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from gateway.domain.money import MINOR_DIGITS, to_major
from models.backtest import Report
from models.backtest.report import Mover, Side

WIDTH: Final = 110
MOVERS_SHOWN: Final = 5
OUTCOME_TEXT: Final = {
    "APPROVE": "approved 通过",
    "CHALLENGE": "challenged 验证",
    "REVIEW": "reviewed 人工审核",
    "DECLINE": "declined 拒绝",
}
EXAMPLE_TEXT: Final = {
    "caught": "fraud newly caught 新拦截的欺诈",
    "lost": "fraud no longer caught 不再拦截的欺诈",
    "freed": "genuine newly approved 新放行的正常支付",
    "bothered": "genuine newly flagged 新误伤的正常支付",
    "unknown": "unlabelled, moved 结论改变, 无标签",
}
SELECTION_NOTE: Final = (
    "{count:,} payments were declined or held and have no label: what they would have become is"
    " unknown, so a milder set-up may look better or worse than it is."
    " / {count:,} 笔被拒绝或挂起的支付没有标签, 其真实结果未知, 放宽策略的评估可能有偏差。"
)


class _Speed(TextColumn):
    """Rows a second so far."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed or 0.0
        return Text(f"{task.completed:,.0f}/{task.total or 0:,.0f}  {speed:,.0f} rows/s")


@contextmanager
def progress_line(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show rows, rows a second and the time left on standard error while the block runs."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        _Speed(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    task = progress.add_task(title, total=None)
    with progress:
        yield lambda done, total: progress.update(task, completed=done, total=total)


def report_lines(report: Report, *, elapsed_s: float) -> list[str]:
    """Return the report for a person.

    Args:
        report: What came of it.
        elapsed_s: How long deciding took.
    """
    speed = report.payments_count / elapsed_s if elapsed_s > 0 else 0.0
    span = f"{_day(report.since_us)} … {_day(report.until_us)}"
    took = f"{elapsed_s:.2f} s, {speed:,.0f} rows/s"
    labels = f"{report.fraud_count:,} fraud 欺诈, {report.genuine_count:,} genuine 正常"
    unknown = f"{report.unlabelled_count:,} without label 无标签"
    head = [
        f"{report.payments_count:,} payments 笔支付, {span} ({report.days_count} days 天), {took}",
        f"{labels}, {unknown}, known by 截至 {_day(report.known_by_us)}",
        *(f"{name:18} {version}" for name, version in report.versions.items()),
    ]
    tables = [_sides(report), *_tables_of_movers(report)]
    if report.rules:
        tables.insert(1, _rules(report))
    return [*head, *_drawn(tables), *_notes(report)]


def _sides(report: Report) -> Table:
    table = _table("", "present 现行", "changed 变更后", "delta 变化")
    one, other = report.present, report.changed
    for name, text in OUTCOME_TEXT.items():
        _counted(table, text, one.outcomes[name], other.outcomes[name])
    _counted(table, "fraud caught 拦截欺诈", one.caught_count, other.caught_count)
    _counted(table, "fraud missed 漏过欺诈", one.missed_count, other.missed_count)
    _counted(table, "false positives 误伤", one.false_positive_count, other.false_positive_count)
    _counted(
        table,
        "flagged, unlabelled 命中但无标签",
        one.flagged_unlabelled_count,
        other.flagged_unlabelled_count,
    )
    table.add_row(
        "reviews a day 日均审核量",
        f"{one.reviews_per_day:,.1f}",
        f"{other.reviews_per_day:,.1f}",
        f"{other.reviews_per_day - one.reviews_per_day:+,.1f}",
    )
    _counted(
        table,
        "reviews, busiest day 单日最高审核量",
        one.reviews_day_max_count,
        other.reviews_day_max_count,
    )
    for currency in one.money:
        _sums(table, currency, one, other)
    before, after = one.cost_minor, other.cost_minor
    unit = report.cost_currency
    table.add_row(
        f"cost 总成本 {unit}",
        _money(before, unit),
        _money(after, unit),
        _money(after - before, unit, signed=True),
    )
    return table


def _sums(table: Table, currency: str, one: Side, other: Side) -> None:
    before, after = one.money[currency], other.money[currency]
    for text, old_minor, new_minor in (
        ("amount saved 挽回金额", before.saved_minor, after.saved_minor),
        ("fraud missed 漏过金额", before.missed_minor, after.missed_minor),
        ("false positives 误伤金额", before.false_positive_minor, after.false_positive_minor),
    ):
        table.add_row(
            f"{text} {currency}",
            _money(old_minor, currency),
            _money(new_minor, currency),
            _money(new_minor - old_minor, currency, signed=True),
        )


def _rules(report: Report) -> Table:
    table = _table(
        "rule 规则",
        "hits 命中",
        "fraud 欺诈",
        "genuine 正常",
        "unlabelled 无标签",
        "precision 精度",
    )
    for rule in report.rules:
        known_count = rule.fraud_count + rule.genuine_count
        table.add_row(
            rule.name,
            f"{rule.hits_count:,}",
            f"{rule.fraud_count:,}",
            f"{rule.genuine_count:,}",
            f"{rule.unlabelled_count:,}",
            f"{rule.fraud_count / known_count:.1%}" if known_count else "–",
        )
    return table


def _tables_of_movers(report: Report) -> list[Table]:
    tables = [_movers("month 月份", report.months)]
    if report.merchants:
        tables.append(_movers("merchant 商户", report.merchants[:MOVERS_SHOWN]))
    return tables


def _movers(title: str, movers: tuple[Mover, ...]) -> Table:
    table = _table(
        title, "payments 笔数", "moved 结论改变", "caught 拦截", "false pos. 误伤", "flagged 命中"
    )
    for mover in movers:
        table.add_row(
            mover.key,
            f"{mover.payments_count:,}",
            f"{mover.moved_count:,}",
            f"{mover.caught_count:+,}",
            f"{mover.false_positive_count:+,}",
            f"{mover.flagged_count:+,}",
        )
    return table


def _notes(report: Report) -> list[str]:
    notes = []
    for name, text in EXAMPLE_TEXT.items():
        found: tuple[str, ...] = getattr(report.examples, name)
        if found:
            notes.append(f"{text}: {' '.join(found)}")
    if report.undecided_count:
        notes.append(
            f"{report.undecided_count:,} attempts without a decision left out 条尝试无决策, 未计入"
        )
    if report.stopped_unlabelled_count:
        notes.append(SELECTION_NOTE.format(count=report.stopped_unlabelled_count))
    return notes


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=True)
    return table


def _counted(table: Table, text: str, before_count: int, after_count: int) -> None:
    delta = after_count - before_count
    table.add_row(text, f"{before_count:,}", f"{after_count:,}", f"{delta:+,}")


def _drawn(tables: list[Table]) -> list[str]:
    drawn = StringIO()
    console = Console(file=drawn, width=WIDTH, color_system=None)
    for table in tables:
        console.print(table)
    return [line.rstrip() for line in drawn.getvalue().splitlines() if line.strip()]


def _money(amount_minor: int, currency: str, *, signed: bool = False) -> str:
    # A log made elsewhere may hold a currency that this gateway does not take.
    amount = to_major(amount_minor, currency) if currency in MINOR_DIGITS else amount_minor
    return f"{amount:+,}" if signed else f"{amount:,}"


def _day(at_us: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us, hours=8)
    return moment.strftime("%Y-%m-%d %H:%M")
