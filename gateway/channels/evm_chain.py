"""What the adapter asks of a chain's node (JSON-RPC): which transfers of a token are final.

A node isn't a payment system: it signs nothing, so it must be one's own or trusted. An answer that
can't be had says nothing about any payment; a malformed one is refused. Sources: the Ethereum
execution API (methods, quantities, block tags), EIP-20 (Transfer, balanceOf, decimals).
"""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import httpx

from gateway.channels.base import ChannelProtocolError
from gateway.channels.exchange import ask

# keccak256("Transfer(address,address,uint256)"), and the selectors of two questions.
TRANSFER: Final = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
_BALANCE_OF: Final = "0x70a08231"
_DECIMALS: Final = "0x313ce567"
_FINALIZED: Final = "finalized"
_QUANTITY: Final = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,63})", re.ASCII)
_WORD: Final = re.compile(r"0x[0-9a-f]{64}", re.ASCII)
_SLACK_S: Final = 120  # A block's time is its proposer's word; ours and theirs may differ.


class NotKnown(Exception):
    """The node gave no answer, or refused to give one."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer of the token that stands in the chain."""

    tx_hash: str
    log_index: int
    block: int
    to: str
    units: int


@dataclass(slots=True, kw_only=True)
class Chain:
    """One token on one chain, seen through one node.

    Attributes:
        client: Shared HTTP client; never closed here.
        url: The node's.
        chain_id: As EIP-155 numbers chains; a node of another chain is refused.
        token: The contract, lower case.
        decimals: Of the token; a contract that says otherwise is refused.
        finality: ``finalized``, or how many blocks make a transfer final.
        block_range: How many blocks one question for logs may span.
    """

    client: httpx.AsyncClient
    url: str
    chain_id: int
    token: str
    decimals: int
    finality: str
    block_range: int
    _is_checked: bool = field(default=False, init=False)

    async def check(self, timeout_s: float) -> None:
        """Make sure, once, that this is the chain and the token that was meant.

        Raises:
            ChannelProtocolError: if it isn't.
            NotKnown: if the node gives no answer.
        """
        if self._is_checked:
            return
        chain_id = quantity(await self._call("eth_chainId", [], timeout_s))
        if chain_id != self.chain_id:
            raise ChannelProtocolError(f"evm: the node is of chain {chain_id}, not {self.chain_id}")
        decimals = await self._read(_DECIMALS, timeout_s)
        if decimals != self.decimals:
            raise ChannelProtocolError(f"evm: the token has {decimals} decimals")
        self._is_checked = True

    async def balance(self, address: str, timeout_s: float) -> int:
        """Return what an address holds in the newest block, final or not, token units."""
        return await self._read(_BALANCE_OF + topic_of(address)[2:], timeout_s)

    async def final_block(self, timeout_s: float) -> int:
        """Return the newest block that stays; -1 if there is none yet."""
        if self.finality == _FINALIZED:
            block = await self._call("eth_getBlockByNumber", [_FINALIZED, False], timeout_s)
            return -1 if block is None else quantity(_object(block).get("number"))
        newest = quantity(await self._call("eth_blockNumber", [], timeout_s))
        return max(newest - int(self.finality) + 1, -1)

    async def received(self, address: str, since_s: int, timeout_s: float) -> list[Transfer]:
        """Return the final transfers to an address.

        Args:
            address: Of an order.
            since_s: Unix time, seconds, before which nobody knew the address.
            timeout_s: For each question to the node.
        """
        last = await self.final_block(timeout_s)
        first = await self._first_block(since_s - _SLACK_S, last, timeout_s)
        found: dict[tuple[str, int], Transfer] = {}
        for start in range(first, last + 1, self.block_range):
            question = {
                "fromBlock": hex(start),
                "toBlock": hex(min(start + self.block_range - 1, last)),
                "address": self.token,
                "topics": [TRANSFER, None, topic_of(address)],
            }
            logs = await self._call("eth_getLogs", [question], timeout_s)
            if not isinstance(logs, list):
                raise ChannelProtocolError("evm: logs must be a list")
            for each in logs:
                transfer = await self._standing(_object(each), address, last, timeout_s)
                if transfer is not None:
                    found[transfer.tx_hash, transfer.log_index] = transfer
        return list(found.values())

    async def sent(self, tx_hash: str, to: str, units: int, timeout_s: float) -> bool:
        """Say whether a transaction moved exactly `units` to `to`, for good.

        Raises:
            ChannelProtocolError: if it is final and did something else.
        """
        receipt = await self._call("eth_getTransactionReceipt", [tx_hash], timeout_s)
        if receipt is None:
            return False
        fields = _object(receipt)
        last = await self.final_block(timeout_s)
        if quantity(fields.get("blockNumber")) > last:
            return False
        logs = fields.get("logs")
        if quantity(fields.get("status")) != 1 or not isinstance(logs, list):
            raise ChannelProtocolError(f"evm: the refund's transaction {tx_hash} failed")
        for each in logs:
            log = _object(each)
            topics = log.get("topics")
            if not isinstance(topics, list) or topics[2:] != [topic_of(to)]:
                continue
            transfer = await self._standing(log, to, last, timeout_s)
            if transfer is not None and transfer.units == units:
                return True
        raise ChannelProtocolError(f"evm: transaction {tx_hash} isn't the refund it should be")

    async def _standing(
        self, log: Mapping[str, object], to: str, last: int, timeout_s: float
    ) -> Transfer | None:
        """Read a log; None if its block isn't the chain's any more (a reorganisation)."""
        topics, data = log.get("topics"), log.get("data")
        wanted = [TRANSFER, topic_of(to)]
        is_transfer = (
            isinstance(topics, list)
            and len(topics) == 3  # noqa: PLR2004 - event, from, to
            and [topics[0], topics[2]] == wanted
            and str(log.get("address", "")).lower() == self.token
        )
        if not is_transfer or not isinstance(data, str) or _WORD.fullmatch(data) is None:
            raise ChannelProtocolError("evm: a log that wasn't asked for")
        block = quantity(log.get("blockNumber"))
        if log.get("removed") is True or block > last:
            return None
        shown = await self._call("eth_getBlockByNumber", [hex(block), False], timeout_s)
        if shown is None or _object(shown).get("hash") != log.get("blockHash"):
            return None
        return Transfer(
            tx_hash=str(log.get("transactionHash")),
            log_index=quantity(log.get("logIndex")),
            block=block,
            to=to,
            units=int(data, 16),
        )

    async def _first_block(self, since_s: int, last: int, timeout_s: float) -> int:
        """Return the first block not older than a time, by halving: no block is asked twice."""
        low, high = 0, last + 1
        while low < high:
            middle = (low + high) // 2
            block = await self._call("eth_getBlockByNumber", [hex(middle), False], timeout_s)
            if quantity(_object(block).get("timestamp")) < since_s:
                low = middle + 1
            else:
                high = middle
        return low

    async def _read(self, data: str, timeout_s: float) -> int:
        question = {"to": self.token, "data": data}
        word = await self._call("eth_call", [question, "latest"], timeout_s)
        if not isinstance(word, str) or _WORD.fullmatch(word) is None:
            raise ChannelProtocolError("evm: the token answers something else than a number")
        return int(word, 16)

    async def _call(self, method: str, params: list[object], timeout_s: float) -> object:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        response = await ask(
            self.client,
            "POST",
            self.url,
            timeout_s=timeout_s,
            content=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        if response is None:
            raise NotKnown(method)
        try:
            answer: object = await asyncio.to_thread(json.loads, response.content)
        except (ValueError, RecursionError) as error:
            raise ChannelProtocolError(f"evm: not JSON: {error}") from error
        fields = _object(answer)
        if fields.get("error") is not None:  # Overloaded, limited, pruned: nothing is known.
            raise NotKnown(f"{method}: {str(fields['error'])[:200]}")
        if "result" not in fields or fields.get("id") != 1:
            raise ChannelProtocolError("evm: an answer to something else")
        return fields["result"]


def topic_of(address: str) -> str:
    """Write an address as the 32 bytes it is in a log's topics."""
    return "0x" + address[2:].lower().rjust(64, "0")


def quantity(value: object) -> int:
    """Read a number as the execution API writes it.

    Raises:
        ChannelProtocolError: if it is none.
    """
    if not isinstance(value, str) or _QUANTITY.fullmatch(value) is None:
        raise ChannelProtocolError(f"evm: not a quantity: {str(value)[:40]!r}")
    return int(value, 16)


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise ChannelProtocolError("evm: not a JSON object")
    return value
