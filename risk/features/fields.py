"""The risk context as integers: one table says what each is made from and in which unit.

A field that was not sent stays missing (its presence bit is off); a zero is a zero that was sent.
`read_context` reads all of them in one pass without safety nets; if anything in it is unusable
(a NaN, a number of 400 digits, a wrong type), `read_context_slowly` reads one field at a time,
leaves out what can't be used and names it.
"""

from collections.abc import Callable
from typing import Final

from risk.transaction import RiskContext

RISK_LABELS: Final = (
    "emulator",
    "vm",
    "rooted",
    "hooked",
    "debugger",
    "cloned_app",
    "repackaged",
    "mock_location",
    "vpn",
    "proxy",
    "screen_share",
    "remote_control",
    "clock_skew",
    "factory_reset",
    "automation",
    "headless",
)
LABEL_BIT: Final = {name: 1 << place for place, name in enumerate(RISK_LABELS)}
PASTED_BIT: Final = {"card_number": 1, "name": 2, "otp": 4, "password": 8}
ATTESTATION: Final = {"none": 0, "failed": 1, "basic": 2, "strong": 3}
FUNDING: Final = {"debit": 1, "credit": 2, "prepaid": 3, "wallet": 4}
THREE_DS: Final = {"Y": 1, "A": 2, "C": 3, "U": 4, "N": 5, "R": 6}
MISMATCHES: Final = ("ip_card", "ip_payer", "ship_card", "geo_ip", "card_payer", "payee_payer")
BOUND: Final = 1 << 53
MICRO: Final = 1_000_000.0  # A float, so that a word times it is an error and not a long word.
NIGHT_ENDS_HOUR: Final = 6
# A country's clock where the payer's own was not sent: minutes east of UTC, one zone a country.
COUNTRY_TZ_MIN: Final = {
    "CN": 480,
    "HK": 480,
    "MO": 480,
    "TW": 480,
    "SG": 480,
    "MY": 480,
    "PH": 480,
    "JP": 540,
    "KR": 540,
    "TH": 420,
    "VN": 420,
    "IN": 330,
    "GB": 0,
    "DE": 60,
    "FR": 60,
    "BE": 60,
    "US": -300,
}

Reader = Callable[[RiskContext, int], int | None]


def _scaled(value: float | None) -> int | None:
    return None if value is None else int(value * MICRO)


def _age_ms(since_ms: int | None, at_us: int) -> int | None:
    return None if since_ms is None else at_us // 1_000 - since_ms


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)


def _mask(names: tuple[str, ...] | None, bits: dict[str, int]) -> int | None:
    if names is None:
        return None
    mask = 0
    for name in names:
        mask |= bits.get(name, 0)
    return mask


def _degrees(value: float | None, limit: float) -> int | None:
    """Degrees in millionths; a place that is not on the globe is no place."""
    if value is None or not -limit <= value <= limit:
        return None
    return int(value * MICRO)


def _word(word: str | None, numbers: dict[str, int]) -> int | None:
    return None if word is None else numbers.get(word)


