"""What the cashier's page says and how it looks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The page's words in one language; methods by pay_type, statuses by order status."""

    lang: str
    other_lang: str
    other_name: str
    title: str
    item: str
    method: str
    number: str
    status: str
    pay: str
    open_app: str
    scan: str
    on_phone: str
    back: str
    held: str
    unknown: str
    methods: Mapping[str, str]
    statuses: Mapping[str, str]


WORDS: Final[dict[str, Words]] = {
    "zh": Words(
        lang="zh-CN",
        other_lang="en",
        other_name="English",
        title="收银台",
        item="商品",
        method="支付方式",
        number="交易号",
        status="状态",
        pay="去支付",
        open_app="打开应用支付",
        scan="请用手机扫码支付",
        on_phone="或用手机扫码继续",
        back="返回商户",
        held="订单正在审核, 请稍候, 本页会自动更新。",
        unknown="订单不存在或链接已失效。",
        methods={
            "alipay": "支付宝",
            "wechat": "微信支付",
            "unionpay": "银联",
            "stripe": "Stripe",
            "paypal": "PayPal",
            "ecny": "数字人民币",
            "crypto": "稳定币",
            "bnpl": "分期付款",
        },
        statuses={
            "CREATED": "处理中",
            "WAIT_PAY": "等待付款",
            "SUCCESS": "支付成功",
            "REFUND": "已退款",
            "CLOSED": "已关闭",
        },
    ),
    "en": Words(
        lang="en",
        other_lang="zh",
        other_name="中文",
        title="Cashier",
        item="Item",
        method="Method",
        number="Trade",
        status="Status",
        pay="Pay now",
        open_app="Pay in the app",
        scan="Scan with your phone to pay",
        on_phone="Or scan to go on with your phone",
        back="Back to the merchant",
        held="The order is being reviewed. Please wait; this page follows by itself.",
        unknown="There is no such order, or the link is no longer good.",
        methods={
            "alipay": "Alipay",
            "wechat": "WeChat Pay",
            "unionpay": "UnionPay",
            "stripe": "Stripe",
            "paypal": "PayPal",
            "ecny": "e-CNY",
            "crypto": "Stablecoin",
            "bnpl": "Instalments",
        },
        statuses={
            "CREATED": "In progress",
            "WAIT_PAY": "Waiting for payment",
            "SUCCESS": "Paid",
            "REFUND": "Refunded",
            "CLOSED": "Closed",
        },
    ),
}

STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --quiet: #8a8f98; --go: #0b6e4f; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, "PingFang SC", "Noto Sans SC", sans-serif; margin: 0;
  min-height: 100vh; display: grid; place-items: center; padding: 16px; }
main { width: 100%; max-width: 420px; border: 1px solid var(--line); border-radius: 16px;
  padding: 28px 24px; }
h1 { font-size: 15px; font-weight: 500; margin: 0; color: var(--quiet); }
.amount { font-size: 40px; font-weight: 650; margin: 4px 0 0; font-variant-numeric: tabular-nums; }
.amount small { font-size: 18px; font-weight: 500; color: var(--quiet); }
dl { display: grid; grid-template-columns: auto 1fr; gap: 6px 16px; margin: 20px 0;
  padding: 16px 0; border-block: 1px solid var(--line); font-size: 14px; }
dt { color: var(--quiet); } dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
.go { display: block; width: 100%; font: inherit; font-weight: 600; padding: 12px; border: 0;
  border-radius: 10px; background: var(--go); color: #fff; text-align: center; cursor: pointer;
  text-decoration: none; }
.go:focus-visible, a:focus-visible { outline: 3px solid #0b6e4f66; outline-offset: 2px; }
figure { margin: 20px auto 0; text-align: center; } figure svg { width: 220px; height: 220px;
  border-radius: 10px; } figcaption { font-size: 13px; color: var(--quiet); margin-top: 6px; }
.note { font-size: 13px; color: var(--quiet); margin: 16px 0 0; text-align: center; }
.note a { color: inherit; }
.problem { border-left: 3px solid #d33; padding-left: 10px; }
[data-status=SUCCESS] { color: #0b6e4f; font-weight: 600; }
"""
