"""What Stripe does when asked: sessions opened and expired, refunds made, reports run.

Each verb works in one transaction, together with what is kept under its idempotency key.
"""

import json
import re
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from gateway.sandbox import refunds, trades
from gateway.sandbox.protocols import stripe_objects as objects
from gateway.sandbox.protocols.base import Desk, payer_url
from gateway.sandbox.protocols.stripe_objects import Params, Problem
from gateway.sandbox.trades import Opening, Trade, TradeStatus

NAME: Final = "stripe"
_DAY_S: Final = 86_400
REPORT_TYPE: Final = "balance_change_from_activity.itemized.3"
_SESSION_AGE_S: Final = (1_800, 86_400)
_REFUND_REASONS: Final = ("", "duplicate", "fraudulent", "requested_by_customer")
_PAGE_COUNT_MAX: Final = 100

_SESSION: Final = re.compile(
    r"mode|client_reference_id|expires_at|success_url|cancel_url|locale|customer_email"
    r"|adaptive_pricing\[enabled\]|line_items\[0\]\[quantity\]"
    r"|line_items\[0\]\[price_data\]\[(currency|unit_amount|product_data\]\[name)\]"
    r"|(metadata|payment_intent_data\[metadata\])\[[^\[\]]{1,40}\]"
    r"|payment_intent_data\[description\]|expand\[[0-9]+\]|payment_method_types\[[0-9]+\]"
    r"|payment_method_options\[card\]\[request_three_d_secure\]"
)
_REFUND: Final = re.compile(
    r"payment_intent|charge|amount|reason|metadata\[[^\[\]]{1,40}\]|expand\[[0-9]+\]"
)
_LIST: Final = re.compile(r"limit|starting_after|created\[gte\]|payment_intent|expand\[[0-9]+\]")
_REPORT: Final = re.compile(
    r"report_type|parameters\[(interval_start|interval_end|timezone|columns\]\[[0-9]{1,2})\]"
)
_EXPAND: Final = re.compile(r"expand\[[0-9]*\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read: what its work needs."""

    connection: sqlite3.Connection
    params: Params
    named: Mapping[str, str]
    base_url: str
    now_us: int


Work = Callable[[Call], Mapping[str, object]]


class Verbs:
    """The verbs, and the parameters each knows."""

    def __init__(self, desk: Desk) -> None:
        """Take what the sandbox lends."""
        self._desk = desk

    def table(self) -> tuple[tuple[str, str, re.Pattern[str], Work], ...]:
        """Return method, path, known parameters and work of every verb."""
        sessions, refund_path = "/v1/checkout/sessions", "/v1/refunds"
        return (
            ("POST", sessions, _SESSION, self.create_session),
            ("GET", sessions, _LIST, self.list_sessions),
            ("GET", sessions + "/{id}", _EXPAND, self.session),
            ("POST", sessions + "/{id}/expire", _EXPAND, self.expire),
            ("GET", "/v1/payment_intents/{id}", _EXPAND, self.intent),
            ("POST", refund_path, _REFUND, self.create_refund),
            ("GET", refund_path, _LIST, self.list_refunds),
            ("GET", refund_path + "/{id}", _EXPAND, self.refund),
            ("POST", "/v1/test_helpers/refunds/{id}/expire", _EXPAND, self.fail_refund),
            ("POST", "/v1/reporting/report_runs", _REPORT, self.create_report),
            ("GET", "/v1/reporting/report_runs/{id}", _EXPAND, self.report),
        )

    # Checkout Sessions.

    def create_session(self, call: Call) -> Mapping[str, object]:
        params, line = call.params, "line_items[0][price_data]"
        params.one_of("mode", ("payment",))
        currency = objects.currency_of(params, f"{line}[currency]")
        units = params.integer(f"{line}[unit_amount]") * params.integer("line_items[0][quantity]")
        amount_minor = objects.minor_of(units, currency, f"{line}[unit_amount]")
        now_s = call.now_us // 1_000_000
        expires_at_s = params.integer("expires_at", default=now_s + _SESSION_AGE_S[1])
        if not _SESSION_AGE_S[0] <= expires_at_s - now_s <= _SESSION_AGE_S[1]:
            message = "The `expires_at` timestamp must be between 30 minutes and 24 hours from now"
            raise Problem(message, param="expires_at")
        secure = "payment_method_options[card][request_three_d_secure]"
        kept = {
            "reference": params.text("client_reference_id", default="", length_max=200),
            "metadata": params.map("metadata"),
            "intent_metadata": params.map("payment_intent_data[metadata]"),
            "success_url": params.address("success_url"),
            "cancel_url": params.address("cancel_url") if params.has("cancel_url") else "",
            "secure": params.one_of(secure, ("any", "automatic", "challenge"), default="automatic"),
        }
        opening = Opening(
            protocol=NAME,
            trade_no=secrets.token_hex(12),  # Only an idempotency key makes two requests one.
            pay_type="stripe",
            amount_minor=amount_minor,
            currency=currency,
            subject=params.text(f"{line}[product_data][name]", length_max=250),
            notify_url=self._desk.webhook_url.format(channel=NAME),
            return_url=str(kept["success_url"]),
            challenge=False,
            expires_at_s=expires_at_s,
            extra=json.dumps(kept, ensure_ascii=False),
        )
        trade = trades.open_trade(call.connection, opening, call.now_us)
        return _session(trade, call)

    def session(self, call: Call) -> Mapping[str, object]:
        return _session(self._found(call, "cs_test_"), call)

    def intent(self, call: Call) -> Mapping[str, object]:
        trade = self._found(call, "pi_")
        if trade.status is not TradeStatus.PAID:  # It is made when the payer confirms.
            raise missing("payment_intent", call.named["id"])
        return objects.intent_object(trade)

    def _found(self, call: Call, prefix: str) -> Trade:
        number = call.named["id"]
        if not number.startswith(prefix):
            raise missing("object", number)
        return trades.find_by_channel_no(
            call.connection, NAME, number.removeprefix(prefix), call.now_us
        )

    def list_sessions(self, call: Call) -> Mapping[str, object]:
        rows = call.connection.execute(
            "SELECT trade_no FROM trades WHERE protocol = ? AND opened_at_us >= ?"
            " ORDER BY opened_at_us DESC, trade_no",
            (NAME, call.params.integer("created[gte]", default=0) * 1_000_000),
        )
        found = [trades.find(call.connection, NAME, row["trade_no"], call.now_us) for row in rows]
        return _page("/v1/checkout/sessions", [_session(trade, call) for trade in found], call)

    def expire(self, call: Call) -> Mapping[str, object]:
        trade = self._found(call, "cs_test_")
        if trade.status is not TradeStatus.WAITING:
            message = 'Only Checkout Sessions with a status in ["open"] can be expired.'
            raise Problem(message, executed=True)
        return _session(
            trades.give_up(call.connection, trade, call.now_us, self._desk.announce), call
        )

    # Refunds.

    def create_refund(self, call: Call) -> Mapping[str, object]:
        params = call.params
        intent = params.text("payment_intent", default="")
        number = intent.removeprefix("pi_") or params.text("charge").removeprefix("ch_")
        trade = trades.find_by_channel_no(call.connection, NAME, number, call.now_us)
        left_minor = trade.amount_minor - trade.refunded_minor
        amount_minor = left_minor
        if params.has("amount"):
            units = params.integer("amount")
            amount_minor = objects.minor_of(units, trade.currency, "amount")
        reason = params.one_of("reason", _REFUND_REASONS, default="")
        if trade.status is not TradeStatus.PAID:
            message = "This PaymentIntent does not have a successful charge to refund."
            raise Problem(message, executed=True)
        if not left_minor:
            message = f"Charge ch_{number} has already been refunded."
            raise Problem(message, code="charge_already_refunded", executed=True)
        if amount_minor > left_minor:
            message = "Refund amount is greater than unrefunded amount on charge"
            raise Problem(message, param="amount", executed=True)
        kept = {
            "metadata": params.map("metadata"),
            "reason": reason or None,
            "intent_metadata": json.loads(trade.extra)["intent_metadata"],
        }
        refund = refunds.refund(
            call.connection,
            trade,
            secrets.token_hex(12),
            amount_minor,
            trade.currency,
            call.now_us,
            delay_s=self._desk.dice.refund_delay_s(),
            extra=json.dumps(kept, ensure_ascii=False),
        )
        if refund.refunded_at_us is not None:
            self._desk.announce(call.connection, refunds.refunded(refund, call.now_us))
        return objects.refund_object(refund)

    def refund(self, call: Call) -> Mapping[str, object]:
        return objects.refund_object(self._found_refund(call))

    def _found_refund(self, call: Call) -> trades.Refund:
        number = call.named["id"].removeprefix("re_")
        return refunds.find_by_channel_no(call.connection, NAME, number, call.now_us)

    def list_refunds(self, call: Call) -> Mapping[str, object]:
        intent = call.params.text("payment_intent").removeprefix("pi_")
        trade = trades.find_by_channel_no(call.connection, NAME, intent, call.now_us)
        found = refunds.of_trade(call.connection, trade)
        return _page("/v1/refunds", [objects.refund_object(each) for each in found[::-1]], call)

    def fail_refund(self, call: Call) -> Mapping[str, object]:
        """Let the bank send a refund back, as it may after days; for tests."""
        failed = refunds.fail(
            call.connection, self._found_refund(call), call.now_us, self._desk.announce
        )
        return objects.refund_object(failed)

    # Reports.

    def create_report(self, call: Call) -> Mapping[str, object]:
        params = call.params
        params.one_of("report_type", (REPORT_TYPE,))
        first_s = params.integer("parameters[interval_start]")
        after_s = params.integer("parameters[interval_end]")
        params.one_of("parameters[timezone]", ("Etc/UTC",), default="Etc/UTC")
        if after_s - first_s != _DAY_S or first_s % _DAY_S:
            raise Problem("The sandbox reports whole days of UTC", param="parameters")
        columns = list(params.map("parameters[columns]").values())
        day = datetime.fromtimestamp(first_s, tz=UTC).date().isoformat()
        number = f"frr_{secrets.token_hex(12)}"
        call.connection.execute(
            "INSERT INTO stripe_reports VALUES (?, ?, ?)", (number, day, json.dumps(columns))
        )
        return _report(number, "pending", call.now_us)

    def report(self, call: Call) -> Mapping[str, object]:
        known = call.connection.execute(
            "SELECT id FROM stripe_reports WHERE id = ?", (call.named["id"],)
        ).fetchone()
        if known is None:
            raise missing("report_run", call.named["id"])
        return _report(call.named["id"], "succeeded", call.now_us)


def missing(what: str, number: str) -> Problem:
    """Say that there is no such object."""
    message = f"No such {what}: '{number[:80]}'"
    return Problem(message, http_status=404, code="resource_missing", param="id")


def _session(trade: Trade, call: Call) -> dict[str, object]:
    whole = "payment_intent" in call.params.map("expand").values()
    return objects.session_object(trade, payer_url(call.base_url, trade), with_intent=whole)


def _page(path: str, found: list[dict[str, object]], call: Call) -> Mapping[str, object]:
    after, count = call.params.text("starting_after", default=""), call.params.integer("limit", 10)
    if not 1 <= count <= _PAGE_COUNT_MAX:
        raise Problem("limit must be between 1 and 100", param="limit")
    ids = [each["id"] for each in found]
    if after and after not in ids:
        raise missing("object", after)
    first = ids.index(after) + 1 if after else 0
    page = found[first : first + count]
    return objects.list_object(path, page, more=len(found) > first + count)


def _report(number: str, status: str, now_us: int) -> dict[str, object]:
    file = {"id": number.replace("frr_", "file_", 1), "object": "file", "type": "csv"}
    return {
        "id": number,
        "object": "reporting.report_run",
        "created": now_us // 1_000_000,
        "livemode": False,
        "report_type": REPORT_TYPE,
        "result": file if status == "succeeded" else None,
        "status": status,
    }
