"""Writes the synthetic world down: rows of numbers become a flat table of readable columns.

Text columns are dictionary-encoded (one small integer a row and every word once), which is what
makes a hundred thousand rows a second possible on one core. A column that a shop does not send is
null, never zero.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.synthetic.client import LANGUAGES, LOOKS, Looks, look_of, looks
from models.synthetic.fraud import KIND_NAMES
from models.synthetic.habits import ATTESTATIONS, FUNDING, PASTED, PAY_TYPES, Rows
from models.synthetic.population import (
    CATEGORIES,
    CITIES,
    LABELS,
    PAYEES_PER_MERCHANT,
    PLATFORMS,
    Ints,
    Population,
)

COUNTRIES = tuple(sorted({city[1] for city in CITIES}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """Every word of a population's tables, once."""

    population: Population
    users: pa.Array
    merchants: pa.Array
    payees: pa.Array
    devices: pa.Array
    fingerprints: pa.Array
    cards: pa.Array
    bins: pa.Array
    looks: Looks
    addresses: pa.Array
    city_country: Ints


def wording(population: Population) -> Wording:
    """Make the words: identifiers start with ``synthetic-``; of addresses see `client`."""
    users_count, merchants_count = population.users.count, population.merchants.count
    return Wording(
        population=population,
        users=_numbered("synthetic-u", users_count),
        merchants=_numbered("synthetic-m", merchants_count),
        payees=_numbered("synthetic-p", merchants_count * PAYEES_PER_MERCHANT),
        devices=_numbered("synthetic-d", len(population.device_platform)),
        fingerprints=_numbered("synthetic-f", 1_024),
        cards=_numbered("synthetic-c", len(population.card_city)),
        bins=pa.array([f"0000{number:02d}" for number in range(len(CITIES) * 2)]),
        looks=looks(population),
        addresses=_numbered("synthetic-a", users_count),
        city_country=np.array([COUNTRIES.index(city[1]) for city in CITIES]),
    )


def to_table(words: Wording, rows: Rows) -> pa.Table:
    """Rows of numbers as the flat, self-explaining table (the columns of `stream.COLUMNS`)."""
    columns = {
        "at_us": pa.array(rows["at_us"]),
        "merchant": _coded(rows["merchant"], words.merchants),
        "amount_minor": pa.array(rows["amount_minor"]),
        "currency": _coded(np.zeros_like(rows["kind"]), pa.array(["CNY"])),
        "pay_type": _coded(rows["pay_type"], pa.array(PAY_TYPES)),
        **_who(words, rows),
        **_with_what(words, rows),
        **_seen(words, rows),
        **_where(words, rows),
        **_how(rows),
        "is_fraud": pa.array(rows["kind"] > 0),
        "fraud_kind": _coded(rows["kind"], pa.array(KIND_NAMES)),
        "label_known_at_us": _optional(rows["label_known_at_us"], rows["label_known_at_us"] >= 0),
    }
    return pa.table(columns)


def _who(words: Wording, rows: Rows) -> dict[str, pa.Array]:
    users, user = words.population.users, rows["user"]
    mccs = pa.array([row[0] for row in CATEGORIES])
    digital = np.array([row[3] for row in CATEGORIES])
    category = words.population.merchants.category[rows["merchant"]]
    return {
        "payer_account_id": _coded(user, words.users),
        "payer_created_at_ms": pa.array(rows["created_at_ms"]),
        "payer_country": _coded(words.city_country[users.city][user], pa.array(COUNTRIES)),
        "payer_kyc_level": pa.array(users.kyc_level[user]),
        "payer_password_changed_at_ms": pa.array(rows["password_changed_at_ms"]),
        "payer_login_failures_1h": pa.array(rows["login_failures_1h"]),
        "payer_otp_failures_1h": pa.array(rows["otp_failures_1h"]),
        "payer_contact_changed_at_ms": pa.array(rows["contact_changed_at_ms"]),
        "payer_purchases_6m": pa.array(rows["purchases_6m"]),
        "payee_account_id": _coded(rows["payee"], words.payees),
        "order_items": pa.array(rows["items"]),
        "order_mcc": _coded(category, mccs),
        "order_digital": pa.array(digital[category]),
        "order_coupon_minor": pa.array(rows["coupon_minor"]),
        "order_ship_addr_hash": _coded(rows["ship"], words.addresses, ~digital[category]),
        "order_ship_address_used_at_ms": _optional(rows["ship_used_at_ms"], ~digital[category]),
    }


