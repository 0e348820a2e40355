"""One synthetic payment as the demo, the replay and the training set take it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import pyarrow as pa

from risk.transaction import (
    Basket,
    Behavior,
    Client,
    Device,
    Geo,
    Instrument,
    Payee,
    Payer,
    RiskContext,
    Session,
    Transaction,
)

BATCH_ROWS = 8_192
CODE_COLUMNS = ("device_risk_labels", "behavior_pasted")  # Words joined by "|".
GROUPS: dict[str, type[Any]] = {
    "payer": Payer,
    "instrument": Instrument,
    "payee": Payee,
    "client": Client,
    "device": Device,
    "geo": Geo,
    "behavior": Behavior,
    "session": Session,
    "order": Basket,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticPayment:
    """One payment of the synthetic world, with the truth about it.

    Attributes:
        at_us: When the payer pays, Unix microseconds.
        merchant: Name of the synthetic seller.
        amount_minor: Fen.
        currency: ISO 4217 code.
        pay_type: alipay, wechat or unionpay.
        context: What the merchant would send along.
        is_fraud: The truth, which nobody knows at `at_us`.
        fraud_kind: One of `fraud.KIND_NAMES`; empty if honest.
        label_known_at_us: When the truth becomes known, or None if it never does.
    """

    at_us: int
    merchant: str
    amount_minor: int
    currency: str
    pay_type: str
    context: RiskContext
    is_fraud: bool
    fraud_kind: str
    label_known_at_us: int | None

    def transaction(self, event_id: str, merchant_id: str = "") -> Transaction:
        """This payment as the risk engine is told of it; `merchant_id` defaults to `merchant`."""
        return Transaction(
            event_id=event_id,
            merchant_id=merchant_id or self.merchant,
            amount_minor=self.amount_minor,
            currency=self.currency,
            pay_type=self.pay_type,
            context=self.context,
        )

    def risk_context(self) -> dict[str, dict[str, Any]]:
        """The context as a merchant sends it: what isn't known is left out."""
        groups = asdict(self.context).items()
        return {
            group: sent
            for group, fields in groups
            if (sent := {name: value for name, value in fields.items() if value is not None})
        }


def payments(table: pa.Table) -> Iterator[SyntheticPayment]:
    """The rows of a generated table as payments, in order.

    Columns named ``<group>_<field>`` after the risk context become that field; a null stays
    missing. Other columns are the payment's own.
    """
    fields = [
        (name, group, name if name == "device_id" else field)
        for name in table.column_names
        for group, _, field in [name.partition("_")]
        if group in GROUPS
    ]
    for batch in table.to_batches(max_chunksize=BATCH_ROWS):
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        for name in CODE_COLUMNS:
            columns[name] = [_codes(text) for text in columns[name]]
        for row in range(batch.num_rows):
            given: dict[str, dict[str, Any]] = {group: {} for group in GROUPS}
            for name, group, field in fields:
                given[group][field] = columns[name][row]
            yield SyntheticPayment(
                at_us=columns["at_us"][row],
                merchant=columns["merchant"][row],
                amount_minor=columns["amount_minor"][row],
                currency=columns["currency"][row],
                pay_type=columns["pay_type"][row],
                context=RiskContext(
                    **{group: make(**given[group]) for group, make in GROUPS.items()}
                ),
                is_fraud=columns["is_fraud"][row],
                fraud_kind=columns["fraud_kind"][row],
                label_known_at_us=columns["label_known_at_us"][row],
            )


def moved(planned: SyntheticPayment, now_us: int) -> SyntheticPayment:
    """The same payment at another time, with the moments it mentions moved along with it."""
    shift_ms = (now_us - planned.at_us) // 1_000
    context = planned.context
    known_at_us = planned.label_known_at_us
    return replace(
        planned,
        at_us=now_us,
        label_known_at_us=None if known_at_us is None else known_at_us + now_us - planned.at_us,
        context=replace(
            context,
            payer=_moved(
                context.payer, shift_ms, "password_changed_at_ms", "contact_changed_at_ms"
            ),
            client=_moved(context.client, shift_ms, "clock_at_ms"),
            device=_moved(context.device, shift_ms, "attested_at_ms"),
            session=_moved(context.session, shift_ms, "login_at_ms"),
            order=_moved(context.order, shift_ms, "ship_address_used_at_ms"),
        ),
    )


Group = TypeVar("Group", Payer, Client, Device, Session, Basket)


def _moved(group: Group, shift_ms: int, *names: str) -> Group:
    known = {name: getattr(group, name) for name in names}
    return replace(group, **{name: at + shift_ms for name, at in known.items() if at is not None})


def _codes(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    return tuple(text.split("|")) if text else ()
