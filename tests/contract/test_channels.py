"""What every adapter promises, against the sandbox. A new kind is one line in the registry."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.channels.base import ChannelReply, Outcome, PaysOut
from gateway.channels.registry import ADAPTERS
from gateway.recon.bills import read_bill
from gateway.recon.record import CHANNEL_ZONES
from gateway.sandbox.faults import Faults
from tests.contract.channel_world import World, run
from tests.sandbox_world import TIMEOUT_S

DAY = "2025-11-22"


@pytest.fixture(params=sorted(ADAPTERS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def told(at: World, outcome: Outcome) -> Callable[[], bool]:
    """Whether the gateway heard of it, or was at least told to ask."""
    return lambda: any(fact.outcome in (outcome, Outcome.ASK) for fact in at.ear.heard)


async def paid(at: World, trade_no: str = "T0000000001") -> ChannelReply:
    trade, opened = await at.open(trade_no)
    await at.payer(opened, action="pay")
    return await at.channel.query(trade, timeout_s=TIMEOUT_S)


def test_a_payment_waits_is_paid_and_known_as_paid(kind: str, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, opened = await at.open()
        before = await at.channel.query(trade, timeout_s=TIMEOUT_S)
        await at.payer(opened, action="pay")
        after = await at.channel.query(trade, timeout_s=TIMEOUT_S)

        assert before.outcome in (Outcome.ACCEPTED, Outcome.NOT_FOUND)
        assert after.outcome is Outcome.PAID
        assert (after.amount_minor, after.currency) == (12_30, at.currency)
        assert after.channel_trade_no
        if not at.channel.poll_s:
            await at.until(told(at, Outcome.PAID))
            assert {fact.trade_no for fact in at.ear.heard} == {"T0000000001"}
            assert all(fact.event_id for fact in at.ear.heard)

    run(kind, tmp_path, play)


def test_opening_twice_is_one_payment(kind: str, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        first_trade, first = await at.open()
        second_trade, second = await at.open()
        await at.payer(first, action="pay")

        known = await at.channel.query(second_trade, timeout_s=TIMEOUT_S)
        assert known.outcome is Outcome.PAID
        assert first_trade.channel_trade_no == second_trade.channel_trade_no
        assert first.pay_url
        assert second.pay_url

    run(kind, tmp_path, play)


def test_a_closed_payment_cannot_be_paid_and_a_paid_one_not_closed(
    kind: str, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        trade, opened = await at.open("T0000000001")
        page = await at.payer_page(opened)
        closed = await at.channel.close(trade, timeout_s=TIMEOUT_S)
        if closed.outcome is Outcome.UNKNOWN:  # It has no close, only the time-out it was given.
            at.clock.forward(1_800 + 300)
            closed = await at.channel.close(trade, timeout_s=TIMEOUT_S)
        again = await at.channel.close(trade, timeout_s=TIMEOUT_S)
        await at.browser.post(page, data={"action": "pay"}, headers={"Accept": "application/json"})
        after = await at.channel.query(trade, timeout_s=TIMEOUT_S)
        other, reply = await at.open("T0000000002")
        await at.payer(reply, action="pay")
        too_late = await at.channel.close(other, timeout_s=TIMEOUT_S)

        assert closed.outcome is Outcome.CLOSED
        assert again.outcome is Outcome.CLOSED
        # Nobody closes an address on a chain: that nothing came is all there is to know.
        ended = Outcome.ACCEPTED if isinstance(at.channel, PaysOut) else Outcome.CLOSED
        assert after.outcome is ended
        assert too_late.outcome is Outcome.PAID

    run(kind, tmp_path, play)


def test_refunds_are_partial_repeatable_and_never_beyond_what_was_paid(
    kind: str, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        trade, opened = await at.open()
        await at.payer(opened, action="pay")
        known = await at.channel.query(trade, timeout_s=TIMEOUT_S)
        trade = at.trade_of(at.request(), known)

        async def refund(number: str, amount_minor: int) -> ChannelReply:
            wanted = at.refund_of(amount_minor, number)
            reply = await at.channel.refund(trade, wanted, timeout_s=TIMEOUT_S)
            if reply.outcome is Outcome.ACCEPTED:  # Accepted means: ask how it ended.
                named = at.refund_of(amount_minor, number, reply.channel_refund_no)
                reply = await at.channel.query_refund(trade, named, timeout_s=TIMEOUT_S)
            return reply

        first = await refund("R0000000001", 10_00)
        repeat = await refund("R0000000001", 10_00)
        beyond = await refund("R0000000002", 2_31)
        rest = await refund("R0000000003", 2_30)
        nothing_left = await refund("R0000000004", 1)

        assert first.outcome is Outcome.REFUNDED
        assert repeat.outcome is Outcome.REFUNDED
        assert beyond.outcome is Outcome.REJECTED
        assert rest.outcome is Outcome.REFUNDED
        assert nothing_left.outcome is Outcome.REJECTED
        assert first.channel_refund_no == repeat.channel_refund_no
        after = await at.channel.query(trade, timeout_s=TIMEOUT_S)
        assert after.outcome is Outcome.PAID  # Refunds are facts of their own.

    run(kind, tmp_path, play)


def test_an_unknown_refund_is_not_found(kind: str, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, opened = await at.open()
        await at.payer(opened, action="pay")
        known = await at.channel.query(trade, timeout_s=TIMEOUT_S)
        trade = at.trade_of(at.request(), known)
        reply = await at.channel.query_refund(trade, at.refund_of(1), timeout_s=TIMEOUT_S)

        assert reply.outcome is Outcome.NOT_FOUND

    run(kind, tmp_path, play)


@pytest.mark.parametrize(
    "faults", [Faults(error_ratio=1.0), Faults(timeout_ratio=1.0, timeout_s=30)]
)
def test_an_error_or_a_timeout_is_unknown_and_never_a_refusal(
    kind: str, faults: Faults, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        trade = at.trade_of(at.request())
        for _ in range(4):
            replies = [
                await at.channel.query(trade, timeout_s=0.05),
                await at.channel.close(trade, timeout_s=0.05),
                await at.channel.refund(trade, at.refund_of(1), timeout_s=0.05),
                await at.channel.query_refund(trade, at.refund_of(1), timeout_s=0.05),
            ]
            # Without the channel's own number some can't ask at all, and say so.
            assert {reply.outcome for reply in replies} <= {Outcome.UNKNOWN, Outcome.NOT_FOUND}
            assert replies[2].outcome is Outcome.UNKNOWN

    run(kind, tmp_path, play, faults=faults)


def test_a_badly_signed_callback_is_refused_and_its_repeat_believed(
    kind: str, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        if at.channel.poll_s:
            pytest.skip("this channel sends no callbacks")
        _, opened = await at.open()
        await at.payer(opened, action="pay")
        await at.until(lambda: bool(at.ear.refused))
        assert at.ear.heard == []
        at.clock.forward(2)
        await at.until(lambda: bool(at.ear.heard))

    run(kind, tmp_path, play, faults=Faults(bad_signature_ratio=1.0))


def test_the_bill_holds_what_moved_in_the_words_of_the_house(kind: str, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, opened = await at.open()
        await at.payer(opened, action="pay")
        known = await at.channel.query(trade, timeout_s=TIMEOUT_S)
        trade = at.trade_of(at.request(), known)
        reply = await at.channel.refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        assert reply.outcome in (Outcome.REFUNDED, Outcome.ACCEPTED)

        file = await at.channel.bill(DAY, timeout_s=TIMEOUT_S)
        bill = read_bill(kind, DAY, file)

        assert kind in CHANNEL_ZONES
        assert sorted(
            (record.kind, record.trade_no, record.amount_minor, record.currency)
            for record in bill.records
        ) == [
            ("PAY", "T0000000001", 12_30, at.currency),
            ("REFUND", "T0000000001", 2_30, at.currency),
        ]
        (refunded,) = [record for record in bill.records if record.kind == "REFUND"]
        assert refunded.refund_no == "R0000000001"

    run(kind, tmp_path, play)
