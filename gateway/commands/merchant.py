"""`yumen merchant`: merchants and their keys."""

from typing import Annotated

import typer

from gateway.commands.frame import AsJson, Var, clock_us, emit, settings_of
from gateway.domain.merchant import Algorithm

app = typer.Typer(no_args_is_help=True, help="Merchants and their keys. / 商户与密钥")
_KEEP = "Keep the secret: it is not shown again. / 请妥善保存密钥, 不再显示"


@app.command("create")
def create(
    name: Annotated[str, typer.Option(help="Name for people.")],
    var: Var = None,
    algorithm: Annotated[
        Algorithm, typer.Option(help="Signature algorithm of its key.")
    ] = Algorithm.HMAC_SHA256,
    mcc: Annotated[str, typer.Option(help="Merchant category code, ISO 18245.")] = "",
    as_json: AsJson = False,
) -> None:
    """Create a merchant and show its secret, once (创建商户, 密钥仅显示一次)."""
    from gateway.offline import enrol

    settings = settings_of(var=var)
    made = enrol(settings.database, settings.var, name, algorithm.value, mcc, now_us=clock_us())
    result = {
        "merchant_id": made.merchant_id,
        "app_id": made.app_id,
        "key_id": made.key_id,
        "algorithm": made.algorithm.value,
        "secret": made.secret,
        "platform_public_key": made.platform_public_key,
    }
    lines = [f"{key:20} {value}" for key, value in result.items() if value]
    emit(result, [] if as_json else [*lines, _KEEP], as_json=as_json)


@app.command("rotate-key")
def rotate_key(
    merchant_id: Annotated[str, typer.Argument(help="Whose key.")],
    var: Var = None,
    overlap_s: Annotated[
        int, typer.Option(min=0, help="Seconds the present keys stay valid; 0 for a leaked key.")
    ] = 86_400,
    as_json: AsJson = False,
) -> None:
    """Give a merchant a new key; old ones stay valid for a while (轮换密钥)."""
    from gateway.offline import rotate

    settings = settings_of(var=var)
    made = rotate(settings.database, settings.var, merchant_id, overlap_s, now_us=clock_us())
    result = {
        "merchant_id": merchant_id,
        "key_id": made.key_id,
        "algorithm": made.algorithm.value,
        "secret": made.secret,
        "platform_public_key": made.platform_public_key,
    }
    lines = [f"{key:20} {value}" for key, value in result.items() if value]
    emit(result, [] if as_json else [*lines, _KEEP], as_json=as_json)
