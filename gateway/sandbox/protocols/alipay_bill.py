"""Alipay's daily bill as it is downloaded: a zip of two GBK files, details and summary.

File names in the zip are GBK without the flag that would say so, cells are padded with tabs, and
what begins with # is for people, totals included.
"""

import io
import zipfile
from datetime import date, timedelta
from typing import Final

from gateway.sandbox.bill import BillRow
from gateway.sandbox.protocols.alipay_wire import SELLER_ID, beijing, yuan

_ACCOUNT: Final = f"{SELLER_ID}0156"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # The same day is the same file, byte for byte.
COLUMNS: Final = (
    "支付宝交易号,商户订单号,业务类型,商品名称,创建时间,完成时间,门店编号,门店名称,操作员,终端号,"
    "对方账户,订单金额（元）,商家实收（元）,支付宝红包（元）,集分宝（元）,支付宝优惠（元）,"
    "商家优惠（元）,券核销金额（元）,券名称,商家红包消费金额（元）,卡消费金额（元）,"
    "退款批次号/请求号,服务费（元）,分润（元）,备注"
)
_SUMMARY_COLUMNS: Final = (
    "门店编号,门店名称,交易订单总笔数,退款订单总笔数,订单金额（元）,商家实收（元）,支付宝优惠（元）,"
    "商家优惠（元）,卡消费金额（元）,服务费（元）,分润（元）,实收净额（元）"
)
_RULE: Final = "-" * 41


class _GbkInfo(zipfile.ZipInfo):
    """A member whose name is written in GBK, unflagged, as Alipay's own zips have it."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802 - the library's name.
        return self.filename.encode("gbk"), self.flag_bits


def write(rows: list[BillRow], day: str, now_us: int) -> bytes:
    """Write the zip of a day (YYYY-MM-DD); `now_us` is when it is exported."""
    first = date.fromisoformat(day)
    head = (
        f"#账号：[{_ACCOUNT}]",
        f"#起始日期：[{_day(first)}]   终止日期：[{_day(first + timedelta(days=1))}]",
    )
    exported = f"#导出时间：[{_chinese(beijing(now_us))}]"
    stem = f"{_ACCOUNT}_{first:%Y%m%d}_业务明细"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, lines in (
            (f"{stem}.csv", ("#支付宝业务明细查询", *head, *_details(rows), exported)),
            (f"{stem}(汇总).csv", ("#支付宝业务汇总查询", *head, *_summary(rows), exported)),
        ):
            text = "".join(f"{line}\r\n" for line in lines)
            member = _GbkInfo(name, _EPOCH)
            archive.writestr(member, text.encode("gbk", "replace"), zipfile.ZIP_DEFLATED)
    return file.getvalue()


def _details(rows: list[BillRow]) -> list[str]:
    paid = [row.amount_minor for row in rows if row.kind == "PAY"]
    refunded = [-row.amount_minor for row in rows if row.kind == "REFUND"]
    return [
        f"#{_RULE}业务明细列表{_RULE[1:]}",
        COLUMNS,
        *(_detail(row) for row in rows),
        f"#{_RULE}业务明细列表结束{_RULE[5:]}",
        f"#交易合计：{len(paid)}笔，商家实收共{yuan(sum(paid))}元，商家优惠共0.00元",
        f"#退款合计：{len(refunded)}笔，商家实收退款共{yuan(sum(refunded))}元，商家优惠退款共0.00元",
    ]


def _detail(row: BillRow) -> str:
    is_pay = row.kind == "PAY"
    amount = yuan(row.amount_minor if is_pay else -row.amount_minor)
    cells = [
        f"{row.channel_trade_no}\t",
        f"{row.trade_no}\t",
        "交易" if is_pay else "退款",
        " ".join(row.subject.split()),
        beijing(row.trade_paid_at_us if is_pay else row.at_us),
        beijing(row.at_us),
        *("\t", "\t", "\t", "\t"),
        "san***@sandbox.test\t",
        amount,
        amount,
        *("0.00", "0.00", "0.00", "0.00", "0.00", "\t", "0.00", "0.00"),
        f"{row.refund_no}\t",
        *("0.00", "0.00", "\t"),
    ]
    return ",".join(cells)


def _summary(rows: list[BillRow]) -> list[str]:
    paid = sum(row.amount_minor for row in rows if row.kind == "PAY")
    refunded = sum(row.amount_minor for row in rows if row.kind == "REFUND")
    pays = sum(row.kind == "PAY" for row in rows)
    net = yuan(paid - refunded)
    zeros = "0.00,0.00,0.00,0.00,0.00"
    return [
        f"#{_RULE}业务汇总列表{_RULE[1:]}",
        _SUMMARY_COLUMNS,
        f"合计\t,\t,{pays},{len(rows) - pays},{net},{net},{zeros},{net}",
        f"#{_RULE[1:]}业务汇总列表结束{_RULE[4:]}",
    ]


def _day(day: date) -> str:
    return f"{day:%Y}年{day:%m}月{day:%d}日 00:00:00"


def _chinese(written: str) -> str:
    day, time = written.split(" ")
    year, month, of_month = day.split("-")
    return f"{year}年{month}月{of_month}日 {time}"
