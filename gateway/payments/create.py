"""Create: idempotency, risk, one durable transaction, channel, answer.

The order of the steps is the guarantee. A known number is answered from what is stored and risk
never hears of it; a new one is assessed before any channel is asked; order, decision and event
are in one commit before anyone is answered; and where the channel itself must be called, that
happens after the commit, so a crash leaves an order the worker can find.
"""

import asyncio
import json
from dataclasses import asdict
from functools import partial
from typing import Any

from gateway.domain.errors import Busy, InvalidParameter, OrderConflict
from gateway.domain.numbers import new_number
from gateway.domain.order import Status
from gateway.payments.commands import CreateCommand
from gateway.payments.context import Context
from gateway.payments.open import open_at_channel, pay_request
from gateway.store.evidence import seal
from gateway.store.orders import Order, insert_created, read_order, seek_by_number
from gateway.store.raw import Raw
from gateway.store.subjects import Hidden, Seen, look
from risk import Decision, RiskOutcome, Transaction
from risk.decision import Shadow


async def create(context: Context, command: CreateCommand) -> Order:
    """Create an order, or return the one this request created before.

    Args:
        context: What to work with; this process owns the feature state.
        command: A verified, valid request.

    Returns:
        The order as it stands. CLOSED with reason DECLINED if risk refused it; CREATED with
        reason REVIEW if a person must look first.

    Raises:
        OrderConflict: (1001) if the number is taken by a request with another body.
        InvalidParameter: (1001) if no account serves the pay_type.
        Busy: (1006) if the channel's or the database's answer is not known; repeat the request.
    """
    key = (command.merchant_id, command.out_trade_no)
    if (twin := context.creating.get(key)) is not None:
        known = await asyncio.shield(twin)
        if known is None:
            raise Busy("the first of these simultaneous requests failed; repeat this one")
        return await _repeat(context, known, command)
    # Promised before it is looked for: between looking and promising a twin could slip through.
    promise: asyncio.Future[Order | None] = asyncio.get_running_loop().create_future()
    context.creating[key] = promise
    order: Order | None = None
    try:
        order, people = await _known(context, command)
        is_new = order is None
        if order is None:
            order = await _create_first(context, command, people)
    finally:
        del context.creating[key]
        promise.set_result(order)
    return await (_opened(context, order) if is_new else _repeat(context, order, command))


async def _known(context: Context, command: CreateCommand) -> tuple[Order | None, Hidden]:
    """Look for the order and for the people in the request, in one journey to the database."""
    subjects, told = context.subjects, command.risk_context
    if subjects is None:
        raise RuntimeError("only the owner of the feature state creates orders")
    hidden: Hidden | None = None
    while hidden is None:  # Again only if somebody was erased this very moment.
        wanted = subjects.wanted(told)
        order, seen = await context.reads.ask(partial(_look, command, wanted))
        hidden = subjects.hidden(told, context.clock_us(), seen)
    return order, hidden


def _look(
    command: CreateCommand, wanted: tuple[bytes, ...] | None, raw: Raw
) -> tuple[Order | None, Seen]:
    # Asked before the first answer is read: over a network all of it is one journey.
    order = seek_by_number(raw, command.merchant_id, command.out_trade_no)
    seen = look(raw, wanted)
    return read_order(order), seen


async def _repeat(context: Context, known: Order, command: CreateCommand) -> Order:
    if known.request_sha256 != command.request_sha256:
        raise OrderConflict("out_trade_no", "is taken by an order with other contents")
    return await _opened(context, known)


async def _opened(context: Context, order: Order) -> Order:
    if order.status == Status.CREATED and not order.status_reason:
        return await open_at_channel(context, order.trade_no)
    return order


async def _create_first(context: Context, command: CreateCommand, people: Hidden) -> Order:
    now_us = context.clock_us()
    channel = context.routes.choose(command.merchant_id, command.pay_type.value)
    if not channel:
        raise InvalidParameter("pay_type", f"{command.pay_type.value} is not open for you")
    trade_no = new_number("T", now_us)
    if context.risk is None or context.subjects is None:
        raise RuntimeError("only the owner of the feature state creates orders")
    decision = context.risk.assess(
        Transaction(
            event_id=trade_no,
            merchant_id=command.merchant_id,
            amount_minor=command.amount_minor,
            currency=command.currency,
            pay_type=command.pay_type.value,
            context=people.context,
            order_no=command.out_trade_no,
        ),
        now_us,
    )
    context.log.append(decision.event)
    context.on_decision(decision)
    decision_id = "D" + trade_no[1:]
    order = _new_order(context, command, decision, trade_no, decision_id, now_us, channel)
    record = decision_row(decision, command.merchant_id, decision_id, trade_no, now_us)
    sealed = seal(
        context.subjects.vault, command.risk_context, people, order.merchant_id, decision_id
    )
    await context.writer.run_raw(lambda raw: insert_created(raw, order, record, sealed))
    return order


