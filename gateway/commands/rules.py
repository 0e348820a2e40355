"""`yumen rules`: what decides beside the model, its versions and their life."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from gateway.commands.frame import AsJson, Var, clock_us, emit, settings_of
from gateway.refusal import Refused

if TYPE_CHECKING:  # Heavy: nothing of these before a command runs.
    from sqlalchemy import Connection

    from gateway.store.rules import StoredRule
    from risk.rules.names import NumberOf

T = TypeVar("T")
Doing = Literal["APPROVE_OVERRIDE", "CHALLENGE", "REVIEW", "DECLINE"]
Standing = Literal["DRAFT", "SHADOW", "LIVE", "RETIRED"]
app = typer.Typer(no_args_is_help=True, help="Rules: check, draft, shadow, live. / 风控规则")
Actor = Annotated[str, typer.Option(help="Who acts. [default: login name] / 操作人")]
Why = Annotated[str, typer.Option("--reason", help="Why; kept for good. / 原因")]
_Name = Annotated[str, typer.Argument(help="The rule's name. / 规则名称")]
_Expression = Annotated[str, typer.Argument(help="What it says, see docs/RULES.md. / 表达式")]
_Action = Annotated[Doing, typer.Option(help="What it asks for. / 动作", case_sensitive=False)]
_Code = Annotated[str, typer.Option(help="Reason code shown with a decision. / 原因代码")]
_Firm = Annotated[bool, typer.Option("--firm", help="No allow rule may lift it. / 不可放行")]
_US = 1_000_000


def seeded(var: Path | None, job: "Callable[[Connection], T]") -> T:
    """Run a job on the database, which gets the shipped rules if it has none."""
    from gateway.offline import change
    from gateway.store import rules

    def seed_then(conn: "Connection") -> T:
        rules.seed(conn, clock_us())
        return job(conn)

    return change(settings_of(var=var).database, seed_then)


def numbers_for(conn: "Connection", var: Path | None) -> "NumberOf":
    """Return which number stands for a word; a person's is keyed by this installation."""
    from gateway.store.subjects import numbers_in
    from gateway.store.vault import Vault

    return numbers_in(conn, Vault(settings_of(var=var).var), clock_us())


def shown_time(at_us: int) -> str:
    """Return a time for people, in UTC; '-' for none."""
    return datetime.fromtimestamp(at_us / _US, UTC).strftime("%Y-%m-%d %H:%M:%S") if at_us else "-"


def read_time(text: str, name: str) -> int:
    """Read an ISO 8601 time as Unix microseconds; 0 for an empty one, UTC without an offset.

    Raises:
        Refused: it is none.
    """
    if not text:
        return 0
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{name}: {text!r} is no time; write it as 2026-12-24T18:00+08:00") from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return int(at.timestamp()) * _US + at.microsecond


@app.command("list")
def list_rules(
    var: Var = None,
    retired: Annotated[bool, typer.Option("--retired", help="Also retired ones.")] = False,
    as_json: AsJson = False,
) -> None:
    """List all rules and where they stand (规则列表)."""
    from gateway.store import rules

    found = seeded(var, lambda conn: rules.all_rules(conn, retired=retired))
    lines = [
        f"{one.rule.label:40} {one.rule.state:8} {one.rule.action:16} {one.rule.reason:24} "
        f"{one.author}"
        for one in found
    ]
    emit({"rules": [one.as_json() for one in found]}, lines, as_json=as_json)


@app.command()
def show(name: _Name, var: Var = None, as_json: AsJson = False) -> None:
    """Show what a rule says now, or said last (查看规则)."""
    from gateway.store import rules

    versions = seeded(var, lambda conn: rules.versions_of(conn, name))
    running = [one for one in versions if one.rule.state == "LIVE"] or versions
    values = running[-1].as_json()
    emit(values, [f"{key:16} {value}" for key, value in values.items()], as_json=as_json)


