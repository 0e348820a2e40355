"""The event vector: today's layout, and logs of the first release read in it for ever."""

import base64
import zlib

import numpy as np
import pytest

from risk.decision import EventKind, Feedback
from risk.features.event import (
    ATTRIBUTES,
    CONTEXT_COUNT,
    EVENT_WIDTH,
    FIELDS,
    FIRST_CONTEXT,
    FIRST_KEY,
    INDEX,
    KEYS,
    OUTCOME,
    PRESENCE,
    WORDS,
    IntVector,
    decode,
    encode,
    encode_attributes,
    encode_feedback,
    feedback_of,
    kind_of,
    stack,
)
from risk.features.identity import code_of, identify, network_of
from risk.features.layout import ROLES
from risk.geo.address import address_of
from risk.transaction import (
    Client,
    Device,
    Instrument,
    Payer,
    RiskContext,
    Transaction,
)

AT_US = 1_700_000_000_000_000
# Two rows of a log as the first release wrote them (int64 little-endian, deflated): an attempt
# with every group of the risk context, and the verdict on it.
ATTEMPT_V1 = (
    "eNrTZEADDnISKlxsDJYGEK6WEIR2YjL2eyJ5ZAW68lvFx78Upd98f0RSo2zrybRlJ98umnp2rvCJiK5JvNbGBT1s"
    "B66l7s/z9mphcON6dFlj4q+06n9X3FfOfll8RVDnnIViYn/satFbaz6G8bLpFMpNiP4PBPZAc9mg5tfCLBK+wwii"
    "Ej7asoNoOTR3GEJpRhgNZTDDFDzhDmEC0Z9YtRiR9DGhe+jULGsUc9DVpZ6VBVEL2hhRtGkoQ2gFqIVRUPEKKG0D"
    "pVmgtMJCdhT9Ey4wo/CZGbCDBbt5IQxTHgZqAABZw0BH"
)
LABEL_V1 = (
    "eNrTYoAAJijNcKKgaQYXG4OlAYSrJQShnZiM/Z5IHlmhCVXGCqVvFR//UpR+8/0RSY2yrSfTlp18u2jq2bnCJyK6"
    "JvFaGxf0sB24lro/z9urhcGN69FljYm/0qr/XXFfOftl8RVBnXMWion9satFb635GMbLplMoNyGaYRTQFQAA6Mwu"
    "vw=="
)
SENT_V1 = {
    "hour": 6,
    "lat": 31_200_000,
    "lon": 121_500_000,
    "accuracy_m": 30,
    "tz_gap_min": 0,
    "mismatches": 49,
    "agent_mask": 1,
    "risk_labels": 257,
    "attestation": 3,
    "account_age_ms": 10_000_000_000,
    "password_age_ms": 5_000_000_000,
    "login_failures": 0,
    "kyc_level": 2,
    "guest": 0,
    "card_age_ms": 1_000_000_000,
    "cvc_ok": 1,
    "three_ds": 1,
    "funding": 2,
    "payee_age_ms": 500_000_000,
    "login_age_ms": 100_000,
    "pages": 0,
    "form_ms": 9_000,
    "first_input_ms": 800,
    "key_dwell_ms": 90,
    "key_flight_ms": 120,
    "key_flight_iqr_ms": 60,
    "pasted": 4,
    "straightness": 500_000,
    "touch_var": 0,
    "motion": 250_000,
    "on_call": 0,
    "items": 3,
    "digital": 0,
    "coupon": 0,
    "pad_score": 900_000,
    "iad_score": 800_000,
    "virtual_camera": 0,
}


def payment(**context: object) -> Transaction:
    return Transaction(
        event_id="T1",
        merchant_id="M1",
        amount_minor=100,
        currency="CNY",
        pay_type="alipay",
        context=RiskContext(**context),  # type: ignore[arg-type]  # groups by name
    )


