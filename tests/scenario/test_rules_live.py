"""Rules and lists change under a running gateway: by its API, by another process, never by half."""

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.store import rules
from gateway.store.database import embedded
from gateway.store.sqlite import open_sqlite
from risk.rules.shipped import default_rules
from tests.stand import Stand, standing, until

CARD = "4242"


class Desk:
    """An operator in front of a running gateway."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.url = f"{stand.shop.gateway_url}/admin"
        self.headers = {
            "authorization": f"Bearer {stand.gateway.admin_token}",
            "x-actor": "lin",
        }

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.stand.shop.client.post(
            f"{self.url}{path}", json=body, headers=self.headers
        )

    async def ok(self, path: str, **body: Any) -> dict[str, Any]:
        response = await self.post(path, **body)
        answer: dict[str, Any] = response.json()
        assert response.status_code == 200, answer
        return answer

    async def get(self, path: str) -> dict[str, Any]:
        response = await self.stand.shop.client.get(f"{self.url}{path}", headers=self.headers)
        answer: dict[str, Any] = response.json()
        assert response.status_code == 200, answer
        return answer

    async def running(self) -> tuple[str, str]:
        """Versions of the rules and lists that run now."""
        shown = await self.get("/rules")
        return shown["rule_version"], shown["list_version"]

    async def is_declined(self, card: str = CARD) -> bool:
        """Pay with a card and say whether risk refused it."""
        shop = self.stand.shop
        context = json.dumps({"instrument": {"token": card}})
        response = await shop.post("create", shop.params(risk_context=context))
        answer = response.json()
        assert answer["risk_outcome"] in {"APPROVE", "CHALLENGE", "REVIEW", "DECLINE"}, answer
        return bool(answer["risk_outcome"] == "DECLINE")


def at_the_desk(var: Path, steps: Callable[[Desk], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        async with standing(var, **settings) as stand:
            await steps(Desk(stand))

    asyncio.run(run())


async def command(var: Path, *arguments: str) -> str:
    """Run `yumen` in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gateway.cli", *arguments, "--var", str(var)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()
    return said.decode()


