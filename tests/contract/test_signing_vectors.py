"""The published vectors hold for the gateway, for the client and on the page."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.merchant import Algorithm, MerchantKey
from gateway.http.wire import parse
from gateway.sdk.signature import SharedSecret
from gateway.sdk.signature import canonical as clients_canonical
from gateway.signing import canonical, sign, verify

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "SIGNING.md").read_text("utf-8")
VECTORS: dict[str, Any] = json.loads((DOCS / "signing-vectors.json").read_text("utf-8"))
HMAC_VECTORS: list[dict[str, str]] = VECTORS["hmac_sha256"]
SECRET: str = VECTORS["secret"]


def name_of(vector: dict[str, str]) -> str:
    return vector["name"]


@pytest.mark.parametrize("vector", HMAC_VECTORS, ids=name_of)
def test_the_gateway_holds_to_the_vector(vector: dict[str, str]) -> None:
    key = MerchantKey("K", "M", Algorithm.HMAC_SHA256, SECRET.encode(), b"", b"", 0)
    params = parse("application/json", vector["body"].encode())

    assert canonical(params) == vector["canonical"]
    assert sign(key, params) == vector["hmac_sha256"]
    assert verify(key, params, vector["hmac_sha256"])


@pytest.mark.parametrize("vector", HMAC_VECTORS, ids=name_of)
def test_the_client_holds_to_the_vector(vector: dict[str, str]) -> None:
    read = parse("application/json", vector["body"].encode())
    params = {name: str(value) for name, value in read.items() if value is not None}

    assert clients_canonical(params) == vector["canonical"].encode()
    assert SharedSecret(SECRET).sign(params) == vector["hmac_sha256"]


@pytest.mark.parametrize("vector", VECTORS["rsa2"], ids=name_of)
def test_the_rsa2_vector_verifies(vector: dict[str, str]) -> None:
    public_key_pem = VECTORS["rsa2_public_key_pem"].encode()
    key = MerchantKey("K", "M", Algorithm.RSA2, b"", public_key_pem, b"", 0)
    body = next(v["body"] for v in HMAC_VECTORS if v["name"] == vector["name"])
    params = parse("application/json", body.encode())

    assert verify(key, params, vector["rsa2"])
    assert not verify(key, params | {"extra": "1"}, vector["rsa2"])


def test_the_page_shows_every_vector() -> None:
    rows = re.findall(r"^\| ([a-z-]+) \| `(.+)` \| `([0-9a-f]{64})` \|$", PAGE, re.MULTILINE)

    expected = [(v["name"], v["canonical"], v["hmac_sha256"]) for v in HMAC_VECTORS]
    assert rows == expected
    assert SECRET in PAGE


def test_the_pages_own_python_holds_to_the_vectors() -> None:
    source = PAGE.split("```python\n")[1].split("```")[0]
    scope: dict[str, Any] = {}
    exec(source, scope)  # noqa: S102 - our own page, as a reader would paste it

    for vector in HMAC_VECTORS:
        read = parse("application/json", vector["body"].encode())
        params = {name: str(value) for name, value in read.items() if value is not None}
        assert scope["sign"](params, SECRET) == vector["hmac_sha256"]


def test_no_private_key_is_published() -> None:
    assert "PRIVATE KEY" not in PAGE + json.dumps(VECTORS)
