"""`yumen policy`: what outcomes cost, who has costs of their own, and who scores in the shadow."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.frame import AsJson, Var, clock_us, emit, settings_of
from gateway.refusal import Refused

app = typer.Typer(
    no_args_is_help=True, help="What outcomes cost, and who decides. / 决策成本与策略"
)
Actor = Annotated[str, typer.Option(help="Who acts, for the audit trail. / 操作人")]
Reason = Annotated[str, typer.Option(help="Why, for the audit trail. / 原因")]
PolicyFile = Annotated[Path, typer.Argument(help="A policy as JSON.")]


@app.command("show")
def show(
    version: Annotated[str, typer.Argument(help="Default: the one that decides.")] = "",
    var: Var = None,
    as_json: AsJson = False,
) -> None:
    """Show a policy, by default the one that decides (查看策略)."""
    from gateway import policing

    policy = policing.look(settings_of(var=var).database, version)
    emit({"version": policy.version, **policy.as_json()}, policing.lines(policy), as_json=as_json)


@app.command("history")
def history(var: Var = None, as_json: AsJson = False) -> None:
    """Show who let which policy decide, newest first (策略历史)."""
    from gateway import policing
    from gateway.domain.numbers import utc_text

    reigns = policing.history(settings_of(var=var).database)
    rows = [
        {"since": utc_text(one.since_us), "version": one.version, "by": one.author, "why": one.note}
        for one in reigns
    ]
    emit({"history": rows}, ["  ".join(row.values()) for row in rows], as_json=as_json)


@app.command("check")
def check(path: PolicyFile, var: Var = None, as_json: AsJson = False) -> None:
    """Check a policy without publishing it, and show what it would do (检查策略)."""
    from gateway import policing

    policy = policing.read(path)
    decides = policing.decides(settings_of(var=var).database, policy.version)
    known = "it decides now" if decides else "it does not decide now"
    lines = [*policing.lines(policy), f"valid; {known}"]
    emit({"version": policy.version, "valid": True, "decides": decides}, lines, as_json=as_json)


@app.command("publish")
def publish(
    path: PolicyFile,
    reason: Reason,
    var: Var = None,
    actor: Actor = "operator",
    as_json: AsJson = False,
) -> None:
    """Let a policy decide from now on; a running gateway takes it over (发布策略)."""
    from gateway import policing

    policy = policing.read(path)
    policing.publish(
        settings_of(var=var).database, policy, author=actor, note=reason, now_us=clock_us()
    )
    emit({"version": policy.version}, [f"{policy.version} decides from now on"], as_json=as_json)


@app.command("override")
def override(
    merchant_id: Annotated[str, typer.Argument(help="Whose terms.")],
    reason: Reason,
    *,
    var: Var = None,
    actor: Actor = "operator",
    category: Annotated[str | None, typer.Option(help="Its trade. / 行业类别")] = None,
    cap: Annotated[
        str | None, typer.Option(help="Harshest outcome by score: APPROVE … DECLINE. / 上限")
    ] = None,
    cost: Annotated[
        list[str] | None, typer.Option(help="A cost of its own, e.g. review_minor=900.")
    ] = None,
    thresholds: Annotated[
        str | None, typer.Option(help="Fixed ones: challenge,review,decline. / 固定阈值")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Back to its trade's terms.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give a merchant terms of its own, on top of the policy that decides (商户策略)."""
    from gateway import policing

    if remove == any(value is not None for value in (category, cap, cost, thresholds)):
        raise Refused("give --category, --cap, --cost or --thresholds; or --remove alone")
    policy = policing.override(
        settings_of(var=var).database,
        merchant_id,
        None
        if remove
        else policing.terms_of(category=category, cap=cap, costs=cost, thresholds=thresholds),
        author=actor,
        note=reason,
        now_us=clock_us(),
    )
    line = f"{policy.version} decides from now on"
    emit({"version": policy.version, "merchant_id": merchant_id}, [line], as_json=as_json)


@app.command("challenger")
def challenger(
    version: Annotated[str, typer.Argument(help="A registered model, or none.")],
    reason: Reason,
    var: Var = None,
    actor: Actor = "operator",
    as_json: AsJson = False,
) -> None:
    """Let a model score beside the champion without deciding, or none (影子模型)."""
    from gateway import policing

    settings = settings_of(var=var)
    policing.challenge(
        settings.database, settings.var, version, author=actor, note=reason, now_us=clock_us()
    )
    line = "nobody challenges" if version == "none" else f"{version} scores beside the champion"
    emit({"challenger": version}, [line], as_json=as_json)
