"""What the payer may do with a link: look, pay, fail, pay later, pay too late, give up."""

import hmac
import math
import sqlite3
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qs

from gateway.sandbox import trades
from gateway.sandbox.trades import Announce, Pay, Refusal, Trade, bad_request

DELAY_S_MAX: Final = 86_400.0
_FIELDS_MAX: Final = 20


class Action(StrEnum):
    """How the payer behaves; see section 5 of `docs/CHANNELS.md`."""

    PAY = "pay"
    FAIL = "fail"
    DELAY = "delay"
    DUPLICATE = "duplicate"
    LATE = "late"
    CLOSE = "close"


_WITHOUT_CODE: Final = frozenset({Action.FAIL, Action.CLOSE})
_DEFAULT_DELAY_S: Final = {Action.DELAY: 5.0}


@dataclass(frozen=True, slots=True)
class Deed:
    """One act of the payer, as read from the form."""

    action: Action
    delay_s: float
    otp: str


def action_of(body: bytes) -> str:
    """Return the posted form's action, whatever it says; '' if there is none."""
    try:
        form = parse_qs(body.decode("utf-8"), max_num_fields=_FIELDS_MAX)
    except ValueError:
        return ""
    return form.get("action", [""])[0]


def read_form(body: bytes) -> Deed:
    """Read the posted form.

    Raises:
        Refusal: (400 BAD_REQUEST) for an unknown action or a delay that is none.
    """
    try:
        form = parse_qs(body.decode("utf-8"), max_num_fields=_FIELDS_MAX)
        action = Action(form.get("action", [""])[0])
        written = form.get("delay_s", [""])[0].strip()
        delay_s = float(written) if written else _DEFAULT_DELAY_S.get(action, 0.0)
    except ValueError as error:
        raise bad_request("form", "unknown action or malformed delay_s") from error
    if not math.isfinite(delay_s) or not 0.0 <= delay_s <= DELAY_S_MAX:
        raise bad_request("delay_s", f"must be 0 to {DELAY_S_MAX:.0f} seconds")
    return Deed(action, delay_s, form.get("otp", [""])[0].strip())


def act(
    connection: sqlite3.Connection,
    trade: Trade,
    deed: Deed,
    one_time_code: str,
    now_us: int,
    announce: Announce,
    pay: Pay,
) -> Trade:
    """Do what the payer asked for and return the trade as it then stands.

    Raises:
        Refusal: (403 OTP_WRONG) without the code that a challenge asks for; (409 TRADE_CLOSED)
            if the trade no longer waits.
    """
    needs_code = trade.challenge and deed.action not in _WITHOUT_CODE
    if needs_code and not hmac.compare_digest(deed.otp.encode(), one_time_code.encode()):
        raise Refusal(403, "OTP_WRONG", "the one-time code is wrong", "验证码错误")
    match deed.action:
        case Action.PAY | Action.DUPLICATE:
            copies = 2 if deed.action is Action.DUPLICATE else 1
            return pay(connection, trade, now_us, announce, copies, False)
        case Action.FAIL:
            return trades.fail_attempt(connection, trade, now_us)
        case Action.CLOSE:
            return trades.give_up(connection, trade, now_us, announce)
        case Action.DELAY:
            return trades.pay_later(connection, trade, now_us, deed.delay_s, late=False)
        case Action.LATE if deed.delay_s == 0:
            return pay(connection, trade, now_us, announce, 1, True)
        case Action.LATE:
            return trades.pay_later(connection, trade, now_us, deed.delay_s, late=True)
