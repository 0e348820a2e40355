"""WeChat Pay's daily bill (ALL): UTF-8 with a mark, a backtick before each cell, yuan.

A refund's row repeats the payment; its own amount stands in the refund's columns.
"""

import gzip
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from gateway.sandbox.bill import BillRow
from gateway.sandbox.protocols.wechat_wire import APP_ID, MCH_ID, PAYER_OPENID

_ZONE: Final = timezone(timedelta(hours=8))
_COLUMNS: Final = (
    "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,"
    "付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,"
    "退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
)
_TOTALS: Final = (
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额"
)


def write(rows: list[BillRow]) -> bytes:
    """Write the file, not yet zipped."""
    paid = sum(row.amount_minor for row in rows if row.kind == "PAY")
    back = sum(row.amount_minor for row in rows if row.kind == "REFUND")
    totals = (len(rows), _yuan(paid), _yuan(back), "0.00", "0.00000", _yuan(paid), _yuan(back))
    lines = [_COLUMNS, *map(_row, rows), _TOTALS, ",".join(f"`{total}" for total in totals)]
    return "".join(["\ufeff", *(f"{line}\r\n" for line in lines)]).encode()


def zipped(file: bytes) -> bytes:
    """Zip the file; the same file is zipped to the same bytes."""
    return gzip.compress(file, mtime=0)


def _row(row: BillRow) -> str:
    is_pay = row.kind == "PAY"
    amount, none = _yuan(row.amount_minor), "0.00"
    name = row.subject.replace("`", "'").replace("\r", " ").replace("\n", " ")
    cells = (
        _time(row.at_us),
        *(APP_ID, MCH_ID, "0", "", row.channel_trade_no, row.trade_no, PAYER_OPENID),
        *("NATIVE", "SUCCESS" if is_pay else "REFUND", "OTHERS", "CNY"),
        *(amount if is_pay else none, none),
        *(row.channel_refund_no or "0", row.refund_no or "0", none if is_pay else amount, none),
        *("" if is_pay else "ORIGINAL", "" if is_pay else "SUCCESS", name, ""),
        *("0.00000", "0.60%", amount if is_pay else none, none if is_pay else amount, ""),
    )
    return ",".join(f"`{cell}" for cell in cells)


def _yuan(amount_minor: int) -> str:
    return f"{amount_minor // 100}.{amount_minor % 100:02d}"


def _time(at_us: int) -> str:
    at = datetime.fromtimestamp(at_us // 1_000_000, tz=UTC).astimezone(_ZONE)
    return f"{at:%Y-%m-%d %H:%M:%S}"