def frozen(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def sent(event: IntVector) -> dict[str, int]:
    return {
        name: int(event[FIRST_CONTEXT + place])
        for place, name in enumerate(FIELDS[FIRST_CONTEXT:])
        if event[PRESENCE] >> place & 1
    }


def test_the_layout_fits_its_width_and_its_presence_word() -> None:
    assert len(FIELDS) == len(set(FIELDS)) <= EVENT_WIDTH
    assert CONTEXT_COUNT <= 63
    assert ROLES == KEYS
    assert KEYS[-2:] == ("inflow", "outflow")


def test_an_attempt_of_the_first_release_reads_field_by_field_as_it_was_written() -> None:
    event = decode(frozen(ATTEMPT_V1))

    assert event.shape == (EVENT_WIDTH,)
    assert sent(event) == SENT_V1
    assert [int(event[INDEX[name]]) for name in ("seq", "kind", "at_us", "amount", "currency")] == [
        41,
        0,
        AT_US,
        12_345,
        code_of("CNY"),
    ]
    names = {"user": "u1", "device": "d1", "ip": "192.0.2.7", "card": "c1", "merchant": "M1001"}
    for role, name in (names | {"payee": "p1", "place": "gate-4", "mcc": "5812"}).items():
        assert event[INDEX[role]] == identify(role, name), role
    assert event[INDEX["inflow"]] == identify("payee", "u1")
    assert event[INDEX["outflow"]] == identify("user", "p1")
    assert event[INDEX["country"]] == code_of("CN")
    assert event[INDEX["network"]] == event[INDEX["config"]] == 0


def test_a_verdict_of_the_first_release_reads_as_the_same_verdict() -> None:
    event = decode(frozen(LABEL_V1))

    assert (kind_of(event), feedback_of(event)) == (EventKind.LABEL, Feedback.FRAUD)
    assert event[INDEX["ref_seq"]] == 41
    assert event[INDEX["user"]] == identify("user", "u1")
    assert sent(event) == {}


def test_a_log_that_spans_both_releases_keeps_its_order() -> None:
    new = encode(payment(payer=Payer(account_id="u1")), AT_US, 43)
    rows = stack([frozen(ATTEMPT_V1), frozen(LABEL_V1), new.tobytes(), frozen(ATTEMPT_V1)])

    assert rows[:, INDEX["seq"]].tolist() == [41, 42, 43, 41]
    assert np.array_equal(rows[2], new)
    assert np.array_equal(rows[3], decode(frozen(ATTEMPT_V1)))


@pytest.mark.parametrize("length", [0, 8, 511, 513, 640, 769])
def test_a_payload_of_any_other_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        decode(bytes(length))
    with pytest.raises(ValueError, match="length"):
        stack([bytes(768), bytes(length)])


def test_feedback_repeats_the_identities_and_words_of_its_attempt() -> None:
    about = encode(
        payment(
            payer=Payer(account_id="u1", email_hash="e1", country="CN"),
            client=Client(ip="192.0.2.7", language="zh-CN"),
            instrument=Instrument(bin="622202"),
        ),
        AT_US,
        7,
    )
    refused = encode_feedback(Feedback.DECLINED, about, seq=8, known_at_us=AT_US + 5)

    assert np.array_equal(refused[FIRST_KEY:PRESENCE], about[FIRST_KEY:PRESENCE])
    assert refused[INDEX["email"]] == identify("email", "e1") != 0
    assert (kind_of(refused), feedback_of(refused)) == (EventKind.OUTCOME, Feedback.DECLINED)
    assert refused[INDEX["kind"]] == OUTCOME


def test_old_numbers_of_feedback_keep_their_meaning() -> None:
    assert list(Feedback)[:6] == ["PAID", "FAILED", "CLOSED", "REFUNDED", "FRAUD", "GENUINE"]


def test_a_table_row_carries_its_user_and_its_four_numbers() -> None:
    user = identify("user", "u1")
    row = encode_attributes(user, (7, 250_000, 3_100_000, 4), seq=9, at_us=AT_US, ref_seq=6)

    assert kind_of(row) is EventKind.TABLE
    assert row[FIRST_KEY] == user
    assert (int(row[INDEX["ref_seq"]]), int(row[INDEX["at_us"]])) == (6, AT_US)
    numbers = row[FIRST_CONTEXT : FIRST_CONTEXT + len(ATTRIBUTES)].tolist()
    assert numbers == [7, 250_000, 3_100_000, 4]
    assert int(row[PRESENCE]) == 0b1111
    assert feedback_of(row) is None


def test_neighbours_share_a_network_whatever_way_their_address_is_written() -> None:
    assert network_of("203.0.113.9") == network_of("::ffff:203.0.113.200") != 0
    assert network_of("203.0.113.9") != network_of("203.0.112.9")
    assert network_of("2001:db8:1:2::1") == network_of("2001:0DB8:0001:ffff::")
    assert network_of("2001:db8:1::1") != network_of("2001:db8:2::1")


@pytest.mark.parametrize(
    "ip",
    ["", "localhost", "1.2.3", "1.2.3.4.5", "1.2.3.256", "\x00", "\ud800", "::g", "1:2", " ::"],
)
def test_what_is_no_address_is_in_no_network(ip: str) -> None:
    assert address_of(ip) is None
    assert network_of(ip) == 0


def test_a_farm_shares_a_configuration_though_every_device_has_its_own_name() -> None:
    devices = [Device(device_id=f"d{n}", os="android", model="SM-1") for n in range(2)]
    rows = [
        encode(payment(device=device, client=Client(screen="1080x2400")), AT_US, 1)
        for device in devices
    ]

    assert rows[0][INDEX["config"]] == rows[1][INDEX["config"]] != 0
    assert rows[0][INDEX["device"]] != rows[1][INDEX["device"]]
    fingerprinted = encode(payment(device=Device(fp_hash="f1", model="SM-1")), AT_US, 1)
    assert fingerprinted[INDEX["config"]] == identify("config", "f1")


def test_words_that_were_not_sent_are_zero() -> None:
    event = encode(payment(), AT_US, 1)

    assert [int(event[INDEX[word]]) for word in WORDS] == [0] * len(WORDS)
