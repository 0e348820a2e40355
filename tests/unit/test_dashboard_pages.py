"""Each page of the console, in both languages: with data, without, and when something is down."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from dashboard.launch import APP
from dashboard.parts.api import AdminClient, ApiError, ApiUnreachable
from dashboard.parts.text import LANGUAGES, Language, Words
from gateway.queries.orders import held_orders
from gateway.queries.reader import open_reader
from gateway.store.database import embedded
from tests.seeded import NOW_US, WAITING, empty_database, seed

PAGES = ("monitoring", "reconciliation", "review")
TIMEOUT_S = 60


@pytest.fixture(autouse=True)
def _fresh_caches() -> Iterator[None]:
    st.cache_data.clear()
    st.cache_resource.clear()
    yield
    st.cache_data.clear()
    st.cache_resource.clear()


def _script(
    # As words, because the function's text is run where these names are not imported.
    var: "Path",
    now_us: int,
    page: str,
    language: "Language",
    http: "httpx.Client | None",
) -> None:
    """Run one page as the app would, over this state, at this time, with this gateway."""
    from datetime import UTC
    from importlib import import_module

    import streamlit

    from dashboard.parts import console
    from dashboard.parts.text import Words

    desk = console.Console(
        var=var,
        api_url="http://gateway",
        clock_us=lambda: now_us,
        words=Words(language),
        zone=UTC,
        actor=str(streamlit.session_state.get("actor", "")),
        http=http,
    )
    import_module(f"dashboard.areas.{page}").render(desk)


def show(
    var: Path,
    page: str,
    language: Language = "zh",
    *,
    http: httpx.Client | None = None,
    now_us: int = NOW_US,
) -> AppTest:
    app = AppTest.from_function(
        _script, args=(var, now_us, page, language, http), default_timeout=TIMEOUT_S
    )
    app.session_state["actor"] = "lin"
    return app.run()


def said(app: AppTest) -> str:
    """All text on the page."""
    kinds = (app.markdown, app.caption, app.header, app.info, app.warning, app.error, app.success)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


class FakeGateway:
    """An admin API that remembers what it was asked and answers as it is told."""

    def __init__(self, status: int = 200, body: dict[str, object] | None = None) -> None:
        self.status = status
        self.body = body or {"code": "SUCCESS"}
        self.asked: list[tuple[str, bytes, str]] = []

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/admin/health":
            return httpx.Response(200, json={"status": "ok", "channels": ["sandbox"]})
        self.asked.append((request.url.path, request.content, request.headers["x-actor"]))
        return httpx.Response(self.status, json=self.body)


@pytest.fixture
def var(tmp_path: Path) -> Path:
    seed(tmp_path)
    (tmp_path / "admin.token").write_text("synthetic", encoding="ascii")
    return tmp_path


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_comes_up_with_data(var: Path, page: str, language: Language) -> None:
    app = show(var, page, language)

    assert not app.exception
    assert app.header[0].value == Words(language)(f"nav.{page}")
    assert len(app.dataframe) > 0


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_so_when_there_is_no_database(
    tmp_path: Path, page: str, language: Language
) -> None:
    app = show(tmp_path, page, language)

    assert not app.exception
    assert Words(language)("empty.database") in said(app)
    assert len(app.dataframe) == 0


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("page", "key"),
    [
        ("monitoring", "live.none"),
        ("reconciliation", "recon.runs.empty"),
        ("review", "review.empty"),
    ],
)
def test_a_page_says_so_when_nothing_has_happened_yet(
    tmp_path: Path, page: str, key: str, language: Language
) -> None:
    empty_database(tmp_path).engine.dispose()

    app = show(tmp_path, page, language)

    assert not app.exception
    assert Words(language)(key) in said(app)


def test_monitoring_shows_what_was_counted(var: Path) -> None:
    app = show(var, "monitoring", "en")

    shown = {metric.label: metric.value for metric in app.metric}
    assert shown["Traffic (per minute)"] == "8"
    assert shown["Approval rate"].endswith("%")
    assert len(app.dataframe[0].value) == 40


def test_monitoring_keeps_the_last_good_data_when_the_database_goes_away(var: Path) -> None:
    app = show(var, "monitoring", "en")
    (var / "yumen.db").rename(var / "gone.db")

    app.run()

    assert not app.exception
    assert "last good data" in said(app)
    assert len(app.dataframe) == 1


def test_monitoring_goes_back_to_the_last_traffic(var: Path) -> None:
    app = show(var, "monitoring", "en", now_us=NOW_US + 86_400_000_000)

    assert "showing the last traffic" in said(app)
    assert len(app.dataframe[0].value) == 40


def test_latest_decisions_can_be_narrowed_to_one_outcome(var: Path) -> None:
    app = show(var, "monitoring", "en")

    app.button_group(key="outcome").set_value("DECLINE").run()

    outcomes = {chip for chips in app.dataframe[0].value["outcome"] for chip in chips}
    assert outcomes == {"Decline"}


@pytest.mark.parametrize("page", ["reconciliation", "review"])
def test_actions_are_off_while_the_gateway_does_not_answer(var: Path, page: str) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    app = show(var, page, "en", http=httpx.Client(transport=httpx.MockTransport(refuse)))

    assert "does not answer" in said(app)
    assert app.button
    assert all(button.disabled for button in app.button)


def test_the_books_are_shown_to_balance(var: Path) -> None:
    app = show(var, "reconciliation", "en")

    assert "Balanced" in said(app)
    assert app.dataframe[0].value["sum"].tolist() == ["¥0.00"]


def test_breaks_name_both_sides_and_the_difference(var: Path) -> None:
    app = show(var, "reconciliation", "en")

    breaks = next(table.value for table in app.dataframe if "difference" in table.value)
    assert breaks["difference"].tolist() == ["-¥3.00", "¥88.00", "-¥45.00"]
    assert breaks["kind"].tolist()[0] == ["Amount differs"]


def test_a_reconciliation_is_asked_for_by_name(var: Path) -> None:
    gateway = FakeGateway(body={"matched": 5, "breaks": 1})
    app = show(var, "reconciliation", "en", http=gateway.client())

    app.button(key="recon.run").click().run()

    ((path, body, actor),) = gateway.asked
    assert (path, actor) == ("/admin/recon/run", "lin")
    assert b"sandbox" in body
    assert "5 matched, 1 breaks" in said(app)


def first_held(var: Path) -> str:
    return held_orders(open_reader(embedded(var)))[0].trade_no


def test_an_order_is_approved_with_a_reason_on_the_version_seen(var: Path) -> None:
    gateway = FakeGateway()
    trade_no = first_held(var)
    app = show(var, "review", "en", http=gateway.client())

    app.text_area(key=f"reason.{trade_no}").set_value("called the payer")
    app.button(key=f"approve.{trade_no}").click().run()

    ((path, body, actor),) = gateway.asked
    assert path == f"/admin/orders/{trade_no}/review"
    assert body == b'{"verdict":"approve","reason":"called the payer","version":1}'
    assert actor == "lin"
    assert "approved" in said(app)


def test_a_decision_without_a_reason_is_not_sent(var: Path) -> None:
    gateway = FakeGateway()
    app = show(var, "review", "en", http=gateway.client())

    app.button(key=f"reject.{first_held(var)}").click().run()

    assert gateway.asked == []
    assert "Give a reason" in said(app)


def test_a_rejection_may_be_labelled_as_fraud(var: Path) -> None:
    gateway = FakeGateway()
    trade_no = first_held(var)
    app = show(var, "review", "en", http=gateway.client())

    app.text_area(key=f"reason.{trade_no}").set_value("stolen card")
    app.checkbox(key=f"fraud.{trade_no}").check()
    app.button(key=f"reject.{trade_no}").click().run()

    assert [path for path, _, _ in gateway.asked] == [
        f"/admin/orders/{trade_no}/review",
        "/admin/labels",
    ]


def test_the_slower_analyst_is_told(var: Path) -> None:
    body: dict[str, object] = {"error_code": "1010", "msg": "decided by wang", "remedy": ""}
    gateway = FakeGateway(409, body)
    trade_no = first_held(var)
    app = show(var, "review", "en", http=gateway.client())

    app.text_area(key=f"reason.{trade_no}").set_value("ok")
    app.button(key=f"approve.{trade_no}").click().run()

    assert "Somebody else was faster" in app.warning[0].value
    assert "decided by wang" in app.warning[0].value


def test_nobody_decides_without_a_name(var: Path) -> None:
    app = show(var, "review", "en", http=FakeGateway().client())
    app.session_state["actor"] = ""
    app.run()

    trade_no = first_held(var)
    assert app.button(key=f"approve.{trade_no}").disabled
    assert app.button(key=f"reject.{trade_no}").disabled


def test_a_merchant_is_admitted(var: Path) -> None:
    gateway = FakeGateway()
    merchant_id = WAITING[0][0]
    app = show(var, "review", "en", http=gateway.client())

    app.text_area(key=f"reason.{merchant_id}").set_value("materials checked")
    app.button(key=f"approve.{merchant_id}").click().run()

    assert gateway.asked[0][0] == f"/admin/merchants/{merchant_id}/review"


@pytest.mark.parametrize(("language", "title"), [("zh", "实时监控"), ("en", "Monitoring")])
def test_the_app_starts_on_monitoring_in_the_language_of_its_address(
    var: Path, monkeypatch: pytest.MonkeyPatch, language: str, title: str
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["app.py", "--var", str(var), "--api-url", "http://127.0.0.1:9"]
    )
    app = AppTest.from_file(str(APP), default_timeout=TIMEOUT_S)
    app.query_params["lang"] = language

    app.run()

    assert not app.exception
    assert app.header[0].value == title


def test_a_client_without_a_token_changes_nothing(tmp_path: Path) -> None:
    gateway = FakeGateway()
    client = AdminClient("http://gateway", tmp_path / "admin.token", "lin", gateway.client())

    with pytest.raises(ApiUnreachable):
        client.label("T1", "FRAUD")
    assert gateway.asked == []


def test_a_name_in_any_script_reaches_the_gateway(var: Path) -> None:
    gateway = FakeGateway()
    AdminClient("http://gateway", var / "admin.token", "李雷", gateway.client()).label(
        "T1", "FRAUD"
    )

    assert gateway.asked[0][2] == "%E6%9D%8E%E9%9B%B7"


def test_an_answer_that_is_not_the_gateways_is_not_believed(var: Path) -> None:
    def page(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text="<html>a proxy's page</html>")

    http = httpx.Client(transport=httpx.MockTransport(page))
    with pytest.raises(ApiUnreachable):
        AdminClient("http://gateway", var / "admin.token", "lin", http).health()


def test_a_refusal_keeps_the_gateways_own_words(var: Path) -> None:
    body: dict[str, object] = {
        "error_code": "1003",
        "msg": "订单不存在 / no such order",
        "remedy": "r",
    }
    client = AdminClient(
        "http://gateway", var / "admin.token", "lin", FakeGateway(404, body).client()
    )

    with pytest.raises(ApiError, match="no such order") as refusal:
        client.label("T404", "FRAUD")
    assert (refusal.value.code, refusal.value.is_conflict) == ("1003", False)
