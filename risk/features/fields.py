"""The risk context as integers: one table says what each is made from and in which unit.

A field that was not sent stays missing (its presence bit is off); a zero is a zero that was sent.
`read_context` reads all of them in one pass without safety nets; if anything in it is unusable
(a NaN, a number of 400 digits, a wrong type), `read_context_slowly` reads one field at a time,
leaves out what can't be used and names it.
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from operator import attrgetter
from typing import Final, NamedTuple

from risk.features.agent import agent_mask
from risk.features.vocabulary import (
    ATTESTATION,
    AVS,
    FUNDING,
    LABEL_BIT,
    PASTED_BIT,
    THREE_DS,
    VIRTUAL_CAMERAS,
)
from risk.geo.calendar import day_kind, is_payday, month_day
from risk.geo.distance import metres_between
from risk.geo.language import at_home, primary
from risk.geo.table import Place
from risk.geo.zones import ZONES, gap_min
from risk.transaction import RiskContext

BOUND: Final = 1 << 53
MICRO: Final = 1_000_000.0  # A float, so that a word times it is an error and not a long word.
NIGHT_ENDS_HOUR: Final = 6
_DAY_MIN: Final = 1_440
_LABEL_LENGTH: Final = 128


class Setting(NamedTuple):
    """When and where a payment is made, worked out once for all fields.

    Attributes:
        at_us: Its time, Unix microseconds.
        found: What our own table says of its address.
        ip_country: Country of its network: as sent, else as found.
        country: Country whose clock and calendar hold, if known.
        minute: Minutes since 1970 on the payer's clock.
        order_no: The merchant's number of the order; '' if not given.
    """

    at_us: int
    found: Place
    ip_country: str | None
    country: str | None
    minute: int
    order_no: str = ""


def setting_of(context: RiskContext, at_us: int, found: Place, order_no: str = "") -> Setting:
    """Return when and where: by the client's clock, else its country's, else UTC.

    Raises:
        TypeError: something in the context is of another type than it should be.
    """
    client = context.client
    ip_country = client.ip_country or found.country
    country = context.geo.country or ip_country or context.payer.country
    offset_min = client.tz_offset_min
    if offset_min is None or not -_DAY_MIN <= offset_min <= _DAY_MIN:
        zone = ZONES.get(country) if country else None
        offset_min = zone.usual_min if zone else 0
    minute = at_us // 60_000_000 + int(offset_min)
    return Setting(at_us, found, ip_country, country, minute, order_no)


Reader = Callable[[RiskContext, Setting], int | None]


def _mask(names: Iterable[str] | None, bits: dict[str, int]) -> int | None:
    if names is None:
        return None
    if isinstance(names, str):
        raise TypeError("one word where several were expected")
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


@lru_cache(maxsize=4_096)
def _clock(hours: int, country: str | None) -> tuple[int, int, int, int, int | None]:
    """Hour, hour of the week (0 is Monday's first), day of the month, payday, kind of day."""
    day = hours // 24
    kind = day_kind(country, day) if country else None
    # The epoch was a Thursday.
    return hours % 24, (hours + 72) % 168, month_day(day), int(is_payday(day)), kind


def _tz_gap(context: RiskContext, setting: Setting) -> int | None:
    """Minutes between the client's clock and those of the country its address is in."""
    offset_min = context.client.tz_offset_min
    if offset_min is None or not setting.ip_country:
        return None
    return gap_min(setting.ip_country, offset_min)


def _mismatches(context: RiskContext, setting: Setting) -> int | None:
    return _disagreements(
        setting.ip_country,
        context.client.ip_country,
        setting.found.country,
        context.instrument.issuer_country,
        context.payer.country,
        context.payer.phone_country,
        context.payee.country,
        context.geo.country,
        context.order.ship_country,
        context.order.bill_country,
    )


@lru_cache(maxsize=65_536)
def _disagreements(  # noqa: PLR0917 - a cache is quickest without names
    ip: str | None,
    sent: str | None,
    found: str | None,
    card: str | None,
    payer: str | None,
    phone: str | None,
    payee: str | None,
    geo: str | None,
    ship: str | None,
    bill: str | None,
) -> int | None:
    """Bits of `MISMATCHES`; None if no two countries are known."""
    pairs = (
        *((ip, card), (ip, payer), (ship, card), (geo, ip), (card, payer), (payee, payer)),
        *((sent, found), (bill, card), (bill, ship), (phone, payer), (phone, ip)),
        *((ip, ship), (ip, bill), (ship, phone), (bill, phone), (card, phone)),
    )
    mask = 0
    comparable = False
    for bit, (left, right) in enumerate(pairs):
        if left and right:
            comparable = True
            mask |= (left.upper() != right.upper()) << bit
    return mask if comparable else None


def _language_gaps(context: RiskContext, setting: Setting) -> int | None:
    """Bits of `LANGUAGE_BIT`: whose country is not where the client's language is at home."""
    tag = context.client.language
    if not tag:
        return None
    language = primary(tag)
    mask = 0
    comparable = False
    countries = (context.instrument.issuer_country, setting.ip_country, context.payer.country)
    for bit, country in enumerate(countries):
        fits = at_home(language, country) if country else None
        if fits is not None:
            comparable = True
            mask |= (not fits) << bit
    return mask if comparable else None


def _gps_ip_km(context: RiskContext, setting: Setting) -> int | None:
    """Between where the device says it is and where its address is, where the table knows."""
    found, geo = setting.found, context.geo
    if found.lat is None or found.lon is None or geo.source == "ip":
        return None
    lat, lon = _degrees(geo.lat, 90.0), _degrees(geo.lon, 180.0)
    if lat is None or lon is None:
        return None
    return metres_between(lat, lon, found.lat, found.lon) // 1_000


def _virtual_camera(context: RiskContext) -> int | None:
    """As the merchant says, or by the name of a camera that is a program."""
    said, label = context.liveness.virtual_camera, context.liveness.camera_label
    if not label or said:
        return None if said is None else int(said)
    lowered = label[:_LABEL_LENGTH].lower()
    return int(any(name in lowered for name in VIRTUAL_CAMERAS))


def _direct(context: RiskContext) -> int | None:
    """1 if the visit went straight to the payment page."""
    pages = context.session.pages
    return None if pages is None else int(pages <= 1)


def _clock_skew(context: RiskContext, setting: Setting) -> int | None:
    said_ms = context.client.clock_at_ms
    return None if said_ms is None else abs(setting.at_us // 1_000 - said_ms)


def _attestation_bound(context: RiskContext, setting: Setting) -> int | None:
    """1 if the attestation was made for this very order: its nonce is the number or its SHA-256."""
    nonce, order_no = context.device.attestation_nonce, setting.order_no
    if not nonce or not order_no:
        return None
    return int(nonce in (order_no, hashlib.sha256(order_no.encode()).hexdigest()))


# Four tables say where each field comes from; together they are the order of the vector.
_CLOCK: Final = ("hour", "hour_of_week", "month_day", "payday", "holiday")
# Numbers and flags as they were sent.
_PLAIN: Final = {
    "login_failures": "payer.login_failures_1h",
    "otp_failures": "payer.otp_failures_1h",
    "purchases_6m": "payer.purchases_6m",
    "kyc_level": "payer.kyc_level",
    "guest": "payer.guest",
    "cvc_ok": "instrument.cvc_ok",
    "pages": "session.pages",
    "page_kinds": "session.page_kinds",
    "form_ms": "behavior.form_ms",
    "first_input_ms": "behavior.first_input_ms",
    "key_dwell_ms": "behavior.key_dwell_ms",
    "key_dwell_iqr_ms": "behavior.key_dwell_iqr_ms",
    "key_flight_ms": "behavior.key_flight_ms",
    "key_flight_iqr_ms": "behavior.key_flight_iqr_ms",
    "pointer_turns": "behavior.pointer_turns",
    "still_clicks": "behavior.still_clicks",
    "on_call": "behavior.on_call",
    "items": "order.items",
    "digital": "order.digital",
    "coupon": "order.coupon_minor",
    "frame_jitter_us": "liveness.frame_jitter_us",
}
# Moments (Unix milliseconds), turned into ages.
_AGES: Final = {
    "attestation_age_ms": "device.attested_at_ms",
    "account_age_ms": "payer.created_at_ms",
    "password_age_ms": "payer.password_changed_at_ms",
    "contact_age_ms": "payer.contact_changed_at_ms",
    "card_age_ms": "instrument.added_at_ms",
    "payee_age_ms": "payee.first_paid_at_ms",
    "login_age_ms": "session.login_at_ms",
    "ship_age_ms": "order.ship_address_used_at_ms",
}
# Fractions, turned into millionths.
_SCALED: Final = {
    "straightness": "behavior.pointer_straightness",
    "touch_var": "behavior.touch_pressure_var",
    "motion": "behavior.motion_energy",
    "pad_score": "liveness.pad_score",
    "iad_score": "liveness.iad_score",
}
_COMPUTED: Final[dict[str, Reader]] = {
    "lat": lambda c, _: _degrees(c.geo.lat, 90.0),
    "lon": lambda c, _: _degrees(c.geo.lon, 180.0),
    "accuracy_m": lambda c, _: None if c.geo.accuracy_m is None else int(c.geo.accuracy_m),
    "tz_gap_min": _tz_gap,
    "mismatches": _mismatches,
    "language_gaps": _language_gaps,
    "ip_flags": lambda _, s: s.found.flags,
    "gps_ip_km": _gps_ip_km,
    "agent_mask": lambda c, _: agent_mask(c.client, c.device),
    "risk_labels": lambda c, _: _mask(c.device.risk_labels, LABEL_BIT),
    "attestation": lambda c, _: _word(c.device.attestation, ATTESTATION),
    "clock_skew_ms": _clock_skew,
    "avs": lambda c, _: _word(c.instrument.avs, AVS),
    "three_ds": lambda c, _: _word(c.instrument.three_ds, THREE_DS),
    "funding": lambda c, _: _word(c.instrument.funding, FUNDING),
    "pasted": lambda c, _: _mask(c.behavior.pasted, PASTED_BIT),
    "direct": lambda c, _: _direct(c),
    "virtual_camera": lambda c, _: _virtual_camera(c),
    "attestation_bound": _attestation_bound,
}
CONTEXT_FIELDS: Final = (*_CLOCK, *_PLAIN, *_AGES, *_SCALED, *_COMPUTED)
_BITS: Final = tuple(1 << place for place in range(len(CONTEXT_FIELDS)))
_UNUSABLE: Final = (TypeError, ValueError, OverflowError, AttributeError, ArithmeticError)
# One call for all fields of a kind: reading them one by one costs three times as much.
_plain = attrgetter(*_PLAIN.values())
_ages = attrgetter(*_AGES.values())
_scaled = attrgetter(*_SCALED.values())
_computed = tuple(_COMPUTED.values())


def read_context(context: RiskContext, setting: Setting) -> tuple[int, list[int]]:
    """Return the presence mask and the fields in `CONTEXT_FIELDS` order, 0 where missing.

    Raises:
        TypeError, ValueError, OverflowError, AttributeError, ArithmeticError: something in the
            context can't be an integer in bounds; read it slowly.
    """
    at_ms = setting.at_us // 1_000
    found: list[int | None] = [
        *_clock(setting.minute // 60, setting.country),
        *_plain(context),
        *[None if since_ms is None else at_ms - since_ms for since_ms in _ages(context)],
        *[None if value is None else int(value * MICRO) for value in _scaled(context)],
        *[read(context, setting) for read in _computed],
    ]
    presence = 0
    values = []
    for bit, value in zip(_BITS, found, strict=True):
        if value is None:
            values.append(0)
        else:
            presence |= bit
            values.append(value)
    if max(values) > BOUND or min(values) < -BOUND:
        raise OverflowError("a context field is out of bounds")
    return presence, values


def read_context_slowly(
    context: RiskContext, at_us: int, found: Place, order_no: str = ""
) -> tuple[int, list[int], list[str]]:
    """Like `read_context`, but leaves out what can't be used; returns their names as well."""
    presence = 0
    values = []
    broken = []
    try:
        setting = setting_of(context, at_us, found, order_no)
    except _UNUSABLE:
        minute = at_us // 60_000_000
        setting = Setting(at_us, found, found.country, found.country, minute, order_no)
        broken.append("setting")
    for place, (name, read) in enumerate(_READERS):
        try:
            value = _bounded(read(context, setting))
        except _UNUSABLE:
            value = None
            broken.append(name)
        presence |= (value is not None) << place
        values.append(value or 0)
    return presence, values, broken


def _alone(name: str) -> Reader:
    """How one field is read alone, with the same result as among the others."""
    if name in _CLOCK:
        place = _CLOCK.index(name)
        return lambda _, s: _clock(s.minute // 60, s.country)[place]
    if name in _COMPUTED:
        return _COMPUTED[name]
    get = attrgetter(_PLAIN.get(name) or _AGES.get(name) or _SCALED[name])
    if name in _PLAIN:
        return lambda c, _: get(c)
    if name in _AGES:
        return lambda c, s: None if (since := get(c)) is None else s.at_us // 1_000 - int(since)
    return lambda c, _: None if (value := get(c)) is None else int(value * MICRO)


def _bounded(value: int | None) -> int | None:
    if value is None:
        return None
    return max(-BOUND, min(BOUND, int(value)))


_READERS: Final = tuple((name, _alone(name)) for name in CONTEXT_FIELDS)
