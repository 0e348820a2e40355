"""What an operating bank's guide to e-CNY says, and messages signed as it says.

The central bank publishes no interface for merchants: a merchant signs up with an operating bank
and follows that bank's guide. `CMB` is the guide of China Merchants Bank to its acquiring platform
(聚合收单, sections 2, 4.2 to 4.7, 4.13, 4.17 and appendix 4). Whatever another bank does otherwise
is in a `Profile` and nowhere else; what is not published is marked there as assumed.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from gateway import sm2
from gateway.channels.base import ChannelProtocolError, Outcome

_BODY_BYTES_MAX: Final = 65_536
_FIELDS_MAX: Final = 20
_FEN: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one bank's guide says: addresses, fixed values, words.

    Attributes:
        order, query, close, refund, refund_query, statement: Paths below the base address.
        fixed: Fields of every message besides its content and signature.
        user_id: The SM2 user id of both sides.
        currency: How the bank writes CNY.
        pay_type: How the bank writes e-CNY in its notifications.
        payment_states, refund_states: The bank's states in our words.
        not_known: Errors after which nothing is known, or which pass by themselves.
        no_such: The bank has no such order or refund.
        unpaid: Not paid so far, or not in time; said when it is asked about or closed.
        paid_already: An order that can't be closed because it was paid.
        misasked: Our message is wrong, which says nothing about any order.
        remembers_us: An order older than this is no longer found, whatever became of it.
        goods_length_max: Characters of a product's name.

    Assumed: slashes in an answer's content. The guide says that they are signed in their escaped
    form and that the text comes so already; it is verified as it comes.
    """

    order: str = "/polypay/v1.0/mchorders/ecny/unifiedOrder"
    query: str = "/polypay/v1.0/mchorders/orderquery"
    close: str = "/polypay/v1.0/mchorders/close"
    refund: str = "/polypay/v1.0/mchorders/refund"
    refund_query: str = "/polypay/v1.0/mchorders/refundquery"
    statement: str = "/polypay/v1.0/mchorders/statementurl"
    fixed: tuple[tuple[str, str], ...] = (
        ("version", "0.0.1"),
        ("encoding", "UTF-8"),
        ("signMethod", "02"),
    )
    user_id: bytes = b"1234567812345678"
    currency: str = "156"
    pay_type: str = "EC"
    payment_states: Mapping[str, Outcome]
    refund_states: Mapping[str, Outcome]
    not_known: frozenset[str]
    no_such: frozenset[str]
    unpaid: frozenset[str]
    paid_already: frozenset[str]
    misasked: frozenset[str]
    remembers_us: int = 15 * 86_400 * 1_000_000
    goods_length_max: int = 200


CMB: Final = Profile(
    payment_states={
        "P": Outcome.ACCEPTED,
        "S": Outcome.PAID,
        "R": Outcome.PAID,  # Paid, and something of it went back.
        "C": Outcome.CLOSED,
        "D": Outcome.CLOSED,
        "F": Outcome.CLOSED,
    },
    refund_states={"P": Outcome.ACCEPTED, "S": Outcome.REFUNDED, "F": Outcome.REJECTED},
    not_known=frozenset(
        {
            "SYSTERM_ERROR",  # Spelt so.
            "SYSTERM_MAINTAINING",
            "OPERATING_FREQUENTLY",
            "ORDERID_DUPLICATION",  # An earlier try came through.
            # The bank pays refunds out of the day's income: the same refund may be asked later.
            "MCH_EXSRFN_AMOUNT_LESS",
            "MCH_FORWARD_AMOUNT_LESS",
            "SUBMCH_FORWARD_AMOUNT_LESS",
            "SERVMCH_FORWARD_AMOUNT_LESS",
        }
    ),
    no_such=frozenset({"CMBORDERID_NOT_EXIST", "CMB_ORDERID_NOT_EXIST", "OCMBORDERID_NOT_EXIST"}),
    unpaid=frozenset({"UNPAIED_ORDER", "ORDERID_INVALID"}),  # Spelt so.
    paid_already=frozenset({"ORDER_PAID", "TRADESTATE_NOT_LAWFUL"}),
    misasked=frozenset(
        {
            "SIGN_ERROR",
            "VERSION_ERROR",
            "ENCODING_ERROR",
            "SIGNMETHOD_ERROR",
            "POST_DATA_EMPTY",
            "UNDEFINED_PRAM",  # Spelt so.
            "JSON_FORMAT_ERROR",
            "MERID_NOT_EXIST",
            "USERID_NOT_EXIST",
            "USERID_CHECK_FAILED",
        }
    ),
)


