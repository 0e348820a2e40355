"""`yumen backtest`: what a draft would have done to the payments of the past."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands.frame import AsJson, Var, clock_us, emit, settings_of

app = typer.Typer(
    invoke_without_command=True,
    subcommand_metavar="",
    help="Try drafts of rules, lists, thresholds, policies or models on history. / 历史回测",
)


@app.callback(invoke_without_command=True)
def backtest(
    *,
    var: Var = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            "--rule",
            help="A rule, as 'NAME: EXPRESSION -> ACTION [REASON]'; DECLINE! is final. 规则",
        ),
    ] = None,
    rule_file: Annotated[
        list[Path] | None, typer.Option("--rule-file", help="Rules, one a line. 规则文件")
    ] = None,
    rules_draft: Annotated[
        list[str] | None,
        typer.Option("--rules-draft", help="Newest version of a stored rule. 已存规则的最新版本"),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="Leave this rule out. 去除某条规则")
    ] = None,
    lists: Annotated[
        list[str] | None,
        typer.Option(
            "--list",
            help="A list, as 'NAME[:ALLOW|BLOCK|NAMED]=FILE' of lines KIND:VALUE. 名单",
        ),
    ] = None,
    challenge_at: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Challenge from here on. 验证阈值")
    ] = None,
    review_at: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Review from here on. 审核阈值")
    ] = None,
    decline_at: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Decline from here on. 拒绝阈值")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="A policy, JSON. 策略文件")] = None,
    model: Annotated[str | None, typer.Option(help="A published model. 模型版本")] = None,
    since: Annotated[
        str | None, typer.Option(help="From this time on, UTC+8 by default. 起始时间")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Before this time. 截止时间")] = None,
    known_by: Annotated[
        str | None, typer.Option(help="Labels known by then. [default: now] 标签截止时间")
    ] = None,
    genuine_after_days: Annotated[
        float | None,
        typer.Option(min=0.0, help="Paid and no complaint for so long is genuine. 无投诉视为正常"),
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Trade numbers of each kind. 样例数")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads to work with. 线程数")] = 2,
    as_json: AsJson = False,
) -> None:
    """Decide all stored payments under the set-up in use and under a draft, and compare (回测)."""
    from gateway.backtest.draft import Draft, time_of
    from gateway.backtest.run import Options, run

    now_us = clock_us()
    known_by_us = time_of(known_by)
    settings = settings_of(var=var)
    options = Options(
        database=settings.database,
        var=settings.var,
        draft=Draft(
            rules=tuple(rule or ()),
            rule_files=tuple(rule_file or ()),
            without=tuple(without or ()),
            lists=tuple(lists or ()),
            challenge_at=challenge_at,
            review_at=review_at,
            decline_at=decline_at,
            policy_file=policy,
            model=model,
        ),
        rule_names=tuple(rules_draft or ()),
        since_us=time_of(since),
        until_us=time_of(until),
        known_by_us=now_us if known_by_us is None else known_by_us,
        genuine_after_s=None if genuine_after_days is None else genuine_after_days * 86_400.0,
        examples_count=examples,
        threads=threads,
    )
    result, lines = run(options, now_us=now_us)
    emit(result, lines, as_json=as_json)
