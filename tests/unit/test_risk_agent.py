"""Contradictions of a client are seen, and an unusual but honest one has none."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from risk.features.agent import AGENT_BITS, agent_mask
from risk.features.catalogue import FEATURE_NAMES
from risk.features.event import FIRST_CONTEXT, INDEX, encode
from risk.features.identity import code_of, identify
from risk.features.replay import replay
from risk.features.vocabulary import LABEL_BIT, LANGUAGE_BIT, MISMATCH_BIT
from risk.geo import shipped
from risk.geo.address import address_of
from risk.geo.build import Facts, Range, build, overlay
from risk.geo.table import Credit, load
from risk.transaction import (
    Basket,
    Behavior,
    Client,
    Device,
    Geo,
    Instrument,
    Liveness,
    Payer,
    RiskContext,
    Session,
    Transaction,
)

CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0 Safari/537.36"
PHONE = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/131.0 Mobile Safari"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605 Mobile/15E148"
CHROME_JA4 = "t13d1516h2_8daaf6152771_b186095e22b6"
AT_US = 1_771_315_200_000_000  # 2026-02-17 08:00 UTC: Spring Festival, 16:00 in China.
CN_IP, US_IP, RENTED_IP = "202.96.128.86", "8.8.8.8", "52.95.110.1"


def named(mask: int | None) -> set[str]:
    assert mask is not None
    return {name for name, bit in AGENT_BITS.items() if mask & bit}


@pytest.mark.parametrize(
    ("client", "device"),
    [
        (Client(user_agent=CHROME, screen="1920x1080", ja4=CHROME_JA4), Device(os="Windows 11")),
        (Client(user_agent=PHONE, screen="412x915", platform='"Android"', mobile=True), Device()),
        (Client(user_agent=PHONE, screen="1080x2400", color_depth=24), Device(os="android 15")),
        (Client(user_agent=IPHONE, screen="1170x2532", javascript=True), Device(os="iOS 19")),
        (Client(user_agent="MerchantApp/3.1 (iOS 19; iPhone17,1)"), Device(os="ios")),
        (Client(user_agent=CHROME, ja4="q13d0312h3_55b375c5d22e_06cda9e17597"), Device()),
        (Client(user_agent="", screen="1170x2532"), Device(os="windows")),
    ],
)
def test_an_honest_client_contradicts_nothing(client: Client, device: Device) -> None:
    assert agent_mask(client, device) == 0


@pytest.mark.parametrize(
    ("client", "device", "found"),
    [
        (Client(user_agent=CHROME), Device(os="Android 15"), {"system"}),
        (Client(user_agent=PHONE, screen="1920x1080"), Device(), {"screen"}),
        (Client(user_agent=CHROME, screen="1x1"), Device(), {"no_screen"}),
        (Client(screen="99999x20"), Device(), {"no_screen"}),
        (Client(user_agent="Mozilla/5.0 HeadlessChrome/131.0"), Device(), {"automated"}),
        (Client(user_agent="python-requests/2.32"), Device(), {"automated"}),
        (Client(user_agent=PHONE, platform='"Windows"'), Device(), {"hints"}),
        (Client(user_agent=CHROME, mobile=True), Device(), {"hints"}),
        (Client(user_agent=CHROME, ja4="t13d190900_9dc9_97f8"), Device(), {"transport"}),
        (Client(user_agent=CHROME, ja4="t10d190900_9dc9_97f8"), Device(), {"transport"}),
        (Client(user_agent=CHROME, ja4="t13i1516h2_8daa_b186"), Device(), {"transport"}),
        (Client(user_agent="Mozilla/5.0 (Windows NT 10.0; Android 15)"), Device(), {"chimera"}),
        (Client(user_agent=CHROME, javascript=False), Device(), {"bare"}),
        (Client(user_agent=CHROME, color_depth=1), Device(), {"bare"}),
        (
            Client(user_agent=PHONE, screen="1x9999", mobile=False, ja4="t13d190900_a_b"),
            Device(os="ios"),
            {"system", "no_screen", "hints", "transport"},
        ),
    ],
)
def test_each_contradiction_has_its_own_bit(
    client: Client, device: Device, found: set[str]
) -> None:
    assert named(agent_mask(client, device)) == found


def test_without_anything_to_compare_there_is_no_mask() -> None:
    assert agent_mask(Client(), Device(os="ios")) is None
    assert agent_mask(Client(screen="large"), Device()) is None


def fields(at_us: int = AT_US, geo: Any = None, **groups: Any) -> dict[str, int]:
    """The fields an event holds, by name; words and keys where they are not 0."""
    transaction = Transaction(
        event_id="T1",
        merchant_id="m",
        amount_minor=1,
        currency="CNY",
        pay_type="alipay",
        context=RiskContext(**groups),
    )
    event = encode(transaction, at_us, 1, geo or shipped())
    here = {name: int(event[place]) for name, place in INDEX.items()}
    sent = [here["presence"] >> place & 1 for place in range(len(INDEX) - FIRST_CONTEXT)]
    return {
        name: value
        for name, value in here.items()
        if (value if INDEX[name] < FIRST_CONTEXT else sent[INDEX[name] - FIRST_CONTEXT])
    }


def test_an_address_gives_the_country_that_nobody_sent() -> None:
    found = fields(client=Client(ip=CN_IP))

    assert found["found_country"] == found["ip_country"] == found["country"] == code_of("CN")
    assert (found["hour"], found["ip_flags"], found["holiday"]) == (16, 0, 2)
    assert "mismatches" not in found


def test_a_country_that_was_sent_stands_and_a_wrong_one_is_evidence() -> None:
    found = fields(client=Client(ip=US_IP, ip_country="CN"))

    assert found["ip_country"] == code_of("CN")
    assert found["found_country"] == code_of("US")
    assert found["mismatches"] == MISMATCH_BIT["sent_found"]
    assert fields(client=Client(ip=US_IP, ip_country="us"))["mismatches"] == 0


def test_every_pair_of_countries_has_its_bit() -> None:
    found = fields(
        payer=Payer(country="CN", phone_country="VN"),
        instrument=Instrument(issuer_country="DE"),
        client=Client(ip=CN_IP),
        order=Basket(bill_country="FR", ship_country="CN"),
    )

    names = {name for name, bit in MISMATCH_BIT.items() if found["mismatches"] & bit}
    assert names == {
        *("ip_card", "ship_card", "card_payer", "bill_card", "bill_ship"),
        *("phone_payer", "phone_ip"),
        *("ip_bill", "ship_phone", "bill_phone", "card_phone"),
    }


COUNTRIES: dict[str, Callable[[str], dict[str, Any]]] = {
    "ip": lambda code: {"client": Client(ip_country=code)},
    "card": lambda code: {"instrument": Instrument(issuer_country=code)},
    "ship": lambda code: {"order": Basket(ship_country=code)},
    "bill": lambda code: {"order": Basket(bill_country=code)},
}


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("geo_ip_not_card", "ip", "card"),
        ("geo_ip_not_ship", "ip", "ship"),
        ("geo_ship_not_card", "ship", "card"),
        ("geo_bill_not_card", "bill", "card"),
    ],
)
@pytest.mark.parametrize("other", ["CN", "FR"])
def test_two_countries_that_disagree_are_their_own_feature(
    name: str, left: str, right: str, other: str
) -> None:
    context = RiskContext(**COUNTRIES[left]("CN"), **COUNTRIES[right](other))
    payment = Transaction(
        event_id="T", merchant_id="m", amount_minor=1, currency="CNY", pay_type="", context=context
    )
    event = encode(payment, AT_US, 1)
    seen = dict(zip(FEATURE_NAMES, replay(event[None])[0].tolist(), strict=True))

    assert seen[name] == (other != "CN")
    assert seen["geo_mismatches"] == (other != "CN")


def test_rented_machines_and_private_addresses_are_flagged() -> None:
    assert fields(client=Client(ip=RENTED_IP))["ip_flags"] == 2
    assert fields(client=Client(ip="10.0.0.1"))["ip_flags"] == 1
    assert "ip_flags" not in fields(client=Client(ip="nowhere"))


def test_a_language_far_from_home_is_seen() -> None:
    found = fields(
        client=Client(ip=CN_IP, language="ru-RU,ru;q=0.9"),
        instrument=Instrument(issuer_country="RU"),
    )

    assert found["language_gaps"] == LANGUAGE_BIT["ip"]
    assert found["language"] == identify("language", "ru")
    assert "language_gaps" not in fields(client=Client(ip=CN_IP, language="en-US"))


def test_the_calendar_is_that_of_the_payers_own_day() -> None:
    late_us = AT_US + 9 * 3_600_000_000  # 17:00 UTC is 01:00 of the next day in China.
    found = fields(at_us=late_us, client=Client(ip=CN_IP))

    assert (found["hour"], found["month_day"], found["hour_of_week"]) == (1, 18, 49)
    assert fields(at_us=late_us, client=Client(tz_offset_min=0))["month_day"] == 17
    assert "holiday" not in fields(client=Client(tz_offset_min=480))


def test_where_the_table_knows_positions_the_device_is_held_against_them(tmp_path: Any) -> None:
    number = (address_of(CN_IP) or (4, 0))[1]
    near = Range(number, number, Facts("CN", position=(31_230_000, 121_470_000)))
    path = tmp_path / "ip.table"
    credit = Credit(source="made", date="2026-01-01", licence="none", attribution="nobody")
    build(path, credit, {4: overlay(4, [[near]]), 6: overlay(6, [])})
    table = load(path)

    assert "gps_ip_km" not in fields(geo=table, client=Client(ip=CN_IP))
    event = RiskContext(client=Client(ip=CN_IP), geo=Geo(lat=39.9, lon=116.4))
    transaction = dataclasses.replace(PAYMENT, context=event)
    vector = encode(transaction, AT_US, 1, table)
    assert 1_000 < int(vector[INDEX["gps_ip_km"]]) < 1_150
    from_ip = dataclasses.replace(
        PAYMENT,
        context=dataclasses.replace(event, geo=Geo(lat=39.9, lon=116.4, source="ip")),
    )
    assert encode(from_ip, AT_US, 1, table)[INDEX["gps_ip_km"]] == 0


PAYMENT = Transaction(
    event_id="T1", merchant_id="m", amount_minor=1, currency="CNY", pay_type="alipay"
)


def test_ages_skews_and_masks_come_out_in_their_units() -> None:
    at_ms = AT_US // 1_000
    found = fields(
        payer=Payer(contact_changed_at_ms=at_ms - 5, otp_failures_1h=3, purchases_6m=0),
        client=Client(clock_at_ms=at_ms + 90_000),
        device=Device(
            attested_at_ms=at_ms - 7_000, risk_labels=("jailbroken", "tor", "sim_changed", "new")
        ),
        behavior=Behavior(pointer_turns=0, still_clicks=2, key_dwell_iqr_ms=9),
        session=Session(pages=1, page_kinds=1),
        order=Basket(ship_address_used_at_ms=at_ms - 11),
        instrument=Instrument(avs="partial"),
        liveness=Liveness(camera_label="OBS Virtual Camera", frame_jitter_us=4),
    )

    wanted = {"contact_age_ms": 5, "otp_failures": 3, "purchases_6m": 0, "clock_skew_ms": 90_000}
    wanted |= {"attestation_age_ms": 7_000, "pointer_turns": 0, "still_clicks": 2, "avs": 2}
    wanted |= {"key_dwell_iqr_ms": 9, "direct": 1, "page_kinds": 1, "ship_age_ms": 11}
    wanted |= {"virtual_camera": 1, "frame_jitter_us": 4}
    wanted["risk_labels"] = LABEL_BIT["rooted"] | LABEL_BIT["tor"] | LABEL_BIT["sim_changed"]
    assert {name: found[name] for name in wanted} == wanted


def test_reading_one_field_at_a_time_gives_what_reading_all_at_once_does() -> None:
    groups: dict[str, Any] = {
        "payer": Payer(account_id="u", country="CN", guest=False, created_at_ms=1),
        "client": Client(ip=CN_IP, user_agent=CHROME, tz_offset_min=480, language="zh"),
        "behavior": Behavior(form_ms=3, pointer_straightness=0.25, on_call=True),
        "geo": Geo(lat=1.5, lon=2.5, accuracy_m=3.0),
    }
    good = encode(dataclasses.replace(PAYMENT, context=RiskContext(**groups)), AT_US, 1, shipped())
    # One broken field sends all the others through the slow path.
    groups["liveness"] = Liveness(pad_score="x")  # type: ignore[arg-type]  # on purpose
    slow = encode(dataclasses.replace(PAYMENT, context=RiskContext(**groups)), AT_US, 1, shipped())

    assert np.array_equal(good, slow)