class Fields:
    """A JSON object of texts; whatever isn't as agreed is refused."""

    def __init__(self, text: str | bytes) -> None:
        try:
            parsed: object = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise ChannelProtocolError(f"ecny: not JSON: {error}") from error
        if not isinstance(parsed, dict):
            raise ChannelProtocolError("ecny: not a JSON object")
        self._parsed: dict[str, object] = parsed

    def text(self, name: str) -> str:
        value = self._parsed.get(name, "")
        if not isinstance(value, str):
            raise ChannelProtocolError(f"ecny: {name} must be text, was {value!r:.40}")
        return value

    def texts(self) -> dict[str, str]:
        return {name: self.text(name) for name in self._parsed}

    def fen(self, name: str) -> int:
        if _FEN.fullmatch(self.text(name)) is None:
            raise ChannelProtocolError(f"ecny: {name} must be fen, was {self.text(name)[:40]!r}")
        return int(self.text(name))

    def same(self, name: str, expected: str) -> None:
        if self.text(name) != expected:
            raise ChannelProtocolError(f"ecny: speaks of another {name} than {expected}")

    def word(self, name: str, meanings: Mapping[str, Outcome]) -> Outcome:
        outcome = meanings.get(self.text(name))
        if outcome is None:
            raise ChannelProtocolError(f"ecny: unknown {name} {self.text(name)[:40]!r}")
        return outcome

    def inner(self, name: str) -> Mapping[str, object]:
        value = self._parsed.get(name, {})
        return value if isinstance(value, dict) else {}


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def text_to_sign(message: Mapping[str, str]) -> bytes:
    """Return what is signed: every field but the signature, sorted, as it stands."""
    return "&".join(
        f"{name}={message[name]}" for name in sorted(message) if name != "sign"
    ).encode()


def signed(message: Mapping[str, str], key: sm2.PrivateKey, profile: Profile) -> dict[str, str]:
    """Sign a message and add the signature."""
    signature = sm2.sign(key, text_to_sign(message), profile.user_id)
    return {**message, "sign": base64.b64encode(signature).decode()}


def check_signed(message: Mapping[str, str], bank: sm2.PublicKey, profile: Profile) -> None:
    """Verify a message of the bank's.

    Raises:
        ChannelProtocolError: if it isn't the bank's, or says it is signed in another way.
    """
    method = dict(profile.fixed)["signMethod"]
    if message.get("signMethod") != method:
        raise ChannelProtocolError("ecny: signed by another method than agreed")
    try:
        signature = base64.b64decode(message.get("sign", ""), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ChannelProtocolError("ecny: the signature isn't base64") from error
    if not sm2.verify(bank, text_to_sign(message), signature, profile.user_id):
        raise ChannelProtocolError("ecny: wrong signature")


def app_headers(app_id: str, app_secret: str, sign: str, timestamp: str) -> dict[str, str]:
    """Make the headers that name the app; the message itself is signed by SM2."""
    text = f"appid={app_id}&secret={app_secret}&sign={sign}&timestamp={timestamp}"
    return {
        "Content-Type": "application/json",
        "appid": app_id,
        "timestamp": timestamp,
        "apisign": hashlib.md5(text.encode()).hexdigest(),  # noqa: S324 - the bank's choice.
    }


def public_key(text: str) -> sm2.PublicKey:
    """Read a key as banks print it: base64 of the DER, in one line.

    Raises:
        BadKey: if it is anything else.
    """
    pem = f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n"
    return sm2.PublicKey.from_pem(pem.encode())


# How the bank names what the wallet's app is called with (`EcnyOrderInfo` on HarmonyOS).
_ORDER_INFO: Final = {
    "merchantNo": "mrchntNo",
    "creditorInstitutionId": "cdtrPtyId",
    "encryptedKey": "encryptKey",
    "encryptedInfo": "encryptInfo",
    "encryptionSN": "ncrptnSN",
}


def order_info(context: Mapping[str, object]) -> str:
    """Return what the merchant's app hands to the wallet, as JSON; '' where a code is scanned.

    It is an envelope for the wallet's side, which alone can open it.
    """
    if not context:
        return ""
    info = {ours: str(context.get(theirs, "")) for ours, theirs in _ORDER_INFO.items()}
    return json.dumps({name: value for name, value in info.items() if value})


def read_form(body: bytes) -> dict[str, str]:
    """Read the form that a notification is.

    Raises:
        ChannelProtocolError: if it is none, too large, or a field stands twice.
    """
    if len(body) > _BODY_BYTES_MAX:
        raise ChannelProtocolError("ecny: notification is too large")
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=True,
            max_num_fields=_FIELDS_MAX,
            errors="strict",
        )
    except ValueError as error:
        raise ChannelProtocolError(f"ecny: not a form: {error}") from error
    if len(dict(pairs)) != len(pairs):
        raise ChannelProtocolError("ecny: a field stands twice")
    return dict(pairs)
