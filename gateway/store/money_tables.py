"""Tables of the ledger, of accounts at payment systems and of what merchants are paid out."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from gateway.store.schema import metadata

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("merchant_id", Text, nullable=False),
    Column("entry_id", Text, nullable=False),
    Column("trade_no", Text, nullable=False),
    Column("kind", Text, nullable=False),  # PAY | REFUND | LATE | LATE_REFUND
    Column("created_at_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("merchant_id", "entry_id"),
    Index("ix_ledger_entries_created_at_us", "created_at_us"),
)

ledger_postings = Table(
    "ledger_postings",
    metadata,
    Column("merchant_id", Text, nullable=False),
    Column("entry_id", Text, nullable=False),
    Column("line_no", Integer, nullable=False),
    Column("account", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),  # Debit positive, credit negative.
    Column("currency", Text, nullable=False),
    PrimaryKeyConstraint("merchant_id", "entry_id", "line_no"),
    ForeignKeyConstraint(
        ["merchant_id", "entry_id"], ["ledger_entries.merchant_id", "ledger_entries.entry_id"]
    ),
    CheckConstraint("amount_minor <> 0", name="moves_something"),
    Index("ix_ledger_postings_account", "account", "currency"),
)

channel_accounts = Table(
    "channel_accounts",
    metadata,
    # '' is the house: its accounts serve every merchant that has none of its own.
    Column("merchant_id", Text, nullable=False),
    Column("account", Text, nullable=False),  # Names the account in orders and in the ledger.
    Column("kind", Text, nullable=False),  # Of gateway.channels.registry.ADAPTERS.
    Column("settings_sealed", LargeBinary, nullable=False),  # JSON; keys among them.
    Column("pay_types", Text, nullable=False),  # JSON list of the merchants' words for it.
    Column("priority", Integer, nullable=False),  # The lowest is asked first.
    Column("fee_ppm", BigInteger, nullable=False),  # What the merchant is charged.
    Column("fee_fixed_minor", BigInteger, nullable=False),
    Column("cost_ppm", BigInteger, nullable=False),  # What the payment system charges us.
    Column("cost_fixed_minor", BigInteger, nullable=False),
    Column("fee_returned", Integer, nullable=False),  # 1: in proportion to refunds.
    Column("status", Text, nullable=False),  # ACTIVE | PAUSED
    Column("created_at_us", BigInteger, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    PrimaryKeyConstraint("merchant_id", "account"),
    CheckConstraint("fee_ppm BETWEEN 0 AND 1000000", name="fee_share"),
    CheckConstraint("cost_ppm BETWEEN 0 AND 1000000", name="cost_share"),
    CheckConstraint("fee_fixed_minor >= 0 AND cost_fixed_minor >= 0", name="fixed_not_negative"),
)

settlements = Table(
    "settlements",
    metadata,
    # One a merchant, currency and business day on which there was something to transfer.
    Column("merchant_id", Text, nullable=False),
    Column("settlement_no", Text, nullable=False),
    Column("day", Text, nullable=False),  # YYYY-MM-DD, UTC+08:00; all booked before its end.
    Column("currency", Text, nullable=False),
    Column("carried_minor", BigInteger, nullable=False),  # Left from before, e.g. a debt.
    Column("paid_minor", BigInteger, nullable=False),  # Payments since the last one.
    Column("refunded_minor", BigInteger, nullable=False),
    Column("fees_minor", BigInteger, nullable=False),  # Charged less given back.
    Column("net_minor", BigInteger, nullable=False),  # What is transferred.
    Column("status", Text, nullable=False),  # PENDING | PAID_OUT
    Column("reference", Text, nullable=False, server_default=""),  # The bank's.
    Column("created_at_us", BigInteger, nullable=False),
    Column("paid_out_at_us", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("merchant_id", "settlement_no"),
    CheckConstraint("net_minor > 0", name="net_positive"),
    Index("uq_settlements_day", "merchant_id", "currency", "day", unique=True),
)
