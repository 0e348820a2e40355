"""The official `paypal-server-sdk`, unmodified, pays, refunds and hears through the sandbox."""

import base64
import json
import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from paypalserversdk.configuration import Configuration, Environment, Server
from paypalserversdk.exceptions.error_exception import ErrorException
from paypalserversdk.http.auth.o_auth_2 import ClientCredentialsAuthCredentials
from paypalserversdk.paypal_serversdk_client import PaypalServersdkClient

from gateway.sandbox.protocols.registry import account
from tests.live_sandbox import LiveSandbox, live_sandbox

ORDER: dict[str, Any] = {
    "intent": "CAPTURE",
    "purchase_units": [
        {
            "reference_id": "default",
            "custom_id": "T0000000001",
            "invoice_id": "T0000000001",
            "description": "茶 & biscuits {100%}",
            "amount": {"currency_code": "EUR", "value": "12.30"},
        }
    ],
    "payment_source": {
        "paypal": {
            "experience_context": {
                "return_url": "http://shop.test/back",
                "cancel_url": "http://shop.test/back",
            }
        }
    },
}


@pytest.fixture
def at(tmp_path: Path) -> Iterator[LiveSandbox]:
    with live_sandbox(tmp_path) as sandbox:
        yield sandbox


@pytest.fixture
def sdk(at: LiveSandbox) -> Iterator[Any]:
    told = account("paypal", at.var, at.base_url)
    servers = Configuration.environments[Environment.SANDBOX]
    real, servers[Server.DEFAULT] = servers[Server.DEFAULT], told["base_url"]
    known = ClientCredentialsAuthCredentials(
        o_auth_client_id=told["client_id"], o_auth_client_secret=told["client_secret"]
    )
    client: Any = PaypalServersdkClient(client_credentials_auth_credentials=known)
    yield client
    client.config.http_client.session.close()
    servers[Server.DEFAULT] = real


def created(sdk: Any, request_id: str = "pay-T0000000001", **changes: Any) -> Any:
    wanted = {
        "prefer": "return=representation",
        "paypal_request_id": request_id,
        "body": ORDER | changes,
    }
    return sdk.orders.create_order(wanted)


def captured(at: LiveSandbox, sdk: Any) -> Any:
    order = created(sdk).body
    (link,) = [link.href for link in order.links if link.rel == "payer-action"]
    at.payer(link, action="pay")
    assert sdk.orders.get_order({"id": order.id}).body.status == "APPROVED"
    wanted = {"id": order.id, "paypal_request_id": f"capture-{order.id}", "body": {}}
    return sdk.orders.capture_order(wanted).body


def test_the_client_pays_captures_refunds_and_hears(at: LiveSandbox, sdk: Any) -> None:
    order = captured(at, sdk)
    capture = order.purchase_units[0].payments.captures[0]
    wanted = {
        "capture_id": capture.id,
        "paypal_request_id": "refund-R1",
        "body": {
            "amount": {"currency_code": "EUR", "value": "2.30"},
            "custom_id": "T0000000001:R1",
        },
    }
    refund = sdk.payments.refund_captured_payment(wanted).body
    again = sdk.payments.refund_captured_payment(wanted).body
    at.wait(lambda: len(at.heard) == 3)

    assert (order.status, capture.status, capture.amount.value) == (
        "COMPLETED",
        "COMPLETED",
        "12.30",
    )
    assert refund.id == again.id
    assert sdk.payments.get_refund({"refund_id": refund.id}).body.status == "COMPLETED"
    after = sdk.payments.get_captured_payment({"capture_id": capture.id}).body
    assert after.status == "PARTIALLY_REFUNDED"
    beyond = {"amount": {"currency_code": "EUR", "value": "10.01"}}
    with pytest.raises(ErrorException) as refused:
        sdk.payments.refund_captured_payment({"capture_id": capture.id, "body": beyond})
    assert refused.value.details[0].issue == "REFUND_AMOUNT_EXCEEDED"
    kinds = {json.loads(body)["event_type"] for _, body in at.heard}
    assert kinds == {
        "CHECKOUT.ORDER.APPROVED",
        "PAYMENT.CAPTURE.COMPLETED",
        "PAYMENT.CAPTURE.REFUNDED",
    }
    for headers, body in at.heard:
        check(at, headers, body)


