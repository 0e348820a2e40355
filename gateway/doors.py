"""The doors of a gateway: every router with what it works with, and the lifespan behind them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway.channels.base import ChannelProtocolError
from gateway.clock import TestClock
from gateway.domain.errors import BillUnavailable, InvalidParameter, ObjectNotFound
from gateway.http.admin_api import AdminDeps, admin_router
from gateway.http.app import Lifespan, build_app
from gateway.http.asgi import App
from gateway.http.cashier import Addresses, cashier_router
from gateway.http.doorkeeper import Door
from gateway.http.merchant_api import MerchantApi
from gateway.http.merchants_api import merchants_router
from gateway.http.money_api import MoneyDeps, money_router
from gateway.http.onboarding_api import onboarding_router
from gateway.http.operators_api import OperatorDeps, operators_and_audit_router
from gateway.http.orders_api import OrdersApi
from gateway.http.rules_api import RulesDeps, rules_router
from gateway.payments.acts import acts_of
from gateway.payments.approvals import Approvals
from gateway.payments.context import Context
from gateway.payments.onboard import Desk
from gateway.recon import run as recon
from gateway.recon.bills import BillRefused
from gateway.recon.record import window_of
from gateway.recon.run import Comparison
from gateway.settings import Settings
from gateway.store.database import Database
from gateway.store.merchants import KeyRing
from gateway.store.operators import OperatorBook
from gateway.store.vault import Vault
from gateway.telemetry import Metrics
from gateway.worker.accounts import AccountKeeper
from gateway.worker.rules import RuleKeeper


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What stands behind the doors."""

    settings: Settings
    database: Database
    context: Context
    keys: KeyRing
    metrics: Metrics
    vault: Vault
    admin_token: str
    rules: RuleKeeper
    accounts: AccountKeeper


def build_doors(house: House, *, lifespan: Lifespan, mounts: dict[str, App]) -> App:
    """Build the ASGI app.

    Args:
        house: What stands behind the doors.
        lifespan: Starts what works there and stops it.
        mounts: Whole apps under a path, e.g. the sandbox.
    """
    settings, context = house.settings, house.context
    addresses = Addresses(settings.gateway_url, house.vault.mac_key("cashier"))
    api = MerchantApi(
        context=context,
        keys=house.keys,
        metrics=house.metrics,
        body_bytes_max=settings.body_bytes_max,
        timestamp_window_s=settings.timestamp_window_s,
        rate_per_s=settings.merchant_rate_per_s,
        cashier=addresses if settings.cashier else None,
    )
    book = OperatorBook(context.reader, context.clock_us)
    door = Door(token=house.admin_token, find=book.find)
    desk = Desk(context=context, vault=house.vault, sandbox_mode=settings.sandbox_mode)
    approvals = Approvals(
        context=context, vault=house.vault, acts=acts_of(desk), required=settings.four_eyes
    )
    reconcile = _reconciler(house.database, context)
    forget = house.keys.forget
    return build_app(
        api,
        admin_router(
            AdminDeps(context=context, door=door, approvals=approvals, reconcile=reconcile)
        ),
        rules_router(_rule_desk(house, door)),
        money_router(_money_desk(house, door)),
        merchants_router(desk, door, approvals, forget),
        operators_and_audit_router(
            OperatorDeps(context=context, door=door, book=book, approvals=approvals)
        ),
        onboarding_router(desk, approvals, forget),
        cashier_router(context, addresses),
        lifespan=lifespan,
        more=OrdersApi(api, house.database.shared_reader()).routes(),
        mounts=mounts,
    )


def _money_desk(house: House, door: Door) -> MoneyDeps:
    clock = house.context.clock_us
    return MoneyDeps(
        context=house.context,
        vault=house.vault,
        door=door,
        refresh=house.accounts.take,
        advance=clock.advance if isinstance(clock, TestClock) else None,
    )


def _rule_desk(house: House, door: Door) -> RulesDeps:
    subjects = house.context.subjects
    if subjects is None:
        raise RuntimeError("only the owner of the feature state changes rules by request")
    return RulesDeps(
        context=house.context,
        door=door,
        numbers=subjects.number_of,
        vault=house.vault,
        refresh=house.rules.refresh,
        running=lambda: house.rules.running,
    )


def _reconciler(
    database: Database, context: Context
) -> Callable[[str, str], Awaitable[Mapping[str, object]]]:
    def compare(channel: str, kind: str, day: str, bill: bytes) -> Comparison:
        engine = database.reader()  # A connection of the comparing thread's own.
        try:
            with engine.connect() as conn:
                return recon.compare(conn, channel, day, bill, kind=kind)
        finally:
            engine.dispose()

    async def reconcile(channel: str, day: str) -> Mapping[str, object]:
        asked = context.channels.get(channel)
        if asked is None:
            raise ObjectNotFound(f"no channel {channel[:32]}")
        try:
            window_of(asked.kind, day)
        except ValueError as error:
            raise InvalidParameter("day", str(error)) from error
        try:
            bill = await asked.bill(day, timeout_s=context.config.channel_timeout_s)
            comparison = await asyncio.to_thread(compare, channel, asked.kind, day, bill)
        except (ChannelProtocolError, BillRefused) as error:
            raise BillUnavailable(str(error)) from error
        now_us = context.clock_us()
        summary = await context.writer.run(lambda conn: recon.store(conn, comparison, now_us))
        return summary.as_json()

    return reconcile
