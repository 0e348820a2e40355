"""Accounts at payment systems: kept sealed, changed by version, counted so that others notice."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, Row, insert, select, update

from gateway.domain.errors import ObjectNotFound, StaleVersion
from gateway.domain.fees import FREE, Terms
from gateway.store.counters import count_up
from gateway.store.money_tables import channel_accounts
from gateway.store.vault import Vault

COUNTER: Final = "accounts"
HOUSE: Final = ""  # The merchant_id of accounts that serve everybody.


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account at a payment system.

    Attributes:
        merchant_id: Whose it is; '' is the house's, for merchants without one of their own.
        account: Its name in orders, in the ledger and in notification addresses.
        kind: The payment system.
        settings: What its adapter must be told; keys among them, so never logged.
        pay_types: The merchants' words it serves.
        priority: The lowest is asked first.
        fee: What the merchant is charged.
        cost: What the payment system charges us.
        is_active: Whether new payments may use it; those under way go on in any case.
        version: Grows with each change.
    """

    merchant_id: str
    account: str
    kind: str
    settings: Mapping[str, str] = field(repr=False)
    pay_types: frozenset[str]
    priority: int = 100
    fee: Terms = FREE
    cost: Terms = FREE
    is_active: bool = True
    version: int = 1


def add(conn: Connection, vault: Vault, account: Account, now_us: int) -> None:
    """Write a new account.

    Raises:
        sqlalchemy.exc.IntegrityError: if the merchant has one of that name.
    """
    conn.execute(
        insert(channel_accounts).values(
            merchant_id=account.merchant_id,
            account=account.account,
            settings_sealed=_sealed(vault, account),
            created_at_us=now_us,
            version=1,
            **_open_columns(account),
        )
    )
    count_up(conn, COUNTER)


def change(conn: Connection, vault: Vault, account: Account) -> None:
    """Replace an account that still has the version `account.version`.

    Raises:
        StaleVersion: (1010) if somebody else changed it first.
        ObjectNotFound: (1009) if there is none.
    """
    key = _key(account.merchant_id, account.account)
    done = conn.execute(
        update(channel_accounts)
        .where(*key, channel_accounts.c.version == account.version)
        .values(
            settings_sealed=_sealed(vault, account),
            version=account.version + 1,
            **_open_columns(account),
        )
    )
    if done.rowcount == 1:
        count_up(conn, COUNTER)
        return
    row = conn.execute(
        select(channel_accounts.c.version, channel_accounts.c.status).where(*key)
    ).first()
    if row is None:
        raise ObjectNotFound(f"no account {account.account}")
    raise StaleVersion(account.account, row.status, row.version)


def read_all(conn: Connection, vault: Vault) -> list[Account]:
    """Return all accounts, those asked first in front."""
    rows = conn.execute(
        select(channel_accounts).order_by(
            channel_accounts.c.merchant_id,
            channel_accounts.c.priority,
            channel_accounts.c.account,
        )
    )
    return [_account(row, vault) for row in rows]


def terms_of(conn: Connection, merchant_id: str, account: str) -> tuple[Terms, Terms]:
    """Return what a payment over an account is charged with: the merchant's fee, our cost."""
    row = conn.execute(
        select(channel_accounts)
        .where(
            channel_accounts.c.merchant_id.in_((merchant_id, HOUSE)),
            channel_accounts.c.account == account,
        )
        .order_by(channel_accounts.c.merchant_id.desc())  # The merchant's own comes first.
        .limit(1)
    ).first()
    return (FREE, FREE) if row is None else _terms(row)


def _key(merchant_id: str, account: str) -> tuple[Any, Any]:
    return (
        channel_accounts.c.merchant_id == merchant_id,
        channel_accounts.c.account == account,
    )


def _sealed(vault: Vault, account: Account) -> bytes:
    text = json.dumps(dict(account.settings), ensure_ascii=False, sort_keys=True)
    return vault.seal(text.encode(), bound_to=_bound(account.merchant_id, account.account))


def _bound(merchant_id: str, account: str) -> str:
    return f"channel_account:{merchant_id}:{account}"


def _open_columns(account: Account) -> dict[str, Any]:
    return {
        "kind": account.kind,
        "pay_types": json.dumps(sorted(account.pay_types)),
        "priority": account.priority,
        "fee_ppm": account.fee.ppm,
        "fee_fixed_minor": account.fee.fixed_minor,
        "cost_ppm": account.cost.ppm,
        "cost_fixed_minor": account.cost.fixed_minor,
        "fee_returned": int(account.fee.is_returned),
        "status": "ACTIVE" if account.is_active else "PAUSED",
    }


def _terms(row: Row[Any]) -> tuple[Terms, Terms]:
    returned = bool(row.fee_returned)
    return (
        Terms(row.fee_ppm, row.fee_fixed_minor, returned),
        Terms(row.cost_ppm, row.cost_fixed_minor, returned),
    )


def _account(row: Row[Any], vault: Vault) -> Account:
    opened = vault.open(row.settings_sealed, bound_to=_bound(row.merchant_id, row.account))
    fee, cost = _terms(row)
    return Account(
        merchant_id=row.merchant_id,
        account=row.account,
        kind=row.kind,
        settings=json.loads(opened),
        pay_types=frozenset(json.loads(row.pay_types)),
        priority=row.priority,
        fee=fee,
        cost=cost,
        is_active=row.status == "ACTIVE",
        version=row.version,
    )
