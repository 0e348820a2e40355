"""A hundred thousand hostile contexts: an answer every time, and no number that isn't one.

Not hypothesis: it makes a few thousand examples in the time this makes a hundred thousand. Groups
of a context are drawn once into pools, well-meant and hostile values mixed, and combined anew for
every payment. The seed is fixed; a failure names the payment, which can be drawn again alone.
"""

import dataclasses
import hashlib
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

from gateway.domain.errors import InvalidParameter
from gateway.http.schemas import read_create
from risk import Engine, RiskContext, Transaction
from risk.decision import Decision
from risk.features.catalogue import FEATURE_COUNT, FEATURE_HASH, FEATURE_NAMES
from risk.geo import shipped
from risk.scorer import BundleMeta, publish, write_bundle
from risk.transaction import EMPTY_CONTEXT
from tests.unit.test_schemas import CREATE

POOL_COUNT = 1_500
BATCH_COUNT = 10_000
AT_US = 1_780_000_000_000_000
GROUPS = {
    field.name: type(getattr(EMPTY_CONTEXT, field.name))
    for field in dataclasses.fields(RiskContext)
}
# Per annotated type, what an honest merchant might send.
FAIR: dict[str, list[Any]] = {
    "int | None": [0, 1, 3, 480, -300, 9_000, 1_779_000_000_000, 1_790_000_000_000],
    "float | None": [0.0, 0.5, 1.0, 31.2, 121.5, -89.9],
    "bool | None": [True, False],
    "tuple[str, ...] | None": [(), ("emulator", "vpn"), ("otp",), ("card_number", "name")],
    "str | None": [
        *("u1", "u2", "d1", "CN", "US", "zh-CN", "en", "android", "iOS 19", "1080x2400", "800x600"),
        *("8.8.8.8", "202.96.128.86", "2001:da8::1", "10.0.0.1", "strong", "credit", "Y", "5812"),
        *("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0", "curl/8.0", "OBS Virtual"),
        *("t13d1516h2_8daaf6152771_b186095e22b6", "t10i0000" + "00_0_0", "Windows"),
    ],
}
HOSTILE: list[Any] = [
    *(math.nan, math.inf, -math.inf, 1e308, -1e308, -0.0, 5e-324, 0.1),
    *(2**31, 2**53, 2**63, -(2**63) - 1, 2**64, 10**400, -(10**400), -1),
    *("", " ", "\x00", "\ud800", "\udfff\ud800", "é" * 5_000, "A" * 20_000, "１２", "\u202e"),
    *("::ffff:999.1.1.1", "1.2.3.4.5", "fe80::1%eth0", "1:2:3:4:5:6:7:8:9", "0x7f000001", "::"),
    *("127.1", "256.256.256.256", "' OR 1=1 --", "<script>", "../../etc", "NaN", "null", "-1"),
    *("9" * 400 + "x" + "9" * 400, "x" * 600, "mozilla/" * 200, "0x0", "999999x1", "1x1x1x1"),
    *(b"", b"\xff\xfe", b"8.8.8.8", bytearray(b"u1"), memoryview(b"u1")),
    *([], [None], ["u1", ["u2"]], {}, {"a": {"b": []}}, {"CN"}, (1, (2, (3,))), ((),), frozenset()),
    *(object(), int, len, ..., 1 + 2j, range(3), Exception("x"), True),
]


def seeded(seed: int) -> random.Random:
    """Chance that can be drawn again."""
    return random.Random(seed)  # noqa: S311 - nothing secret


def pools(rng: random.Random) -> dict[str, list[Any]]:
    """For each group of the context, many instances of it."""
    return {
        name: [
            kind(**{f.name: drawn(rng, str(f.type), share) for f in dataclasses.fields(kind)})
            for share in (rng.random() ** 4 for _ in range(POOL_COUNT))
        ]
        for name, kind in GROUPS.items()
    }


def drawn(rng: random.Random, kind: str, hostile_share: float) -> Any:
    """A value for a field: missing, fair, or hostile."""
    if rng.random() < 0.35:
        return None
    return rng.choice(HOSTILE if rng.random() < hostile_share else FAIR[kind])


def payments(rng: random.Random, count: int) -> Iterator[tuple[Transaction, Any]]:
    """Payments and the times they are said to happen at, some of both absurd."""
    pool = pools(rng)
    amounts = [*range(1, 10**6, 9_973), 0, -5, 2**80, 10**400, math.nan, math.inf, "1", None, [1]]
    times_us = [*range(AT_US, AT_US + 10**9, 10**7), -1, 0, 2**70, math.nan, "now", None]
    words: list[Any] = ["CNY", "USD", "", "???", "é", None, 7, b"CNY", ["CNY"], "alipay", "\ud800"]
    for number in range(count):
        groups = {name: rng.choice(instances) for name, instances in pool.items()}
        odd = rng.random() < 0.05
        yield (
            Transaction(
                event_id=f"T{number}",
                merchant_id=rng.choice(words) if odd else f"m{number % 7}",
                amount_minor=rng.choice(amounts) if odd else 1 + number % 90_000,
                currency=rng.choice(words) if odd else "CNY",
                pay_type=rng.choice(words) if odd else "alipay",
                context=RiskContext(**groups),
            ),
            rng.choice(times_us) if odd else AT_US + number * 1_000,
        )


