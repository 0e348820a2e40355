"""The unmodified web3 and eth-account read the sandbox's chain over real HTTP."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from eth_account import Account
from eth_account.hdaccount.deterministic import HDPath
from web3 import Web3
from web3.exceptions import Web3RPCError

from gateway.channels.base import PayRequest
from gateway.channels.registry import ADAPTERS
from gateway.evm_address import path_of
from gateway.sandbox.app import Sandbox, build
from gateway.sandbox.protocols.registry import account, keys_in
from tests.sandbox_world import JSON, START_US, TIMEOUT_S, Clock

ERC20: Any = [
    {
        "anonymous": False,
        "name": "Transfer",
        "type": "event",
        "inputs": [
            {"indexed": True, "name": "from", "type": "address"},
            {"indexed": True, "name": "to", "type": "address"},
            {"indexed": False, "name": "value", "type": "uint256"},
        ],
    },
    {
        "name": "balanceOf",
        "type": "function",
        "stateMutability": "view",
        "inputs": [{"name": "owner", "type": "address"}],
        "outputs": [{"name": "", "type": "uint256"}],
    },
    {
        "name": "decimals",
        "type": "function",
        "stateMutability": "view",
        "inputs": [],
        "outputs": [{"name": "", "type": "uint8"}],
    },
]


@contextmanager
def served(sandbox: Sandbox) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(sandbox.app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


async def pay(var: Path, base: str, action: str) -> str:
    """Open a payment by the adapter, act as its payer, and return its address."""
    request = PayRequest(
        trade_no="T0000000001",
        created_at_us=START_US,
        pay_type="crypto",
        amount_minor=12_300_000,
        currency="USDC",
        subject="tea",
        notify_url="",
        return_url="",
        expires_at_s=START_US // 1_000_000 + 1_800,
    )
    async with httpx.AsyncClient() as client:
        channel = ADAPTERS["evm"].open("evm", account("evm", var, base), client, Clock())
        opened = await channel.pay(request, timeout_s=TIMEOUT_S)
        page = await client.get(f"{base}/scan", params={"code": opened.pay_url})
        await client.post(page.headers["location"], data={"action": action}, headers=JSON)
        return opened.channel_trade_no


def test_web3_sees_the_transfer_and_eth_account_the_address(tmp_path: Path) -> None:
    with served(build(tmp_path, Clock())) as base:
        address = asyncio.run(pay(tmp_path, base, "pay"))
        web3 = Web3(Web3.HTTPProvider(f"{base}/evm/rpc"))
        told = account("evm", tmp_path, base)
        token = web3.eth.contract(Web3.to_checksum_address(told["token_address"]), abi=ERC20)
        newest, final = web3.eth.block_number, web3.eth.get_block("finalized")

        (event,) = token.events.Transfer().get_logs(
            from_block=0, to_block="finalized", argument_filters={"to": address}
        )
        receipt = web3.eth.get_transaction_receipt(event["transactionHash"])
        block = web3.eth.get_block(event["blockNumber"])
        (again,) = token.events.Transfer().process_receipt(receipt)

        assert web3.is_connected()
        assert (web3.eth.chain_id, web3.net.version) == (31337, "31337")
        assert web3.client_version.startswith("YumenSandbox")
        assert (event["args"]["to"], event["args"]["value"]) == (address, 12_300_000)
        assert again["args"] == event["args"]
        assert receipt["status"] == 1
        assert block["hash"] == event["blockHash"] == receipt["blockHash"]
        assert event["transactionHash"] in block["transactions"]
        assert final["number"] == newest - 2 >= event["blockNumber"]
        assert web3.eth.get_block(newest)["parentHash"] == web3.eth.get_block(newest - 1)["hash"]
        assert token.functions.decimals().call() == 6
        assert token.functions.balanceOf(address).call() == 12_300_000
        assert token.functions.balanceOf(address).call(block_identifier=0) == 0
        with pytest.raises(Web3RPCError, match="range"):
            web3.eth.get_logs({"fromBlock": 0, "toBlock": 5_000})

        seed = bytes.fromhex(keys_in(tmp_path).kept("evm.seed", bytes).decode())
        path = "m/44'/60'/0'/" + "/".join(map(str, path_of("T0000000001")))
        assert Account.from_key(HDPath(path).derive(seed)).address == address


def test_web3_sees_what_a_reorganisation_took_back(tmp_path: Path) -> None:
    with served(build(tmp_path, Clock())) as base:
        address = asyncio.run(pay(tmp_path, base, "unconfirmed"))
        web3 = Web3(Web3.HTTPProvider(f"{base}/evm/rpc"))
        told = account("evm", tmp_path, base)
        token = web3.eth.contract(Web3.to_checksum_address(told["token_address"]), abi=ERC20)
        before = web3.eth.get_block("latest")
        (event,) = token.events.Transfer().get_logs(from_block=0)
        assert token.functions.balanceOf(address).call() == 12_300_000

        asyncio.run(pay(tmp_path, base, "reorg"))

        assert list(token.events.Transfer().get_logs(from_block=0)) == []
        assert token.functions.balanceOf(address).call() == 0
        assert web3.eth.get_block(before["number"])["hash"] != before["hash"]
        assert web3.eth.get_block(event["blockNumber"])["hash"] != event["blockHash"]
