"""One back-test from the command line: history read, draft understood, both sides decided."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.backtest.display import progress_line, report_lines
from gateway.backtest.draft import Draft, change_of
from gateway.backtest.load import CACHE_FOLDER, load_history
from gateway.backtest.present import BUNDLE_FOLDER, numbers_of, present_setup, stored_rule
from gateway.queries.reader import ReaderError
from gateway.refusal import Refused
from gateway.store.database import Database
from gateway.store.vault import Vault
from models.backtest import NoHistory, Question, UnknownRule, backtest
from risk.rules.problems import RuleError


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to try and on what; times are Unix microseconds.

    Attributes:
        database: The history, and the set-up that decides now.
        var: Folder of the embedded state.
        draft: What is tried.
        rule_names: Stored rules to try beside it.
        since_us: Payments at or after this.
        until_us: Payments before this.
        known_by_us: Labels known by then count.
        genuine_after_s: Paid payments without a complaint for so long are genuine; None: unknown.
        examples_count: Trade numbers of each kind.
        threads: To work with.
    """

    database: Database
    var: Path
    draft: Draft
    rule_names: tuple[str, ...]
    since_us: int | None
    until_us: int | None
    known_by_us: int
    genuine_after_s: float | None
    examples_count: int
    threads: int


def run(options: Options, *, now_us: int) -> tuple[dict[str, object], list[str]]:
    """Run a back-test; reads the database and the bundles, writes its own cache alone.

    Args:
        options: What to try and on what.
        now_us: The time, microseconds since the epoch.

    Returns:
        The report as JSON takes it, and its lines for a person.

    Raises:
        Refused: there is no history, or the draft is none; says what to do.
        ObjectNotFound: (1009) if a stored rule is not there.
    """
    try:
        stored = tuple(stored_rule(options.database, name) for name in options.rule_names)
        present = present_setup(options.database, options.var / BUNDLE_FOLDER)
        draft = replace(options.draft, stored=stored)
        with numbers_of(options.database, Vault(options.var)) as numbers:
            change = change_of(draft, present, options.var / BUNDLE_FOLDER, numbers)
        change.applied_to(present)  # Refuse what can't run before history is read.
        started_s = time.perf_counter()
        with progress_line("reading history 读取历史") as show:
            history = load_history(
                options.database, options.var / CACHE_FOLDER, now_s=now_us / 1e6, progress=show
            )
        read_s = time.perf_counter() - started_s
        question = Question(
            known_by_us=options.known_by_us,
            since_us=options.since_us,
            until_us=options.until_us,
            genuine_after_s=options.genuine_after_s,
            examples_count=options.examples_count,
            threads=options.threads,
        )
        started_s = time.perf_counter()
        with progress_line("back-test 回测") as show:
            report = backtest(history, present, change, question, progress=show)
        elapsed_s = time.perf_counter() - started_s
    except RuleError as error:
        raise Refused(f"{error} / {error.problem_zh}") from error
    except (ReaderError, NoHistory, UnknownRule) as error:
        raise Refused(str(error)) from error
    except OSError as error:
        raise Refused(f"the cache of history can't be written: {error}") from error
    result = report.as_dict() | {"read_s": round(read_s, 3), "elapsed_s": round(elapsed_s, 3)}
    return result, report_lines(report, elapsed_s=elapsed_s)
