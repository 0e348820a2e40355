"""What a node or a wallet says that it never should is refused, or counts for nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.channels.base import ChannelProtocolError, Outcome
from gateway.channels.registry import ADAPTERS
from tests.contract.channel_world import World, run
from tests.contract.evm_world import each_log, forwarded, node_says, other
from tests.sandbox_world import START_US, TIMEOUT_S


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("eth_chainId", lambda _: "0x1"),
        ("eth_chainId", lambda _: 31337),
        ("eth_call", lambda _: "0x12"),
        ("eth_call", lambda _: "0x" + "f" * 64),
        ("eth_getLogs", lambda _: {}),
        ("eth_getLogs", each_log(data="0x")),
        ("eth_getLogs", each_log(data="0x" + "0" * 63)),
        ("eth_getLogs", each_log(address="0x" + "1" * 40)),
        ("eth_getLogs", each_log(topics=["0x" + "0" * 64] * 3)),
        ("eth_getLogs", each_log(topics=[])),
        ("eth_getLogs", each_log(blockNumber="12")),
        ("eth_getBlockByNumber", lambda _: []),
    ],
)
def test_a_node_that_answers_something_else_is_refused(
    method: str, change: Callable[[Any], object], tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="pay")

        with pytest.raises(ChannelProtocolError):
            await node_says(at, method, change).query(trade, timeout_s=TIMEOUT_S)

    run("evm", tmp_path, play)


@pytest.mark.parametrize(
    "change",
    [
        each_log(removed=True),
        each_log(blockHash="0x" + "0" * 64),
        each_log(blockNumber="0xffff"),
        lambda logs: logs * 2,
    ],
)
def test_a_log_that_does_not_stand_in_the_chain_does_not_count_and_none_counts_twice(
    change: Callable[[Any], object], tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="pay")
        channel = node_says(at, "eth_getLogs", change)

        known = await channel.query(trade, timeout_s=TIMEOUT_S)

        doubled = len(json.loads(json.dumps(change([{}])))) == 2
        assert known.received_minor == (12_30 if doubled else 0)

    run("evm", tmp_path, play)


def test_a_node_that_refuses_says_nothing_about_the_payment(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, _ = await at.open()

        async def answer(_: httpx.Request) -> httpx.Response:
            error = {"code": -32005, "message": "limit exceeded"}
            return httpx.Response(200, json={"jsonrpc": "2.0", "id": 1, "error": error})

        known = await other(at, answer).query(trade, timeout_s=TIMEOUT_S)

        assert known.outcome is Outcome.UNKNOWN

    run("evm", tmp_path, play)


def test_a_wallet_with_another_key_opens_nothing(tmp_path: Path) -> None:
    xpub = (
        "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDz"
        "TJY47LJhkJ8UB7WEGuduB"
    )

    async def play(at: World) -> None:
        with pytest.raises(ChannelProtocolError, match="another address"):
            await other(at, xpub=xpub).pay(at.request(), timeout_s=TIMEOUT_S)

    run("evm", tmp_path, play)


@pytest.mark.parametrize(
    "meddle",
    [
        lambda answer: httpx.Response(200, content=answer.content),
        lambda answer: httpx.Response(404, content=answer.content, headers=answer.headers),
        lambda answer: httpx.Response(
            200, content=answer.content.replace(b"WAITING", b"waiting"), headers=answer.headers
        ),
    ],
)
def test_a_changed_answer_of_the_wallet_is_refused(
    meddle: Callable[[httpx.Response], httpx.Response], tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        async def answer(request: httpx.Request) -> httpx.Response:
            return meddle(await forwarded(at, request))

        with pytest.raises(ChannelProtocolError, match="signature"):
            await other(at, answer).pay(at.request(), timeout_s=TIMEOUT_S)

    run("evm", tmp_path, play)


def test_a_wallet_answers_nobody_else_and_nothing_old(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        stranger = other(at, wallet_secret_hex="00" * 32)
        with pytest.raises(ChannelProtocolError):
            await stranger.pay(at.request(), timeout_s=TIMEOUT_S)
        behind = ADAPTERS["evm"].open("evm", at.told, at.browser, lambda: START_US - 400_000_000)
        with pytest.raises(ChannelProtocolError, match="STALE"):
            await behind.pay(at.request(), timeout_s=TIMEOUT_S)

    run("evm", tmp_path, play)


@pytest.mark.parametrize(
    "change",
    [
        lambda receipt: receipt | {"status": "0x0"},
        lambda receipt: receipt | {"logs": []},
        lambda receipt: receipt | {"logs": [receipt["logs"][0] | {"data": "0x" + "0" * 63 + "1"}]},
    ],
)
def test_a_transaction_that_is_not_the_refund_is_refused(
    change: Callable[[Any], object], tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="pay")
        await at.channel.refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        channel = node_says(at, "eth_getTransactionReceipt", change)

        with pytest.raises(ChannelProtocolError):
            await channel.query_refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)

    run("evm", tmp_path, play)
