"""Money is an integer of minor units inside, a Decimal at the edge.

Merchants speak yuan with two decimals; the ledger must add up to zero exactly. A float
can do neither, and a Decimal in the hot path costs time and invites silent rounding, so
the conversion happens once, here, on the literal text, and refuses what it can't represent.
"""

import re
from decimal import Decimal

from gateway.domain.errors import InvalidParameter

# ISO 4217 table A.1, "minor unit" column, for the currencies the gateway takes.
MINOR_DIGITS: dict[str, int] = {
    **dict.fromkeys(
        (
            *("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND"),
            *("VUV", "XAF", "XOF", "XPF"),
        ),
        0,
    ),
    **dict.fromkeys(
        (
            *("AED", "ARS", "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EGP", "EUR", "GBP"),
            *(
                "HKD",
                "HUF",
                "IDR",
                "ILS",
                "INR",
                "KES",
                "KZT",
                "MGA",
                "MOP",
                "MXN",
                "MYR",
                "NGN",
                "NOK",
            ),
            *("NZD", "PEN", "PHP", "PKR", "PLN", "QAR", "RON", "RUB", "SAR", "SEK", "SGD", "THB"),
            *("TRY", "TWD", "UAH", "USD", "UZS", "ZAR"),
        ),
        2,
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    # Not of ISO 4217: tokens, with the decimals of their contracts, so that one minor unit is one
    # unit of the token and no transfer is ever rounded. Priced at par they would lose fractions.
    "USDC": 6,
}
AMOUNT_MINOR_MAX = 10**15  # Ten trillion yuan: above any real payment, far below 2**63.

# ASCII digits alone: no sign, no exponent, no full-width digits, no leading zeros.
_AMOUNT_TEXT = re.compile(r"(0|[1-9][0-9]{0,15})(?:\.([0-9]{1,8}))?", re.ASCII)


def parse_minor(text: str, currency: str, *, field: str = "total_amount") -> int:
    """Convert an amount as a merchant wrote it into minor units; nothing is ever rounded.

    Args:
        text: The literal text of an amount in major units (yuan, dollars), e.g. ``"12.30"``.
        currency: ISO 4217 code, upper case.
        field: The parameter's name, for the error.

    Returns:
        The amount in minor units (fen, cents), in ``1..AMOUNT_MINOR_MAX``.

    Raises:
        InvalidParameter: (1001) unknown currency; not a plain decimal number; not positive; too
            large; or with more decimals than the currency has.

    Examples:
        >>> parse_minor("12.30", "CNY")
        1230
        >>> parse_minor("500", "JPY")
        500
    """
    digits = MINOR_DIGITS.get(currency)
    if digits is None:
        raise InvalidParameter("currency", f"unknown currency {currency[:8]!r}")
    whole, fraction = _split(text, field)
    if len(fraction) > digits:
        raise InvalidParameter(field, f"{currency} has {digits} decimals at most")
    amount_minor = int(whole + fraction.ljust(digits, "0"))
    if not 0 < amount_minor <= AMOUNT_MINOR_MAX:
        raise InvalidParameter(field, "must be greater than 0 and within the limit")
    return amount_minor


def check_plain(text: str, *, field: str) -> str:
    """Return the text of an amount whose currency is not known yet, if it can be one at all.

    Raises:
        InvalidParameter: (1001) not a plain decimal number, or zero.

    Examples:
        >>> check_plain("4.50", field="refund_amount")
        '4.50'
    """
    whole, fraction = _split(text, field)
    if not (whole + fraction).strip("0"):
        raise InvalidParameter(field, "must be greater than 0 and within the limit")
    return text


def _split(text: str, field: str) -> tuple[str, str]:
    match = _AMOUNT_TEXT.fullmatch(text)
    if match is None:
        raise InvalidParameter(field, "must be a plain positive decimal number such as 12.30")
    return match.group(1), match.group(2) or ""


def to_major(amount_minor: int, currency: str) -> Decimal:
    """Write minor units as the exact Decimal of major units, with the currency's decimals.

    Args:
        amount_minor: Minor units (fen, cents); may be negative or zero.
        currency: ISO 4217 code, upper case, or a token.

    Raises:
        KeyError: if the currency is unknown: stored amounts always have a known one.

    Examples:
        >>> to_major(1230, "CNY")
        Decimal('12.30')
        >>> str(to_major(500, "JPY"))
        '500'
    """
    return Decimal(amount_minor).scaleb(-MINOR_DIGITS[currency])
