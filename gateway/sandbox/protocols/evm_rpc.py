"""The chain's node: JSON-RPC as the Ethereum execution API has it, what a payment needs of it."""

import json
import re
import sqlite3
from collections.abc import Callable
from typing import Final

from gateway.sandbox.protocols import evm_chain as chain
from gateway.sandbox.protocols.evm_chain import TOKEN, Block, Moved

RANGE_MAX: Final = 2000  # As providers have it: more blocks in one question are refused.
_BATCH_MAX: Final = 100
_HEX: Final = re.compile(r"0x(0|[1-9a-f][0-9a-f]{0,15})", re.ASCII)
_HASH: Final = re.compile(r"0x[0-9a-f]{64}", re.ASCII)
_EMPTY: Final = "0x" + "0" * 64
_NOBODY: Final = "0x" + "0" * 40
_BLOOM: Final = "0x" + "0" * 512


class RpcError(Exception):
    """The node refuses a question."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


Params = list[object]


def answer(connection: sqlite3.Connection, body: bytes, now_us: int) -> bytes:
    """Answer a question, or a batch of them."""
    try:
        asked: object = json.loads(body)
    except (ValueError, RecursionError):
        return json.dumps(_failed(None, RpcError(-32700, "parse error"))).encode()
    if isinstance(asked, list) and 0 < len(asked) <= _BATCH_MAX:
        said: object = [_one(connection, each, now_us) for each in asked]
    else:
        said = _one(connection, asked, now_us)
    return json.dumps(said).encode()


def _one(connection: sqlite3.Connection, asked: object, now_us: int) -> dict[str, object]:
    if not isinstance(asked, dict) or asked.get("jsonrpc") != "2.0":
        return _failed(None, RpcError(-32600, "invalid request"))
    number, params = asked.get("id"), asked.get("params", [])
    work = _METHODS.get(str(asked.get("method")))
    if work is None:
        return _failed(number, RpcError(-32601, f"the method {asked.get('method')} does not exist"))
    if not isinstance(params, list):
        return _failed(number, RpcError(-32602, "params must be a list"))
    try:
        return {"jsonrpc": "2.0", "id": number, "result": work(connection, params, now_us)}
    except RpcError as error:
        return _failed(number, error)


def _failed(number: object, error: RpcError) -> dict[str, object]:
    said = {"code": error.code, "message": error.message}
    return {"jsonrpc": "2.0", "id": number, "error": said}


def _number(connection: sqlite3.Connection, tag: object, now_us: int) -> int:
    """Return the number that a tag or a quantity names."""
    newest = chain.latest(connection, now_us).number
    named = {
        "latest": newest,
        "pending": newest,
        "safe": chain.final_number(connection, now_us),
        "finalized": chain.final_number(connection, now_us),
        "earliest": 0,
    }
    if isinstance(tag, str) and tag in named:
        return named[tag]
    if not isinstance(tag, str) or _HEX.fullmatch(tag) is None:
        raise RpcError(-32602, "not a block number or tag")
    return int(tag, 16)


def _at(params: Params, place: int, default: object = None) -> object:
    return params[place] if len(params) > place else default


def _block(connection: sqlite3.Connection, params: Params, now_us: int) -> object:
    found = chain.block_at(connection, _number(connection, _at(params, 0), now_us))
    if found is None:
        return None
    return _as_json(found, chain.moved(connection, found.number, found.number))


def _as_json(block: Block, moves: list[Moved]) -> dict[str, object]:
    return {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent_hash,
        "timestamp": hex(block.timestamp_s),
        "transactions": [move.tx_hash for move in moves],
        "uncles": [],
        "nonce": "0x" + "0" * 16,
        "sha3Uncles": _EMPTY,
        "logsBloom": _BLOOM,
        "transactionsRoot": _EMPTY,
        "stateRoot": _EMPTY,
        "receiptsRoot": _EMPTY,
        "miner": _NOBODY,
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "extraData": "0x",
        "size": "0x0",
        "gasLimit": hex(30_000_000),
        "gasUsed": hex(50_000 * len(moves)),
        "baseFeePerGas": "0x7",
    }


def _logs(connection: sqlite3.Connection, params: Params, now_us: int) -> object:
    wanted = _at(params, 0)
    if not isinstance(wanted, dict) or "blockHash" in wanted:
        raise RpcError(-32602, "a filter with block numbers is needed")
    first = _number(connection, wanted.get("fromBlock", "latest"), now_us)
    last = _number(connection, wanted.get("toBlock", "latest"), now_us)
    if last - first >= RANGE_MAX:
        raise RpcError(-32005, f"query exceeds max block range {RANGE_MAX}")
    contracts = wanted.get("address", TOKEN)
    listed = contracts if isinstance(contracts, list) else [contracts]
    if TOKEN not in [str(each).lower() for each in listed]:
        return []
    topics = wanted.get("topics", [])
    if not isinstance(topics, list):
        raise RpcError(-32602, "topics must be a list")
    shown = (_log(connection, each) for each in chain.moved(connection, first, last))
    return [log for log in shown if _fits(log["topics"], topics)]


def _fits(topics: object, wanted: list[object]) -> bool:
    """Whether a log's topics are those asked for; null is any, a list is one of several."""
    mine = topics if isinstance(topics, list) else []
    if len(wanted) > len(mine):
        return False
    for topic, want in zip(mine, wanted, strict=False):
        choices = want if isinstance(want, list) else [want]
        if want is not None and topic not in [str(each).lower() for each in choices]:
            return False
    return True


