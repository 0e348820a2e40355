"""The console's only way to change anything: the gateway's admin API.

Each call names the person who acts. What the gateway refuses is shown as it says it; what can't
be reached is said plainly, so that nobody believes a decision was taken that wasn't.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

TOKEN_NAME = "admin.token"  # noqa: S105 - the name of a file
TIMEOUT_S = 10.0
RECON_TIMEOUT_S = 120.0  # A day of a large channel takes a while.


class ApiError(Exception):
    """The gateway refused; `message` and `remedy` are bilingual, as the gateway wrote them."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy

    @property
    def is_conflict(self) -> bool:
        """Whether somebody else was faster."""
        return self.code in ("1004", "1010")


class ApiUnreachable(Exception):
    """The gateway does not answer, or the console has no token for it; nothing was changed."""


@dataclass(frozen=True, slots=True)
class AdminClient:
    """The admin API as one person uses it.

    Attributes:
        base_url: Base URL of the gateway.
        token_path: File of the operator token, written by the gateway.
        actor: Who acts.
        http: How to reach it.
    """

    base_url: str
    token_path: Path
    actor: str
    http: httpx.Client

    def health(self) -> dict[str, Any]:
        """Ask whether the gateway is up, and which channels it has.

        Raises:
            ApiUnreachable: if it is not.
            ApiError: if it does not know our token.
        """
        return self._call("GET", "/admin/health", None)

    def review_order(
        self, trade_no: str, *, verdict: str, reason: str, version: int
    ) -> dict[str, Any]:
        """Approve or reject a held order, as `health` for errors; a conflict is an `ApiError`."""
        body: dict[str, object] = {"verdict": verdict, "reason": reason, "version": version}
        return self._call("POST", f"/admin/orders/{quote(trade_no)}/review", body)

    def review_merchant(
        self, merchant_id: str, *, verdict: str, reason: str, version: int
    ) -> dict[str, Any]:
        """Admit or refuse a merchant, as `health` for errors; a conflict is an `ApiError`."""
        body: dict[str, object] = {"verdict": verdict, "reason": reason, "version": version}
        return self._call("POST", f"/admin/merchants/{quote(merchant_id)}/review", body)

    def label(self, trade_no: str, label: str) -> dict[str, Any]:
        """Say that a payment was FRAUD or GENUINE, as `health` for errors."""
        body: dict[str, object] = {"trade_no": trade_no, "label": label, "source": "review"}
        return self._call("POST", "/admin/labels", body)

    def reconcile(self, channel: str, day: str) -> dict[str, Any]:
        """Compare a channel's bill of a day (YYYY-MM-DD) with the ledger, as `health`."""
        body: dict[str, object] = {"channel": channel, "day": day}
        return self._call("POST", "/admin/recon/run", body, timeout_s=RECON_TIMEOUT_S)

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, object] | None,
        *,
        timeout_s: float = TIMEOUT_S,
    ) -> dict[str, Any]:
        try:
            token = self.token_path.read_text(encoding="ascii").strip()
            answer = self.http.request(
                method,
                f"{self.base_url.rstrip('/')}{path}",
                json=body,
                headers={
                    "Authorization": f"Bearer {token}",
                    "X-Actor": quote(self.actor or "console"),
                },
                timeout=timeout_s,
            )
            content: dict[str, Any] = answer.json()
        except (OSError, httpx.HTTPError, ValueError) as error:
            raise ApiUnreachable(str(error)) from error
        if answer.is_error:
            raise ApiError(
                str(content.get("error_code", answer.status_code)),
                str(content.get("msg", answer.reason_phrase)),
                str(content.get("remedy", "")),
            )
        return content
