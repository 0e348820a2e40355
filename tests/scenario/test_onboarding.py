"""From a stranger's first form to a signed payment with live keys, over real HTTP."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.sdk import AsyncClient, Busy, Forbidden, SignatureRefused
from gateway.sdk.signature import KeyPair
from tests.applicant import DETAILS, KINDS, PDF, Applicant, picture
from tests.stand import Stand, standing


@dataclass(slots=True)
class House:
    """A gateway, somebody who applies, and operators."""

    stand: Stand
    applicant: Applicant

    async def admin(
        self, method: str, path: str, body: Any = None, *, actor: str = "lin", token: str = ""
    ) -> httpx.Response:
        shown = token or self.stand.gateway.admin_token
        return await self.stand.shop.client.request(
            method,
            f"{self.stand.shop.gateway_url}/admin{path}",
            json=body,
            headers={"authorization": f"Bearer {shown}", "x-actor": actor},
        )

    async def review(self, verdict: str, reason: str = "looked at it") -> httpx.Response:
        version = (await self.applicant.ok("GET"))["version"]
        body = {"verdict": verdict, "reason": reason, "version": version}
        return await self.admin("POST", f"/merchants/{self.applicant.merchant_id}/review", body)

    async def admit(self) -> dict[str, Any]:
        """Bring the applicant all the way in."""
        await self.applicant.register()
        await self.applicant.hand_in()
        assert (await self.review("approve")).status_code == 200
        return await self.applicant.agree()

    def client(self, given: dict[str, Any], **keys: Any) -> AsyncClient:
        keys = keys or {"secret": given["api_key"]["secret"]}
        return AsyncClient(
            self.stand.shop.gateway_url,
            given["partner_id"],
            http=self.stand.shop.client,
            clock=lambda: self.stand.clock() / 1e6,
            **keys,
        )

    async def pay(self, client: AsyncClient) -> str:
        number = client.new_out_trade_no()
        url = self.stand.shop.notify_url
        return (await client.create(number, "12.30", "tea", "alipay", url)).pay_url


def scenario(var: Path, steps: Callable[[House], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        async with standing(var, **settings) as stand:
            await steps(House(stand, Applicant(stand.shop.client, stand.shop.gateway_url)))

    asyncio.run(run())


def test_a_merchant_comes_all_the_way_in(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        applicant = house.applicant
        assert (await applicant.register()).status_code == 201
        assert (await applicant.ok("GET"))["missing"] == ["details", *KINDS]
        assert await house.pay(house.client(applicant.sandbox))
        assert (await applicant.hand_in())["status"] == "PENDING"
        more = await house.review("more", "the licence can't be read")
        assert more.json()["status"] == "INCOMPLETE"
        said = await applicant.ok("GET")
        assert said["message"] == "the licence can't be read"
        await applicant.ok("DELETE", f"/materials/{said['materials'][0]['material_id']}")
        await applicant.upload("licence", PDF, "application/pdf")
        assert (await applicant.ok("POST", "/submit"))["status"] == "PENDING"
        assert (await house.review("approve")).json()["status"] == "APPROVED"
        live = await applicant.agree()

        assert (live["partner_id"], live["mode"]) == (applicant.merchant_id, "LIVE")
        assert await house.pay(house.client(live))
        pair = live["key_pair"]
        rsa = KeyPair(pair["private_key"], pair["platform_public_key"])
        assert await house.pay(house.client(live, credentials=rsa))
        acts = house.stand.rows(
            "SELECT action FROM audit_log WHERE object_id = ? ORDER BY id", applicant.merchant_id
        )
        actions = [row[0] for row in acts]
        assert actions[0] == "merchant.register"
        assert {"merchant.submit", "merchant.more", "merchant.approve"} < set(actions)
        assert actions[-1] == "merchant.agree"

    scenario(tmp_path, steps)


def test_a_notification_is_signed_with_the_newest_key(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        live = await house.admit()
        heard = house.stand.shop.heard
        house.stand.shop.new = _as_new(live)
        shown = await house.pay(house.client(live))
        await house.stand.shop.act_as_payer(shown)
        await _until(lambda: len(heard) == 1)  # Verified by the shop with the API key.
        made = await house.applicant.ok("POST", "/keys", {"purpose": "NOTIFY"})
        secret = made["key"]["secret"]
        house.stand.shop.new = _as_new(live, secret)
        await house.stand.shop.act_as_payer(await house.pay(house.client(live)))
        await _until(lambda: len(heard) == 2)

        # A notification's secret opens no request.
        with pytest.raises(SignatureRefused):
            await house.pay(house.client(live, secret=secret))

    scenario(tmp_path, steps)


def test_secrets_and_papers_are_not_in_the_database(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        live = await house.admit()
        files = b"".join(
            path.read_bytes() for path in tmp_path.rglob("*") if "yumen.db" in path.name
        )
        secrets = [
            live["api_key"]["secret"],
            house.applicant.sandbox["api_key"]["secret"],
            house.applicant.token,
            live["key_pair"]["private_key"].splitlines()[1],
            DETAILS["legal_person_id_no"],
            DETAILS["bank_account_no"],
            DETAILS["legal_person_name"],
            "li@shop.example",
        ]
        assert DETAILS["licence_no"].encode() in files  # A public number: the check can fail.
        assert [secret for secret in secrets if secret.encode() in files] == []
        assert picture()[16:] not in files
        shown = (await house.applicant.ok("GET"))["details"]
        assert shown["bank_account_no"] == "*" * 15 + "0123"

    scenario(tmp_path, steps)


def test_a_paper_is_judged_by_its_content(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        applicant = house.applicant
        await applicant.register()
        good, wrong = picture("JPEG"), picture()
        for content, content_type in (
            (wrong, "image/jpeg"),
            (good[:200], "image/jpeg"),
            (wrong[:-30], "image/png"),
            (b"", "image/png"),
            (b"MZ" + bytes(400), "image/png"),
            (picture(side=8), "image/png"),
            (PDF.replace(b"/Catalog", b"/Catalog/OpenAction 2 0 R"), "application/pdf"),
            (PDF[:-8], "application/pdf"),
            (b"<script>", "text/html"),
            (good, ""),
        ):
            answer = await applicant.upload("licence", content, content_type)
            assert (answer.status_code, answer.json()["error_code"]) == (400, "1001"), content_type
        big = await applicant.upload("licence", bytes(2_097_153))
        other = await applicant.upload("passport", good, "image/jpeg")
        assert (big.status_code, other.status_code) == (413, 400)

        kept = await applicant.upload("licence", good, "image/jpeg")
        assert kept.json()["materials"][0]["sha256"] == hashlib.sha256(good).hexdigest()
        for _ in range(11):
            assert (await applicant.upload("shop_photo", wrong)).status_code == 201
        assert (await applicant.upload("shop_photo", wrong)).status_code == 400

    scenario(tmp_path, steps)


def test_an_operator_sees_papers_and_each_look_is_written_down(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        await house.applicant.register()
        await house.applicant.hand_in()
        path = f"/merchants/{house.applicant.merchant_id}"
        found = (await house.admin("GET", path)).json()
        paper = found["application"]["materials"][0]
        seen = await house.admin("GET", f"{path}/materials/{paper['material_id']}")

        assert seen.content == picture()
        assert seen.headers["content-disposition"].startswith("attachment")
        assert found["merchant"]["status"] == "PENDING"
        assert DETAILS["bank_account_no"] not in json.dumps(found)
        looks = house.stand.rows("SELECT actor FROM audit_log WHERE action = 'material.view'")
        assert looks == [("lin",)]

    scenario(tmp_path, steps)


def test_nobody_else_opens_an_application(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        applicant = house.applicant
        await applicant.register()
        mine, token = applicant.merchant_id, applicant.token
        await applicant.register(name="another")
        refused = []
        for merchant_id, given in ((mine, applicant.token), ("nobody", token), (mine, "x")):
            stranger = Applicant(applicant.client, applicant.base_url, merchant_id, given)
            for method, path in (("GET", ""), ("POST", "/submit"), ("GET", "/keys")):
                refused.append(await stranger.call(method, path))

        assert {answer.status_code for answer in refused} == {401}
        assert len({answer.text for answer in refused}) == 1

    scenario(tmp_path, steps)


def test_what_is_not_complete_or_not_now_is_refused(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        applicant = house.applicant
        await applicant.register()
        for name, bad in (
            ("licence_no", "91350100M000100Y44"),
            ("legal_person_id_no", "110105194912310021"),
            ("bank_account_no", "12"),
            ("company_name", "\u0007"),
        ):
            answer = await applicant.call("PUT", "/details", DETAILS | {name: bad})
            assert (answer.status_code, answer.json()["field"]) == (400, name)
        early = await applicant.call("POST", "/submit")
        assert (early.status_code, early.json()["field"]) == (400, "details")
        agree = await applicant.call("POST", "/agreement", {"agreement_version": "2026-11"})
        assert (agree.status_code, agree.json()["error_code"]) == (409, "1004")
        keys = await applicant.call("POST", "/keys", {})
        assert (keys.status_code, keys.json()["error_code"]) == (409, "1004")
        await applicant.hand_in()
        late = await applicant.upload("licence", picture())
        assert (late.status_code, late.json()["error_code"]) == (409, "1004")
        assert (await house.review("reject")).json()["status"] == "REJECTED"
        assert (await applicant.ok("POST", "/withdraw"))["status"] == "CLOSED"
        assert (await applicant.call("POST", "/submit")).status_code == 409

    scenario(tmp_path, steps)


def test_sandbox_keys_do_not_work_where_money_is_real(tmp_path: Path) -> None:
    made: list[dict[str, Any]] = []

    async def register(house: House) -> None:
        await house.applicant.register()
        made.append(house.applicant.sandbox)

    async def elsewhere(house: House) -> None:
        with pytest.raises(Forbidden):
            await house.client(made[0]).query("0" * 32)
        assert (await house.applicant.register()).json()["sandbox"] is None

    scenario(tmp_path, register)
    scenario(tmp_path, elsewhere, sandbox_mode=False)


def test_keys_rotate_by_name_and_end_at_once(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        applicant, live = house.applicant, await house.admit()
        old, pair = live["api_key"], live["key_pair"]
        made = await applicant.ok(
            "POST", "/keys", {"replaces": old["key_id"], "overlap_s": 60, "algorithm": "SM3"}
        )
        new = {"secret": made["key"]["secret"], "algorithm": "SM3"}
        assert await house.pay(house.client(live))
        assert await house.pay(house.client(live, **new))
        house.stand.clock.advance_s(61)
        with pytest.raises(SignatureRefused):
            await house.pay(house.client(live))
        rsa = KeyPair(pair["private_key"], pair["platform_public_key"])
        assert await house.pay(house.client(live, credentials=rsa))
        await applicant.ok("DELETE", f"/keys/{pair['key_id']}")
        with pytest.raises(SignatureRefused):
            await house.pay(house.client(live, credentials=rsa))
        for body in (
            {"algorithm": "MD5"},
            {"algorithm": "RSA2", "public_key": "no key"},
            {"algorithm": "HMAC-SHA256", "public_key": pair["public_key"]},
        ):
            answer = await applicant.call("POST", "/keys", body)
            assert (answer.status_code, answer.json()["error_code"]) == (400, "1001"), body
        alive = (await applicant.ok("GET", "/keys"))["keys"]
        assert [key["key_id"] for key in alive] == [made["key"]["key_id"]]
        assert "secret" not in json.dumps(alive)

    scenario(tmp_path, steps)


def test_md5_serves_only_whom_an_operator_named(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        await house.admit()
        path = f"/merchants/{house.applicant.merchant_id}/limits"
        body = {"rate_per_s": 0, "networks": [], "md5_allowed": True, "reason": "old till"}
        assert (await house.admin("PUT", path, body)).status_code == 200
        await house.applicant.ok("POST", "/keys", {"algorithm": "MD5"})
        ring = house.stand.gateway.keys
        before = ring.find(house.applicant.merchant_id)
        assert (await house.admin("PUT", path, body | {"md5_allowed": False})).is_success
        after = ring.find(house.applicant.merchant_id)

        assert before is not None
        assert after is not None
        assert [len(before.keys), len(after.keys)] == [3, 2]

    scenario(tmp_path, steps)


def test_an_address_that_is_not_listed_is_a_wrong_signature(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        live = await house.admit()
        await house.applicant.ok("PUT", "/networks", {"networks": ["203.0.113.0/24"]})
        with pytest.raises(SignatureRefused):
            await house.pay(house.client(live))
        await house.applicant.ok("PUT", "/networks", {"networks": ["127.0.0.1", "2001:db8::/32"]})
        assert await house.pay(house.client(live))
        bad = await house.applicant.call("PUT", "/networks", {"networks": ["10.0.0.1/8"]})
        assert (bad.status_code, bad.json()["field"]) == (400, "networks")

    scenario(tmp_path, steps)


def test_too_much_is_turned_away_with_a_time_to_come_back(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        live = await house.admit()
        path = f"/merchants/{house.applicant.merchant_id}/limits"
        body = {"rate_per_s": 2, "networks": [], "md5_allowed": False, "reason": "small shop"}
        await house.admin("PUT", path, body)
        client = house.client(live)

        async def pay_often() -> None:
            for _ in range(20):  # Two at once, then two a second: soon one comes too early.
                await house.pay(client)

        assert await house.pay(client)
        with pytest.raises(Busy) as refused:
            await pay_often()
        assert refused.value.http_status == 429
        house.stand.clock.advance_s(1)
        assert await house.pay(client)

    scenario(tmp_path, steps)


def test_a_suspended_merchant_is_told_so_and_a_closed_one_is_nobody(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        live = await house.admit()
        path = f"/merchants/{house.applicant.merchant_id}"
        version = (await house.admin("GET", path)).json()["merchant"]["version"]
        body = {"status": "FROZEN", "version": version, "reason": "chargebacks"}
        frozen = (await house.admin("POST", f"{path}/status", body)).json()
        assert frozen["status"] == "FROZEN"
        with pytest.raises(Forbidden):
            await house.pay(house.client(live))
        stale = await house.admin("POST", f"{path}/status", body | {"status": "ACTIVE"})
        assert (stale.status_code, stale.json()["error_code"]) == (409, "1010")
        body = {"status": "CLOSED", "version": frozen["version"], "reason": "gone"}
        assert (await house.admin("POST", f"{path}/status", body)).status_code == 200
        with pytest.raises(SignatureRefused):
            await house.pay(house.client(live))

    scenario(tmp_path, steps)


def test_registering_without_end_is_slowed_down(tmp_path: Path) -> None:
    async def steps(house: House) -> None:
        answers = [await house.applicant.register(algorithm="MD5") for _ in range(25)]

        assert [answer.status_code for answer in answers].count(429) == 5
        assert int(answers[-1].headers["retry-after"]) > 0

    scenario(tmp_path, steps)


def _as_new(live: dict[str, Any], secret: str = "") -> Any:
    class Made:
        merchant_id = live["partner_id"]
        key_id = live["api_key"]["key_id"]

    Made.secret = secret or live["api_key"]["secret"]  # type: ignore[attr-defined]  # a stand-in
    return Made


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")
