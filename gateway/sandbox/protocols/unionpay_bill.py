"""UnionPay's daily file as it is downloaded: a zip of one GBK file of columns of fixed width.

Column widths are in bytes, with one space after each; texts fill up with spaces, amounts with
zeros. The last, reserved column begins with the number of the payment that a refund belongs to.
"""

import base64
import io
import zipfile
import zlib
from datetime import date
from typing import Final

from gateway.sandbox.bill import BillRow
from gateway.sandbox.protocols.unionpay_wire import MER_ID, beijing

WIDTHS: Final = (
    *(3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1),
    *(21, 15, 1, 15, 32, 13, 13, 8, 32, 13, 13, 12, 2, 1, 131),
)
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # The same day is the same file, byte for byte.
_INSTITUTION: Final = "00049992900"


def file_name(day: str) -> str:
    """Return the name of a day's zip."""
    return f"{MER_ID}_{day.replace('-', '')}.zip"


def write(rows: list[BillRow], day: str, query_ids: dict[tuple[str, str], str]) -> bytes:
    """Write the zip.

    Args:
        rows: What moved.
        day: The clearing day, YYYY-MM-DD.
        query_ids: UnionPay's numbers by trade and refund number.
    """
    lines = "".join(f"{_line(row, query_ids)}\r\n" for row in rows)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(f"INN{date.fromisoformat(day):%y%m%d}88ZM_{MER_ID}", _EPOCH)
        archive.writestr(member, lines.encode("gbk"), zipfile.ZIP_DEFLATED)
    return file.getvalue()


def packed(file: bytes) -> str:
    """Write a file as it stands in an answer."""
    return base64.b64encode(zlib.compress(file)).decode()


def _line(row: BillRow, query_ids: dict[tuple[str, str], str]) -> str:
    is_pay = row.kind == "PAY"
    amount, side = f"{row.amount_minor:012d}", "C" if is_pay else "D"
    filled = {
        1: "S22" if is_pay else "S30",
        2: _INSTITUTION,
        3: _INSTITUTION,
        4: f"{row.at_us % 1_000_000:06d}",
        5: beijing(row.at_us)[4:],
        6: "621626*********0018",
        7: amount,
        8: "5411",
        9: "07",
        10: query_ids[row.trade_no, row.refund_no],
        12: row.refund_no or row.trade_no,
        13: "01",
        16: f"D{0:012d}",
        17: f"{side}{amount}",
        18: "0001",
        20: "01" if is_pay else "04",
        21: "01" if is_pay else "00",
        22: "000201",
        23: "01",
        27: "" if is_pay else query_ids[row.trade_no, ""],
        28: MER_ID,
        33: f"{side}{amount}",
        41: "" if is_pay else row.trade_no,
    }
    return " ".join(filled.get(at, "").ljust(width) for at, width in enumerate(WIDTHS, start=1))
