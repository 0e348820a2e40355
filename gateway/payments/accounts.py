"""Open, change and pause accounts at payment systems: checked against their adapter first."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, select

from gateway.channels.base import Adapter
from gateway.channels.registry import ADAPTERS
from gateway.domain.errors import InvalidParameter, ObjectNotFound, OrderConflict
from gateway.store import accounts, audit
from gateway.store.accounts import Account
from gateway.store.money_tables import channel_accounts
from gateway.store.tables import merchants
from gateway.store.vault import Vault

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{2,31}", re.ASCII)


def checked(account: Account) -> Account:
    """Return an account with its adapter's defaults filled in.

    Raises:
        InvalidParameter: (1001) unknown kind, setting or pay_type; a setting missing; a bad name.
    """
    adapter = ADAPTERS.get(account.kind)
    if adapter is None:
        raise InvalidParameter("kind", f"must be one of {', '.join(sorted(ADAPTERS))}")
    if _NAME.fullmatch(account.account) is None or account.account in ADAPTERS:
        raise InvalidParameter(
            "account", "must be 3 to 32 lower-case letters, digits, _ or -, and not a kind's name"
        )
    strange = account.pay_types - adapter.pay_types
    if strange or not account.pay_types:
        known = ", ".join(sorted(adapter.pay_types))
        raise InvalidParameter("pay_types", f"{account.kind} serves {known}")
    return replace(account, settings=_whole(adapter, account.settings))


def _whole(adapter: Adapter, given: Mapping[str, str]) -> dict[str, str]:
    known = {setting.name: setting for setting in adapter.settings}
    strange = sorted(set(given) - set(known))
    if strange:
        raise InvalidParameter("settings", f"{adapter.kind} knows no {strange[0][:40]!r}")
    whole: dict[str, str] = {}
    for name, setting in known.items():
        value = given.get(name, setting.default)
        if value is None:
            raise InvalidParameter("settings", f"{name} is missing: {setting.meaning_en}")
        whole[name] = value
    return whole


def add_account(
    conn: Connection, vault: Vault, account: Account, *, actor: str, reason: str, now_us: int
) -> None:
    """Write a new account and who opened it.

    Raises:
        InvalidParameter: (1001) it doesn't fit its adapter.
        ObjectNotFound: (1009) no such merchant.
        OrderConflict: (1001) the name is taken.
    """
    whole = checked(account)
    if (
        account.merchant_id
        and not conn.execute(
            select(merchants.c.merchant_id).where(merchants.c.merchant_id == account.merchant_id)
        ).first()
    ):
        raise ObjectNotFound(f"no merchant {account.merchant_id[:32]}")
    # Ledger and notification addresses know an account by its name alone.
    taken = select(channel_accounts.c.account).where(channel_accounts.c.account == account.account)
    if conn.execute(taken).first():
        raise OrderConflict("account", "is taken")
    accounts.add(conn, vault, whole, now_us)
    _note(conn, whole, "account.add", actor, reason, now_us)


def change_account(
    conn: Connection, vault: Vault, account: Account, *, actor: str, reason: str, now_us: int
) -> None:
    """Replace an account of the version that was read, and note who did.

    Raises:
        InvalidParameter: (1001) it doesn't fit its adapter.
        ObjectNotFound: (1009) no such account.
        StaleVersion: (1010) somebody else was faster.
    """
    whole = checked(account)
    accounts.change(conn, vault, whole)
    _note(conn, whole, "account.change", actor, reason, now_us)


def _note(
    conn: Connection, account: Account, action: str, actor: str, reason: str, now_us: int
) -> None:
    audit.record(
        conn,
        actor=actor,
        action=action,
        object_id=account.account,
        now_us=now_us,
        reason=reason,
        detail=shown(account),
    )


def shown(account: Account) -> dict[str, object]:
    """Return what may be shown of an account: everything but its secrets."""
    adapter = ADAPTERS.get(account.kind)
    public = {s.name for s in adapter.settings if not s.secret} if adapter else set()
    return {
        "merchant_id": account.merchant_id,
        "account": account.account,
        "kind": account.kind,
        "settings": {n: v if n in public else "***" for n, v in account.settings.items()},
        "pay_types": sorted(account.pay_types),
        "priority": account.priority,
        "fee_ppm": account.fee.ppm,
        "fee_fixed_minor": account.fee.fixed_minor,
        "cost_ppm": account.cost.ppm,
        "cost_fixed_minor": account.cost.fixed_minor,
        "fee_returned": account.fee.is_returned,
        "active": account.is_active,
        "version": account.version,
    }