def check(at: LiveSandbox, headers: dict[str, str], body: bytes) -> None:
    """Verify a webhook by hand, and let the sandbox verify it."""
    told = account("paypal", at.var, at.base_url)
    head = {name.removeprefix("paypal-"): value for name, value in headers.items()}
    pem = httpx.get(head["cert-url"], trust_env=False).content
    leaf, root = x509.load_pem_x509_certificates(pem)
    leaf.verify_directly_issued_by(root)
    key = leaf.public_key()
    assert isinstance(key, RSAPublicKey)
    signed = (
        f"{head['transmission-id']}|{head['transmission-time']}|{told['webhook_id']}"
        f"|{zlib.crc32(body)}"
    )
    sign = base64.b64decode(head["transmission-sig"])
    key.verify(sign, signed.encode(), PKCS1v15(), SHA256())

    for event, verdict in ((json.loads(body), "SUCCESS"), ({"id": "WH-other"}, "FAILURE")):
        asked = {
            "auth_algo": head["auth-algo"],
            "cert_url": head["cert-url"],
            "transmission_id": head["transmission-id"],
            "transmission_sig": head["transmission-sig"],
            "transmission_time": head["transmission-time"],
            "webhook_id": told["webhook_id"],
            "webhook_event": event,
        }
        pair = (told["client_id"], told["client_secret"])
        with httpx.Client(trust_env=False) as plain:
            form = {"grant_type": "client_credentials"}
            token = plain.post(f"{told['base_url']}/v1/oauth2/token", data=form, auth=pair).json()
            answer = plain.post(
                f"{told['base_url']}/v1/notifications/verify-webhook-signature",
                json=asked,
                headers={"Authorization": f"Bearer {token['access_token']}"},
            )
        assert answer.json() == {"verification_status": verdict}


def test_a_request_id_answers_how_things_stand_now(at: LiveSandbox, sdk: Any) -> None:
    first, again = created(sdk), created(sdk, intent="AUTHORIZE")

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.body.id == again.body.id
    assert created(sdk, "pay-T0000000002").body.id != first.body.id


def test_an_order_is_captured_once_and_only_when_approved(at: LiveSandbox, sdk: Any) -> None:
    waiting = created(sdk).body
    with pytest.raises(ErrorException) as early:
        sdk.orders.capture_order({"id": waiting.id, "body": {}})
    assert early.value.details[0].issue == "ORDER_NOT_APPROVED"

    done = captured(at, sdk)
    with pytest.raises(ErrorException) as twice:
        sdk.orders.capture_order({"id": done.id, "body": {}})
    assert twice.value.details[0].issue == "ORDER_ALREADY_CAPTURED"
    wanted = {"id": done.id, "paypal_request_id": f"capture-{done.id}", "body": {}}
    assert sdk.orders.capture_order(wanted).body.status == "COMPLETED"

    other = created(sdk, "pay-again").body
    (link,) = [link.href for link in other.links if link.rel == "payer-action"]
    at.payer(link, action="pay")
    with pytest.raises(ErrorException) as same_invoice:
        sdk.orders.capture_order({"id": other.id, "body": {}})
    assert same_invoice.value.details[0].issue == "DUPLICATE_INVOICE_ID"


def test_the_report_lists_what_moved(at: LiveSandbox, sdk: Any) -> None:
    captured(at, sdk)
    at.wait(lambda: len(at.heard) == 2)
    now = datetime.fromisoformat(json.loads(at.heard[0][1])["create_time"])
    asked = {
        "start_date": (now - timedelta(hours=1)).isoformat(),
        "end_date": (now + timedelta(hours=1)).isoformat(),
        "fields": "transaction_info",
    }
    found = sdk.transaction_search.search_transactions(asked).body

    assert (found.page, found.total_items, found.total_pages) == (1, 1, 1)
    info = found.transaction_details[0].transaction_info
    assert (info.transaction_event_code, info.transaction_amount.value) == ("T0006", "12.30")
    assert info.custom_field == "T0000000001"


def test_amounts_and_accounts_that_cannot_be_are_refused(at: LiveSandbox, sdk: Any) -> None:
    for currency, value in (("HUF", "12.30"), ("EUR", "12.345"), ("EUR", "0.00"), ("XXX", "1.00")):
        unit = ORDER["purchase_units"][0] | {"amount": {"currency_code": currency, "value": value}}
        with pytest.raises(ErrorException):
            created(sdk, f"pay-{currency}{value}", purchase_units=[unit])
    told = account("paypal", at.var, at.base_url)
    with httpx.Client(trust_env=False) as plain:
        form = {"grant_type": "client_credentials"}
        url = f"{told['base_url']}/v1/oauth2/token"
        assert plain.post(url, data=form, auth=(told["client_id"], "x")).status_code == 401
        order = f"{told['base_url']}/v2/checkout/orders/1"
        for token in ("", "Bearer A21AA-9999999999-00", "Bearer A21AA-x-"):
            assert plain.get(order, headers={"Authorization": token}).status_code == 401