def _log(connection: sqlite3.Connection, move: Moved) -> dict[str, object]:
    block = chain.block_at(connection, move.block)
    return {
        "address": TOKEN,
        "topics": [chain.TRANSFER, _topic(move.from_address), _topic(move.to_address)],
        "data": f"0x{move.units:064x}",
        "blockNumber": hex(move.block),
        "blockHash": block.hash if block else _EMPTY,
        "transactionHash": move.tx_hash,
        "transactionIndex": hex(move.log_index),
        "logIndex": hex(move.log_index),
        "removed": False,
    }


def _topic(address: str) -> str:
    return "0x" + "0" * 24 + address[2:]


def _receipt(connection: sqlite3.Connection, params: Params, _: int) -> object:
    tx_hash = _at(params, 0)
    if not isinstance(tx_hash, str) or _HASH.fullmatch(tx_hash) is None:
        raise RpcError(-32602, "not a transaction's hash")
    move = chain.find(connection, tx_hash)
    if move is None:
        return None
    log = _log(connection, move)
    return {
        "transactionHash": move.tx_hash,
        "transactionIndex": log["transactionIndex"],
        "blockNumber": log["blockNumber"],
        "blockHash": log["blockHash"],
        "from": move.from_address,
        "to": TOKEN,
        "contractAddress": None,
        "cumulativeGasUsed": hex(50_000),
        "gasUsed": hex(50_000),
        "effectiveGasPrice": "0x7",
        "logs": [log],
        "logsBloom": _BLOOM,
        "status": "0x1",
        "type": "0x2",
    }


def _called(connection: sqlite3.Connection, params: Params, now_us: int) -> object:
    call = _at(params, 0)
    if not isinstance(call, dict) or str(call.get("to", "")).lower() != TOKEN:
        return "0x"  # Nobody lives there.
    data = str(call.get("data", call.get("input", ""))).lower()
    last = _number(connection, _at(params, 1, "latest"), now_us)
    if data == "0x313ce567":  # decimals()
        return f"0x{chain.DECIMALS:064x}"
    if data.startswith("0x70a08231") and len(data) == 10 + 64:  # balanceOf(address)
        return f"0x{chain.balance(connection, '0x' + data[-40:], last):064x}"
    raise RpcError(3, "execution reverted")


_METHODS: Final[dict[str, Callable[[sqlite3.Connection, Params, int], object]]] = {
    "eth_chainId": lambda _conn, _params, _now_us: hex(chain.CHAIN_ID),
    "net_version": lambda _conn, _params, _now_us: str(chain.CHAIN_ID),
    "web3_clientVersion": lambda _conn, _params, _now_us: "YumenSandbox/1",
    "eth_blockNumber": lambda conn, _, now_us: hex(chain.latest(conn, now_us).number),
    "eth_getBlockByNumber": _block,
    "eth_getLogs": _logs,
    "eth_getTransactionReceipt": _receipt,
    "eth_call": _called,
}