def _new_order(
    context: Context,
    command: CreateCommand,
    decision: Decision,
    trade_no: str,
    decision_id: str,
    now_us: int,
    channel: str,
) -> Order:
    status, reason, closed_at_us = Status.CREATED, "", 0
    expires_at_us = now_us + context.config.order_timeout_s * 1_000_000
    pay_url = prepay_id = channel_trade_no = ""
    if decision.outcome is RiskOutcome.DECLINE:
        status, reason, closed_at_us = Status.CLOSED, "DECLINED", now_us
    elif decision.outcome is RiskOutcome.REVIEW:
        reason = "REVIEW"
        expires_at_us = now_us + context.config.review_hold_s * 1_000_000
    if decision.outcome in (RiskOutcome.APPROVE, RiskOutcome.CHALLENGE):
        linked = context.channels[channel].link(
            pay_request(
                context,
                command,
                trade_no=trade_no,
                channel=channel,
                created_at_us=now_us,
                expires_at_us=expires_at_us,
                challenge=decision.outcome is RiskOutcome.CHALLENGE,
            )
        )
        if linked is not None:
            # Both arrows, CREATED and WAIT_PAY, in one commit: a link needs no channel's answer.
            status, channel_trade_no = Status.WAIT_PAY, linked.channel_trade_no
            pay_url, prepay_id = linked.pay_url, linked.prepay_id
    return Order(
        merchant_id=command.merchant_id,
        trade_no=trade_no,
        out_trade_no=command.out_trade_no,
        request_sha256=command.request_sha256,
        channel=channel,
        channel_trade_no=channel_trade_no,
        pay_type=command.pay_type.value,
        amount_minor=command.amount_minor,
        currency=command.currency,
        subject=command.subject,
        body=command.body,
        notify_url=command.notify_url,
        return_url=command.return_url,
        pay_url=pay_url,
        prepay_id=prepay_id,
        status=status.value,
        status_reason=reason,
        decision_id=decision_id,
        risk_outcome=decision.outcome.value,
        paid_minor=0,
        refund_reserved_minor=0,
        refunded_minor=0,
        created_at_us=now_us,
        expires_at_us=expires_at_us,
        paid_at_us=0,
        closed_at_us=closed_at_us,
        version=1,
        risk_degraded=how_degraded(decision),
    )


def how_degraded(decision: Decision) -> str:
    """Say which step decided and why, as the merchant reads it; '' if nothing went wrong.

    It names no exception: the inside is the log's.
    """
    if not decision.degraded:
        return ""
    why = "+".join(decision.causes)
    return f"{decision.step}:{why}"


def decision_row(
    decision: Decision, merchant_id: str, decision_id: str, trade_no: str, now_us: int
) -> dict[str, Any]:
    """Return a decision as a row of `decisions`."""
    return {
        "merchant_id": merchant_id,
        "decision_id": decision_id,
        "trade_no": trade_no,
        "seq": decision.event.seq,
        "outcome": decision.outcome.value,
        "score": decision.score,
        "score_raw": decision.score_raw,
        "reasons": json.dumps(
            [
                {"code": r.code, "family": r.family, "contribution": r.contribution}
                for r in decision.reasons
            ]
        )
        if decision.reasons
        else "[]",
        "rule_hits": json.dumps(decision.rule_hits) if decision.rule_hits else "[]",
        "features": decision.features,
        "presence": decision.presence,
        "missing": json.dumps(decision.missing) if decision.missing else "[]",
        "feature_hash": decision.feature_hash,
        "model_version": decision.model_version,
        "rule_version": decision.rule_version,
        "policy_version": decision.policy_version,
        "engine_version": decision.engine_version,
        "key_seqs": decision.key_seqs,
        "degraded": decision.degraded,
        "fallback": decision.fallback,
        "elapsed_us": decision.elapsed_us,
        "decided_at_us": now_us,
        "list_version": decision.list_version,
        "geo_version": decision.geo_version,
        "category": decision.category,
        "costs": json.dumps(decision.costs) if decision.costs else "[]",
        "shadow": _shadow_json(decision.shadow) if decision.shadow else "{}",
        "step": decision.step,
    }


def _shadow_json(shadow: Shadow) -> str:
    """Write what is known and leave out what is not."""
    said = {name: value for name, value in asdict(shadow).items() if value or name == "score"}
    if not shadow.model_version:
        said.pop("score")
    return json.dumps(said)
