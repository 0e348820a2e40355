"""What a feature yields without its evidence is what its documentation says, feature by feature."""

import math
import re
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.features.catalogue import FEATURES, yields_without
from risk.features.event import encode
from risk.features.replay import replay
from risk.geo import IpTable, shipped
from risk.transaction import (
    Basket,
    Behavior,
    Client,
    Device,
    Geo,
    Instrument,
    Liveness,
    Payee,
    Payer,
    RiskContext,
    Session,
    Transaction,
)

AT_US = 1_750_000_000_000_000
IDS = ("user", "device", "ip", "card", "payee", "place", "mcc", "config")
AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/131.0 Safari/537.36"
# Known only to richer tables than the one that ships.
NEED_A_TABLE = {"geo_gps_ip_km", "geo_operator_known_to_user"}


def payment(named: set[str], *, told: bool = True) -> Transaction:
    """A payment that names just these, and says everything else there is to say, or nothing."""

    def word(kind: str) -> str | None:
        return f"{kind}-1" if kind in named else None

    context = RiskContext(
        payer=Payer(account_id=word("user")),
        device=Device(device_id=word("device"), fp_hash=word("config")),
        instrument=Instrument(token=word("card")),
        payee=Payee(account_id="user-2" if "payee" in named else None),
        client=Client(ip="202.96.128.86" if "ip" in named else None),
        geo=Geo(place=word("place")),
        order=Basket(mcc=word("mcc")),
    )
    return Transaction(
        event_id="T1",
        merchant_id="m",
        amount_minor=100,
        currency="CNY",
        pay_type="alipay",
        context=everything(context) if told else context,
        order_no="O1",
    )


def everything(named: RiskContext) -> RiskContext:
    return RiskContext(
        payer=Payer(
            account_id=named.payer.account_id,
            created_at_ms=1,
            country="CN",
            phone_country="CN",
            password_changed_at_ms=1,
            contact_changed_at_ms=1,
            login_failures_1h=0,
            otp_failures_1h=0,
            purchases_6m=0,
        ),
        device=Device(
            device_id=named.device.device_id,
            fp_hash=named.device.fp_hash,
            os="windows",
            attestation="strong",
            attested_at_ms=1,
            attestation_nonce="O1",
            risk_labels=(),
        ),
        instrument=Instrument(
            token=named.instrument.token, issuer_country="CN", added_at_ms=1, avs="match"
        ),
        payee=Payee(account_id=named.payee.account_id, country="CN", first_paid_at_ms=1),
        client=Client(
            ip=named.client.ip,
            ip_country="CN",
            user_agent=AGENT,
            language="zh-CN",
            tz_offset_min=480,
            clock_at_ms=1,
        ),
        geo=Geo(place=named.geo.place, lat=31.2, lon=121.5, accuracy_m=10.0, country="CN"),
        behavior=Behavior(
            form_ms=0,
            first_input_ms=0,
            key_dwell_ms=90,
            key_dwell_iqr_ms=0,
            key_flight_ms=90,
            key_flight_iqr_ms=0,
            pasted=(),
            pointer_straightness=0.0,
            pointer_turns=0,
            still_clicks=0,
            touch_pressure_var=0.0,
            motion_energy=0.0,
            on_call=False,
        ),
        session=Session(login_at_ms=1, pages=0, page_kinds=0),
        order=Basket(
            mcc=named.order.mcc,
            ship_country="CN",
            bill_country="CN",
            ship_address_used_at_ms=1,
            coupon_minor=0,
        ),
        liveness=Liveness(pad_score=0.0, iad_score=0.0, virtual_camera=False, frame_jitter_us=0),
    )


def vector(transaction: Transaction) -> npt.NDArray[np.float64]:
    """The features of the first payment there ever was."""
    values: npt.NDArray[np.float64] = replay(encode(transaction, AT_US, 1, table())[None])[0]
    return values


@cache
def table() -> IpTable:
    return shipped()


def is_named(says: str, named: set[str]) -> bool:
    """Whether a payment names what a sentence of the documentation asks for."""
    found = re.search(r"missing without ([^:]+?)(?:, or (?:for|until)|$)", says)
    clauses = found.group(1).split(" and ") if found else []
    return all(named & set(re.split(r", | or ", clause)) for clause in clauses)


@settings(deadline=None, max_examples=60)
@given(named=st.sets(st.sampled_from(IDS)))
def test_a_stranger_yields_what_is_documented(named: set[str]) -> None:
    known = named | {"merchant", "country", "currency", "pay_type"}
    known |= {"network"} if "ip" in named else set()

    for feature, value in zip(FEATURES, vector(payment(named)).tolist(), strict=True):
        says = yields_without(feature)
        counted = re.match(r"([01]) for a stranger", says)
        if "missing without" not in says or feature.name in NEED_A_TABLE:
            continue
        expected = float(counted.group(1)) if counted and is_named(says, known) else float("nan")
        assert repr(value) == repr(expected), (feature.name, says)


@pytest.mark.parametrize("told", [True, False])
def test_what_was_not_sent_is_missing_and_what_was_sent_is_not(told: bool) -> None:
    values = vector(payment(set(IDS) if told else set(), told=told)).tolist()
    for feature, value in zip(FEATURES, values, strict=True):
        says = yields_without(feature)
        if says == "never missing":
            assert not math.isnan(value), feature.name
        elif says.startswith("missing unless") and feature.name not in NEED_A_TABLE:
            assert math.isnan(value) is not told, (feature.name, says)


def test_every_feature_says_what_it_yields() -> None:
    kinds = ("missing unless", "missing without", "0 for", "1 for", "never missing")

    assert all(yields_without(feature).startswith(kinds) for feature in FEATURES)
