"""`yumen operator`: who may use the admin API, beside the installation's own token."""

from typing import Annotated

import typer

from gateway.commands.frame import AsJson, Var, clock_us, emit, settings_of
from gateway.commands.rules import Actor, Why, shown_time
from gateway.domain.operator import Role

app = typer.Typer(no_args_is_help=True, help="Operators and their tokens. / 操作员与令牌")
_Name = Annotated[str, typer.Argument(help="Name in the audit trail. / 姓名")]
_KEEP = "Keep the token: it is not shown again. / 请妥善保存令牌, 不再显示"


@app.command("create")
def create(
    name: _Name,
    role: Annotated[Role, typer.Option(help="What they may do. / 角色")],
    why: Why,
    var: Var = None,
    actor: Actor = "",
    as_json: AsJson = False,
) -> None:
    """Enter an operator and show the token, once (新增操作员, 令牌仅显示一次)."""
    from gateway.offline import enter_operator, login_name

    token = enter_operator(
        settings_of(var=var).database,
        name,
        role,
        actor=actor or login_name(),
        reason=why,
        now_us=clock_us(),
    )
    result = {"name": name, "role": role.value, "token": token}
    lines = [f"{key:8} {value}" for key, value in result.items()]
    emit(result, [] if as_json else [*lines, _KEEP], as_json=as_json)


@app.command("list")
def list_all(var: Var = None, as_json: AsJson = False) -> None:
    """List everybody who has or had a token (操作员列表)."""
    from gateway.offline import change
    from gateway.store.operators import list_operators

    found = change(settings_of(var=var).database, list_operators)
    lines = [
        f"{one.name:24} {one.role:8} since {shown_time(one.created_at_us)}"
        + (f"  revoked {shown_time(one.revoked_at_us)}" if one.revoked_at_us else "")
        for one in found
    ]
    emit({"operators": [one.as_json() for one in found]}, lines, as_json=as_json)


@app.command("revoke")
def revoke(
    name: _Name, why: Why, var: Var = None, actor: Actor = "", as_json: AsJson = False
) -> None:
    """Take an operator's token away; seen within a second (吊销操作员)."""
    from gateway.offline import dismiss_operator, login_name

    dismiss_operator(
        settings_of(var=var).database,
        name,
        actor=actor or login_name(),
        reason=why,
        now_us=clock_us(),
    )
    emit({"name": name}, [f"{name} is out"], as_json=as_json)
