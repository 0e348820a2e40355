"""What changes under a running gateway: a channel that is late or silent, a promoted model."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from risk.features.catalogue import FEATURE_HASH, FEATURE_NAMES
from risk.scorer import BundleMeta, publish, write_bundle
from tests.fakes import PaidInTheLastSecond, SilentChannel
from tests.stand import Stand, standing, until


def channels(stand: Stand) -> dict[str, Any]:
    mapping = stand.gateway.context.channels
    assert isinstance(mapping, dict)
    return mapping


def test_a_payment_in_the_last_second_wins_against_the_closing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            order = await stand.shop.create()
            fake = PaidInTheLastSecond(channels(stand)["sandbox"], 1230, "CNY")
            channels(stand)["sandbox"] = fake
            stand.clock.advance_s(1_801)
            await until(lambda: stand.shop.heard, what="the notification")

            assert fake.asked == ["close", "query"]
            assert stand.shop.heard[0]["trade_status"] == "SUCCESS"
            assert await stand.shop.status(order["out_trade_no"]) == "SUCCESS"
            assert stand.is_balanced

    asyncio.run(scenario())


def test_a_payment_of_another_amount_is_kept_for_a_person_and_not_asked_about_all_the_time(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            order = await stand.shop.create()
            fake = PaidInTheLastSecond(channels(stand)["sandbox"], 999, "CNY")
            channels(stand)["sandbox"] = fake
            stand.clock.advance_s(1_801)
            for round_no in range(1, 4):
                await until(lambda n=2 * round_no: len(fake.asked) >= n, what=f"round {round_no}")
                await asyncio.sleep(0.2)  # Ten polls of the worker.
                assert len(fake.asked) == 2 * round_no
                stand.clock.advance_s(16)

            assert await stand.shop.status(order["out_trade_no"]) == "WAIT_PAY"
            assert stand.rows("SELECT verdict FROM channel_facts") == [("MISMATCH",)]
            assert stand.rows("SELECT count(*) FROM ledger_entries") == [(0,)]

    asyncio.run(scenario())


def test_an_order_stays_open_while_its_channel_is_silent_and_is_not_asked_all_the_time(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            order = await stand.shop.create()
            real = channels(stand)["sandbox"]
            silent = SilentChannel(
                "http://127.0.0.1:9", b"", stand.shop.client, clock_us=stand.clock
            )
            channels(stand)["sandbox"] = silent
            stand.clock.advance_s(1_801)
            await until(lambda: silent.closings, what="the first question")
            await asyncio.sleep(0.2)  # Ten polls of the worker.

            assert silent.closings == 1
            assert await stand.shop.status(order["out_trade_no"]) == "WAIT_PAY"

            channels(stand)["sandbox"] = real
            stand.clock.advance_s(60)
            await until(lambda: stand.shop.heard, what="the closing after all")
            assert stand.shop.heard[0]["trade_status"] == "CLOSED"

    asyncio.run(scenario())


def test_a_promoted_model_decides_without_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            await stand.shop.create()
            assert stand.rows("SELECT model_version FROM decisions") == [("none",)]
            await asyncio.to_thread(publish_small_model, tmp_path / "bundles", "v-test")
            engine = stand.gateway.context.risk
            assert engine is not None
            await until(lambda: engine.model_version == "v-test", what="the new model")
            await stand.shop.create()

            versions = stand.rows("SELECT model_version FROM decisions ORDER BY seq")
            assert versions == [("none",), ("v-test",)]

    asyncio.run(scenario())


def publish_small_model(bundles: Path, version: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.random((400, len(FEATURE_NAMES)))
    trees = lightgbm.train(
        {"objective": "binary", "num_threads": 1, "verbosity": -1},
        lightgbm.Dataset(x, label=x[:, 0] > 0.5),
        num_boost_round=5,
    )
    text = trees.model_to_string()
    meta = BundleMeta(
        version=version,
        feature_hash=FEATURE_HASH,
        feature_names=FEATURE_NAMES,
        calibration_x=(0.0, 1.0),
        calibration_y=(0.0, 1.0),
        challenge_at=0.97,
        review_at=0.98,
        decline_at=0.99,
        trained_at_us=1,
        model_sha256=hashlib.sha256(text.encode()).hexdigest(),
        metrics={},
    )
    write_bundle(bundles, meta, text)
    publish(bundles, version)
