"""An applicant: fills in forms, uploads papers that are really pictures, keeps its secrets."""

import io
from dataclasses import dataclass, field
from typing import Any

import httpx
from PIL import Image

DETAILS = {
    "company_name": "合成茶馆有限公司",
    "licence_no": "91350100M000100Y43",
    "legal_person_name": "张三",
    "legal_person_id_no": "11010519491231002X",
    "bank_name": "合成银行",
    "bank_account_name": "合成茶馆有限公司",
    "bank_account_no": "6222021234567890123",
}
KINDS = ("licence", "legal_person_id", "bank_account", "shop_photo")


def picture(kind: str = "PNG", side: int = 64, colour: int = 7) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), (colour, colour, colour)).save(out, kind)
    return out.getvalue()


PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\nstartxref\n9\n%%EOF\n"


@dataclass(slots=True)
class Applicant:
    """One application over HTTP."""

    client: httpx.AsyncClient
    base_url: str
    merchant_id: str = ""
    token: str = ""
    sandbox: dict[str, Any] = field(default_factory=dict)
    live: dict[str, Any] = field(default_factory=dict)

    async def call(
        self, method: str, path: str = "", body: Any = None, **more: Any
    ) -> httpx.Response:
        return await self.client.request(
            method,
            f"{self.base_url}/merchant/applications/{self.merchant_id}{path}",
            json=body,
            headers={"authorization": f"Bearer {self.token}", **more.pop("headers", {})},
            **more,
        )

    async def ok(self, method: str, path: str = "", body: Any = None) -> dict[str, Any]:
        answer = await self.call(method, path, body)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def register(self, **changes: Any) -> httpx.Response:
        body = {
            "name": "合成茶馆",
            "mcc": "5814",
            "contact_name": "李四",
            "contact_email": "li@shop.example",
            "contact_phone": "+86 138 0000 0000",
        }
        answer = await self.client.post(
            f"{self.base_url}/merchant/applications", json=body | changes
        )
        if answer.status_code == 201:
            made = answer.json()
            self.merchant_id, self.token = made["merchant_id"], made["application_token"]
            self.sandbox = made["sandbox"]
        return answer

    async def upload(
        self, kind: str, content: bytes, content_type: str = "image/png"
    ) -> httpx.Response:
        return await self.client.post(
            f"{self.base_url}/merchant/applications/{self.merchant_id}/materials/{kind}",
            content=content,
            headers={"authorization": f"Bearer {self.token}", "content-type": content_type},
        )

    async def hand_in(self) -> dict[str, Any]:
        """Fill in everything and submit."""
        await self.ok("PUT", "/details", DETAILS)
        for kind in KINDS:
            answer = await self.upload(kind, picture())
            assert answer.status_code == 201, answer.text
        return await self.ok("POST", "/submit")

    async def agree(self) -> dict[str, Any]:
        version = (await self.ok("GET"))["agreement_in_force"]
        self.live = (await self.ok("POST", "/agreement", {"agreement_version": version}))["live"]
        return self.live
