"""A stablecoin on a chain: parts, too much, finality, reorganisations; statements."""

import json
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.channels.base import (
    ChannelProtocolError,
    ChannelReply,
    Notice,
    Outcome,
    PaysOut,
    Trade,
)
from gateway.channels.evm_chain import quantity
from gateway.evm_address import ExtendedKey, address_of
from gateway.recon.bills import BillRefused, read_bill
from gateway.sandbox.faults import Faults
from tests.contract.channel_world import PAYEES, World, run
from tests.contract.evm_world import forwarded, other
from tests.sandbox_world import JSON, TIMEOUT_S

DAY = "2025-11-22"


async def looked(at: World, trade: Trade) -> tuple[Outcome, int | None]:
    reply = await at.channel.query(trade, timeout_s=TIMEOUT_S)
    return reply.outcome, reply.received_minor


def test_the_code_names_token_chain_address_and_amount(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        address = address_of(ExtendedKey.from_text(at.told["xpub"]), trade.trade_no)

        assert reply.channel_trade_no == address
        assert reply.pay_url == (
            f"ethereum:{at.told['token_address']}@31337/transfer?address={address}&uint256=1230"
        )

    run("evm", tmp_path, play)


def test_what_is_missing_is_told_and_parts_add_up(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        page = await at.payer_page(reply)

        assert await looked(at, trade) == (Outcome.ACCEPTED, None)
        await at.browser.post(page, data={"action": "underpay"}, headers=JSON)
        assert await looked(at, trade) == (Outcome.ACCEPTED, 6_15)
        await at.browser.post(page, data={"action": "underpay"}, headers=JSON)
        assert await looked(at, trade) == (Outcome.PAID, 12_30)

    run("evm", tmp_path, play)


def test_too_much_is_paid_and_all_of_it_is_told(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="overpay")
        known = await at.channel.query(trade, timeout_s=TIMEOUT_S)

        assert known.outcome is Outcome.PAID
        assert (known.amount_minor, known.received_minor) == (12_30, 18_45)

    run("evm", tmp_path, play)


def test_only_final_blocks_count_and_what_a_reorganisation_took_never_was(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        page = await at.payer_page(reply)

        await at.browser.post(page, data={"action": "unconfirmed"}, headers=JSON)
        assert await looked(at, trade) == (Outcome.ACCEPTED, 0)
        closing = await at.channel.close(trade, timeout_s=TIMEOUT_S)
        assert closing.outcome is Outcome.UNKNOWN  # Money is on its way.
        await at.browser.post(page, data={"action": "reorg"}, headers=JSON)
        await at.browser.post(page, data={"action": "confirm"}, headers=JSON)
        assert await looked(at, trade) == (Outcome.ACCEPTED, None)
        closed = await at.channel.close(trade, timeout_s=TIMEOUT_S)
        assert closed.outcome is Outcome.CLOSED

        other, reply = await at.open("T0000000002")
        page = await at.payer_page(reply)
        await at.browser.post(page, data={"action": "unconfirmed"}, headers=JSON)
        await at.browser.post(page, data={"action": "confirm"}, headers=JSON)
        await at.browser.post(page, data={"action": "reorg"}, headers=JSON)
        assert await looked(at, other) == (Outcome.PAID, 12_30)  # It was final already.

    run("evm", tmp_path, play)


@pytest.mark.parametrize(("finality", "blocks_on_top", "paid"), [("3", 1, False), ("3", 2, True)])
def test_finality_may_be_a_number_of_blocks(
    finality: str, blocks_on_top: int, paid: bool, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="unconfirmed")
        channel = other(at, finality=finality)

        async def answer(request: httpx.Request) -> httpx.Response:
            true = await forwarded(at, request)
            asked = json.loads(request.content)
            if asked["method"] == "eth_blockNumber":
                newest = quantity(true.json()["result"]) + blocks_on_top
                return httpx.Response(200, json={"jsonrpc": "2.0", "id": 1, "result": hex(newest)})
            return true

        channel = other(at, answer, finality=finality)
        known = await channel.query(trade, timeout_s=TIMEOUT_S)

        assert (known.outcome is Outcome.PAID) == paid

    run("evm", tmp_path, play)


def test_late_money_is_found_by_asking_again(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.channel.close(trade, timeout_s=TIMEOUT_S)
        await at.payer(reply, action="late")

        assert await looked(at, trade) == (Outcome.PAID, 12_30)

    run("evm", tmp_path, play)


def test_many_blocks_are_asked_for_in_ranges(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        for _ in range(4):
            await at.payer(reply, action="underpay")
        ranges: list[tuple[int, int]] = []

        async def answer(request: httpx.Request) -> httpx.Response:
            asked = json.loads(request.content)
            if asked["method"] == "eth_getLogs":
                wanted = asked["params"][0]
                ranges.append((int(wanted["fromBlock"], 16), int(wanted["toBlock"], 16)))
            return await forwarded(at, request)

        known = await other(at, answer, block_range="3").query(trade, timeout_s=TIMEOUT_S)

        assert known.received_minor == 24_60
        assert ranges == [(1, 3), (4, 6), (7, 9), (10, 10)]

    run("evm", tmp_path, play)


def test_an_old_chain_is_not_read_from_its_beginning(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        for number in range(20):
            _, old = await at.open(f"T000000{number:04d}")
            await at.payer(old, action="pay")
        at.clock.forward(7_200)
        trade, reply = await at.open("T0000009999")
        await at.payer(reply, action="pay")
        ranges: list[int] = []

        async def answer(request: httpx.Request) -> httpx.Response:
            asked = json.loads(request.content)
            if asked["method"] == "eth_getLogs":
                ranges.append(int(asked["params"][0]["fromBlock"], 16))
            return await forwarded(at, request)

        known = await other(at, answer).query(trade, timeout_s=TIMEOUT_S)

        assert known.outcome is Outcome.PAID
        assert ranges == [61]

    run("evm", tmp_path, play)


def test_a_refund_goes_to_a_real_address_or_nowhere(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        channel = at.channel
        assert isinstance(channel, PaysOut)
        for text in (
            "",
            "0x12",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",  # Mistyped.
            "0x" + "0" * 40,
            at.told["token_address"],
        ):
            with pytest.raises(ValueError, match=r"."):
                channel.payee(text)

        assert channel.payee(PAYEES["evm"].lower()) == PAYEES["evm"]

    run("evm", tmp_path, play)


def test_a_refund_is_done_when_the_chain_shows_it_for_good(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="pay")
        asked = await at.channel.refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        early = await at.channel.query_refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        await at.payer(reply, action="confirm")
        done = await at.channel.query_refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)

        assert asked.outcome is early.outcome is Outcome.ACCEPTED
        assert done.outcome is Outcome.REFUNDED
        assert early.channel_refund_no == done.channel_refund_no

    run("evm", tmp_path, play, faults=Faults(slow_refund_ratio=1.0))


def test_a_surplus_may_go_back_too_but_no_more(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="overpay")

        async def refund(number: str, amount_minor: int) -> ChannelReply:
            wanted = at.refund_of(amount_minor, number)
            return await at.channel.refund(trade, wanted, timeout_s=TIMEOUT_S)

        assert (await refund("R0000000001", 18_45)).outcome is Outcome.ACCEPTED
        assert (await refund("R0000000002", 1)).outcome is Outcome.REJECTED

    run("evm", tmp_path, play)


def test_a_notification_is_never_believed(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        with pytest.raises(ChannelProtocolError):
            await at.channel.read_notification(Notice(headers={}, body=b"{}"), timeout_s=1)

    run("evm", tmp_path, play)


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"token_decimals": "18"}, "token_decimals"),
        ({"currency": "CNY"}, "token_decimals"),
        ({"xpub": "xprv"}, "xpub"),
        ({"token_address": "0x12"}, "token_address"),
        ({"finality": "soon"}, "finality"),
        ({"chain_id": "mainnet"}, "chain_id"),
        ({"wallet_secret_hex": "secret"}, "wallet_secret_hex"),
    ],
)
def test_a_setting_that_cannot_be_is_named(
    told: dict[str, str], named: str, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        with pytest.raises(ValueError, match=named):
            other(at, None, **told)

    run("evm", tmp_path, play)


def test_another_currency_is_refused(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        reply = await at.channel.pay(at.request(currency="USD"), timeout_s=TIMEOUT_S)

        assert reply.outcome is Outcome.REJECTED

    run("evm", tmp_path, play)


def test_a_statement_sums_what_came_for_one_order(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        _, reply = await at.open()
        await at.payer(reply, action="underpay")
        await at.payer(reply, action="underpay")
        file = await at.channel.bill(DAY, timeout_s=TIMEOUT_S)

        (record,) = read_bill("evm", DAY, file).records
        assert (record.amount_minor, record.trade_no) == (12_30, "T0000000001")
        line = next(each for each in file.decode().splitlines() if ",IN," in each)
        twice = file.replace(line.encode(), f"{line}\n{line}".encode())
        twice = twice.replace(b"#END,2,1230,0", b"#END,3,1845,0")
        assert len(read_bill("evm", DAY, twice).records) == 2  # A duplicate stays to be seen.
        for old, new in (
            (b",615,", b",616,"),
            (b"#END", b"#FIN"),
            (b"USDC,6", b"USDC,18"),
            (b"IN,T", b"IN,T-"),
            (b",IN,", b",OUT,"),
            (b"2025-11-22T", b"2025-11-21T"),
            (b"0x", b"0y"),
        ):
            with pytest.raises(BillRefused):
                read_bill("evm", DAY, file.replace(old, new))

    run("evm", tmp_path, play)


@settings(max_examples=200)
@given(value=st.text(max_size=12))
def test_a_quantity_is_written_in_one_way_alone(value: str) -> None:
    try:
        number = quantity(value)
    except ChannelProtocolError:
        return
    assert hex(number) == value
