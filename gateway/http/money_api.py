"""What operators of money may do: accounts at payment systems, ledger, settlements, test clock."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field
from sqlalchemy.exc import IntegrityError

from gateway.domain.errors import InvalidParameter, ObjectNotFound, OrderConflict
from gateway.domain.fees import PPM, Terms
from gateway.domain.money import MINOR_DIGITS
from gateway.domain.operator import Act
from gateway.http.doorkeeper import (
    REASON_LENGTH_MAX,
    Door,
    OperatorBody,
    acting,
    needs,
    operators_router,
)
from gateway.payments.accounts import add_account, change_account, shown
from gateway.payments.context import Context
from gateway.payments.settlement import day_before, pay_out, settle_day
from gateway.queries.ledger import settlements_of, statement_of, trial_balance
from gateway.store.accounts import Account, read_all
from gateway.store.vault import Vault

STATEMENT_US_MAX = 100 * 86_400 * 1_000_000
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="YYYY-MM-DD, UTC+08:00")]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyDeps:
    """What these routes work with.

    Attributes:
        context: Store, channels and clock.
        vault: Seals the accounts' keys.
        door: Who is let in.
        refresh: Takes over the stored accounts now.
        advance: Moves the test clock forward by seconds and returns the time (us, epoch); None
            where time is real.
    """

    context: Context
    vault: Vault
    door: Door
    refresh: Callable[[], object]
    advance: Callable[[int], int] | None


class AccountBody(OperatorBody):
    """An account at a payment system."""

    merchant_id: str = Field(default="", max_length=32, description="Whose; empty: the house's.")
    kind: str = Field(min_length=1, max_length=32, description="Payment system. / 支付系统")
    settings: dict[str, str] = Field(description="What its adapter must be told. / 渠道参数")
    pay_types: list[str] = Field(min_length=1, max_length=8, description="支付类型")
    priority: int = Field(default=100, ge=0, le=10_000, strict=True, description="优先级, 小者先")
    fee_ppm: int = Field(default=0, ge=0, le=PPM, strict=True, description="商户费率, 百万分之一")
    fee_fixed_minor: int = Field(default=0, ge=0, le=10**9, strict=True, description="固定费")
    cost_ppm: int = Field(default=0, ge=0, le=PPM, strict=True, description="渠道成本费率")
    cost_fixed_minor: int = Field(default=0, ge=0, le=10**9, strict=True, description="渠道固定费")
    fee_returned: bool = Field(default=True, description="Refunds give fees back. / 退款退手续费")
    active: bool = Field(default=True, description="Takes new payments. / 接受新支付")
    reason: str = Field(min_length=1, max_length=REASON_LENGTH_MAX, description="Why. / 原因")

    def as_account(self, name: str, version: int = 1) -> Account:
        """Return it as an account of that name."""
        return Account(
            merchant_id=self.merchant_id,
            account=name,
            kind=self.kind,
            settings=self.settings,
            pay_types=frozenset(self.pay_types),
            priority=self.priority,
            fee=Terms(self.fee_ppm, self.fee_fixed_minor, self.fee_returned),
            cost=Terms(self.cost_ppm, self.cost_fixed_minor, self.fee_returned),
            is_active=self.active,
            version=version,
        )


class AccountChangeBody(AccountBody):
    """What an account shall be; settings given as ``***`` stay as they are."""

    version: int = Field(ge=1, strict=True, description="The version changed. / 版本号")


class SettleBody(OperatorBody):
    """Which business day to settle."""

    day: Day


class PayoutBody(OperatorBody):
    """The bank's word that a settlement was transferred."""

    reference: str = Field(min_length=1, max_length=64, description="Bank reference. / 银行流水号")


class AdvanceBody(OperatorBody):
    """How far to move the test clock."""

    seconds: int = Field(ge=0, le=40_000_000, strict=True, description="秒")


def money_router(deps: MoneyDeps) -> APIRouter:
    """Make the routes of accounts, ledger, settlements and the test clock."""
    router = operators_router(deps.door)
    _account_routes(router, deps)
    _ledger_routes(router, deps)
    _settlement_routes(router, deps)
    _clock_routes(router, deps)
    return router


def _account_routes(router: APIRouter, deps: MoneyDeps) -> None:
    context, actor_header = deps.context, Depends(acting)

    def stored() -> list[Account]:
        with context.reader.connect() as conn:
            return read_all(conn, deps.vault)

    @router.get("/channel-accounts")
    @needs(Act.READ)
    async def accounts() -> dict[str, object]:
        """List the accounts at payment systems, without their secrets (渠道账户列表)."""
        out = context.routes.health.out()
        return {"accounts": [shown(account) for account in stored()], "out": out}

    @router.post("/channel-accounts/{account}")
    @needs(Act.MANAGE_CHANNELS)
    async def add(account: str, body: AccountBody, actor: str = actor_header) -> dict[str, object]:
        """Open an account at a payment system (新增渠道账户)."""
        wanted, now_us = body.as_account(account), context.clock_us()
        try:
            await context.writer.run(
                lambda conn: add_account(
                    conn, deps.vault, wanted, actor=actor, reason=body.reason, now_us=now_us
                )
            )
        except IntegrityError as error:
            raise OrderConflict("account", "is taken") from error
        deps.refresh()
        return {"code": "SUCCESS", "account": account, "version": 1}

    @router.put("/channel-accounts/{account}")
    @needs(Act.MANAGE_CHANNELS)
    async def replace_account(
        account: str, body: AccountChangeBody, actor: str = actor_header
    ) -> dict[str, object]:
        """Change or pause an account (修改或暂停渠道账户)."""
        wanted, now_us = body.as_account(account, body.version), context.clock_us()
        known = [a for a in stored() if (a.merchant_id, a.account) == (body.merchant_id, account)]
        if not known:
            raise ObjectNotFound(f"no account {account[:32]}")
        kept = {
            n: known[0].settings.get(n, v) if v == "***" else v for n, v in body.settings.items()
        }
        wanted = replace(wanted, settings=kept)
        await context.writer.run(
            lambda conn: change_account(
                conn, deps.vault, wanted, actor=actor, reason=body.reason, now_us=now_us
            )
        )
        deps.refresh()
        return {"code": "SUCCESS", "account": account, "version": body.version + 1}


