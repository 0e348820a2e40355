"""Every kind of payment system the gateway speaks to: the one table a new adapter is added to."""

from typing import Final

from gateway.channels import alipay, bnpl, ecny, evm, paypal, sandbox, stripe, unionpay, wechat
from gateway.channels.base import Adapter

ADAPTERS: Final[dict[str, Adapter]] = {
    adapter.kind: adapter
    for adapter in (
        alipay.ADAPTER,
        bnpl.ADAPTER,
        ecny.ADAPTER,
        evm.ADAPTER,
        paypal.ADAPTER,
        sandbox.ADAPTER,
        stripe.ADAPTER,
        unionpay.ADAPTER,
        wechat.ADAPTER,
    )
}