@app.command()
def history(name: _Name, var: Var = None, as_json: AsJson = False) -> None:
    """Show all versions of a rule and who did what to them (规则历史)."""
    from gateway.store import rules

    def look(conn: "Connection") -> "tuple[list[StoredRule], list[dict[str, object]]]":
        return rules.versions_of(conn, name), rules.trail_of(conn, name)

    versions, acts = seeded(var, look)
    lines = []
    for one in versions:
        lines += [f"{one.rule.label}  {one.rule.state}  {one.author}", f"  {one.rule.expression}"]
    lines += [
        f"{shown_time(int(str(act['at_us'])))}  {act['actor']}  {act['action']}  "
        f"{act['object_id']}  {act['reason']}"
        for act in acts
    ]
    result = {"name": name, "versions": [one.as_json() for one in versions], "acts": acts}
    emit(result, lines, as_json=as_json)


@app.command()
def check(
    expression: _Expression,
    var: Var = None,
    action: _Action = "REVIEW",
    as_json: AsJson = False,
) -> None:
    """Compile an expression without storing it (试编译表达式)."""
    from gateway.store import rules
    from risk.rules.emit import needs_features
    from risk.rules.language import parse
    from risk.rules.source import Action, Rule
    from risk.rules.tree import lists_of

    rule = Rule(name="checked", expression=expression, action=Action(action), reason="RISK_SCORE")
    seeded(var, lambda conn: rules.check(conn, rule, numbers_for(conn, var)))
    tree = parse(rule.name, expression)
    alone = not needs_features(tree)
    lines = ["valid / 有效"]
    lines += [f"lists / 名单: {', '.join(lists_of(tree))}"] if lists_of(tree) else []
    lines += ["runs even when features fail / 特征失败时仍可执行"] if alone else []
    result = {"valid": True, "lists": list(lists_of(tree)), "runs_without_features": alone}
    emit(result, lines, as_json=as_json)


@app.command()
def add(
    *,
    name: _Name,
    expression: _Expression,
    action: _Action,
    code: _Code,
    reason: Why,
    firm: _Firm = False,
    valid_from: Annotated[str, typer.Option(help="Counts from, ISO 8601. / 生效时间")] = "",
    valid_to: Annotated[str, typer.Option(help="And before, ISO 8601. / 失效时间")] = "",
    actor: Actor = "",
    var: Var = None,
    as_json: AsJson = False,
) -> None:
    """Store the next version of a rule as a draft (新增规则草稿)."""
    from gateway.offline import login_name
    from gateway.store import rules
    from risk.rules.source import Action, Rule

    rule = Rule(
        name=name,
        expression=expression,
        action=Action(action),
        reason=code,
        overridable=not firm,
        valid_from_us=read_time(valid_from, "--valid-from"),
        valid_to_us=read_time(valid_to, "--valid-to"),
    )
    stored = seeded(
        var,
        lambda conn: rules.add_rule(
            conn,
            rule,
            actor=actor or login_name(),
            note=reason,
            now_us=clock_us(),
            numbers=numbers_for(conn, var),
        ),
    )
    label = stored.rule.label
    lines = [f"{label} is a draft; next: yumen rules move {name} {stored.rule.version} shadow"]
    emit(stored.as_json(), lines, as_json=as_json)


@app.command()
def move(
    *,
    name: _Name,
    version: Annotated[int, typer.Argument(min=1, help="Which version. / 版本")],
    state: Annotated[
        Standing,
        typer.Argument(help="shadow, live or retired. / 目标状态", case_sensitive=False),
    ],
    reason: Why,
    actor: Actor = "",
    var: Var = None,
    as_json: AsJson = False,
) -> None:
    """Move a version on; a running gateway follows within a second (变更规则状态)."""
    from gateway.offline import login_name
    from gateway.store import rules
    from risk.rules.source import RuleState

    stored = seeded(
        var,
        lambda conn: rules.move_rule(
            conn,
            name,
            version,
            RuleState(state),
            actor=actor or login_name(),
            reason=reason,
            now_us=clock_us(),
        ),
    )
    emit(stored.as_json(), [f"{stored.rule.label} is {stored.rule.state}"], as_json=as_json)
