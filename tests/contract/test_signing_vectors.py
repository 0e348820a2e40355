"""The published vectors hold for the gateway, for the client and on the page."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway import sm2
from gateway.domain.merchant import Algorithm, MerchantKey
from gateway.http.wire import parse
from gateway.sdk.signature import SharedSecret
from gateway.sdk.signature import canonical as clients_canonical
from gateway.signing import canonical, read_public_key, sign, verify

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "SIGNING.md").read_text("utf-8")
VECTORS: dict[str, Any] = json.loads((DOCS / "signing-vectors.json").read_text("utf-8"))
TEXTS: list[dict[str, str]] = VECTORS["vectors"]
SECRET: str = VECTORS["secret"]
SHARED = [algorithm for algorithm in Algorithm if algorithm.is_shared]
PAIRS = [algorithm for algorithm in Algorithm if not algorithm.is_shared]


def name_of(vector: dict[str, str]) -> str:
    return vector["name"]


def as_sent(vector: dict[str, str]) -> dict[str, str]:
    read = parse("application/json", vector["body"].encode())
    return {name: str(value) for name, value in read.items() if value is not None}


@pytest.mark.parametrize("algorithm", SHARED)
@pytest.mark.parametrize("vector", TEXTS, ids=name_of)
def test_the_gateway_holds_to_the_vector(vector: dict[str, str], algorithm: Algorithm) -> None:
    key = MerchantKey("K", "M", algorithm, SECRET.encode(), b"", b"", 0)
    params = parse("application/json", vector["body"].encode())

    assert canonical(params) == vector["canonical"]
    assert sign(key, params) == vector[algorithm]
    assert verify(key, params, vector[algorithm])


@pytest.mark.parametrize("algorithm", [one for one in SHARED if one is not Algorithm.MD5])
@pytest.mark.parametrize("vector", TEXTS, ids=name_of)
def test_the_client_holds_to_the_vector(vector: dict[str, str], algorithm: Algorithm) -> None:
    params = as_sent(vector)

    assert clients_canonical(params) == vector["canonical"].encode()
    assert SharedSecret(SECRET, algorithm=algorithm).sign(params) == vector[algorithm]


@pytest.mark.parametrize("algorithm", PAIRS)
def test_the_vectors_of_pairs_verify(algorithm: Algorithm) -> None:
    name = algorithm.value.lower()
    public_key_pem = VECTORS[f"{name}_public_key_pem"].encode()
    key = MerchantKey("K", "M", algorithm, b"", public_key_pem, b"", 0)
    bodies = {vector["name"]: vector["body"] for vector in TEXTS}

    for vector in VECTORS[name]:
        params = parse("application/json", bodies[vector["name"]].encode())
        assert canonical(params) == vector["canonical"]
        assert verify(key, params, vector["sign"])
        assert not verify(key, params | {"extra": "1"}, vector["sign"])


def test_the_sm2_key_is_written_alike_in_both_forms() -> None:
    pem = VECTORS["sm2_public_key_pem"].encode()

    assert read_public_key(Algorithm.SM2, VECTORS["sm2_public_key_hex"]) == pem
    assert VECTORS["sm2_user_id"] == sm2.DEFAULT_USER_ID.decode()


def test_the_page_shows_every_vector() -> None:
    rows = re.findall(r"^\| ([a-z-]+) \| `(.+)` \| `([0-9a-f]{64})` \|$", PAGE, re.MULTILINE)
    other = re.findall(
        r"^\| ([a-z-]+) \| `(\w{64})` \| `(\w{64})` \| `(\w{32})` \|$", PAGE, re.MULTILINE
    )

    assert rows == [(v["name"], v["canonical"], v["HMAC-SHA256"]) for v in TEXTS]
    assert other == [(v["name"], v["SHA256"], v["SM3"], v["MD5"]) for v in TEXTS]
    assert SECRET in PAGE


def test_the_pages_own_python_holds_to_the_vectors() -> None:
    source = PAGE.split("```python\n")[1].split("```")[0]
    scope: dict[str, Any] = {}
    exec(source, scope)  # noqa: S102 - our own page, as a reader would paste it

    for vector in TEXTS:
        assert scope["sign"](as_sent(vector), SECRET) == vector["HMAC-SHA256"]


def test_no_private_key_is_published() -> None:
    assert "PRIVATE KEY" not in PAGE + json.dumps(VECTORS)