def _with_what(words: Wording, rows: Rows) -> dict[str, pa.Array]:
    population, card, device = words.population, rows["card"], rows["device"]
    platform = population.device_platform[device]
    systems = pa.array([name for name, _ in PLATFORMS])
    card_city = population.card_city[card]
    return {
        "instrument_token": _coded(card, words.cards),
        "instrument_bin": _coded(card_city * 2 + (card & 1), words.bins),
        "instrument_issuer_country": _coded(words.city_country[card_city], pa.array(COUNTRIES)),
        "instrument_funding": _coded(population.card_funding[card], pa.array(FUNDING)),
        "instrument_added_at_ms": pa.array(rows["card_added_at_ms"]),
        "device_id": _coded(device, words.devices),
        "device_os": _coded(platform, systems),
        "device_model": _coded(platform, pa.array([model for _, model in PLATFORMS])),
        "device_fp_hash": _coded((device * 131 + platform) & 1_023, words.fingerprints),
        "device_attestation": _coded(rows["attestation"], pa.array(ATTESTATIONS)),
        "device_risk_labels": _masked(rows["labels"], LABELS),
        "device_attested_at_ms": _optional(rows["attested_at_ms"], rows["attestation"] > 0),
    }


def _seen(words: Wording, rows: Rows) -> dict[str, pa.Array]:
    """What the network sees of the client."""
    look = look_of(words.population, rows)
    agents, platforms, mobile, screens, ja4 = zip(*LOOKS, strict=True)
    hinted = np.array([platform is not None for platform in platforms])[look]
    flagged = np.array([said is not None for said in mobile])[look]
    return {
        "client_user_agent": _coded(look, pa.array(agents)),
        "client_platform": _coded(look, pa.array([name or "" for name in platforms]), hinted),
        "client_mobile": _optional(np.array([bool(said) for said in mobile])[look], flagged),
        "client_screen": _coded(look, pa.array(screens)),
        "client_ja4": _coded(look, pa.array(ja4)),
        "client_language": _coded(words.looks.language[rows["device"]], pa.array(LANGUAGES)),
        "client_clock_at_ms": pa.array(rows["clock_at_ms"]),
    }


def _where(words: Wording, rows: Rows) -> dict[str, pa.Array]:
    city, sent = rows["city"], rows["has_gps"]
    countries = pa.array(COUNTRIES)
    ip_country = words.city_country[words.population.ip_city[rows["ip"]]]
    return {
        "client_ip": _coded(rows["ip"], words.looks.ips),
        "client_ip_country": _coded(ip_country, countries),
        "client_tz_offset_min": pa.array(rows["tz_offset_min"]),
        "geo_lat": _optional(np.round(rows["lat"], 5), sent),
        "geo_lon": _optional(np.round(rows["lon"], 5), sent),
        "geo_accuracy_m": _optional(rows["accuracy_m"], sent),
        "geo_country": _coded(words.city_country[city], countries, sent),
        "geo_place": _coded(city, pa.array([f"synthetic-{row[0]}" for row in CITIES]), sent),
    }


def _how(rows: Rows) -> dict[str, pa.Array]:
    sent = rows["has_behavior"]
    return {
        "behavior_form_ms": _optional(rows["form_ms"], sent),
        "behavior_first_input_ms": _optional(rows["first_input_ms"], sent),
        "behavior_key_dwell_ms": _optional(rows["dwell_ms"], sent),
        "behavior_key_flight_ms": _optional(rows["flight_ms"], sent),
        "behavior_key_flight_iqr_ms": _optional(rows["flight_iqr_ms"], sent),
        "behavior_pasted": _masked(rows["pasted"], PASTED, sent),
        "behavior_pointer_straightness": _optional(np.round(rows["straightness"], 3), sent),
        "behavior_touch_pressure_var": _optional(np.round(rows["pressure_var"], 4), sent),
        "behavior_motion_energy": _optional(np.round(rows["motion"], 3), sent),
        "behavior_on_call": _optional(rows["on_call"], sent),
        "behavior_key_dwell_iqr_ms": _optional(rows["dwell_iqr_ms"], sent),
        "behavior_pointer_turns": _optional(rows["turns"], sent),
        "behavior_still_clicks": _optional(rows["still_clicks"], sent),
        "session_login_at_ms": pa.array(rows["login_at_ms"]),
        "session_pages": pa.array(rows["pages"]),
        "session_page_kinds": pa.array(np.minimum(rows["pages"], rows["page_kinds"])),
    }


def _numbered(prefix: str, count: int) -> pa.Array:
    return pa.array([f"{prefix}{number:06d}" for number in range(count)])


def _optional(values: NDArray[np.generic], sent: NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, mask=~sent)


def _coded(codes: Ints, words: pa.Array, sent: NDArray[np.bool_] | None = None) -> pa.Array:
    mask = None if sent is None else ~sent
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=mask), words)


def _masked(masks: Ints, names: tuple[str, ...], sent: NDArray[np.bool_] | None = None) -> pa.Array:
    """Bit masks as words joined by ``|``; no bit at all is the empty text, not a null."""
    present = np.flatnonzero(np.bincount(masks, minlength=1))
    code_of = np.zeros(int(present[-1]) + 1 if len(present) else 1, dtype=np.int64)
    code_of[present] = np.arange(len(present))
    words = [
        "|".join(name for bit, name in enumerate(names) if mask >> bit & 1)
        for mask in present.tolist()
    ]
    return _coded(code_of[masks], pa.array(words, type=pa.string()), sent)
