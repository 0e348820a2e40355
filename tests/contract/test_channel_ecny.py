"""e-CNY at the bank: messages that gmssl verifies too, the wallet's envelope, limits, tampering."""

import base64
import json
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import CBC

from gateway import sm2
from gateway.channels.base import ChannelProtocolError, Outcome
from gateway.channels.registry import ADAPTERS
from gateway.sandbox import sm2 as bank_sm2
from gateway.sandbox.faults import Faults
from gateway.sandbox.protocols.ecny_wire import secret_of
from tests.contract.channel_world import World, run
from tests.contract.ecny_world import (
    DAY,
    FINE,
    ORDER,
    QUERY,
    answering,
    as_merchant,
    ask,
    failed,
    peer_of,
    terms,
    text_of,
)
from tests.sandbox_world import TIMEOUT_S


def test_a_merchant_with_gmssl_pays_queries_and_refunds(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        ordered = await ask(at, ORDER, terms(at))
        code = json.loads(ordered["biz_content"])["qrCode"]
        await at.browser.post(code, data={"action": "pay"}, headers={"Accept": "application/json"})
        asked = await ask(at, QUERY, {"orderId": "T0000000001"})
        refund = {
            "orderId": "R0000000001",
            "origOrderId": "T0000000001",
            "txnAmt": "1230",
            "refundAmt": "230",
        }
        refunded = await ask(at, "/polypay/v1.0/mchorders/refund", refund)

        assert json.loads(asked["biz_content"])["tradeState"] == "S"
        assert json.loads(refunded["biz_content"])["refundState"] == "S"

    run("ecny", tmp_path, play)


def test_what_the_adapter_signs_gmssl_verifies(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        sent: list[httpx.Request] = []

        async def keep(request: httpx.Request) -> None:
            sent.append(request)

        at.browser.event_hooks = {"request": [keep], "response": []}
        await at.open()
        message = json.loads(sent[0].content)
        thanks = json.loads(at.channel.notification_answer(accepted=True).body)

        for each in (message, thanks):
            signature = base64.b64decode(each["sign"]).hex()
            assert as_merchant(at).verify_with_sm3(signature, text_of(each))
        assert json.loads(message["biz_content"])["goodsName"] == "茶 b biscuits b 100"

    run("ecny", tmp_path, play)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"txnAmt": "0"}, "TXNAMT_NOT_LAWFUL"),
        ({"txnAmt": "12.30"}, "TXNAMT_NOT_LAWFUL"),
        ({"orderId": "T-1"}, "ORDERID_NOT_LAWFUL"),
        ({"currencyCode": "840"}, "CURRENCYCODE_NOT_LAWFUL"),
        ({"goodsName": "a/b"}, "GOODSNAME_NOT_LAWFUL"),
        ({"orderTimeExpire": "2025-11-22 17:00:00"}, "ORDERTIMEEXPIRE_NOT_LAWFUL"),
        ({"orderTimeExpire": "2025-13-22T17:00:00"}, "ORDERTIMEEXPIRE_NOT_LAWFUL"),
        ({"terminalIp": ""}, "TERMINALIP_NOT_LAWFUL"),
        ({"userId": "N1"}, "USERID_NOT_EXIST"),
        ({"merId": "1"}, "MERID_NOT_EXIST"),
    ],
)
def test_the_bank_is_strict(changes: dict[str, str], code: str, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        said = await ask(at, ORDER, terms(at, **changes))

        assert (said["returnCode"], said["errCode"]) == ("FAIL", code)

    run("ecny", tmp_path, play)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"version": "0.0.2"}, "VERSION_ERROR"),
        ({"signMethod": "01"}, "SIGNMETHOD_ERROR"),
        ({"biz_content": "{}"}, "SIGN_ERROR"),
        ({"sign": "MEUC"}, "SIGN_ERROR"),
        ({"more": "1"}, "UNDEFINED_PRAM"),
    ],
)
def test_a_changed_request_is_refused(changes: dict[str, str], code: str, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        said = await ask(at, ORDER, terms(at), **changes)

        assert (said["returnCode"], said["errCode"]) == ("FAIL", code)

    run("ecny", tmp_path, play)


def test_the_wallets_envelope_opens_for_the_wallet_alone(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        told = at.told | {"transaction_type": "TT03"}
        channel = ADAPTERS["ecny"].open("ecny", told, at.browser, at.clock)
        reply = await channel.pay(at.request(), timeout_s=TIMEOUT_S)
        info = json.loads(reply.prepay_id)
        wallet = secret_of(at.sandbox.protocols["ecny"].desk.keys, "ecny.wallet")
        sealed = base64.b64decode(info["encryptedKey"])

        x, y, tag, hidden = bank_sm2._read_all(sealed, 2, 2, 4, 4)
        point = b"".join(int.from_bytes(each).to_bytes(32) for each in (x, y))
        key = sm2.decrypt(sm2.PrivateKey(wallet), b"\x04" + point + tag + hidden)
        opener = peer_of(wallet, b"")
        cipher = Cipher(SM4(key), CBC(bytes(16))).decryptor()
        inside = cipher.update(base64.b64decode(info["encryptedInfo"])) + cipher.finalize()

        assert opener.decrypt(point + tag + hidden) == key
        assert inside.startswith(b'{"orderNo": "' + reply.channel_trade_no.encode())
        assert b'"amount": "1230"' in inside
        assert set(info) == {
            "merchantNo",
            "creditorInstitutionId",
            "encryptedKey",
            "encryptedInfo",
            "encryptionSN",
        }
        stranger = sm2.PrivateKey.generate()
        with pytest.raises(sm2.DecryptionFailed):
            sm2.decrypt(stranger, b"\x04" + point + tag + hidden)

    run("ecny", tmp_path, play)


def test_sm4_is_used_as_the_banks_guide_shows_it() -> None:
    # The guide's example, section 2.4.4: SM4 in CBC with a zero IV and PKCS #7.
    cipher = Cipher(SM4(b"1234567890123456"), CBC(bytes(16))).decryptor()
    text = base64.b64decode(
        "ZeUBCWhERVgl7iyPZaIfGAqvo160MVexVqY1DoQDIb+j9A98Doqt4/lDVYaqmsEiYKuPJf8s1CNIzHvxQgNP"
        "n+nYJZ3CFHuP6dORZvtrAHY="
    )

    opened = cipher.update(text) + cipher.finalize()

    assert opened.startswith(b'{"location":"+37.12/-121.213"')
    assert opened.endswith(b"}\x02\x02")


@pytest.mark.parametrize(
    ("level", "amounts_fen", "refused"),
    [
        (4, [2_000_00, 2_000_00, 1_000_00], 0),
        (4, [2_000_01], 1),
        (4, [2_000_00, 2_000_00, 1_000_01], 1),
        (3, [5_000_00, 5_000_00, 1], 1),
        (1, [900_000_00], 0),
    ],
)
def test_a_wallet_spends_what_its_level_allows(
    level: int, amounts_fen: list[int], refused: int, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        answers = []
        for number, amount_fen in enumerate(amounts_fen):
            _, reply = await at.open(f"T000000000{number}", amount_minor=amount_fen)
            answers.append(await at.payer(reply, action=f"wallet{level}"))

        codes = [answer["code"] for answer in answers]
        assert codes[: len(codes) - refused] == ["OK"] * (len(codes) - refused)
        assert codes[len(codes) - refused :] == ["WALLET_LIMIT"] * refused

    run("ecny", tmp_path, play)


def test_the_next_day_a_wallet_may_spend_again(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        for number in range(3):
            _, reply = await at.open(f"T000000000{number}", amount_minor=2_000_00)
            answer = await at.payer(reply, action="wallet4")
        assert answer["code"] == "WALLET_LIMIT"
        at.clock.forward(86_400)
        _, reply = await at.open("T0000000009", amount_minor=2_000_00)

        assert (await at.payer(reply, action="wallet4"))["code"] == "OK"

    run("ecny", tmp_path, play)


def test_a_refunds_notification_names_its_payment(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, reply = await at.open()
        await at.payer(reply, action="pay")
        asked = await at.channel.refund(trade, at.refund_of(2_30), timeout_s=TIMEOUT_S)
        at.clock.forward(10)
        await at.until(lambda: len(at.ear.heard) == 2)

        fact = next(each for each in at.ear.heard if each.outcome is Outcome.REFUNDED)
        assert asked.outcome is Outcome.ACCEPTED
        assert (fact.trade_no, fact.refund_no) == ("T0000000001", "R0000000001")
        assert (fact.amount_minor, fact.channel_refund_no) == (2_30, asked.channel_refund_no)

    run("ecny", tmp_path, play, faults=Faults(slow_refund_ratio=1.0))


@pytest.mark.parametrize(
    ("code", "pay", "query", "close", "refund", "query_refund"),
    [
        ("SYSTERM_ERROR", "UNKNOWN", "UNKNOWN", "UNKNOWN", "UNKNOWN", "UNKNOWN"),
        ("SYSTERM_MAINTAINING", "UNKNOWN", "UNKNOWN", "UNKNOWN", "UNKNOWN", "UNKNOWN"),
        ("ORDERID_DUPLICATION", "UNKNOWN", "UNKNOWN", "UNKNOWN", "UNKNOWN", "UNKNOWN"),
        ("MCH_EXSRFN_AMOUNT_LESS", "UNKNOWN", "UNKNOWN", "UNKNOWN", "UNKNOWN", "UNKNOWN"),
        ("CMBORDERID_NOT_EXIST", "REJECTED", "NOT_FOUND", "CLOSED", "REJECTED", "NOT_FOUND"),
        ("UNPAIED_ORDER", "REJECTED", "ACCEPTED", "CLOSED", "REJECTED", "UNKNOWN"),
        ("ORDERID_INVALID", "REJECTED", "ACCEPTED", "CLOSED", "REJECTED", "UNKNOWN"),
        ("ORDER_PAID", "REJECTED", "UNKNOWN", "PAID", "REJECTED", "UNKNOWN"),
        ("NOT_ENOUGH", "REJECTED", "UNKNOWN", "UNKNOWN", "REJECTED", "UNKNOWN"),
    ],
)
def test_every_error_is_read_as_the_guide_says(
    code: str, pay: str, query: str, close: str, refund: str, query_refund: str, tmp_path: Path
) -> None:
    async def play(at: World) -> None:
        channel = answering(at, failed(code), None)
        trade, wanted = at.trade_of(at.request()), at.refund_of(1)

        replies = [
            await channel.pay(at.request(), timeout_s=TIMEOUT_S),
            await channel.query(trade, timeout_s=TIMEOUT_S),
            await channel.close(trade, timeout_s=TIMEOUT_S),
            await channel.refund(trade, wanted, timeout_s=TIMEOUT_S),
            await channel.query_refund(trade, wanted, timeout_s=TIMEOUT_S),
        ]

        assert [reply.outcome for reply in replies] == [pay, query, close, refund, query_refund]

    run("ecny", tmp_path, play)


def test_what_the_bank_forgot_may_still_have_happened(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        trade, wanted = at.trade_of(at.request()), at.refund_of(1)
        channel = answering(at, failed("CMBORDERID_NOT_EXIST"), None)
        at.clock.forward(15 * 86_400 + 1)

        asked = await channel.query_refund(trade, wanted, timeout_s=TIMEOUT_S)
        known = await channel.query(trade, timeout_s=TIMEOUT_S)

        assert (asked.outcome, known.outcome) == (Outcome.UNKNOWN, Outcome.UNKNOWN)

    run("ecny", tmp_path, play)


def test_a_statement_is_fetched_over_https_or_from_the_bank_itself(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        channel = answering(at, FINE, {"fileDownloadUrl": "http://169.254.169.254/file"})

        with pytest.raises(ChannelProtocolError, match="https"):
            await channel.bill(DAY, timeout_s=TIMEOUT_S)

    run("ecny", tmp_path, play)


def test_another_currency_is_refused_without_a_word_to_the_bank(tmp_path: Path) -> None:
    async def play(at: World) -> None:
        reply = await at.channel.pay(at.request(currency="USD"), timeout_s=0.001)

        assert reply.outcome is Outcome.REJECTED

    run("ecny", tmp_path, play)


@pytest.mark.parametrize("setting", ["private_key_hex", "bank_public_key"])
def test_a_key_that_is_none_is_named(setting: str, tmp_path: Path) -> None:
    async def play(at: World) -> None:
        with pytest.raises(ValueError, match=setting):
            ADAPTERS["ecny"].open("ecny", at.told | {setting: "none"}, at.browser, at.clock)

    run("ecny", tmp_path, play)