def _hour(context: RiskContext, at_us: int) -> int:
    """Hour of the payer's day: by the client's clock, else its country's, else UTC."""
    offset_min = context.client.tz_offset_min
    if offset_min is None:
        country = context.geo.country or context.client.ip_country or context.payer.country
        offset_min = COUNTRY_TZ_MIN.get(country, 0) if country else 0
    return (at_us // 60_000_000 + offset_min) // 60 % 24


def _tz_gap(context: RiskContext) -> int | None:
    """Minutes between the client's clock and that of the country its address is in."""
    country = context.client.ip_country
    offset_min = context.client.tz_offset_min
    if offset_min is None or country not in COUNTRY_TZ_MIN:
        return None
    return abs(offset_min - COUNTRY_TZ_MIN[country])


def _mismatches(context: RiskContext) -> int | None:
    """Bit k: the k-th pair of `MISMATCHES` is known on both sides and differs."""
    ip, payer = context.client.ip_country, context.payer.country
    card, ship = context.instrument.issuer_country, context.order.ship_country
    geo, payee = context.geo.country, context.payee.country
    mask = 0
    comparable = False
    pairs = ((ip, card), (ip, payer), (ship, card), (geo, ip), (card, payer), (payee, payer))
    for bit, (left, right) in enumerate(pairs):
        if left and right:
            comparable = True
            mask |= (left != right) << bit
    return mask if comparable else None


_SYSTEMS: Final = (
    ("android", ("android",)),
    ("ios", ("iphone", "ipad", "ios", "cfnetwork", "darwin")),
    ("windows", ("windows",)),
    ("macos", ("mac os", "macintosh")),
    ("linux", ("linux", "x11")),
    ("harmony", ("harmony", "openharmony")),
)


def _agent_mismatch(context: RiskContext) -> int | None:
    """1 if the user agent names another system than the device says it runs."""
    system, agent = context.device.os, context.client.user_agent
    if not system or not agent:
        return None
    lowered, system = agent[:512].lower(), system.lower()
    for name, marks in _SYSTEMS:
        if system.startswith(name):
            return int(not any(mark in lowered for mark in marks))
    return None


READERS: Final[dict[str, Reader]] = {
    "hour": _hour,
    "lat": lambda c, _: _degrees(c.geo.lat, 90.0),
    "lon": lambda c, _: _degrees(c.geo.lon, 180.0),
    "accuracy_m": lambda c, _: None if c.geo.accuracy_m is None else int(c.geo.accuracy_m),
    "tz_gap_min": lambda c, _: _tz_gap(c),
    "mismatches": lambda c, _: _mismatches(c),
    "agent_mismatch": lambda c, _: _agent_mismatch(c),
    "risk_labels": lambda c, _: _mask(c.device.risk_labels, LABEL_BIT),
    "attestation": lambda c, _: _word(c.device.attestation, ATTESTATION),
    "account_age_ms": lambda c, at_us: _age_ms(c.payer.created_at_ms, at_us),
    "password_age_ms": lambda c, at_us: _age_ms(c.payer.password_changed_at_ms, at_us),
    "login_failures": lambda c, _: c.payer.login_failures_1h,
    "kyc_level": lambda c, _: c.payer.kyc_level,
    "guest": lambda c, _: _flag(c.payer.guest),
    "card_age_ms": lambda c, at_us: _age_ms(c.instrument.added_at_ms, at_us),
    "cvc_ok": lambda c, _: _flag(c.instrument.cvc_ok),
    "three_ds": lambda c, _: _word(c.instrument.three_ds, THREE_DS),
    "funding": lambda c, _: _word(c.instrument.funding, FUNDING),
    "payee_age_ms": lambda c, at_us: _age_ms(c.payee.first_paid_at_ms, at_us),
    "login_age_ms": lambda c, at_us: _age_ms(c.session.login_at_ms, at_us),
    "pages": lambda c, _: c.session.pages,
    "form_ms": lambda c, _: c.behavior.form_ms,
    "first_input_ms": lambda c, _: c.behavior.first_input_ms,
    "key_dwell_ms": lambda c, _: c.behavior.key_dwell_ms,
    "key_flight_ms": lambda c, _: c.behavior.key_flight_ms,
    "key_flight_iqr_ms": lambda c, _: c.behavior.key_flight_iqr_ms,
    "pasted": lambda c, _: _mask(c.behavior.pasted, PASTED_BIT),
    "straightness": lambda c, _: _scaled(c.behavior.pointer_straightness),
    "touch_var": lambda c, _: _scaled(c.behavior.touch_pressure_var),
    "motion": lambda c, _: _scaled(c.behavior.motion_energy),
    "on_call": lambda c, _: _flag(c.behavior.on_call),
    "items": lambda c, _: c.order.items,
    "digital": lambda c, _: _flag(c.order.digital),
    "coupon": lambda c, _: c.order.coupon_minor,
    "pad_score": lambda c, _: _scaled(c.liveness.pad_score),
    "iad_score": lambda c, _: _scaled(c.liveness.iad_score),
    "virtual_camera": lambda c, _: _flag(c.liveness.virtual_camera),
}
CONTEXT_FIELDS: Final = tuple(READERS)
_ROWS: Final = tuple((1 << place, read) for place, read in enumerate(READERS.values()))


def read_context(context: RiskContext, at_us: int) -> tuple[int, list[int]]:
    """Return the presence mask and the fields in `CONTEXT_FIELDS` order, 0 where missing.

    Raises:
        TypeError, ValueError, OverflowError, AttributeError, ArithmeticError: something in the
            context can't be an integer in bounds; read it slowly.
    """
    presence = 0
    values = []
    for bit, read in _ROWS:
        value = read(context, at_us)
        if value is None:
            values.append(0)
        else:
            presence |= bit
            values.append(value)
    if max(values) > BOUND or min(values) < -BOUND:
        raise OverflowError("a context field is out of bounds")
    return presence, values


def read_context_slowly(context: RiskContext, at_us: int) -> tuple[int, list[int], list[str]]:
    """Like `read_context`, but leaves out what can't be used; returns their names as well."""
    presence = 0
    values = []
    broken = []
    for place, (name, read) in enumerate(READERS.items()):
        try:
            value = _bounded(read(context, at_us))
        except (TypeError, ValueError, OverflowError, AttributeError, ArithmeticError):
            value = None
            broken.append(name)
        presence |= (value is not None) << place
        values.append(value or 0)
    return presence, values, broken


def _bounded(value: int | None) -> int | None:
    if value is None:
        return None
    return max(-BOUND, min(BOUND, int(value)))
