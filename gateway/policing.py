"""Read, check and publish policies from a command; works beside a running gateway."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.exc import DatabaseError

from gateway.offline import change
from gateway.queries.reader import ReaderError, open_reader
from gateway.refusal import Refused
from gateway.store import audit, policies
from gateway.store.database import Database
from gateway.store.policies import Reign
from risk.decision import RiskOutcome
from risk.policy import DEFAULT_CATEGORY, SEVERITY, Override, Policy, PolicyError, expected_costs
from risk.policy_text import override_of, read_policy

HISTORY_COUNT: Final = 100
SAMPLE_AMOUNTS_MINOR: Final = (1_000, 10_000, 100_000, 1_000_000)
_STEPS: Final = 1_000


def read(path: Path) -> Policy:
    """Read a policy from a file.

    Raises:
        Refused: it can't be read, or is no policy; says where and why.
    """
    try:
        return read_policy(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise Refused(f"{path} can't be read: {problem}") from problem
    except PolicyError as problem:
        raise Refused(str(problem)) from problem


def look(database: Database, version: str) -> Policy:
    """Return a policy by its version, or the one that decides if that is empty.

    Raises:
        Refused: there is no such policy, or no database.
    """
    try:
        reader = open_reader(database)
        try:
            with reader.connect() as conn:
                found = policies.find(conn, version) if version else policies.live(conn)
        finally:
            reader.dispose()
    except (ReaderError, PolicyError) as problem:
        raise Refused(str(problem)) from problem
    except DatabaseError as problem:
        raise Refused(f"{problem.orig}; run yumen migrate") from problem
    if found is None:
        raise Refused(f"no policy is called {version}")
    return found


def decides(database: Database, version: str) -> bool:
    """Whether a policy is the one that decides; no policy does where there is no database."""
    try:
        return look(database, "").version == version
    except Refused:
        return False


def history(database: Database) -> list[Reign]:
    """Return who let which policy decide, newest first.

    Raises:
        Refused: there is no database.
    """
    try:
        reader = open_reader(database)
    except ReaderError as problem:
        raise Refused(str(problem)) from problem
    try:
        with reader.connect() as conn:
            return policies.reigns(conn, HISTORY_COUNT)
    except DatabaseError as problem:
        raise Refused(f"{problem.orig}; run yumen migrate") from problem
    finally:
        reader.dispose()


def publish(database: Database, policy: Policy, *, author: str, note: str, now_us: int) -> None:
    """Let a policy decide from now on.

    Raises:
        Refused: nobody or no reason is named.
        Busy: (1006) if the database can't be written now.
    """
    _refuse_nameless(author, note)

    def apply(conn: Connection) -> None:
        policies.seed(conn, now_us=now_us)
        policies.publish(conn, policy, author=author, note=note, now_us=now_us)

    change(database, apply)


def terms_of(
    *, category: str | None, cap: str | None, costs: list[str] | None, thresholds: str | None
) -> Override:
    """Return the terms that a command line says.

    Raises:
        Refused: a word or a number makes no sense.
    """
    given: dict[str, Any] = {"category": category or "", "cap": cap}
    try:
        given["costs"] = {
            name: int(value) for name, _, value in (text.partition("=") for text in costs or [])
        }
        if thresholds is not None:
            names = ("challenge_at", "review_at", "decline_at")
            levels = [float(level) for level in thresholds.split(",")]
            given["thresholds"] = dict(zip(names, levels, strict=True))
    except ValueError as problem:
        raise Refused(f"costs are name=number, thresholds three numbers: {problem}") from problem
    try:
        return override_of(given, "override")
    except PolicyError as problem:
        raise Refused(str(problem)) from problem


def override(
    database: Database,
    merchant_id: str,
    terms: Override | None,
    *,
    author: str,
    note: str,
    now_us: int,
) -> Policy:
    """Put a merchant's terms, or None for none, on top of the policy that decides; publish that.

    Raises:
        Refused: nobody or no reason is named, or the terms don't fit the policy.
        Busy: (1006) if the database can't be written now.
    """
    _refuse_nameless(author, note)

    def apply(conn: Connection) -> Policy:
        policies.seed(conn, now_us=now_us)
        before = policies.live(conn)
        others = {name: own for name, own in before.merchants.items() if name != merchant_id}
        mine = {} if terms is None else {merchant_id: terms}
        policy = replace(before, merchants=others | mine)
        policies.publish(conn, policy, author=author, note=note, now_us=now_us)
        return policy

    try:
        return change(database, apply)
    except PolicyError as problem:
        raise Refused(str(problem)) from problem


def challenge(
    database: Database, var: Path, version: str, *, author: str, note: str, now_us: int
) -> None:
    """Let a registered model score beside the champion, or nobody for ``none``.

    Raises:
        Refused: nobody or no reason is named, or the model is unknown or unfit.
    """
    from models.registry import NotPromotable, Registry, UnknownVersion
    from risk.scorer import BundleRefused

    _refuse_nameless(author, note)
    registry = Registry(var)
    try:
        if version == "none":
            registry.unchallenge()
        else:
            registry.challenge(version)
    except (UnknownVersion, NotPromotable, BundleRefused) as problem:
        raise Refused(str(problem.args[0])) from problem
    change(
        database,
        lambda conn: audit.record(
            conn,
            actor=author,
            action="model.challenge",
            object_id=version,
            now_us=now_us,
            reason=note,
        ),
    )


def _refuse_nameless(author: str, note: str) -> None:
    if not author.strip() or not note.strip():
        raise Refused("--actor and --reason must say who and why: the audit trail keeps both")


def lines(policy: Policy) -> list[str]:
    """Return a policy for a person: from which probability it does what, trade by trade."""
    found = [f"{policy.version}  decides by {policy.kind}, sums in {policy.currency}"]
    for name in (DEFAULT_CATEGORY, *policy.categories):
        found.append(f"{name}: {_codes(policy, name)}")
        found += [f"  {_cuts(policy, name, amount)}" for amount in SAMPLE_AMOUNTS_MINOR]
    for merchant_id, own in policy.merchants.items():
        found.append(f"merchant {merchant_id}: {_own(own)}")
    found.append("when rules can't run")
    for row in policy.static:
        limit = "any amount" if row.up_to_minor is None else f"up to {row.up_to_minor}"
        found.append(f"  {row.pay_type:10} {limit:20} {row.outcome}")
    return found


def _codes(policy: Policy, name: str) -> str:
    category = policy.categories.get(name)
    return "every other code" if category is None else ", ".join(category.mcc)


def _own(own: Override) -> str:
    said = [f"trade {own.category}"] if own.category else []
    said += [f"{name}={value}" for name, value in own.costs.items()]
    said += [f"thresholds {own.thresholds}"] if own.thresholds else []
    said += [f"at most {own.cap}"] if own.cap else []
    return ", ".join(said) or "nothing of its own"


def _cuts(policy: Policy, name: str, amount_minor: int) -> str:
    """Say from which probability of fraud each outcome is the cheapest, to a tenth of a percent."""
    ratios = policy.costs_of(name, "").ratios()
    category = policy.categories.get(name)
    cap = SEVERITY[category.cap if category else RiskOutcome.DECLINE]
    first: dict[RiskOutcome, float] = {}
    for step in range(_STEPS + 1):
        costs = expected_costs(step / _STEPS, float(amount_minor), ratios)[: cap + 1]
        first.setdefault(list(RiskOutcome)[costs.index(min(costs))], step / _STEPS)
    said = ", ".join(f"{outcome} from {at:.1%}" for outcome, at in first.items())
    return f"{amount_minor / 100:>12,.2f}: {said}"
