"""`yumen audit`: prove that no decision was changed, and erase a person."""

import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.frame import AsJson, Var, clock_us, emit, settings_of
from gateway.refusal import Refused

if TYPE_CHECKING:
    from gateway.store.chain_proof import Proof
    from gateway.store.database import Database
    from gateway.store.erasure import Erasure

app = typer.Typer(
    no_args_is_help=True, help="The decision chain and erasure. / 决策链审计与个人信息删除"
)
_PERCENT = 100


def _database(var: Path | None) -> "Database":
    from gateway.store.migrate import HEAD, revision_of

    database = settings_of(var=var).database
    revision = revision_of(database)
    if not revision:
        raise Refused(f"no database at {database.name}")
    if revision != HEAD:
        raise Refused(f"{database.name} is at revision {revision}: run yumen migrate first")
    return database


@app.command("head")
def head(var: Var = None, as_json: AsJson = False) -> None:
    """Print the chain's head, to be kept elsewhere (输出链头, 请保存到其他系统)."""
    from gateway.store.chain import head as head_of
    from gateway.store.chain import text_of

    with closing(_database(var).raw_reader()) as raw:
        n, link = head_of(raw)
    result = {"n": n, "link": link.hex(), "head": text_of(n, link)}
    emit(result, [text_of(n, link)], as_json=as_json)


@app.command("verify")
def verify(
    var: Var = None,
    anchor: Annotated[
        str | None, typer.Option("--head", help="N:HASH that was kept elsewhere.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recompute the whole chain; exit code 1 and the first break if it fails (校验决策链)."""
    from gateway.store.chain import read_head
    from gateway.store.chain_proof import prove

    try:
        kept = None if anchor is None else read_head(anchor)
    except ValueError as problem:
        raise Refused(str(problem)) from problem
    shown = sys.stderr.isatty()

    def progress(done: int, whole: int) -> None:
        if shown:
            share = _PERCENT * done // max(whole, 1)
            typer.echo(f"\r{done}/{whole} ({share}%)", err=True, nl=done == whole)

    database = _database(var)
    with closing(database.raw_reader()) as raw:
        try:
            proof = prove(raw, anchor=kept, progress=progress)
        except database.errors as damage:
            raise Refused(f"the database is damaged: {damage}") from damage
    result, lines = _verdict(proof, anchored=kept is not None)
    emit(result, lines, as_json=as_json)
    raise typer.Exit(0 if proof.broken is None else 1)


def _verdict(proof: "Proof", *, anchored: bool) -> tuple[dict[str, object], list[str]]:
    from gateway.store.chain import text_of

    at, broken = text_of(proof.head_n, proof.head_link), proof.broken
    result: dict[str, object] = {
        "holds": broken is None,
        "checked": proof.checked_count,
        "head": at,
        "anchored": anchored,
    }
    if broken is None:
        agrees = ", and agrees with the anchor" if anchored else ""
        english = f"the chain holds: {proof.checked_count} records, head {at}{agrees}"
        return result, [english, f"决策链完整: {proof.checked_count} 条记录"]
    result["break"] = asdict(broken)
    english = f"the chain BREAKS at place {broken.n}: {broken.kind.value}: {broken.detail}"
    chinese = f"决策链在第 {broken.n} 条断裂 ({broken.kind.value}); 此前有效"
    return result, [english, f"{chinese} {proof.checked_count} 条"]


@app.command("erase")
def erase(
    *,
    var: Var = None,
    account: Annotated[
        str | None,
        typer.Option(help="Account id as merchants send it; - reads it from standard input."),
    ] = None,
    order: Annotated[
        str | None, typer.Option(help="Number of a payment whose payer sent no account id.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept, so without personal data.")],
    actor: Annotated[str, typer.Option(help="Who does it.")] = "operator",
    as_json: AsJson = False,
) -> None:
    """Destroy a person's key; the chain still verifies (销毁密钥以删除个人信息)."""
    from gateway.store.erasure import erase_account, erase_payment
    from gateway.store.vault import Vault

    if (account is None) == (order is None):
        raise Refused("name either --account or --order")
    database = _database(var)
    if account == "-":
        account = sys.stdin.readline().rstrip("\r\n")
    if order is not None:
        done = erase_payment(database, order, actor=actor, reason=reason, now_us=clock_us())
    elif account:
        vault = Vault(settings_of(var=var).var)
        done = erase_account(
            database, vault, account, actor=actor, reason=reason, now_us=clock_us()
        )
    else:
        raise Refused("the account id is empty")
    emit(done.as_dict(), _told(done), as_json=as_json)
    raise typer.Exit(0 if done.log_emptied and not done.copies_left else 1)


def _told(done: "Erasure") -> list[str]:
    whose = "a person" if done.subject_id else "a payment"
    evidence, as_payee = done.evidence_count, done.payee_count
    lines = [
        f"erased: the key of {whose}; evidence of {evidence} payments, payee of {as_payee}",
        f"已删除: {evidence} 笔付款证据, {as_payee} 笔收款方名称",
    ]
    if done.list_count:
        lines += [
            f"removed from the text of {done.list_count} list entries: they no longer match anyone",
            f"已从 {done.list_count} 条名单记录中抹去, 这些记录不再匹配任何人",
        ]
    if not done.log_emptied or done.copies_left:
        lines += [
            "older pages may still hold the key: run yumen audit clean when nobody reads",
            "旧页面可能仍含密钥, 请在无读取进程时运行 yumen audit clean",
        ]
    if done.clear_count > 0:
        lines += [
            f"the account id stands in clear {done.clear_count} times, in what merchants wrote:",
            "see docs/AUDIT.md for what no key covers",
            f"账户号另以明文出现 {done.clear_count} 次 (商户自填文本), 见 docs/AUDIT.md",
        ]
    return lines


@app.command("clean")
def clean(var: Var = None, as_json: AsJson = False) -> None:
    """Empty the write-ahead log and rebuild the lookup of people (清理旧页面)."""
    emptied = _database(var).scrub().is_clean
    line = "done / 已清理" if emptied else "a reader is in the way; try again / 有读取进程, 请重试"
    emit({"log_emptied": emptied}, [line], as_json=as_json)
    raise typer.Exit(0 if emptied else 1)
