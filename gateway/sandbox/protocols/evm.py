"""A stablecoin on a small chain, with its node, its wallet and its payers, as the sandbox plays."""

import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.sandbox import trades
from gateway.sandbox.callbacks import Message
from gateway.sandbox.keys import Keys
from gateway.sandbox.protocols import evm_chain as chain
from gateway.sandbox.protocols import evm_rpc
from gateway.sandbox.protocols import evm_wallet as wallet
from gateway.sandbox.protocols.base import Act, Desk, Handler, WireProtocol, read_body
from gateway.sandbox.protocols.evm_chain import Move
from gateway.sandbox.protocols.evm_keys import account_of, shown
from gateway.sandbox.protocols.evm_wallet import Content, Seal
from gateway.sandbox.trades import Announce, Event, Refusal, Trade, TradeStatus

Work = Callable[[sqlite3.Connection, Request, Content, int], Content]
_CODE: Final = re.compile(
    r"ethereum:(0x[0-9a-fA-F]{40})@([0-9]+)/transfer\?address=(0x[0-9a-fA-F]{40})&uint256=[0-9]+",
    re.ASCII,
)


class Evm(WireProtocol):
    """See `docs/CHANNELS.md`, "Stablecoin"."""

    name = wallet.NAME
    schema = chain.SCHEMA

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._account = account_of(desk.keys)
        self._seal = Seal(_secret_of(desk.keys), desk.clock_us)

    @staticmethod
    def account(keys: Keys, base_url: str) -> Mapping[str, str]:
        return {
            "rpc_url": f"{base_url}/evm/rpc",
            "chain_id": str(chain.CHAIN_ID),
            "token_address": shown(bytes.fromhex(chain.TOKEN[2:])),
            "xpub": account_of(keys).xpub(),
            "wallet_url": f"{base_url}/evm/wallet",
            "wallet_secret_hex": _secret_of(keys).hex(),
        }

    def routes(self) -> list[Route]:
        works: dict[tuple[str, str], Work] = {
            ("POST", "/deposits"): self._open_deposit,
            ("POST", "/deposits/{number}/close"): self._close_deposit,
            ("POST", "/transfers"): self._transfer,
            ("GET", "/transfers/{number}"): self._find_transfer,
        }
        faulty = self.desk.faulty
        return [
            Route("/evm/rpc", faulty(self._rpc), methods=["POST"]),
            Route("/evm/wallet/statement", self._statement, methods=["GET"]),
            *(
                Route(f"/evm/wallet{path}", faulty(self._sealed(work)), methods=[method])
                for (method, path), work in works.items()
            ),
        ]

    def compose(self, connection: sqlite3.Connection, event: Event) -> bytes:  # noqa: ARG002 - says nothing
        return b""  # A chain tells nobody.

    def dress(self, body: bytes, event_id: str, now_us: int, *, valid: bool) -> Message:  # noqa: ARG002 - says nothing
        return Message({}, body)

    def owns(self, code: str) -> str | None:
        found = _CODE.fullmatch(code)
        if found is None or found[1].lower() != chain.TOKEN or int(found[2]) != chain.CHAIN_ID:
            return None
        return found[3].lower()

    # The payers.

    def acts(self) -> Mapping[str, Act]:
        return {
            "underpay": Act(label="少付一半 · Send half of it", do=partial(_send, half=1)),
            "overpay": Act(label="多付一半 · Send half too much", do=partial(_send, half=3)),
            "unconfirmed": Act(
                label="付款未确认 · Send, not final yet", do=partial(_send, half=2, final=False)
            ),
            "confirm": Act(label="出块确认 · Mine until it is final", do=_confirm),
            "reorg": Act(label="区块重组 · Take the newest blocks back", do=_reorganize),
        }

    def pay(
        self,
        connection: sqlite3.Connection,
        trade: Trade,
        now_us: int,
        announce: Announce,
        copies: int,
        late: bool,
    ) -> Trade:
        """Send what is still missing of it; twice of it if the payer pays twice."""
        if trade.status is TradeStatus.CLOSED and not late:
            raise Refusal(409, "TRADE_CLOSED", "the trade is closed", "交易已关闭或已支付")
        if trade.status is TradeStatus.PAID:
            return trade
        last = chain.latest(connection, now_us).number
        missing = trade.amount_minor - wallet.received(connection, trade, last)
        to = trade.channel_trade_no
        units = max(missing, 0) + (copies - 1) * trade.amount_minor
        if units:
            chain.mine(connection, now_us, [Move(chain.PAYER, to, units)])
        chain.finalize(connection, now_us)
        return _noted(connection, trade, now_us, announce)

    # The node and the wallet.

    async def _rpc(self, request: Request) -> Response:
        body, now_us = await read_body(request), self.desk.clock_us()
        said = await self.desk.run(lambda conn: evm_rpc.answer(conn, body, now_us))
        return Response(said, media_type="application/json")

    def _sealed(self, work: Work) -> Handler:
        """Wrap a verb of the wallet: verify the request, answer signed."""

        async def answer(request: Request) -> Response:
            now_us = self.desk.clock_us()
            try:
                content = self._seal.open(*await _as_sent(request))
                said = await self.desk.run(lambda conn: work(conn, request, content, now_us))
                return self._answer(request, 200, json.dumps(said).encode())
            except Refusal as refusal:
                return self._refused(request, refusal)

        return answer

    async def _statement(self, request: Request) -> Response:
        now_us, day = self.desk.clock_us(), request.query_params.get("day", "")
        try:
            self._seal.open(*await _as_sent(request))
            dice = self.desk.dice
            file = await self.desk.run(lambda conn: wallet.statement(conn, day, dice, now_us))
            return self._answer(request, 200, file, "text/csv; charset=utf-8")
        except Refusal as refusal:
            return self._refused(request, refusal)

    def _refused(self, request: Request, refusal: Refusal) -> Response:
        said = {
            "code": refusal.code,
            "message_en": refusal.message_en,
            "message_zh": refusal.message_zh,
        }
        return self._answer(request, refusal.http_status, json.dumps(said).encode())

    def _answer(
        self, request: Request, http_status: int, body: bytes, media_type: str = "application/json"
    ) -> Response:
        nonce = request.headers.get("x-wallet-nonce", "")
        sign = self._seal.sign("ANSWER", str(http_status), nonce, body=body)
        return Response(body, http_status, {"X-Wallet-Signature": sign}, media_type)

    def _open_deposit(
        self, connection: sqlite3.Connection, _: Request, content: Content, now_us: int
    ) -> Content:
        return wallet.open_deposit(connection, self._account, content, now_us)

    def _close_deposit(
        self, connection: sqlite3.Connection, request: Request, _: Content, now_us: int
    ) -> Content:
        return wallet.close_deposit(connection, request.path_params["number"], now_us)

    def _transfer(
        self, connection: sqlite3.Connection, _: Request, content: Content, now_us: int
    ) -> Content:
        slow = self.desk.dice.refund_delay_s() > 0
        return wallet.transfer(connection, content, now_us, slow=slow)

    def _find_transfer(
        self, connection: sqlite3.Connection, request: Request, _: Content, __: int
    ) -> Content:
        return wallet.find_transfer(connection, request.path_params["number"])


