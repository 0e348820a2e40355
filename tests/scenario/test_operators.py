"""Who may do what: roles, tokens of their own, and acts that need a second person."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.operator import PERMITTED, Act, Role
from tests.applicant import DETAILS, Applicant
from tests.scenario.test_onboarding import House
from tests.stand import standing

ACCOUNT = {
    "bank_name": "另一合成银行",
    "bank_account_name": "合成茶馆有限公司",
    "bank_account_no": "6222029999999999999",
}


def scenario(var: Path, steps: Callable[[House], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        async with standing(var, **settings) as stand:
            await steps(House(stand, Applicant(stand.shop.client, stand.shop.gateway_url)))

    asyncio.run(run())


async def enter(house: House, name: str, role: Role) -> str:
    body = {"name": name, "role": role, "reason": "new colleague"}
    answer = await house.admin("POST", "/operators", body)
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token


# One request of each act, which gets past the role's check: 404 and 400 are further inside.
REQUESTS: dict[Act, tuple[str, str, dict[str, Any] | None]] = {
    Act.READ: ("GET", "/rules", None),
    Act.REVIEW_ORDER: ("POST", "/orders/T1/review", {}),
    Act.LABEL: ("POST", "/labels", {}),
    Act.REVIEW_MERCHANT: ("POST", "/merchants/M1/review", {}),
    Act.VIEW_MATERIAL: ("GET", "/merchants/M1/materials/D1", None),
    Act.SUSPEND_MERCHANT: ("POST", "/merchants/M1/status", {}),
    Act.MANAGE_KEYS: ("PUT", "/merchants/M1/limits", {}),
    Act.CHANGE_SETTLEMENT: ("POST", "/merchants/M1/settlement-account", {}),
    Act.CHANGE_RULES: ("POST", "/rules", {}),
    Act.RECONCILE: ("POST", "/recon/run", {}),
    Act.SETTLE: ("POST", "/settlements/run", {}),
    Act.MANAGE_CHANNELS: ("POST", "/channel-accounts/a", {}),
    Act.MOVE_CLOCK: ("POST", "/test-clock/advance", {}),
    Act.READ_AUDIT: ("GET", "/audit", None),
    Act.MANAGE_OPERATORS: ("GET", "/operators", None),
}


def test_each_role_may_do_what_the_table_says_and_nothing_else(tmp_path: Path) -> None:
    assert set(REQUESTS) == set(Act)

    async def steps(house: House) -> None:
        for role in Role:
            token = await enter(house, f"one {role}", role)
            for act, (method, path, body) in REQUESTS.items():
                answer = await house.admin(method, path, body, token=token)
                assert (answer.status_code != 403) == (act in PERMITTED[role]), (role, act)
                assert answer.status_code < 500

    scenario(tmp_path, steps)


def test_a_token_says_who_it_is_and_ends_when_it_is_revoked(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        token = await enter(house, "王芳", Role.ADMIN)
        # What it says in X-Actor counts for nothing: the token knows.
        other = await house.admin(
            "POST",
            "/operators",
            {"name": "second", "role": "viewer", "reason": "helps"},
            actor="somebody-else",
            token=token,
        )
        taken = await house.admin(
            "POST", "/operators", {"name": "second", "role": "viewer", "reason": "again"}
        )
        me = (await house.admin("GET", "/me", token=token)).json()
        acts = (await house.admin("GET", "/audit?object_id=second", token=token)).json()["acts"]
        gone = await house.admin("POST", "/operators/%E7%8E%8B%E8%8A%B3/revoke", {"reason": "left"})
        after = await house.admin("GET", "/me", token=token)

        assert (other.status_code, taken.status_code, gone.status_code) == (201, 400, 200)
        assert (me["name"], me["role"]) == ("王芳", "admin")
        assert [(act["actor"], act["action"]) for act in acts] == [("王芳", "operator.create")]
        assert after.status_code == 401
        listed = (await house.admin("GET", "/operators")).text
        assert token not in listed
        assert token not in json.dumps(house.stand.rows("SELECT * FROM audit_log"), default=str)

    scenario(tmp_path, steps)


def test_admitting_a_merchant_takes_two(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        await house.applicant.register()
        await house.applicant.hand_in()
        asked = await house.review("approve")
        assert (asked.status_code, asked.json()["status"]) == (202, "WAITING")
        assert (await house.applicant.ok("GET"))["status"] == "PENDING"
        path = f"/approvals/{asked.json()['approval_id']}/decision"
        body = {"agreed": True, "reason": "I saw it too"}
        alone = await house.admin("POST", path, body, actor="lin")
        assert (alone.status_code, alone.json()["error_code"]) == (403, "1008")
        viewer = await enter(house, "viewer", Role.VIEWER)
        assert (await house.admin("POST", path, body, token=viewer)).status_code == 403
        second = await house.admin("POST", path, body, actor="mei")
        assert (second.status_code, second.json()["status"]) == (200, "APPROVED")
        again = await house.admin("POST", path, body, actor="mei")
        assert (again.status_code, again.json()["error_code"]) == (409, "1010")
        await house.applicant.agree()

    scenario(tmp_path, steps, four_eyes=True)


def test_what_changed_meanwhile_or_waited_too_long_must_be_asked_anew(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        await house.applicant.register()
        await house.applicant.hand_in()
        asked = (await house.review("approve")).json()["approval_id"]
        await house.review("more", "a better photo please")
        body = {"agreed": True, "reason": "fine"}
        stale = await house.admin("POST", f"/approvals/{asked}/decision", body, actor="mei")
        assert (stale.status_code, stale.json()["error_code"]) == (409, "1010")
        await house.applicant.ok("POST", "/submit")
        asked = (await house.review("approve")).json()["approval_id"]
        house.stand.clock.advance_s(86_401)
        late = await house.admin("POST", f"/approvals/{asked}/decision", body, actor="mei")
        assert (late.status_code, late.json()["error_code"]) == (409, "1010")
        assert (await house.admin("GET", "/approvals")).json()["approvals"] == []

    scenario(tmp_path, steps, four_eyes=True)


def test_a_merchants_new_account_waits_for_an_operator(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        await house.admit()
        asked = await house.applicant.call("POST", "/settlement-account", ACCOUNT)
        assert asked.status_code == 202
        seen = (await house.applicant.ok("GET"))["details"]["bank_account_no"]
        assert seen[-4:] == DETAILS["bank_account_no"][-4:]
        waiting = (await house.admin("GET", "/approvals")).json()["approvals"]
        assert ACCOUNT["bank_account_no"] not in json.dumps(waiting)
        body = {"agreed": True, "reason": "called them back"}
        path = f"/approvals/{asked.json()['approval_id']}/decision"
        analyst = await enter(house, "analyst", Role.ANALYST)
        assert (await house.admin("POST", path, body, token=analyst)).status_code == 403
        finance = await enter(house, "finance", Role.FINANCE)
        assert (await house.admin("POST", path, body, token=finance)).status_code == 200
        changed = (await house.applicant.ok("GET"))["details"]["bank_account_no"]
        assert changed[-4:] == ACCOUNT["bank_account_no"][-4:]
        bad = await house.applicant.call("POST", "/settlement-account", ACCOUNT | {"bank_name": ""})
        assert bad.status_code == 400

    scenario(tmp_path, steps)


@pytest.mark.parametrize("four_eyes", [False, True])
def test_a_stored_policy_decides_when_whoever_must_has_agreed(
    tmp_path: Path, four_eyes: bool
) -> None:
    async def steps(house: House) -> None:
        version = house.stand.rows("SELECT version FROM policy_live ORDER BY id DESC")[0][0]
        asked = await house.admin("POST", f"/policies/{version}/live", {"reason": "back to it"})
        missing = await house.admin("POST", "/policies/none/live", {"reason": "?"})
        assert (asked.status_code, missing.status_code) == (202 if four_eyes else 200, 404)
        if four_eyes:
            path = f"/approvals/{asked.json()['approval_id']}/decision"
            body = {"agreed": True, "reason": "yes"}
            assert (await house.admin("POST", path, body, actor="mei")).status_code == 200
        assert len(house.stand.rows("SELECT id FROM policy_live")) == 2

    scenario(tmp_path, steps, four_eyes=four_eyes)