def test_what_the_api_changes_holds_from_the_next_payment_on(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        await desk.ok("/lists", name="stolen", purpose="NAMED", reason="from the police")
        await desk.ok("/lists/stolen/entries", kind="card", values=[CARD], reason="case 17")
        drafted = await desk.ok(
            "/rules",
            name="stolen_card",
            expression='card in list("stolen") and amount > yuan(10)',
            action="DECLINE",
            reason_code="CARD_KNOWN_FRAUD",
            reason="case 17",
        )
        assert (drafted["state"], drafted["version"]) == ("DRAFT", 1)
        assert not await desk.is_declined()

        await desk.ok("/rules/stolen_card/1/move", state="SHADOW", reason="look first")
        assert not await desk.is_declined()

        moved = await desk.ok("/rules/stolen_card/1/move", state="LIVE", reason="looks right")
        assert await desk.is_declined()
        assert not await desk.is_declined("4000")
        (stored,) = desk.stand.rows(
            "SELECT rule_version, rule_hits FROM decisions WHERE outcome = 'DECLINE'"
        )
        assert stored == (moved["rule_version"], '["stolen_card"]')

        shown = await desk.get("/lists/stolen")
        entry_ids = [entry["entry_id"] for entry in shown["entries"]]
        await desk.ok("/lists/stolen/removals", entry_ids=entry_ids, reason="found again")
        assert not await desk.is_declined()
        assert (await desk.get("/lists/stolen"))["entries"] == []
        assert len((await desk.get("/lists/stolen?removed=true"))["entries"]) == 1
        trail = desk.stand.rows("SELECT actor, action FROM audit_log WHERE actor <> 'yumen'")
        assert [action for _, action in trail] == [
            *("list.create", "list.add", "rule.add", "rule.move", "rule.move", "list.remove")
        ]
        assert {actor for actor, _ in trail} == {"lin"}

    at_the_desk(tmp_path, steps)


def test_what_another_process_changes_holds_without_a_restart(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        assert not await desk.is_declined()
        before = await desk.running()

        await command(
            tmp_path,
            *("lists", "add", "blocked", CARD, "--purpose", "BLOCK", "--kind", "card"),
            *("--reason", "case 17"),
        )

        async with asyncio.timeout(20):
            while await desk.running() == before:
                await asyncio.sleep(0.05)
        assert await desk.running() == (before[0], "lists-2")
        assert await desk.is_declined()
        assert desk.stand.rows("SELECT list_version FROM decisions ORDER BY seq") == [
            ("lists-0",),
            ("lists-2",),
        ]

    at_the_desk(tmp_path, steps)


def test_a_broken_set_changes_nothing_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def steps(desk: Desk) -> None:
        rule_version, _ = await desk.running()
        await desk.ok("/lists", name="blocked", purpose="BLOCK", reason="x")
        raw = open_sqlite(tmp_path / "yumen.db")
        raw.execute("UPDATE rules SET expression = 'amont > 1' WHERE name = 'structuring'")
        raw.execute("UPDATE change_counters SET number = number + 1 WHERE name = 'rules'")
        raw.close()

        with caplog.at_level(logging.ERROR, logger="yumen.rules"):
            await until(lambda: bool(caplog.records), what="the complaint")

        assert "did you mean 'amount'" in caplog.text
        await until(
            lambda: bool(desk.stand.rows("SELECT 1 FROM alerts WHERE kind = 'rules.refused'")),
            what="the alert",
        )
        assert await desk.running() == (rule_version, "lists-1")
        assert not await desk.is_declined()

    at_the_desk(tmp_path, steps)


def test_what_a_decision_names_can_be_compiled_again(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        await desk.is_declined()

    at_the_desk(tmp_path, steps)

    engine = embedded(tmp_path).reader()
    with engine.connect() as conn:
        version = conn.exec_driver_sql("SELECT rule_version FROM decisions").scalar()
        again = rules.rule_set_at(conn, str(version), "none")
    engine.dispose()
    assert again.version == version == default_rules().version


RULE = {
    "name": "r",
    "action": "REVIEW",
    "expression": "amount > 1",
    "reason_code": "BURST",
    "reason": "x",
}
MOVE = {"state": "SHADOW", "reason": "x"}
ENTRIES = {"kind": "card", "values": ["1"], "reason": "x"}
REFUSALS: tuple[tuple[str, dict[str, Any], int, str], ...] = (
    ("/rules/check", RULE, 400, "reason"),
    ("/rules", RULE | {"action": "HUG"}, 400, "action"),
    ("/rules", RULE | {"expression": "amont > 1"}, 400, "did you mean 'amount'"),
    ("/rules", RULE | {"expression": "amont > 1"}, 400, "未知名称"),
    ("/rules", RULE | {"reason_code": "BRUST"}, 400, "'BURST'"),
    ("/rules", RULE | {"reason": " "}, 400, "reason"),
    ("/rules", RULE | {"name": "Ring!"}, 400, "lower-case"),
    ("/rules/nothing/1/move", MOVE, 404, "no rule nothing"),
    ("/rules/structuring/1/move", MOVE, 409, "cannot become"),
    ("/lists", {"name": "x", "purpose": "EAT", "reason": "x"}, 400, "purpose"),
    ("/lists/nothing/entries", ENTRIES, 404, "no list nothing"),
    ("/lists/nothing/removals", {"entry_ids": [1], "reason": "x"}, 404, "no list nothing"),
)


def test_what_can_not_be_is_refused_with_a_remedy(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        before = desk.stand.rows("SELECT count(*) FROM audit_log")
        for path, body, status, told in REFUSALS:
            response = await desk.post(path, **body)

            assert response.status_code == status, (path, response.text)
            assert told in response.json()["msg"]
            assert response.json()["remedy"]
        assert desk.stand.rows("SELECT count(*) FROM audit_log") == before

    at_the_desk(tmp_path, steps)


def test_a_dry_compile_says_where_it_is_wrong_and_stores_nothing(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        rule = {"name": "r", "action": "DECLINE", "reason_code": "BURST"}
        wrong = await desk.ok("/rules/check", expression="amount > 1 and amont > 2", **rule)
        right = await desk.ok("/rules/check", expression="amount > yuan(1)", **rule)

        assert (wrong["valid"], wrong["line"], wrong["column"]) == (False, 1, 16)
        assert "未知名称" in wrong["problem_zh"]
        assert right == {"valid": True, "lists": [], "runs_without_features": True}
        assert "r" not in [rule["name"] for rule in (await desk.get("/rules"))["rules"]]

        response = await desk.stand.shop.client.post(f"{desk.url}/rules/check", json=rule)
        assert response.status_code == 401

    at_the_desk(tmp_path, steps)