def _send(
    connection: sqlite3.Connection,
    trade: Trade,
    now_us: int,
    announce: Announce,
    *,
    half: int,
    final: bool = True,
) -> Trade:
    """Send so many halves of the amount, whatever came before: a chain refuses nothing."""
    to = trade.channel_trade_no
    units = max(trade.amount_minor * half // 2, 1)
    chain.mine(connection, now_us, [Move(chain.PAYER, to, units)])
    return _confirm(connection, trade, now_us, announce) if final else trade


def _confirm(
    connection: sqlite3.Connection, trade: Trade, now_us: int, announce: Announce
) -> Trade:
    chain.finalize(connection, now_us)
    return _noted(connection, trade, now_us, announce)


def _reorganize(connection: sqlite3.Connection, trade: Trade, now_us: int, _: Announce) -> Trade:
    chain.reorganize(connection, now_us)
    return trade


def _noted(connection: sqlite3.Connection, trade: Trade, now_us: int, announce: Announce) -> Trade:
    """Note that an order is paid, once so much has come in final blocks."""
    last = chain.final_number(connection, now_us)
    if wallet.received(connection, trade, last) < trade.amount_minor:
        return trade
    return trades.pay(connection, trade, now_us, announce, late=True)


async def _as_sent(request: Request) -> tuple[str, str, Mapping[str, str], bytes]:
    """Return a request's method, its path below the wallet's address, its headers and body."""
    query = request.scope["query_string"].decode("latin-1")
    path = request.url.path.partition("/evm/wallet")[2]
    whole = f"{path}?{query}" if query else path
    return request.method, whole, request.headers, await read_body(request)


def _secret_of(keys: Keys) -> bytes:
    return bytes.fromhex(keys.secret_hex("evm.wallet.secret"))
