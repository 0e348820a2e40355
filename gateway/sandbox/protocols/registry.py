"""Every protocol the sandbox speaks: the one table a new one is added to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.sandbox.keys import Keys
from gateway.sandbox.protocols import (
    alipay,
    bnpl,
    ecny,
    evm,
    house,
    paypal,
    stripe,
    unionpay,
    wechat,
)
from gateway.sandbox.protocols.base import WireProtocol

PROTOCOLS: Final[tuple[type[WireProtocol], ...]] = (
    alipay.Alipay,
    bnpl.Klarna,
    ecny.Ecny,
    evm.Evm,
    house.House,
    paypal.PayPal,
    stripe.Stripe,
    unionpay.UnionPay,
    wechat.WeChat,
)


def keys_in(var: Path) -> Keys:
    """Return the keys of a sandbox whose state is in the folder `var`."""
    return Keys(var / "sandbox.keys")


def account(kind: str, var: Path, base_url: str) -> Mapping[str, str]:
    """Return what an adapter of a kind must be told to use the sandbox; makes its keys if need be.

    Args:
        kind: As in `gateway.channels`.
        var: Folder of the sandbox's state.
        base_url: Where the sandbox lives, e.g. ``http://127.0.0.1:8000/sandbox``.

    Raises:
        KeyError: if the sandbox doesn't speak it.
    """
    return {each.name: each for each in PROTOCOLS}[kind].account(keys_in(var), base_url)
