"""Whatever is sent, the answer is the right code, no trace of the inside, and nothing changes."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.signing import sign
from tests.stand import Shop, Stand, standing

TABLES = (
    *("orders", "decisions", "risk_events", "refunds", "notifications"),
    *("ledger_entries", "channel_facts", "order_events"),
)


def nothing_changed(stand: Stand) -> bool:
    return all(stand.rows(f"SELECT count(*) FROM {table}") == [(0,)] for table in TABLES)


Change = Callable[[Shop, dict[str, Any]], None]


def put(**fields: Any) -> Change:
    return lambda _shop, params: params.update(fields)


def leave_out(name: str) -> Change:
    def change(_shop: Shop, params: dict[str, Any]) -> None:
        params.pop(name, None)

    return change


def stale(shop: Shop, params: dict[str, Any]) -> None:
    params["timestamp"] = str(shop.clock() // 1000 - 301_000)


def future(shop: Shop, params: dict[str, Any]) -> None:
    params["timestamp"] = str(shop.clock() // 1000 + 301_000)


# Signed as a merchant would, after the change.
SIGNED: list[tuple[str, Change, int, str, str | None]] = [
    ("missing subject", leave_out("subject"), 400, "1001", "subject"),
    ("empty subject", put(subject=""), 400, "1001", "subject"),
    ("missing amount", leave_out("total_amount"), 400, "1001", "total_amount"),
    ("missing pay_type", leave_out("pay_type"), 400, "1001", "pay_type"),
    ("missing notify_url", leave_out("notify_url"), 400, "1001", "notify_url"),
    ("missing out_trade_no", leave_out("out_trade_no"), 400, "1001", "out_trade_no"),
    ("amount is a word", put(total_amount="ten"), 400, "1001", "total_amount"),
    ("amount is zero", put(total_amount="0.00"), 400, "1001", "total_amount"),
    ("negative amount", put(total_amount="-1.00"), 400, "1001", "total_amount"),
    ("over-precise amount", put(total_amount="1.234"), 400, "1001", "total_amount"),
    ("yen have no decimals", put(total_amount="1.5", currency="JPY"), 400, "1001", "total_amount"),
    ("amount in exponent form", put(total_amount="1e2"), 400, "1001", "total_amount"),
    ("full-width digits", put(total_amount="１２"), 400, "1001", "total_amount"),
    ("amount not a number", put(total_amount="NaN"), 400, "1001", "total_amount"),
    ("endless amount", put(total_amount="9" * 30), 400, "1001", "total_amount"),
    ("too large an amount", put(total_amount="9999999999999999"), 400, "1001", "total_amount"),
    ("unknown currency", put(currency="XYZ"), 400, "1001", "currency"),
    ("small letters in currency", put(currency="cny"), 400, "1001", "currency"),
    ("unknown pay_type", put(pay_type="cash"), 400, "1001", "pay_type"),
    ("subject is a number", put(subject=7), 400, "1001", "subject"),
    ("oversize subject", put(subject="茶" * 257), 400, "1001", "subject"),
    ("oversize order number", put(out_trade_no="1" * 65), 400, "1001", "out_trade_no"),
    ("strange order number", put(out_trade_no="a/b"), 400, "1001", "out_trade_no"),
    ("notify_url without scheme", put(notify_url="shop.example"), 400, "1001", "notify_url"),
    ("notify_url of a file", put(notify_url="file:///etc/passwd"), 400, "1001", "notify_url"),
    ("risk_context isn't JSON", put(risk_context="{"), 400, "1001", "risk_context"),
    (
        "risk_context mistyped",
        put(risk_context='{"geo": {"lat": "north"}}'),
        400,
        "1001",
        "risk_context",
    ),
    ("stale timestamp", stale, 401, "1002", None),
    ("timestamp of the future", future, 401, "1002", None),
    ("another algorithm is claimed", put(sign_type="RSA2"), 401, "1002", None),
    ("unknown merchant", put(merchant_id="M0000000000"), 401, "1002", None),
]


def test_bad_fields_get_their_code_and_name_and_change_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            for what, change, status, code, field in SIGNED:
                params = stand.shop.params(timestamp=str(stand.clock() // 1000))
                change(stand.shop, params)
                params["sign"] = sign(stand.shop.key, {k: str(v) for k, v in params.items()})
                response = await stand.shop.send("create", json.dumps(params).encode())
                answer = response.json()

                assert (response.status_code, answer["error_code"]) == (status, code), (
                    what,
                    answer,
                )
                assert answer.get("field") == field, (what, answer)
                assert answer["code"] == "FAIL", what
                assert " / " in answer["msg"], what
                assert " / " in answer["remedy"], what
                assert "Traceback" not in response.text, what
            assert nothing_changed(stand)

    asyncio.run(scenario())


def test_bodies_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    bodies: list[tuple[str, bytes, int]] = [
        ("nothing", b"", 400),
        ("not JSON", b"hello", 400),
        ("a list", b"[1]", 400),
        ("invalid UTF-8", b'{"merchant_id": "\xff\xfe"}', 400),
        ("half a surrogate pair", b'{"merchant_id": "\\ud800"}', 400),
        ("duplicate keys", b'{"merchant_id": "M1", "merchant_id": "M2"}', 400),
        ("nested value", b'{"merchant_id": {"a": 1}}', 400),
        ("nested deeply", b'{"a":' * 10_000, 400),
        ("not a number", b'{"total_amount": NaN}', 400),
        ("10 MB", b'{"subject": "' + b"x" * 10_000_000 + b'"}', 413),
    ]

    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            for what, body, status in bodies:
                for route in ("create", "query", "refund"):
                    response = await stand.shop.send(route, body)
                    answer = response.json()

                    assert (response.status_code, answer["error_code"]) == (status, "1001"), what
                    assert "Traceback" not in response.text, what
            get = await stand.shop.client.get(f"{stand.shop.gateway_url}/api/payment/create")
            assert get.status_code == 405
            assert nothing_changed(stand)

    asyncio.run(scenario())


def test_a_wrong_signature_is_refused_whatever_it_looks_like(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            params = stand.shop.params()
            for wrong in ("0" * 64, "short", "ü" * 64, "=" * 344, "A" * 344):
                response = await stand.shop.post("create", params, sign=wrong)
                answer = response.json()
                assert (response.status_code, answer["error_code"]) == (401, "1002")
                assert "sign" not in answer  # Nothing is signed for a stranger.
            tampered = await stand.shop.post("create", params, total_amount="0.01")
            assert tampered.json()["error_code"] == "1002"
            assert nothing_changed(stand)

    asyncio.run(scenario())


def test_orders_of_others_are_not_found(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            who = {"merchant_id": stand.shop.new.merchant_id}
            query = await stand.shop.post("query", who | {"out_trade_no": "X1"})
            refund = await stand.shop.post(
                "refund",
                who | {"out_trade_no": "X1", "refund_amount": "1", "refund_reason": "why not"},
            )

            assert (query.status_code, query.json()["error_code"]) == (404, "1003")
            assert (refund.status_code, refund.json()["error_code"]) == (404, "1003")

    asyncio.run(scenario())


def test_an_order_that_is_not_paid_can_not_be_refunded(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            order = await stand.shop.create()
            refund = await stand.shop.post(
                "refund",
                {
                    "merchant_id": stand.shop.new.merchant_id,
                    "out_trade_no": order["out_trade_no"],
                    "refund_amount": "1",
                    "refund_reason": "why not",
                },
            )

            assert (refund.status_code, refund.json()["error_code"]) == (409, "1004")
            assert stand.rows("SELECT count(*) FROM refunds") == [(0,)]

    asyncio.run(scenario())


def test_a_form_is_read_like_json(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with standing(tmp_path) as stand:
            from urllib.parse import urlencode

            params = stand.shop.params(timestamp=str(stand.clock() // 1000), subject="茶 & 糕=1")
            params["sign"] = sign(stand.shop.key, params)
            response = await stand.shop.send(
                "create", urlencode(params).encode(), "application/x-www-form-urlencoded"
            )

            assert response.status_code == 200, response.text
            assert stand.rows("SELECT subject FROM orders") == [("茶 & 糕=1",)]

    asyncio.run(scenario())
