"""A stablecoin on an EVM chain: an address for each order, transfers read from the chain.

Nothing notifies and nothing can be taken back: the chain is asked, only final blocks count, and a
refund is a transfer of its own, to an address that the customer states (never blindly to the
sender's, which may be an exchange's). See `docs/CHANNELS.md`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from typing import Final, TypeVar

import httpx

from gateway.channels.base import (
    Adapter,
    Channel,
    ChannelProtocolError,
    ChannelReply,
    Notice,
    NoticeAnswer,
    Outcome,
    PayRequest,
    RefundRequest,
    Setting,
    Trade,
)
from gateway.channels.evm_chain import Chain, NotKnown
from gateway.channels.evm_wallet import Wallet
from gateway.domain.money import MINOR_DIGITS
from gateway.evm_address import BadAddress, ExtendedKey, address_of, path_of, read_address

_POLL_S_MIN: Final = 1
_FAILED: Final = "FAILED"
T = TypeVar("T")


class EvmChannel:
    """An account of one token on one chain; see `gateway.channels.base.Channel`."""

    kind = "evm"

    def __init__(
        self,
        name: str,
        told: Mapping[str, str],
        client: httpx.AsyncClient,
        clock_us: Callable[[], int],
    ) -> None:
        """Open the account.

        Args:
            name: Of the account.
            told: Its settings, see `ADAPTER`.
            client: Shared HTTP client; never closed here.
            clock_us: The time, microseconds since the epoch.

        Raises:
            ValueError: naming a setting that can't be.
        """
        told = {setting.name: setting.default or "" for setting in _SETTINGS} | dict(told)
        self.name = name
        self.poll_s = max(_whole(told, "poll_s"), _POLL_S_MIN)
        self._currency = told["currency"]
        decimals = _whole(told, "token_decimals")
        if MINOR_DIGITS.get(self._currency) != decimals:
            # One token unit is one minor unit: no transfer is ever rounded.
            raise ValueError(f"token_decimals: {self._currency} must have as many as the token")
        if told["finality"] != "finalized":
            _whole(told, "finality")
        self._key = _read("xpub", lambda: ExtendedKey.from_text(told["xpub"]))
        self._token = _read("token_address", lambda: read_address(told["token_address"]))
        self._chain = Chain(
            client=client,
            url=told["rpc_url"],
            chain_id=_whole(told, "chain_id"),
            token=self._token.lower(),
            decimals=decimals,
            finality=told["finality"],
            block_range=_whole(told, "block_range"),
        )
        self._wallet = Wallet(
            client=client,
            url=told["wallet_url"].rstrip("/"),
            secret=_read("wallet_secret_hex", lambda: bytes.fromhex(told["wallet_secret_hex"])),
            clock_us=clock_us,
        )

    def __repr__(self) -> str:  # No secret reaches a log through a repr.
        return f"EvmChannel({self._token}@{self._chain.chain_id})"

    def link(self, request: PayRequest) -> ChannelReply | None:  # noqa: ARG002 - the wallet must agree first
        return None

    async def pay(self, request: PayRequest, *, timeout_s: float) -> ChannelReply:
        """Open the payment once gateway and wallet derive the same address, each from its key."""
        if request.currency != self._currency:
            return ChannelReply(outcome=Outcome.REJECTED, trade_no=request.trade_no)
        address = await asyncio.to_thread(address_of, self._key, request.trade_no)
        content = {
            "trade_no": request.trade_no,
            "path": list(path_of(request.trade_no)),
            "chain_id": self._chain.chain_id,
            "token": self._token,
            "units": str(request.amount_minor),
            "subject": request.subject,
            "return_url": request.return_url,
            "expires_at_s": request.expires_at_s,
        }
        answer = await self._wallet.ask("POST", "/deposits", content, timeout_s)
        if answer is None or answer.http_status != httpx.codes.OK:
            outcome = Outcome.UNKNOWN if answer is None else Outcome.REJECTED
            return ChannelReply(outcome=outcome, trade_no=request.trade_no)
        answer.same("trade_no", request.trade_no)
        answer.same("address", address)
        return ChannelReply(
            outcome=Outcome.ACCEPTED,
            trade_no=request.trade_no,
            channel_trade_no=address,
            pay_url=self._payment_code(address, request.amount_minor),
            raw=answer.body,
        )

    def _payment_code(self, address: str, units: int) -> str:
        """Write what a wallet's camera reads (ERC-681)."""
        chain_id = self._chain.chain_id
        return f"ethereum:{self._token}@{chain_id}/transfer?address={address}&uint256={units}"

    async def query(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        return await _bounded(self._looked(trade, timeout_s), trade.trade_no, timeout_s)

    async def _looked(self, trade: Trade, timeout_s: float) -> ChannelReply:
        await self._chain.check(timeout_s)
        address = await self._address(trade)
        waiting = ChannelReply(
            outcome=Outcome.ACCEPTED, trade_no=trade.trade_no, channel_trade_no=address
        )
        # An empty address, which most are whenever they are asked about, costs one question.
        if await self._chain.balance(address, timeout_s) == 0:
            return waiting
        since_s = trade.created_at_us // 1_000_000
        transfers = await self._chain.received(address, since_s, timeout_s)
        received = sum(each.units for each in transfers)
        is_paid = received >= trade.amount_minor
        return ChannelReply(
            outcome=Outcome.PAID if is_paid else Outcome.ACCEPTED,
            trade_no=trade.trade_no,
            channel_trade_no=address,
            amount_minor=trade.amount_minor if is_paid else None,
            received_minor=received,
            currency=self._currency,
            raw=" ".join(sorted(f"{each.tx_hash}:{each.units}" for each in transfers)).encode(),
        )

    async def _address(self, trade: Trade) -> str:
        known = trade.channel_trade_no
        return known or await asyncio.to_thread(address_of, self._key, trade.trade_no)

    async def close(self, trade: Trade, *, timeout_s: float) -> ChannelReply:
        """Take the order off the wallet's list; nobody can close an address on a chain.

        UNKNOWN while money is on its way in blocks that aren't final. Money that comes afterwards
        is found by asking again, and by the statement.
        """
        return await _bounded(self._closed(trade, timeout_s), trade.trade_no, timeout_s)

    async def _closed(self, trade: Trade, timeout_s: float) -> ChannelReply:
        path = f"/deposits/{trade.trade_no}/close"
        answer = await self._wallet.ask("POST", path, {}, timeout_s)
        if answer is None:
            raise NotKnown("the wallet gave no answer")
        known = await self._looked(trade, timeout_s)
        outcome = known.outcome
        if outcome is Outcome.ACCEPTED:
            held = await self._chain.balance(await self._address(trade), timeout_s)
            on_its_way = held > (known.received_minor or 0)
            outcome = Outcome.UNKNOWN if on_its_way else Outcome.CLOSED
        return ChannelReply(outcome=outcome, trade_no=trade.trade_no)

    def payee(self, text: str) -> str:
        address = read_address(text)
        if address in {self._token, read_address("0x" + "0" * 40)}:
            raise BadAddress("money sent there is lost")
        return address

    async def refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        try:
            to = self.payee(refund.to_account)
        except BadAddress:
            return _about(Outcome.REJECTED, trade, refund)
        content = {
            "refund_no": refund.refund_no,
            "trade_no": trade.trade_no,
            "chain_id": self._chain.chain_id,
            "token": self._token,
            "to": to,
            "units": str(refund.amount_minor),
        }
        answer = await self._wallet.ask("POST", "/transfers", content, timeout_s)
        if answer is None:
            return _about(Outcome.UNKNOWN, trade, refund)
        accepted = answer.http_status == httpx.codes.OK
        # What the wallet sent is believed when the chain shows it, which is asked next.
        return _about(Outcome.ACCEPTED if accepted else Outcome.REJECTED, trade, refund)

    async def query_refund(
        self, trade: Trade, refund: RefundRequest, *, timeout_s: float
    ) -> ChannelReply:
        asked = self._looked_at_refund(trade, refund, timeout_s)
        return await _bounded(asked, trade.trade_no, timeout_s, refund.refund_no)

    async def _looked_at_refund(
        self, trade: Trade, refund: RefundRequest, timeout_s: float
    ) -> ChannelReply:
        path = f"/transfers/{refund.refund_no}"
        answer = await self._wallet.ask("GET", path, None, timeout_s)
        if answer is None:
            raise NotKnown("the wallet gave no answer")
        if answer.http_status != httpx.codes.OK:
            return _about(Outcome.NOT_FOUND, trade, refund)
        for name, expected in (
            ("refund_no", refund.refund_no),
            ("trade_no", trade.trade_no),
            ("to", self.payee(refund.to_account)),
            ("units", str(refund.amount_minor)),
        ):
            answer.same(name, expected)
        if answer.text("status") == _FAILED:
            return _about(Outcome.REJECTED, trade, refund)
        await self._chain.check(timeout_s)
        tx_hash, to = answer.text("tx_hash"), answer.text("to")
        done = tx_hash and await self._chain.sent(tx_hash, to, refund.amount_minor, timeout_s)
        return ChannelReply(
            outcome=Outcome.REFUNDED if done else Outcome.ACCEPTED,
            trade_no=trade.trade_no,
            refund_no=refund.refund_no,
            channel_refund_no=tx_hash,
            amount_minor=refund.amount_minor,
            currency=self._currency,
            raw=answer.body,
        )

    async def read_notification(self, notice: Notice, *, timeout_s: float) -> ChannelReply:  # noqa: ARG002 - none is true
        raise ChannelProtocolError("evm: a chain sends no notifications")

    def notification_answer(self, *, accepted: bool) -> NoticeAnswer:  # noqa: ARG002 - none is
        return NoticeAnswer(http_status=404)

    async def bill(self, day: str, *, timeout_s: float) -> bytes:
        path = f"/statement?day={date.fromisoformat(day).isoformat()}"
        answer = await self._wallet.ask("GET", path, None, timeout_s)
        if answer is None or answer.http_status != httpx.codes.OK:
            raise ChannelProtocolError(f"evm: the statement of {day} can't be had now")
        return answer.body


async def _bounded(
    question: Awaitable[ChannelReply], trade_no: str, timeout_s: float, refund_no: str = ""
) -> ChannelReply:
    """Ask several questions within the time that one may take; UNKNOWN if one stays open."""
    try:
        async with asyncio.timeout(timeout_s):
            return await question
    except (NotKnown, TimeoutError):
        return ChannelReply(outcome=Outcome.UNKNOWN, trade_no=trade_no, refund_no=refund_no)


def _about(outcome: Outcome, trade: Trade, refund: RefundRequest) -> ChannelReply:
    return ChannelReply(outcome=outcome, trade_no=trade.trade_no, refund_no=refund.refund_no)


def _whole(told: Mapping[str, str], name: str) -> int:
    text = told[name]
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name}: must be a whole number, was {text[:20]!r}")
    return int(text)


