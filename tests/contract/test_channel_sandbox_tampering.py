"""Whatever was changed on its way between gateway and sandbox is refused, in both directions."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest

from gateway.channels.base import ChannelProtocolError, Notice, Outcome
from gateway.channels.sandbox import SandboxChannel
from gateway.sandbox.protocols.house import House
from tests.meddler import Meddler
from tests.sandbox_world import BASE, START_US, TIMEOUT_S, Clock, World, house, run, trade


def test_a_changed_link_is_refused(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        link = at.link()
        for changed in (
            link.replace("amount_minor=1230", "amount_minor=1"),
            link[:-1] + ("0" if link[-1] != "0" else "1"),
            link.partition("&sign=")[0],
            link + "&amount_minor=1",
        ):
            for accept in ("application/json", "text/html"):
                answer = await at.browser.post(
                    changed, data={"action": "pay"}, headers={"Accept": accept}
                )
                assert answer.status_code == 401
        assert (await at.query()).outcome is Outcome.NOT_FOUND

    run(tmp_path, play)


def test_requests_signed_with_another_secret_or_too_old_are_refused(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        stranger = SandboxChannel(BASE, b"guessed", at.browser, clock_us=at.clock)
        behind = Clock(at.clock.now_us - 400_000_000)
        sleeper = house(tmp_path, BASE, at.browser, behind)

        for channel in (stranger, sleeper):
            with pytest.raises(ChannelProtocolError):
                await channel.close(trade(), timeout_s=TIMEOUT_S)
        assert (await at.query()).outcome is Outcome.NOT_FOUND

    run(tmp_path, play)


def _with_body(answer: httpx.Response) -> httpx.Response:
    body = answer.content.replace(b'"WAITING"', b'"PAID"')
    headers = [(name, value) for name, value in answer.headers.items() if "sandbox" in name]
    return httpx.Response(answer.status_code, headers=headers, content=body)


def _as_not_found(answer: httpx.Response) -> httpx.Response:
    headers = [(name, value) for name, value in answer.headers.items() if "sandbox" in name]
    return httpx.Response(404, headers=headers, content=answer.content)


def _unsigned(answer: httpx.Response) -> httpx.Response:
    return httpx.Response(answer.status_code, content=answer.content)


@pytest.mark.parametrize("meddle", [_with_body, _as_not_found, _unsigned])
def test_a_changed_answer_is_refused(
    tmp_path: Path, meddle: Callable[[httpx.Response], httpx.Response]
) -> None:
    async def play(at: World) -> None:
        await at.browser.get(at.link())
        async with httpx.AsyncClient(transport=Meddler(at.browser._transport, meddle)) as middle:
            channel = house(tmp_path, BASE, middle, at.clock)
            with pytest.raises(ChannelProtocolError):
                await channel.query(trade("T0000000001"), timeout_s=TIMEOUT_S)

    run(tmp_path, play)


def test_a_recorded_answer_does_not_answer_another_question(tmp_path: Path) -> None:
    recorded: list[httpx.Response] = []

    def replay_first(answer: httpx.Response) -> httpx.Response:
        recorded.append(answer)
        first = recorded[0]
        headers = [(name, value) for name, value in first.headers.items() if "sandbox" in name]
        return httpx.Response(first.status_code, headers=headers, content=first.content)

    async def play(at: World) -> None:
        await at.browser.get(at.link())
        async with httpx.AsyncClient(
            transport=Meddler(at.browser._transport, replay_first)
        ) as middle:
            channel = house(tmp_path, BASE, middle, at.clock)
            first = await channel.query(trade("T0000000001"), timeout_s=TIMEOUT_S)
            assert first.outcome is Outcome.ACCEPTED
            with pytest.raises(ChannelProtocolError, match="wrong signature"):
                await channel.query(trade("T0000000001"), timeout_s=TIMEOUT_S)

    run(tmp_path, play)


def test_a_changed_or_stale_notification_is_refused(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        protocol = at.sandbox.protocols["sandbox"]
        assert isinstance(protocol, House)
        from_sandbox = protocol.wire.sign_notification
        body = json.dumps(
            {
                "event_id": "E1",
                "event": "PAID",
                "trade_no": "T1",
                "channel_trade_no": "S1",
                "refund_no": "",
                "amount_minor": 1,
                "currency": "CNY",
                "at_us": START_US,
            }
        ).encode()
        headers = from_sandbox(body, at.clock(), True)
        old = from_sandbox(body, at.clock() - 400_000_000, True)
        broken = b'{"event_id": "E1", "event": "PAID", "trade_no": "T1", "amount_minor": "1"}'

        async def read(given: Mapping[str, str], sent: bytes) -> str:
            lower = {name.lower(): value for name, value in given.items()}
            notice = Notice(headers=lower, body=sent)
            return (await at.channel.read_notification(notice, timeout_s=1)).event_id

        assert await read(headers, body) == "E1"
        for given, sent in (
            (headers, body.replace(b'"amount_minor": 1', b'"amount_minor": 9')),
            ({}, body),
            ({**headers, "X-Sandbox-Signature": "é"}, body),
            ({**headers, "X-Sandbox-Timestamp": "٣"}, body),
            (old, body),
            (from_sandbox(broken, at.clock(), True), broken),
            (from_sandbox(b"[]", at.clock(), True), b"[]"),
            (from_sandbox(b"{", at.clock(), True), b"{"),
            (from_sandbox(b"x" * 70_000, at.clock(), True), b"x" * 70_000),
        ):
            with pytest.raises(ChannelProtocolError):
                await read(given, sent)

    run(tmp_path, play)
