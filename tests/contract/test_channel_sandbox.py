"""The sandbox adapter against the real sandbox: whole cycles, faults, restarts, real HTTP."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from gateway.channels.base import ChannelProtocolError, Outcome
from gateway.channels.sandbox import SandboxChannel
from gateway.sandbox.app import Sandbox, build
from gateway.sandbox.faults import Faults
from tests.sandbox_world import (
    JSON,
    TIMEOUT_S,
    Clock,
    World,
    house,
    refund_of,
    request,
    run,
    trade,
)


def test_a_link_is_paid_and_the_gateway_hears_of_it_once(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        link = at.link()
        assert (await at.query()).outcome is Outcome.NOT_FOUND

        page = await at.browser.get(link)
        assert (await at.query()).outcome is Outcome.ACCEPTED
        paid = await at.act(link, action="pay")
        await at.until(lambda: bool(at.gateway.heard))

        assert page.status_code == 200
        assert "茶 &amp; &lt;b&gt;biscuits" in page.text
        assert "<b>biscuits" not in page.text
        assert "12.30" in page.text
        assert paid["status"] == "PAID"
        reply = await at.query()
        assert (reply.outcome, reply.amount_minor, reply.currency) == (Outcome.PAID, 12_30, "CNY")
        assert [fact.outcome for fact in at.gateway.heard] == [Outcome.PAID]
        assert at.gateway.heard[0].channel_trade_no == reply.channel_trade_no != ""
        assert (await at.act(link, action="pay"))["status"] == "PAID"
        assert await at.sandbox.pending_callbacks() == 0
        assert len(at.gateway.heard) == 1

    run(tmp_path, play)


def test_wechat_is_opened_by_asking_and_the_same_number_again_is_the_same(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        wanted = request(pay_type="wechat")

        assert at.channel.link(wanted) is None
        first = await at.channel.pay(wanted, timeout_s=TIMEOUT_S)
        again = await at.channel.pay(wanted, timeout_s=TIMEOUT_S)
        other = await at.channel.pay(
            request(pay_type="wechat", amount_minor=1), timeout_s=TIMEOUT_S
        )

        assert first.outcome is Outcome.ACCEPTED
        assert (first.prepay_id, first.pay_url) == (again.prepay_id, again.pay_url)
        assert first.prepay_id
        assert other.outcome is Outcome.REJECTED
        assert (await at.act(first.pay_url, action="pay"))["status"] == "PAID"

    run(tmp_path, play)


def test_a_duplicate_callback_carries_the_same_event_id(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        await at.act(at.link(), action="duplicate")
        await at.until(lambda: len(at.gateway.heard) == 2)

        assert len({fact.event_id for fact in at.gateway.heard}) == 1

    run(tmp_path, play)


def test_a_failed_attempt_leaves_the_trade_waiting_and_silent(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        link = at.link()
        failed = await at.act(link, action="fail")

        assert (failed["status"], failed["failed_attempts"]) == ("WAITING", 1)
        assert (await at.act(link, action="close"))["status"] == "CLOSED"
        assert (await at.act(link, action="pay"))["code"] == "TRADE_CLOSED"
        await at.until(lambda: bool(at.gateway.heard))
        assert [fact.outcome for fact in at.gateway.heard] == [Outcome.CLOSED]

    run(tmp_path, play)


def test_a_delayed_payment_arrives_by_itself_unless_closed_by_then(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        await at.act(at.link("T0000000001"), action="delay", delay_s="60")
        await at.act(at.link("T0000000002"), action="delay", delay_s="60")
        closed = await at.channel.close(trade("T0000000002"), timeout_s=TIMEOUT_S)
        at.clock.forward(61)
        await at.until(lambda: bool(at.gateway.heard))

        assert closed.outcome is Outcome.CLOSED
        assert [fact.trade_no for fact in at.gateway.heard] == ["T0000000001"]
        assert (await at.query("T0000000002")).outcome is Outcome.CLOSED

    run(tmp_path, play)


def test_late_money_arrives_although_the_trade_was_closed(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        link = at.link()
        await at.act(link, action="late", delay_s="60")
        closed = await at.channel.close(trade("T0000000001"), timeout_s=TIMEOUT_S)
        at.clock.forward(61)
        await at.until(lambda: bool(at.gateway.heard))

        assert closed.outcome is Outcome.CLOSED
        assert at.gateway.heard[0].outcome is Outcome.PAID
        assert (await at.query()).outcome is Outcome.PAID

    run(tmp_path, play)


def test_an_expired_trade_is_closed_and_only_late_money_gets_in(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        link = at.link()
        await at.browser.get(link)
        at.clock.forward(1_801)

        assert (await at.query()).outcome is Outcome.CLOSED
        assert (await at.act(link, action="pay"))["http"] == 409
        assert (await at.act(link, action="late"))["status"] == "PAID"

    run(tmp_path, play)


def test_a_number_never_heard_of_is_closed_in_advance(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        closed = await at.channel.close(trade("T0000000001"), timeout_s=TIMEOUT_S)

        assert closed.outcome is Outcome.CLOSED
        assert (await at.act(at.link(), action="pay"))["code"] == "TRADE_CLOSED"
        late = await at.act(at.link(), action="late")
        assert (late["status"], late["amount_minor"]) == ("PAID", 12_30)
        assert (await at.channel.close(trade("T0000000001"), timeout_s=1)).outcome is Outcome.PAID

    run(tmp_path, play)


def test_a_challenged_payer_must_type_the_code(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        link = at.link(challenge=True)
        shown = (await at.browser.get(link, headers=JSON)).json()
        page = (await at.browser.get(link)).text
        wrong = await at.act(link, action="pay", otp="x")
        right = await at.act(link, action="pay", otp=shown["otp_hint"])

        assert shown["challenge"] is True
        assert shown["otp_hint"] in page
        assert (wrong["http"], wrong["code"]) == (403, "OTP_WRONG")
        assert right["status"] == "PAID"

    run(tmp_path, play)


def test_refunds_are_idempotent_and_never_exceed_what_was_paid(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        async def refund(refund_no: str, amount_minor: int) -> Outcome:
            reply = await at.channel.refund(
                trade("T0000000001"), refund_of(amount_minor, refund_no), timeout_s=TIMEOUT_S
            )
            return reply.outcome

        assert await refund("R0000000001", 1) is Outcome.REJECTED
        await at.act(at.link(), action="fail")
        assert await refund("R0000000001", 1) is Outcome.REJECTED
        await at.act(at.link(), action="pay")

        assert await refund("R0000000001", 10_00) is Outcome.REFUNDED
        assert await refund("R0000000001", 10_00) is Outcome.REFUNDED
        assert await refund("R0000000001", 9_00) is Outcome.REJECTED
        assert await refund("R0000000002", 2_31) is Outcome.REJECTED
        assert await refund("R0000000002", 2_30) is Outcome.REFUNDED
        known = await at.channel.query_refund(
            trade("T0000000001"), refund_of(2_30, "R0000000002"), timeout_s=TIMEOUT_S
        )
        unknown = await at.channel.query_refund(
            trade("T0000000001"), refund_of(2_30, "R0000000009"), timeout_s=TIMEOUT_S
        )
        assert (known.outcome, known.amount_minor) == (Outcome.REFUNDED, 2_30)
        assert unknown.outcome is Outcome.NOT_FOUND

    run(tmp_path, play)


def test_a_slow_refund_is_accepted_and_announced_when_done(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        await at.act(at.link(), action="pay")
        started = await at.channel.refund(
            trade("T0000000001"), refund_of(5, "R0000000001"), timeout_s=1
        )
        at.clock.forward(3)
        await at.until(lambda: len(at.gateway.heard) == 2)

        assert started.outcome is Outcome.ACCEPTED
        done = at.gateway.heard[1]
        assert (done.outcome, done.refund_no, done.amount_minor) == (
            Outcome.REFUNDED,
            "R0000000001",
            5,
        )

    run(tmp_path, play, faults=Faults(slow_refund_ratio=1.0, slow_refund_s=2.0))


def test_an_unheard_callback_is_repeated_also_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()

    async def unheard(at: World) -> None:
        at.gateway.accepts = False
        await at.act(at.link(), action="pay")
        await at.until(lambda: bool(at.gateway.heard))
        assert await at.sandbox.pending_callbacks() == 1

    async def heard(at: World) -> None:
        assert await at.sandbox.pending_callbacks() == 1
        at.clock.forward(2)
        await at.until(lambda: bool(at.gateway.heard))
        async with asyncio.timeout(10):
            while await at.sandbox.pending_callbacks():
                await asyncio.sleep(0.01)
        assert at.gateway.heard[0].outcome is Outcome.PAID

    run(tmp_path, unheard, clock=clock)
    run(tmp_path, heard, clock=clock)


def test_a_badly_signed_callback_is_refused_and_its_repeat_believed(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        await at.act(at.link(), action="pay")
        await at.until(lambda: bool(at.gateway.refused))
        assert at.gateway.heard == []
        at.clock.forward(2)
        await at.until(lambda: bool(at.gateway.heard))

        assert at.gateway.refused == ["sandbox: wrong signature"]

    run(tmp_path, play, faults=Faults(bad_signature_ratio=1.0))


def test_a_wrong_amount_comes_under_an_id_of_its_own(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        await at.act(at.link(), action="pay")
        await at.until(lambda: len(at.gateway.heard) == 2)

        wrong, right = sorted(at.gateway.heard, key=lambda fact: -(fact.amount_minor or 0))
        assert (wrong.amount_minor, right.amount_minor) == (12_31, 12_30)
        assert wrong.event_id != right.event_id

    run(tmp_path, play, faults=Faults(wrong_amount_ratio=1.0))


@pytest.mark.parametrize(
    "faults", [Faults(error_ratio=1.0), Faults(timeout_ratio=1.0, timeout_s=30.0)]
)
def test_an_error_or_a_timeout_is_unknown_and_never_a_refusal(
    tmp_path: Path, faults: Faults
) -> None:
    async def play(at: World) -> None:
        await at.act(at.link(), action="pay")
        for _ in range(4):
            replies = [
                await at.channel.query(trade("T0000000001"), timeout_s=0.05),
                await at.channel.close(trade("T0000000001"), timeout_s=0.05),
                await at.channel.refund(
                    trade("T0000000001"), refund_of(1, "R0000000001"), timeout_s=0.05
                ),
                await at.channel.query_refund(
                    trade("T0000000001"), refund_of(2_30, "R0000000001"), timeout_s=0.05
                ),
                await at.channel.pay(request(pay_type="wechat"), timeout_s=0.05),
            ]
            assert {reply.outcome for reply in replies} == {Outcome.UNKNOWN}

    run(tmp_path, play, faults=faults)


def test_nobody_listening_is_unknown_too() -> None:
    async def play() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # Bound and not listening: a connection is refused.
            base = f"http://127.0.0.1:{taken.getsockname()[1]}"
            async with httpx.AsyncClient() as client:
                channel = SandboxChannel(base, b"secret", client, clock_us=Clock())
                assert (await channel.query(trade("T1"), timeout_s=1)).outcome is Outcome.UNKNOWN
                with pytest.raises(ChannelProtocolError, match="can't be had"):
                    await channel.bill("2025-11-22", timeout_s=1)

    asyncio.run(play())


@pytest.mark.parametrize(
    "form", [{}, {"action": "steal"}, {"action": "delay", "delay_s": "nan"}, {"delay_s": "1"}]
)
def test_a_malformed_form_is_refused(tmp_path: Path, form: dict[str, str]) -> None:
    async def play(at: World) -> None:
        assert (await at.act(at.link(), **form))["http"] == 400

    run(tmp_path, play)


def test_a_reloaded_page_does_not_pay_again(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        answer = await at.browser.post(at.link(), data={"action": "pay"})
        page = await at.browser.get(httpx.URL(at.link()).join(answer.headers["location"]))

        assert answer.status_code == 303
        assert 'data-status="PAID"' in page.text

    run(tmp_path, play)


def test_the_bill_holds_the_day_and_another_day_is_empty(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        await at.act(at.link(), action="pay")
        await at.channel.refund(
            trade("T0000000001"), refund_of(2_30, "R0000000001"), timeout_s=TIMEOUT_S
        )
        file = (await at.channel.bill("2025-11-22", timeout_s=TIMEOUT_S)).decode().splitlines()
        empty = (await at.channel.bill("2025-11-21", timeout_s=TIMEOUT_S)).decode().splitlines()

        assert file[0].startswith("#YUMEN-SANDBOX-BILL,1,sha256=")
        assert ",T0000000001,PAY,,12.30,CNY,0.00,2025-11-22T16:26:40.000+08:00" in file[2]
        assert ",T0000000001,REFUND,R0000000001,2.30,CNY,0.00," in file[3]
        assert file[4:] == ["#SUMMARY,CNY,1,12.30,1,2.30,0.00", "#END,2"]
        assert empty[2:] == ["#END,0"]
        for day in ("yesterday", "20251122", ""):
            with pytest.raises(ChannelProtocolError, match="BAD_REQUEST"):
                await at.channel.bill(day, timeout_s=TIMEOUT_S)

    run(tmp_path, play)


@contextmanager
def served(sandbox: Sandbox) -> Iterator[str]:
    """Serve the sandbox on a free port by a real server; its lifespan starts the courier."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # From here on a connection waits for the server instead of failing.
        server = uvicorn.Server(uvicorn.Config(sandbox.app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def test_the_whole_cycle_over_real_http(tmp_path: Path) -> None:
    clock = Clock()

    async def play(base: str) -> None:
        async with httpx.AsyncClient() as client:
            channel = house(tmp_path, base, client, clock)
            wanted = request(pay_type="wechat", notify_url="")
            opened = await channel.pay(wanted, timeout_s=TIMEOUT_S)
            await client.post(opened.pay_url, data={"action": "pay"}, headers=JSON)
            paid = await channel.query(trade("T0000000001"), timeout_s=TIMEOUT_S)
            refunded = await channel.refund(
                trade("T0000000001"), refund_of(30, "R0000000001"), timeout_s=TIMEOUT_S
            )
            closed = await channel.close(trade("T0000000001"), timeout_s=TIMEOUT_S)
            health = await client.get(f"{base}/healthz")
            file = await channel.bill("2025-11-22", timeout_s=TIMEOUT_S)

        assert opened.pay_url.startswith(f"{base}/pay?")
        assert (paid.outcome, refunded.outcome, closed.outcome) == (
            Outcome.PAID,
            Outcome.REFUNDED,
            Outcome.PAID,
        )
        assert health.json() == {"status": "ok", "pending_callbacks": 0}
        assert file.endswith(b"#SUMMARY,CNY,1,12.30,1,0.30,0.00\n#END,2\n")

    with served(build(tmp_path, clock)) as base:
        asyncio.run(play(base))
