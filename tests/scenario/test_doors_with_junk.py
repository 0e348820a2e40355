"""Junk through every documented door but the hot ones: a documented refusal, never a 5xx."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import httpx

from tests.applicant import Applicant
from tests.stand import standing

JUNK: tuple[Any, ...] = (
    None,
    [],
    "",
    {},
    {"name": None, "reason": "\u0000", "version": 10**30},
    {"reason": "x" * 600, "agreed": "yes", "networks": ["::/999"]},
    {"algorithm": "none", "public_key": "\u0007", "overlap_s": -1, "purpose": "ALL"},
    {"contact_email": "@", "mcc": "12", "role": "root", "status": "PENDING", "seconds": True},
)
RAW = (b"", b"{", b"\xff\xfe", b'{"a":1e999}', b"[" * 2_000, b'{"name":"\\ud800"}')
PLACES = ("x", "%00", "%ff", "..%2f..", "é", "a" * 300, "0")


def documented(operation: dict[str, Any]) -> set[int]:
    return {int(status) for status in operation["responses"] if status.isdecimal()}


def filled(path: str, dice: random.Random, owned: str) -> str:
    while "{" in path:
        head, _, rest = path.partition("{")
        name, _, tail = rest.partition("}")
        place = owned if name == "merchant_id" and dice.random() < 0.7 else dice.choice(PLACES)
        path = head + place + tail
    return path


def test_every_door_answers_junk_as_documented(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    dice = random.Random(seed)  # noqa: S311 - reproducible, no secret
    problems: list[str] = []
    asked = 0

    async def run() -> None:
        nonlocal asked
        async with standing(tmp_path) as stand:
            client, base = stand.shop.client, stand.shop.gateway_url
            applicant = Applicant(client, base)
            await applicant.register()
            owned = applicant.merchant_id
            paths = (await client.get(f"{base}/openapi.json")).json()["paths"]
            for path, operations in paths.items():
                if not path.startswith(("/admin", "/merchant")):
                    continue
                is_admin = path.startswith("/admin")
                token = stand.gateway.admin_token if is_admin else applicant.token
                for method, operation in operations.items():
                    for content in [*RAW, *(json.dumps(one).encode() for one in JUNK)]:
                        answer = await send(
                            client, method, base + filled(path, dice, owned), content, token
                        )
                        asked += 1
                        if answer.status_code not in documented(operation) | {404, 422}:
                            problems.append(f"{method} {path} {content[:40]!r}: {answer.text[:90]}")
                        if answer.status_code >= 500 or answer.status_code == 422:
                            problems.append(f"{method} {path}: {answer.status_code}")

    async def send(
        client: httpx.AsyncClient, method: str, url: str, content: bytes, token: str
    ) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}", "x-actor": "fuzz"}
        headers["content-type"] = dice.choice(("application/json", "image/png", "text/plain"))
        return await client.request(method.upper(), url, content=content, headers=headers)

    asyncio.run(run())

    assert asked > 500
    assert problems == [], f"seed {seed}"
