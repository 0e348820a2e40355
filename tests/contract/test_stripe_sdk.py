"""The official `stripe` client, unmodified, pays, asks, refunds and hears through the sandbox."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from gateway.recon.formats.stripe import COLUMNS
from gateway.sandbox.protocols.registry import account
from tests.live_sandbox import LiveSandbox, live_sandbox

SESSION: dict[str, Any] = {
    "mode": "payment",
    "client_reference_id": "T0000000001",
    "line_items": [
        {
            "quantity": 1,
            "price_data": {
                "currency": "usd",
                "unit_amount": 1230,
                "product_data": {"name": "茶 & biscuits {100%}"},
            },
        }
    ],
    "metadata": {"trade_no": "T0000000001"},
    "payment_intent_data": {"metadata": {"trade_no": "T0000000001"}},
    "success_url": "http://shop.test/back?x=1",
}


@pytest.fixture
def at(tmp_path: Path) -> Iterator[LiveSandbox]:
    with live_sandbox(tmp_path) as sandbox:
        yield sandbox


def client(at: LiveSandbox, **changes: str) -> stripe.StripeClient:
    told = dict(account("stripe", at.var, at.base_url)) | changes
    return stripe.StripeClient(
        told["secret_key"],
        base_addresses={"api": told["base_url"], "files": told["files_url"]},
        max_network_retries=0,
        http_client=stripe.UrllibClient(),  # Keeps no connection open.
    )


def events(at: LiveSandbox) -> list[stripe.Event]:
    """What the merchant heard; the client must believe each."""
    secret = account("stripe", at.var, at.base_url)["webhook_secret"]
    return [
        stripe.Webhook.construct_event(body, headers["stripe-signature"], secret, api_key="sk")
        for headers, body in at.heard
    ]


def paid(at: LiveSandbox, sdk: stripe.StripeClient) -> str:
    session = sdk.v1.checkout.sessions.create(SESSION, {"idempotency_key": "pay-T0000000001"})  # type: ignore[arg-type]
    assert session.url is not None
    at.payer(session.url, action="pay")
    intent = sdk.v1.checkout.sessions.retrieve(session.id).payment_intent
    assert isinstance(intent, str)
    return intent


def test_the_client_pays_asks_refunds_and_hears(at: LiveSandbox) -> None:
    sdk = client(at)
    intent = paid(at, sdk)
    refund = sdk.v1.refunds.create(
        {"payment_intent": intent, "amount": 230, "metadata": {"refund_no": "R1"}},
        {"idempotency_key": "refund-R1"},
    )
    rest = sdk.v1.refunds.create({"payment_intent": intent})
    at.wait(lambda: len(at.heard) == 3)

    assert sdk.v1.payment_intents.retrieve(intent).status == "succeeded"
    assert sdk.v1.refunds.retrieve(refund.id).status == "succeeded"
    assert (refund.amount, rest.amount) == (230, 1000)
    listed = sdk.v1.refunds.list({"payment_intent": intent, "limit": 1})
    assert {each.id for each in listed.auto_paging_iter()} == {refund.id, rest.id}
    told = {event.type: event.data.object for event in events(at)}
    assert set(told) == {"checkout.session.completed", "refund.created"}
    assert told["checkout.session.completed"]["client_reference_id"] == "T0000000001"
    with pytest.raises(stripe.InvalidRequestError, match="already been refunded") as refused:
        sdk.v1.refunds.create({"payment_intent": intent})
    assert refused.value.code == "charge_already_refunded"


def test_an_idempotency_key_belongs_to_one_request(at: LiveSandbox) -> None:
    sdk, key = client(at), {"idempotency_key": "pay-T0000000001"}
    create: Any = sdk.v1.checkout.sessions.create
    first = create(SESSION, key)
    again = create(SESSION, key)
    other = create(SESSION, {"idempotency_key": "pay-T0000000002"})

    assert first.id == again.id != other.id
    headers = {name.lower(): value for name, value in again.last_response.headers.items()}
    assert headers["idempotent-replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError):
        create(SESSION | {"success_url": "http://shop.test/other"}, key)
    # What was refused before it was tried is not kept under the key.
    bad = {"idempotency_key": "pay-T0000000003"}
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter"):
        create(SESSION | {"colour": "red"}, bad)
    assert create(SESSION, bad).id


def test_a_twin_that_comes_at_the_same_time_is_told_so_or_gets_the_same(at: LiveSandbox) -> None:
    sdk = client(at)
    create: Any = sdk.v1.checkout.sessions.create
    ends: list[object] = []

    def run() -> None:
        try:
            ends.append(create(SESSION, {"idempotency_key": "twin"}).id)
        except stripe.StripeError as error:
            ends.append(error.http_status)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ids = {end for end in ends if isinstance(end, str)}
    assert len(ends) == 8
    assert len(ids) == 1
    assert set(ends) - ids <= {409}


def test_an_expired_session_and_a_refund_that_fails_later_are_told(at: LiveSandbox) -> None:
    sdk = client(at)
    intent = paid(at, sdk)
    refund = sdk.v1.refunds.create({"payment_intent": intent, "amount": 230})
    failed = sdk.v1.test_helpers.refunds.expire(refund.id)
    session = sdk.v1.checkout.sessions.create(SESSION)  # type: ignore[arg-type]
    expired = sdk.v1.checkout.sessions.expire(session.id)
    at.wait(lambda: len(at.heard) == 4)

    assert (failed.status, expired.status, expired.url) == ("failed", "expired", None)
    assert {event.type for event in events(at)} >= {"refund.failed", "checkout.session.expired"}
    assert sdk.v1.refunds.create({"payment_intent": intent}).amount == 1230
    with pytest.raises(stripe.InvalidRequestError, match="can be expired"):
        sdk.v1.checkout.sessions.expire(session.id)


def test_a_report_runs_and_is_downloaded(at: LiveSandbox) -> None:
    sdk = client(at)
    paid(at, sdk)
    first_s = events_day_s(at, sdk)
    run = sdk.v1.reporting.report_runs.create(
        {
            "report_type": "balance_change_from_activity.itemized.3",
            "parameters": {
                "interval_start": first_s,
                "interval_end": first_s + 86_400,
                "columns": list(COLUMNS),
            },
        }
    )
    done = sdk.v1.reporting.report_runs.retrieve(run.id)
    assert (run.status, done.status) == ("pending", "succeeded")
    assert done.result is not None
    told = account("stripe", at.var, at.base_url)
    url = f"{told['files_url']}/v1/files/{done.result.id}/contents"
    file = httpx.get(url, auth=(told["secret_key"], ""), trust_env=False)
    assert file.text.splitlines()[0] == ",".join(COLUMNS)
    assert ",usd,12.30,0.00,12.30,charge," in file.text
    assert httpx.get(url, auth=("sk_test_x", ""), trust_env=False).status_code == 401


def events_day_s(at: LiveSandbox, sdk: stripe.StripeClient) -> int:
    at.wait(lambda: bool(at.heard))
    return events(at)[0].created // 86_400 * 86_400


def test_another_key_is_refused(at: LiveSandbox) -> None:
    sdk = client(at, secret_key="sk_test_guessed")  # noqa: S106 - it is wrong on purpose.
    with pytest.raises(stripe.AuthenticationError):
        sdk.v1.payment_intents.retrieve("pi_1")


def test_the_client_refuses_a_changed_event(at: LiveSandbox) -> None:
    paid(at, client(at))
    at.wait(lambda: bool(at.heard))
    headers, body = at.heard[0]
    secret = account("stripe", at.var, at.base_url)["webhook_secret"]
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(
            body.replace(b"1230", b"1231"), headers["stripe-signature"], secret, api_key="sk"
        )
