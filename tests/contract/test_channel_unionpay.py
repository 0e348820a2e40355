"""The adapter to UnionPay: chains, names and signatures; forms, files and what splits an answer."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.channels.base import Channel, ChannelProtocolError, Notice, Outcome
from gateway.channels.unionpay import ADAPTER
from gateway.channels.unionpay_wire import SecretSeal, Wire
from gateway.sandbox.certificates import certificate, pem_of
from gateway.sandbox.faults import Faults
from gateway.sandbox.keys import Keys
from gateway.sandbox.protocols import unionpay_wire as other_side
from gateway.sandbox.protocols.unionpay import UnionPay
from tests.contract.channel_world import World, run
from tests.meddler import Meddler
from tests.sandbox_world import TIMEOUT_S


def opened(at: World, client: httpx.AsyncClient | None = None, **changes: str) -> Channel:
    return ADAPTER.open("unionpay", at.told | changes, client or at.browser, at.clock)


def their_wire(at: World) -> other_side.Wire:
    found = at.sandbox.protocols["unionpay"]
    assert isinstance(found, UnionPay)
    return found.wire


async def heard(at: World) -> dict[str, str]:
    """Pay and return the notification's fields."""
    _, reply = await at.open()
    await at.payer(reply, action="pay")
    await at.until(lambda: bool(at.ear.heard))
    return dict(parse_qsl(at.ear.heard[0].raw.decode()))


async def refused(channel: Channel, fields: dict[str, str]) -> bool:
    notice = Notice(headers={}, body=urlencode(fields).encode())
    try:
        await channel.read_notification(notice, timeout_s=TIMEOUT_S)
    except ChannelProtocolError:
        return True
    return False