def model(folder: Path) -> Path:
    """A small model over all features, published."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(800, FEATURE_COUNT))
    x[rng.random(x.shape) < 0.4] = np.nan
    parameters = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5}
    booster = lgb.train(parameters, lgb.Dataset(x, rng.random(800) < 0.5), 12)
    text = booster.model_to_string()
    meta = BundleMeta(
        version="v1",
        feature_hash=FEATURE_HASH,
        feature_names=FEATURE_NAMES,
        calibration_x=(0.0, 1.0),
        calibration_y=(0.0, 0.01),
        challenge_at=0.4,
        review_at=0.6,
        decline_at=0.8,
        trained_at_us=1,
        model_sha256=hashlib.sha256(text.encode()).hexdigest(),
        metrics={},
    )
    write_bundle(folder, meta, text)
    publish(folder, meta.version)
    return folder


def check(decisions: list[Decision]) -> None:
    """Every feature is a finite number with its bit on, or NaN with its bit off."""
    features = np.frombuffer(b"".join(d.features for d in decisions)).reshape(-1, FEATURE_COUNT)
    bits = np.frombuffer(b"".join(d.presence for d in decisions), dtype=np.uint8)
    present = np.unpackbits(bits.reshape(len(decisions), -1), axis=1, bitorder="little")
    assert not np.isinf(features).any()
    assert np.array_equal(present[:, :FEATURE_COUNT] == 1, ~np.isnan(features))
    for decision in decisions:
        assert 0.0 <= decision.score <= 1.0, decision.event.trade_no
        assert math.isfinite(decision.score_raw), decision.event.trade_no
        assert not decision.degraded.startswith("fault"), (decision.event.trade_no, decision)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model(tmp_path_factory.mktemp("bundles"))


@pytest.mark.parametrize(("count", "scored"), [(20_000, True), (80_000, False)])
def test_a_hundred_thousand_hostile_payments_all_get_a_sound_answer(
    bundles: Path, count: int, scored: bool
) -> None:
    engine = Engine(bundle_dir=bundles if scored else None, geo=shipped(), deadline_us=60_000_000)
    found: list[Decision] = []
    named = 0
    for payment, at_us in payments(seeded(count), count):
        found.append(engine.assess(payment, at_us))
        named += found[-1].degraded.startswith("context:")
        if len(found) == BATCH_COUNT:
            check(found)
            assert found[-1].event.seq == engine.next_seq - 1
            found.clear()

    assert engine.next_seq == count + 1
    assert named > count // 2  # Else the contexts weren't hostile at all.


class Jumping:
    """A clock that stands still, and now and then jumps past any deadline."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.now_ns = 0
        self.jumped = False

    def __call__(self) -> int:
        if self._rng.random() < 0.2:
            self.now_ns += 1_000_000_000
            self.jumped = True
        return self.now_ns


def test_whoever_is_late_says_so_and_says_who_decided(bundles: Path) -> None:
    clock = Jumping(seeded(3))
    engine = Engine(bundle_dir=bundles, geo=shipped(), deadline_us=10_000, clock_ns=clock)
    late = 0
    for payment, at_us in payments(seeded(8), 3_000):
        decision = engine.assess(payment, at_us)
        check([decision])
        if decision.degraded.startswith("deadline"):
            assert decision.fallback
            assert decision.elapsed_us > 10_000
            late += 1
        else:
            assert decision.fallback == ""

    assert late > 500


def refusal_of(risk_context: str) -> InvalidParameter | None:
    """What the door says to a context; anything but a refusal by name is a failure."""
    try:
        read_create(CREATE | {"risk_context": risk_context})
    except InvalidParameter as refusal:
        return refusal
    return None


def test_a_hostile_context_in_a_request_is_read_or_refused_by_name() -> None:
    rng = seeded(9)
    refused = 0
    for _ in range(3_000):
        context = {
            rng.choice([*GROUPS, "other"]): {
                rng.choice([f.name for f in dataclasses.fields(kind)]): rng.choice(
                    [*JSON_VALUES, *FAIR["str | None"]]
                )
                for _ in range(rng.randrange(4))
            }
            for kind in rng.sample(list(GROUPS.values()), 3)
        }
        text = json.dumps(context)
        if rng.random() < 0.2:
            cut = rng.randrange(len(text))
            text = (
                text[:cut] + rng.choice(["", "\x00", "}", '"', "\ud800", "NaN"]) + text[cut + 1 :]
            )
        refusal = refusal_of(text)
        if refusal is not None:
            refused += 1
            assert (refusal.code, refusal.field) == ("1001", "risk_context")

    assert 500 < refused < 2_900


JSON_VALUES: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        1.5,
        1e308,
        10**30,
        "",
        "x" * 300,
        "\ud800",
        "\x00",
        [],
        [1],
        ["a", ["b"]],
    ),
    *({}, {"a": 1}, [[[[[[]]]]]]),
]
