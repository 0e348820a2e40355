"""Every setting of the gateway, read from the environment or `.env` here and nowhere else.

`.env.example` is made from this file (`yumen doctor --write-reference`), so a description is
written once.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

if TYPE_CHECKING:
    from gateway.store.database import Database


class Settings(BaseSettings):
    """Settings by environment variable `YUMEN_<NAME>`, then `.env`, then these defaults."""

    model_config = SettingsConfigDict(
        env_prefix="YUMEN_", env_file=".env", extra="ignore", frozen=True
    )

    var: Path = Field(Path("var"), description="Folder of all embedded state.")
    database_url: str = Field(
        "",
        description="The database: postgresql://USER@HOST/NAME or sqlite:///FILE; empty: yumen.db "
        "in the folder above.",
    )
    host: str = Field("127.0.0.1", description="Address the servers bind to.")
    port: int = Field(8000, ge=1, le=65535, description="Port of the gateway.")
    public_url: str = Field(
        "", description="How channels and payers reach the gateway; empty: http://host:port."
    )
    sandbox_url: str = Field(
        "", description="Base URL of the sandbox channel; empty: served by the gateway itself."
    )
    sandbox_mode: bool = Field(
        True, description="Allows notify_url on loopback addresses; false in production."
    )
    cashier: bool = Field(
        True, description="Send payers to the gateway's own page; false: to the channel's."
    )
    worker: bool = Field(True, description="Run the background worker inside the gateway.")
    timestamp_window_s: int = Field(
        300, ge=1, description="How far a request's timestamp may be from our clock, in seconds."
    )
    merchant_rate_per_s: int = Field(
        0,
        ge=0,
        description="Requests a second of a merchant that has no limit of its own; 0: no limit.",
    )
    four_eyes: bool = Field(
        False,
        description="A second operator must agree to admit a merchant, to change a settlement "
        "account and to let a policy decide.",
    )
    body_bytes_max: int = Field(65_536, ge=1_024, description="Largest request body, in bytes.")
    order_timeout_s: int = Field(
        1_800, ge=1, description="An unpaid order is closed after so many seconds."
    )
    review_hold_s: int = Field(
        86_400, ge=1, description="An order held for review is closed after so many seconds."
    )
    channel_timeout_s: float = Field(
        5.0, gt=0, description="Longest wait for one answer of a channel, in seconds."
    )
    notify_timeout_s: float = Field(
        10.0, gt=0, description="Longest wait for a merchant's answer to a notification."
    )
    worker_poll_s: float = Field(
        0.25, gt=0, description="Pause of the background worker when nothing was due, in seconds."
    )
    risk_deadline_us: int = Field(
        10_000, ge=1, description="Budget of one risk assessment, in microseconds."
    )
    risk_fallback: Literal["open", "closed", "rules"] = Field(
        "rules",
        description="Who decides when risk is late or fails: rules and lists, and where these "
        "can't run the policy's static table (rules); let through (open); hold for review "
        "(closed). Block lists and declines without override hold in any case.",
    )
    graph_refresh_interval_s: int = Field(
        3_600,
        ge=0,
        description="Pause between two looks for communities of users, in seconds; 0: only when "
        "asked (yumen graph refresh).",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level that is logged."
    )

    @property
    def database(self) -> "Database":
        """Where orders, ledger, decisions and the event log are kept."""
        from gateway.store.database import database_at

        return database_at(self.database_url, self.var)

    @property
    def gateway_url(self) -> str:
        """Base URL under which the gateway is reached."""
        return self.public_url or f"http://{self.host}:{self.port}"