@pytest.mark.parametrize("method", ["01", "11", "12"])
def test_every_changed_or_missing_field_of_a_notification_is_refused(
    method: str, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        at.channel = at.ear.channel = opened(at, sign_method=method)
        whole = await heard(at)
        assert whole["signMethod"] == method
        assert not await refused(at.channel, whole)
        for name in whole:
            assert await refused(at.channel, whole | {name: f"{whole[name]}0"}), name
            without = {each: whole[each] for each in whole if each != name}
            assert await refused(at.channel, without), name
        assert await refused(at.channel, whole | {"payCardType": "01"})
        for other in {"01", "11", "12"} - {method}:  # Also where that signature would be right.
            fields = {name: whole[name] for name in whole if not name.startswith("sign")}
            assert await refused(at.channel, their_wire(at).signed(fields, other)), other

    run("unionpay", tmp_path, play)


@pytest.mark.parametrize(
    "change",
    [
        {"merId": "777290058110098"},
        {"txnType": "31"},
        {"txnAmt": "12.30"},
        {"txnAmt": "-1"},
        {"currencyCode": "840"},
        {"queryId": ""},
        {"orderId": ""},
    ],
)
def test_a_signed_notification_that_is_not_as_agreed_is_refused(
    change: dict[str, str], tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        at.channel = at.ear.channel = opened(at, sign_method="11")
        whole = await heard(at)
        fields = {name: whole[name] for name in whole if not name.startswith("sign")} | change
        seal = SecretSeal("11", at.told["secret"])
        signed = Wire(fields["merId"], "11", seal).signed(fields) | {}
        assert await refused(at.channel, signed)

    run("unionpay", tmp_path, play)


@pytest.mark.parametrize("code", ["A6", "03", "01"])
def test_what_is_no_plain_success_is_asked_about(code: str, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        whole = await heard(at)
        fields = {name: whole[name] for name in whole if not name.startswith("sign")}
        body = their_wire(at).notification(fields | {"respCode": code}, "01", valid=True)
        fact = await at.channel.read_notification(
            Notice(headers={}, body=body), timeout_s=TIMEOUT_S
        )
        assert fact.outcome is Outcome.ASK

    run("unionpay", tmp_path, play)


class Impostor(other_side.Wire):
    """Signs as UnionPay's counterpart would, with a certificate of another kind."""

    def __init__(self, keys: Keys, signing: str, **issued: Any) -> None:
        super().__init__(keys)
        assert self.chain
        self.__dict__["signing"] = certificate(keys, signing, **issued)
        self._signing = signing

    def signed(self, fields: Any, method: str, *, valid: bool = True) -> dict[str, str]:
        renamed = Renamed(self._keys, self._signing)
        self._keys = renamed
        return super().signed(fields, method, valid=valid)


class Renamed(Keys):
    """The same folder, with another key in the signing key's place."""

    def __init__(self, keys: Keys, signing: str) -> None:
        super().__init__(keys._folder)
        self._signing = signing

    def rsa(self, name: str) -> Any:
        return super().rsa(self._signing if name == "unionpay.sign" else name)


NAME = f"041@Z12@{other_side.SIGNER}@00000001"


@pytest.mark.parametrize(
    ("issued", "reason"),
    [
        ({"common_name": NAME}, "root"),  # Signed by itself.
        ({"common_name": NAME, "issuer": "unionpay.root"}, "root"),
        ({"common_name": NAME, "issuer": "unionpay.merchant"}, "root"),
        ({"common_name": NAME, "issuer": "unionpay.middle", "is_authority": True}, "root"),
        ({"common_name": "041@Z12@somebody@1", "issuer": "unionpay.middle"}, "else's"),
        ({"common_name": other_side.SIGNER, "issuer": "unionpay.middle"}, "else's"),
        (
            {
                "common_name": NAME,
                "issuer": "unionpay.middle",
                "last": datetime(2021, 1, 1, tzinfo=UTC),
            },
            "expired",
        ),
    ],
)
def test_a_certificate_that_came_along_is_traced_named_and_dated(
    issued: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        whole = await heard(at)
        fields = {name: whole[name] for name in whole if not name.startswith("sign")}
        impostor = Impostor(Keys(tmp_path / "sandbox.keys"), "impostor", **issued)
        body = impostor.notification(fields, "01", valid=True)
        with pytest.raises(ChannelProtocolError, match=reason):
            await at.channel.read_notification(Notice(headers={}, body=body), timeout_s=TIMEOUT_S)

    run("unionpay", tmp_path, play)


def test_the_merchants_own_certificate_is_not_unionpays(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        whole = await heard(at)
        fields = {name: whole[name] for name in whole if not name.startswith("sign")}
        wire = their_wire(at)
        wire.__dict__["signing"] = wire.merchant
        wire._keys = Renamed(Keys(tmp_path / "sandbox.keys"), "unionpay.merchant")
        assert await refused(at.channel, wire.signed(fields, "01"))

    run("unionpay", tmp_path, play)


def _changed(old: bytes, new: bytes) -> Callable[[httpx.Response], httpx.Response]:
    def meddle(answer: httpx.Response) -> httpx.Response:
        assert old in answer.content
        return httpx.Response(answer.status_code, content=answer.content.replace(old, new))

    return meddle


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"origRespCode=05", b"origRespCode=00"),
        (b"respCode=00&", b"respCode=34&"),
        (b"txnAmt=1230", b"txnAmt=1231"),
        (b"signMethod=01", b"signMethod=11"),
        (b"version=5.1.0", b"version=5.0.0"),
        (b"&orderId=", b"&orderId=&orderId="),
        (b"&signature=", b"&signature=A"),
        (b"signPubKeyCert=-----BEGIN", b"signPubKeyCert=-----BEGUN"),
    ],
)
def test_a_changed_answer_is_refused(old: bytes, new: bytes, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="fail")
        meddler = Meddler(at.browser._transport, _changed(old, new))
        async with httpx.AsyncClient(transport=meddler) as middle:
            with pytest.raises(ChannelProtocolError):
                await opened(at, middle).query(trade, timeout_s=TIMEOUT_S)

    run("unionpay", tmp_path, play)


def test_a_changed_form_opens_nothing(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        for name in reply.form:
            changed = dict(reply.form) | {name: f"{reply.form[name]}1"}
            answer = await at.browser.post(reply.pay_url, data=changed)
            assert answer.status_code == 400, name
        known = await at.channel.query(trade, timeout_s=TIMEOUT_S)
        assert known.outcome is Outcome.NOT_FOUND

    run("unionpay", tmp_path, play)


def test_an_app_is_given_a_number_and_paid(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        at.channel = at.ear.channel = opened(at, product="app", sign_method="12")
        trade, reply = await at.open()
        page = await at.browser.get(
            "http://sandbox.test/sandbox/scan", params={"code": reply.prepay_id}
        )
        assert page.next_request is not None
        await at.browser.post(
            page.next_request.url,
            data={"action": "pay"},
            headers={"Accept": "application/json"},
        )
        assert (await at.channel.query(trade, timeout_s=TIMEOUT_S)).outcome is Outcome.PAID

    run("unionpay", tmp_path, play)


def test_a_payment_is_dead_only_some_minutes_after_its_time_out(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, _ = await at.open()
        outcomes = []
        for step_s in (0, 1_799, 2, 298, 1):
            at.clock.forward(step_s)
            outcomes.append((await at.channel.close(trade, timeout_s=TIMEOUT_S)).outcome)
        assert outcomes == [*[Outcome.UNKNOWN] * 4, Outcome.CLOSED]

    run("unionpay", tmp_path, play)


def test_a_slow_refund_is_told_with_the_payment_it_belongs_to(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="pay")
        refund = at.refund_of(2_30)
        first = await at.channel.refund(trade, refund, timeout_s=TIMEOUT_S)
        asked = await at.channel.query_refund(trade, refund, timeout_s=TIMEOUT_S)
        at.clock.forward(3)
        await at.until(lambda: any(fact.refund_no for fact in at.ear.heard))
        told = next(fact for fact in at.ear.heard if fact.refund_no)

        assert first.outcome is asked.outcome is Outcome.ACCEPTED
        assert (told.outcome, told.trade_no, told.refund_no, told.amount_minor) == (
            Outcome.REFUNDED,
            trade.trade_no,
            refund.refund_no,
            2_30,
        )

    run("unionpay", tmp_path, play, faults=Faults(slow_refund_ratio=1.0))


@pytest.mark.parametrize("change", ["private_key", "certificate", "mer_id"])
def test_a_wrong_setting_says_nothing_about_a_payment(change: str, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, _ = await at.open()
        keys = Keys(tmp_path / "stranger")
        wrong = {
            "private_key": keys.rsa_private_pem("stranger"),
            "certificate": pem_of(certificate(keys, "stranger", "stranger")),
            "mer_id": "777290058110098",
        }
        with pytest.raises(ChannelProtocolError):
            await opened(at, None, **{change: wrong[change]}).query(trade, timeout_s=TIMEOUT_S)

    run("unionpay", tmp_path, play)


def test_accounts_that_can_not_be_are_named(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        for change, word in (
            ({"sign_method": "02"}, "sign_method"),
            ({"product": "fax"}, "product"),
            ({"sign_method": "11", "secret": ""}, "secret"),
            ({"middle_certificate": at.told["certificate"]}, "middle_certificate"),
            ({"root_certificate": at.told["middle_certificate"]}, "root_certificate"),
        ):
            with pytest.raises(ValueError, match=word):
                opened(at, None, **change)

    run("unionpay", tmp_path, play)


VALUE = st.text(st.characters(exclude_characters="&{}[]", exclude_categories=["Cs"]), max_size=30)
BRACED = st.builds("{{{}}}".format, st.text("ab=&1", max_size=9)) | st.builds(
    "成功[{}]".format, st.text("ab=&1", max_size=9)
)
NAME_TEXT = st.text("abcdefghij", min_size=1, max_size=6).map(lambda name: f"x{name}")


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(NAME_TEXT, VALUE | BRACED, max_size=6))
def test_any_signed_answer_is_split_as_it_was_joined(fields: dict[str, str]) -> None:
    whole = fields | {"version": "5.1.0", "signMethod": "11"}
    text = "&".join(f"{name}={whole[name]}" for name in sorted(whole) if whole[name])
    tail = hashlib.sha256(b"secret").hexdigest()
    whole["signature"] = hashlib.sha256(f"{text}&{tail}".encode()).hexdigest()
    raw = "&".join(f"{name}={value}" for name, value in whole.items()).encode()

    read = Wire("777290058110097", "11", SecretSeal("11", "secret")).read_answer(raw)

    assert {name: read.text(name) for name in fields} == fields