def _read(setting: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except ValueError as error:
        raise ValueError(f"{setting}: {error}") from error


def _open(
    name: str, told: Mapping[str, str], client: httpx.AsyncClient, clock_us: Callable[[], int]
) -> Channel:
    return EvmChannel(name, told, client, clock_us)


_SETTINGS: Final = (
    Setting(
        name="rpc_url",
        meaning_en="The node's JSON-RPC address; it may hold a key of the provider's.",
        meaning_zh="节点JSON-RPC地址(可含服务商密钥)",
        secret=True,
    ),
    Setting(name="chain_id", meaning_en="Chain id (EIP-155).", meaning_zh="链ID"),
    Setting(name="token_address", meaning_en="The token's contract.", meaning_zh="代币合约地址"),
    Setting(
        name="token_decimals", meaning_en="Its decimals.", meaning_zh="代币小数位", default="6"
    ),
    Setting(name="currency", meaning_en="Its name here.", meaning_zh="币种", default="USDC"),
    Setting(
        name="xpub",
        meaning_en="Extended public key of the wallet's account, e.g. m/44'/60'/0'.",
        meaning_zh="钱包账户扩展公钥(xpub)",
    ),
    Setting(
        name="finality",
        meaning_en="What is final: finalized, or a number of blocks.",
        meaning_zh="最终性: finalized或确认区块数",
        default="finalized",
    ),
    Setting(
        name="block_range",
        meaning_en="Blocks in one question for logs.",
        meaning_zh="单次日志查询区块数",
        default="1000",
    ),
    Setting(
        name="poll_s",
        meaning_en="Seconds between two looks at a waiting payment.",
        meaning_zh="轮询间隔(秒)",
        default="15",
    ),
    Setting(name="wallet_url", meaning_en="The wallet's address.", meaning_zh="钱包服务地址"),
    Setting(
        name="wallet_secret_hex",
        meaning_en="What gateway and wallet sign with, hex.",
        meaning_zh="钱包服务签名密钥(十六进制)",
        secret=True,
    ),
)

ADAPTER: Final = Adapter(
    kind="evm", pay_types=frozenset({"crypto"}), settings=_SETTINGS, open=_open
)