def _ledger_routes(router: APIRouter, deps: MoneyDeps) -> None:
    context = deps.context

    @router.get("/ledger/trial-balance")
    @needs(Act.READ)
    async def trial() -> dict[str, object]:
        """Balance of every account; each currency sums to zero (试算平衡)."""
        until_us = context.clock_us() + 1
        balances = trial_balance(context.reader, until_us)
        totals: dict[str, int] = {}
        for balance in balances:
            totals[balance.currency] = totals.get(balance.currency, 0) + balance.net_minor
        return {
            "balanced": not any(totals.values()),
            "totals_minor": totals,
            "accounts": [
                {
                    "account": b.account,
                    "currency": b.currency,
                    "debit_minor": b.debit_minor,
                    "credit_minor": b.credit_minor,
                    "net_minor": b.net_minor,
                }
                for b in balances
            ],
        }

    @router.get("/ledger/statements/{merchant_id}")
    @needs(Act.READ)
    async def statement(
        merchant_id: str,
        from_us: Annotated[int, Query(ge=0, le=2**62)],
        until_us: Annotated[int, Query(ge=0, le=2**62)],
        currency: str = "CNY",
    ) -> dict[str, object]:
        """A merchant's account with opening and closing balance (商户对账单)."""
        if currency not in MINOR_DIGITS:
            raise InvalidParameter("currency", f"unknown currency {currency[:8]!r}")
        if not 0 <= until_us - from_us <= STATEMENT_US_MAX:
            raise InvalidParameter("until_us", "must be up to 100 days after from_us")
        found = statement_of(context.reader, merchant_id, currency, from_us, until_us)
        return {
            "merchant_id": merchant_id,
            "currency": currency,
            "opening_minor": found.opening_minor,
            "closing_minor": found.closing_minor,
            "lines": [
                {
                    "at_us": line.at_us,
                    "kind": line.kind,
                    "entry_id": line.entry_id,
                    "trade_no": line.trade_no,
                    "change_minor": line.change_minor,
                    "balance_minor": line.balance_minor,
                }
                for line in found.lines
            ],
        }


def _settlement_routes(router: APIRouter, deps: MoneyDeps) -> None:
    context, actor_header = deps.context, Depends(acting)

    @router.get("/settlements")
    @needs(Act.READ)
    async def listed(merchant_id: str = "", day: str = "") -> dict[str, object]:
        """Settlements, newest first (结算单列表)."""
        return {"settlements": settlements_of(context.reader, merchant_id=merchant_id, day=day)}

    @router.post("/settlements/run")
    @needs(Act.SETTLE)
    async def settle(body: SettleBody, actor: str = actor_header) -> dict[str, object]:  # noqa: ARG001 - must be named
        """Settle a business day that is over; once settled it stays as it is (执行结算)."""
        now_us = context.clock_us()
        if body.day > day_before(now_us):
            raise InvalidParameter("day", "isn't over yet")
        try:
            made = await context.writer.run(lambda conn: settle_day(conn, body.day, now_us))
        except ValueError as error:
            raise InvalidParameter("day", "must be a day written YYYY-MM-DD") from error
        return {"code": "SUCCESS", "day": body.day, "made": len(made)}

    @router.post("/settlements/{merchant_id}/{settlement_no}/paid-out")
    @needs(Act.SETTLE)
    async def paid_out(
        merchant_id: str, settlement_no: str, body: PayoutBody, actor: str = actor_header
    ) -> dict[str, object]:
        """Note that the bank has transferred a settlement (登记打款)."""
        now_us = context.clock_us()
        await context.writer.run(
            lambda conn: pay_out(
                conn,
                merchant_id,
                settlement_no,
                reference=body.reference,
                actor=actor,
                now_us=now_us,
            )
        )
        return {"code": "SUCCESS", "settlement_no": settlement_no, "status": "PAID_OUT"}


def _clock_routes(router: APIRouter, deps: MoneyDeps) -> None:
    @router.post("/test-clock/advance")
    @needs(Act.MOVE_CLOCK)
    async def advance(body: AdvanceBody, actor: str = Depends(acting)) -> dict[str, object]:  # noqa: ARG001 - must be named
        """Move the sandbox's clock forward, e.g. 24 hours (推进测试时钟, 仅沙箱)."""
        if deps.advance is None:
            raise ObjectNotFound("time is real here: there is no test clock")
        try:
            return {"code": "SUCCESS", "now_us": deps.advance(body.seconds)}
        except ValueError as error:
            raise InvalidParameter("seconds", str(error)) from error
