"""Amounts and shares as people read them; exact, because they are written from integers."""

from gateway.domain.money import MINOR_DIGITS, to_major

_SIGNS = {"CNY": "¥", "USD": "$", "EUR": "€", "GBP": "£", "JPY": "JP¥", "HKD": "HK$"}
NOTHING = "–"
MICROS_BELOW_US = 10_000


def money(amount_minor: int | None, currency: str) -> str:
    """Write an amount with its currency's sign and decimals.

    Examples:
        >>> money(123456789, "CNY")
        '¥1,234,567.89'
        >>> money(-500, "JPY")
        '-JP¥500'
    """
    if amount_minor is None:
        return NOTHING
    sign = "-" if amount_minor < 0 else ""
    return f"{sign}{_sign(currency)}{plain(abs(amount_minor), currency)}"


def plain(amount_minor: int, currency: str) -> str:
    """Write an amount with its decimals and no sign of the currency.

    Examples:
        >>> plain(-1230, "CNY")
        '-12.30'
    """
    if currency not in MINOR_DIGITS:
        return f"{amount_minor:,}"
    return f"{to_major(amount_minor, currency):,}"


def short_money(amount_minor: int, currency: str) -> str:
    """Write a large amount in few letters, for a headline; not for reckoning.

    Examples:
        >>> short_money(123456789, "CNY")
        '¥1.23M'
        >>> short_money(1234, "CNY")
        '¥12.34'
    """
    major = amount_minor / 10 ** MINOR_DIGITS.get(currency, 0)
    for limit, letter in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(major) >= limit:
            divisor = 1e3 if letter == "k" else limit
            return f"{_sign(currency)}{major / divisor:,.2f}{letter}"
    return money(amount_minor, currency)


def percent(share: float | None, decimals: int = 1) -> str:
    """Write a share of 0 to 1 as a percentage; a dash if there is none.

    Examples:
        >>> percent(0.9412)
        '94.1%'
    """
    return NOTHING if share is None else f"{share:.{decimals}%}"


def duration(seconds: float) -> str:
    """Write a length of time in its two largest units.

    Examples:
        >>> duration(93_784)
        '1d 2h'
        >>> duration(59.4)
        '59s'
    """
    left_s = max(0, int(seconds))
    parts: list[str] = []
    for unit_s, letter in ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")):
        count, left_s = divmod(left_s, unit_s)
        if count or parts:
            parts.append(f"{count}{letter}")
    return " ".join(parts[:2]) or "0s"


def micros(elapsed_us: float | None) -> str:
    """Write a short time, in µs below 10 ms and in ms above.

    Examples:
        >>> micros(64.3), micros(12_345)
        ('64 µs', '12.3 ms')
    """
    if elapsed_us is None:
        return NOTHING
    return (
        f"{elapsed_us:,.0f} µs" if elapsed_us < MICROS_BELOW_US else f"{elapsed_us / 1000:,.1f} ms"
    )


def _sign(currency: str) -> str:
    return _SIGNS.get(currency, f"{currency} ")
