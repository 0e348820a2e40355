"""Keep the accounts in use equal to the stored ones, without a restart.

An account that can't be opened is refused once, loudly, and the rest goes on. An account that was
paused takes no new payments, but stays open: those under way must be asked about and refunded.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

import httpx

from gateway.channels.base import Channel
from gateway.channels.registry import ADAPTERS
from gateway.payments.context import Context
from gateway.store.accounts import COUNTER, HOUSE, Account, read_all
from gateway.store.counters import counted
from gateway.store.vault import Vault

POLL_S: Final = 1.0
_log = logging.getLogger("yumen.accounts")


class AccountKeeper:
    """Opens the stored accounts and says which payments they serve.

    Args:
        context: Its channels and routes are kept current.
        vault: Opens the accounts' settings.
        client: Shared by all accounts.
        built_in: Accounts that are not stored, e.g. at the sandbox, and what they serve: these
            come last.
        clock_us: The time, microseconds since the epoch.
    """

    def __init__(
        self,
        context: Context,
        vault: Vault,
        client: httpx.AsyncClient,
        built_in: Mapping[str, tuple[Channel, frozenset[str]]],
        clock_us: Callable[[], int],
    ) -> None:
        self._context = context
        self._vault = vault
        self._client = client
        self._built_in = built_in
        self._clock_us = clock_us
        self._opened: dict[str, tuple[int, Channel]] = {}
        self._seen = -1

    async def run_once(self) -> int:
        """Wait, look, and take over what changed; 1 if something did."""
        await asyncio.sleep(POLL_S)
        return int(self.take())

    def take(self) -> bool:
        """Take over the stored accounts now; False if nothing changed since the last time."""
        with self._context.reader.connect() as conn:
            number = counted(conn, COUNTER)
            if number == self._seen:
                return False
            stored = read_all(conn, self._vault)
        channels = {name: channel for name, (channel, _) in self._built_in.items()}
        served: list[tuple[str, str, str]] = []
        for account in stored:
            channel = self._open(account)
            if channel is None:
                continue
            channels[account.account] = channel
            if account.is_active:
                served += [
                    (account.merchant_id, pay_type, account.account)
                    for pay_type in sorted(account.pay_types)
                ]
        for name, (_, pay_types) in self._built_in.items():
            served += [(HOUSE, pay_type, name) for pay_type in sorted(pay_types)]
        self._context.channels.clear()
        self._context.channels.update(channels)
        self._context.routes.use(served)
        self._seen = number
        return True

    def _open(self, account: Account) -> Channel | None:
        version, channel = self._opened.get(account.account, (0, None))
        if channel is not None and version == account.version:
            return channel
        try:
            channel = ADAPTERS[account.kind].open(
                account.account, account.settings, self._client, self._clock_us
            )
        except (KeyError, ValueError) as error:
            # Only the name of what is wrong: the value may be a key.
            _log.error("account %s can't be opened: %s", account.account, type(error).__name__)
            return None
        self._opened[account.account] = (account.version, channel)
        return channel
