"""What operators may do through the admin API: only with the token, only by name, only once."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import insert

from gateway.channels.sandbox import SandboxChannel
from gateway.clock import wall_clock_us
from gateway.domain.errors import BillUnavailable, InvalidParameter, ObjectNotFound
from gateway.http.admin_api import AdminDeps, admin_router
from gateway.http.doorkeeper import BODY_BYTES_MAX, Door, read_actor
from gateway.payments.acts import acts_of
from gateway.payments.approvals import Approvals
from gateway.payments.context import Context, PaymentConfig
from gateway.payments.onboard import Desk as MerchantDesk
from gateway.payments.route import Health, Routes
from gateway.store import tables
from gateway.store.event_log import EventLog
from gateway.store.reads import InlineReads
from gateway.store.sqlite import SqliteDatabase, SqliteWriter, open_sqlite
from gateway.store.vault import Vault
from tests.seeded import NOW_US, empty_database, order_row

TOKEN = "synthetic-operator-token"  # noqa: S105 - opens nothing but this test
ORDER = "T" + "0" * 24
MERCHANT = "M8"


def _clock_us() -> int:
    return NOW_US + 60_000_000


@dataclass
class Desk:
    """A gateway's operator door over a real database, and an operator in front of it."""

    context: Context
    client: httpx.AsyncClient
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        sent = {"authorization": f"Bearer {TOKEN}", "x-actor": "lin"} | headers
        return await self.client.post(f"/admin{path}", json=body, headers=sent)

    async def decide(
        self, verdict: str = "approve", *, trade_no: str = ORDER, version: int = 1
    ) -> httpx.Response:
        body = {"verdict": verdict, "reason": "called the payer", "version": version}
        return await self.post(f"/orders/{trade_no}/review", body)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.context.raw_reader.execute(sql).fetchall()

    async def reconcile(self, channel: str, day: str) -> Mapping[str, object]:
        """Stand in for the reconciliation that wiring puts here."""
        self.asked.append((channel, day))
        if channel != "sandbox":
            raise ObjectNotFound(f"no channel {channel}")
        if day == "2026-13-01":
            raise InvalidParameter("day", "is no day")
        if day == "2026-01-01":
            raise BillUnavailable("line 3: the total is not the sum of the rows")
        return {"run_id": "RUN1", "matched": 98, "breaks": 2}


@asynccontextmanager
async def at_the_desk(var: Path) -> AsyncIterator[Desk]:
    path = var / "yumen.db"
    with empty_database(var) as conn, conn.begin():
        held = order_row(0, NOW_US, status="CREATED", status_reason="REVIEW", risk_outcome="REVIEW")
        conn.execute(insert(tables.orders).values(**held))
        conn.execute(
            insert(tables.merchants).values(
                merchant_id=MERCHANT,
                app_id="appM8",
                name="山海旅行",
                status="PENDING",
                created_at_us=NOW_US,
            )
        )
    conn.engine.dispose()
    raw = open_sqlite(path, read_only=True)
    async with httpx.AsyncClient() as outward:
        context = Context(
            writer=SqliteWriter(path),
            reader=SqliteDatabase(path).reader(),
            reads=InlineReads(raw),
            raw_reader=raw,
            risk=None,
            log=EventLog(),
            channels={
                "sandbox": SandboxChannel(
                    "http://127.0.0.1:9", b"s" * 32, outward, clock_us=_clock_us
                )
            },
            routes=Routes(Health(wall_clock_us)),
            clock_us=_clock_us,
            config=PaymentConfig(channel_notify_url="http://127.0.0.1:9/{channel}"),
        )
        app = FastAPI()
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            desk = Desk(context, client)
            vault = Vault(var)
            merchants = MerchantDesk(context=context, vault=vault, sandbox_mode=True)
            approvals = Approvals(
                context=context, vault=vault, acts=acts_of(merchants), required=False
            )
            deps = AdminDeps(
                context=context,
                door=Door(token=TOKEN),
                approvals=approvals,
                reconcile=desk.reconcile,
            )
            app.include_router(admin_router(deps))
            yield desk
        await context.writer.close()
    context.reader.dispose()
    raw.close()


def scenario(var: Path, steps: Callable[[Desk], Awaitable[None]]) -> None:
    async def run() -> None:
        async with at_the_desk(var) as desk:
            await steps(desk)

    asyncio.run(run())


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", f"bearer {TOKEN}", TOKEN, "Bearer tökén"]
)
def test_nobody_gets_in_without_the_token(tmp_path: Path, authorization: str) -> None:
    async def steps(desk: Desk) -> None:
        answer = await desk.client.post(
            f"/admin/orders/{ORDER}/review",
            content=b"{",  # Refused before the body is even looked at.
            headers=[(b"authorization", authorization.encode()), (b"x-actor", b"lin")],
        )

        assert (answer.status_code, answer.json()["error_code"]) == (401, "1008")
        assert TOKEN not in answer.text
        assert desk.rows("SELECT version FROM orders") == [(1,)]
        assert desk.rows("SELECT * FROM audit_log") == []

    scenario(tmp_path, steps)


@pytest.mark.parametrize("actor", ["", "   ", "x" * 65, "a%00b", "%ff"])
def test_nobody_acts_without_a_name(tmp_path: Path, actor: str) -> None:
    async def steps(desk: Desk) -> None:
        body = {"verdict": "approve", "reason": "ok", "version": 1}
        answer = await desk.post(f"/orders/{ORDER}/review", body, **{"x-actor": actor})

        assert (answer.status_code, answer.json()["error_code"]) == (401, "1008")
        assert desk.rows("SELECT status_reason FROM orders") == [("REVIEW",)]

    scenario(tmp_path, steps)


def test_a_name_in_any_script_can_be_sent() -> None:
    assert read_actor("%E6%9D%8E%E9%9B%B7") == "李雷"


def test_an_approved_order_is_opened_and_its_time_starts_anew(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        answer = await desk.decide("approve")

        shown = answer.json()
        assert answer.status_code == 200, shown
        assert (shown["status"], shown["status_reason"]) == ("WAIT_PAY", "")
        assert shown["pay_url"].startswith("http://127.0.0.1:9/pay?")
        ((expires_at_us, version),) = desk.rows("SELECT expires_at_us, version FROM orders")
        assert expires_at_us == desk.context.clock_us() + 1_800_000_000
        assert version == shown["version"] == 3
        assert desk.rows("SELECT * FROM risk_inbox") == []

    scenario(tmp_path, steps)


def test_a_rejected_order_is_closed_and_the_merchant_hears_of_it(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        answer = await desk.decide("reject")

        assert answer.json()["status"] == "CLOSED"
        assert desk.rows("SELECT status, status_reason FROM orders") == [("CLOSED", "REJECTED")]
        assert desk.rows("SELECT trade_status FROM notifications") == [("CLOSED",)]
        assert desk.rows("SELECT kind FROM order_events") == [("RELEASED",)]

    scenario(tmp_path, steps)


def test_every_decision_is_audited_with_what_it_changed(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        await desk.decide("reject")

        ((actor, action, object_id, reason, detail, at_us),) = desk.rows(
            "SELECT actor, action, object_id, reason, detail, created_at_us FROM audit_log"
        )
        assert (actor, action, object_id) == ("lin", "order.reject", ORDER)
        assert (reason, at_us) == ("called the payer", desk.context.clock_us())
        assert json.loads(detail) == {
            "before": {"status": "CREATED", "status_reason": "REVIEW", "version": 1},
            "after": {"status": "CLOSED", "status_reason": "REJECTED", "version": 2},
        }

    scenario(tmp_path, steps)


def test_the_slower_of_two_analysts_is_told_who_was_faster(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        answers = await asyncio.gather(desk.decide("approve"), desk.decide("reject"))

        assert sorted(answer.status_code for answer in answers) == [200, 409]
        (refused,) = [answer.json() for answer in answers if answer.status_code == 409]
        assert refused["error_code"] == "1010"
        assert "lin" in refused["msg"]
        assert "已被他人处理" in refused["msg"]
        assert desk.rows("SELECT COUNT(*) FROM audit_log") == [(1,)]

    scenario(tmp_path, steps)


@pytest.mark.parametrize("version", [2, 99])
def test_a_decision_on_another_version_changes_nothing(tmp_path: Path, version: int) -> None:
    async def steps(desk: Desk) -> None:
        answer = await desk.decide("approve", version=version)

        assert (answer.status_code, answer.json()["error_code"]) == (409, "1010")
        assert desk.rows("SELECT status_reason, version FROM orders") == [("REVIEW", 1)]
        assert desk.rows("SELECT * FROM audit_log") == []

    scenario(tmp_path, steps)


def test_an_order_that_does_not_exist_is_not_decided(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        answer = await desk.decide(trade_no="T404")

        assert (answer.status_code, answer.json()["error_code"]) == (404, "1003")

    scenario(tmp_path, steps)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"verdict": "maybe"}, "verdict"),
        ({"reason": ""}, "reason"),
        ({"reason": "   "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"version": 0}, "version"),
        ({"version": "1"}, "version"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_malformed_decision_is_refused_by_field(
    tmp_path: Path, change: dict[str, object], named: str
) -> None:
    async def steps(desk: Desk) -> None:
        body = {"verdict": "approve", "reason": "ok", "version": 1} | change
        answer = await desk.post(f"/orders/{ORDER}/review", body)

        assert answer.status_code == 400
        assert (answer.json()["error_code"], answer.json()["field"]) == ("1001", named)
        assert desk.rows("SELECT version FROM orders") == [(1,)]

    scenario(tmp_path, steps)


def test_a_body_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        answer = await desk.post("/labels", {"trade_no": "x" * BODY_BYTES_MAX})

        assert (answer.status_code, answer.json()["error_code"]) == (413, "1001")

    scenario(tmp_path, steps)


@pytest.mark.parametrize(("verdict", "status"), [("approve", "ACTIVE"), ("reject", "REJECTED")])
def test_a_merchant_that_waits_is_admitted_or_refused_once(
    tmp_path: Path, verdict: str, status: str
) -> None:
    async def steps(desk: Desk) -> None:
        body = {"verdict": verdict, "reason": "materials checked", "version": 1}
        first = await desk.post(f"/merchants/{MERCHANT}/review", body)
        again = await desk.post(f"/merchants/{MERCHANT}/review", body)
        informed = await desk.post(f"/merchants/{MERCHANT}/review", body | {"version": 2})

        assert (first.status_code, first.json()["status"]) == (200, status)
        assert (again.status_code, again.json()["error_code"]) == (409, "1010")
        assert (informed.status_code, informed.json()["error_code"]) == (409, "1004")
        assert desk.rows("SELECT status, version FROM merchants") == [(status, 2)]
        assert desk.rows("SELECT action FROM audit_log") == [(f"merchant.{verdict}",)]

    scenario(tmp_path, steps)


def test_a_merchant_that_does_not_exist_is_not_decided(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        body = {"verdict": "approve", "reason": "ok", "version": 1}
        answer = await desk.post("/merchants/M404/review", body)

        assert (answer.status_code, answer.json()["error_code"]) == (404, "1009")

    scenario(tmp_path, steps)


def test_a_label_waits_for_its_place_in_the_log(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        body = {"trade_no": ORDER, "label": "FRAUD", "source": "chargeback", "known_at_us": 5}
        answer = await desk.post("/labels", body)

        assert answer.status_code == 200
        assert desk.rows("SELECT kind, trade_no, source, known_at_us, seq FROM risk_inbox") == [
            ("FRAUD", ORDER, "chargeback", 5, None)
        ]
        assert desk.rows("SELECT actor, action FROM audit_log") == [("lin", "order.label")]

    scenario(tmp_path, steps)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [({"trade_no": "T404"}, 404, "1003"), ({"label": "PAID"}, 400, "1001")],
)
def test_only_a_label_of_a_known_payment_is_taken(
    tmp_path: Path, change: dict[str, str], status: int, code: str
) -> None:
    async def steps(desk: Desk) -> None:
        body = {"trade_no": ORDER, "label": "FRAUD", "source": "review"} | change
        answer = await desk.post("/labels", body)

        assert (answer.status_code, answer.json()["error_code"]) == (status, code)
        assert desk.rows("SELECT * FROM risk_inbox") == []

    scenario(tmp_path, steps)


def test_a_reconciliation_is_run_and_audited(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        answer = await desk.post("/recon/run", {"channel": "sandbox", "day": "2026-11-17"})

        assert answer.json() == {"code": "SUCCESS", "run_id": "RUN1", "matched": 98, "breaks": 2}
        assert desk.asked == [("sandbox", "2026-11-17")]
        assert desk.rows("SELECT action, object_id FROM audit_log") == [
            ("recon.run", "sandbox:2026-11-17")
        ]

    scenario(tmp_path, steps)


@pytest.mark.parametrize(
    ("channel", "day", "status", "code"),
    [
        ("sandbox", "2026-01-01", 502, "1011"),
        ("sandbox", "2026-13-01", 400, "1001"),
        ("sandbox", "yesterday", 400, "1001"),
        ("alipay", "2026-11-17", 404, "1009"),
    ],
)
def test_a_reconciliation_that_can_not_be_run_says_why(
    tmp_path: Path, channel: str, day: str, status: int, code: str
) -> None:
    async def steps(desk: Desk) -> None:
        answer = await desk.post("/recon/run", {"channel": channel, "day": day})

        assert (answer.status_code, answer.json()["error_code"]) == (status, code)
        assert desk.rows("SELECT * FROM audit_log") == []

    scenario(tmp_path, steps)


def test_health_names_the_channels(tmp_path: Path) -> None:
    async def steps(desk: Desk) -> None:
        answer = await desk.client.get(
            "/admin/health", headers={"authorization": f"Bearer {TOKEN}"}
        )

        assert answer.json()["status"] == "ok"
        assert answer.json()["channels"] == ["sandbox"]

    scenario(tmp_path, steps)
