"""The first landing.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

from gateway.store.schema import only_where

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="{}", nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
    )
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.create_index("ix_audit_log_object_id", ["object_id"], unique=False)

    op.create_table(
        "channel_facts",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("trade_no", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("received_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "event_id", name=op.f("pk_channel_facts")),
    )
    with op.batch_alter_table("channel_facts", schema=None) as batch_op:
        batch_op.create_index("ix_channel_facts_trade_no", ["trade_no"], unique=False)

    op.create_table(
        "decisions",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("trade_no", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("score_raw", sa.Float(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("rule_hits", sa.Text(), nullable=False),
        sa.Column("features", sa.LargeBinary(), nullable=False),
        sa.Column("presence", sa.LargeBinary(), nullable=False),
        sa.Column("missing", sa.Text(), nullable=False),
        sa.Column("feature_hash", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("rule_version", sa.Text(), nullable=False),
        sa.Column("policy_version", sa.Text(), nullable=False),
        sa.Column("engine_version", sa.Text(), nullable=False),
        sa.Column("key_seqs", sa.LargeBinary(), nullable=False),
        sa.Column("degraded", sa.Text(), nullable=False),
        sa.Column("fallback", sa.Text(), nullable=False),
        sa.Column("elapsed_us", sa.BigInteger(), nullable=False),
        sa.Column("decided_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("merchant_id", "decision_id", name=op.f("pk_decisions")),
    )
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        batch_op.create_index("ix_decisions_decided_at_us", ["decided_at_us"], unique=False)
        batch_op.create_index("ix_decisions_trade_no", ["trade_no"], unique=False)

    op.create_table(
        "ledger_entries",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("trade_no", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("merchant_id", "entry_id", name=op.f("pk_ledger_entries")),
    )
    with op.batch_alter_table("ledger_entries", schema=None) as batch_op:
        batch_op.create_index("ix_ledger_entries_created_at_us", ["created_at_us"], unique=False)

    op.create_table(
        "merchant_keys",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("public_key_pem", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("merchant_id", "key_id", name=op.f("pk_merchant_keys")),
    )
    op.create_table(
        "merchants",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("app_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mcc", sa.Text(), server_default="", nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_merchants")),
        sa.UniqueConstraint("app_id", name=op.f("uq_merchants_app_id")),
    )
    op.create_table(
        "notifications",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("trade_no", sa.Text(), nullable=False),
        sa.Column("trade_status", sa.Text(), nullable=False),
        sa.Column("notify_url", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "first_attempt_at_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("next_attempt_at_us", sa.BigInteger(), nullable=False),
        sa.Column("lease_until_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_error", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("delivered_at_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("merchant_id", "event_id", name=op.f("pk_notifications")),
    )
    with op.batch_alter_table("notifications", schema=None) as batch_op:
        batch_op.create_index(
            "ix_notifications_due",
            ["next_attempt_at_us"],
            unique=False,
            **only_where("status = 'PENDING'"),
        )
        batch_op.create_index("ix_notifications_trade_no", ["trade_no"], unique=False)

    op.create_table(
        "order_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("trade_no", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_events")),
    )
    with op.batch_alter_table("order_events", schema=None) as batch_op:
        batch_op.create_index("ix_order_events_trade_no", ["trade_no"], unique=False)

    op.create_table(
        "orders",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("trade_no", sa.Text(), nullable=False),
        sa.Column("out_trade_no", sa.Text(), nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("channel_trade_no", sa.Text(), server_default="", nullable=False),
        sa.Column("pay_type", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), server_default="", nullable=False),
        sa.Column("notify_url", sa.Text(), nullable=False),
        sa.Column("return_url", sa.Text(), server_default="", nullable=False),
        sa.Column("pay_url", sa.Text(), server_default="", nullable=False),
        sa.Column("prepay_id", sa.Text(), server_default="", nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("risk_outcome", sa.Text(), nullable=False),
        sa.Column("paid_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "refund_reserved_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("refunded_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.Column("paid_at_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("closed_at_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint(
            "status IN ('CREATED', 'WAIT_PAY', 'SUCCESS', 'REFUND', 'CLOSED')",
            name=op.f("ck_orders_status_known"),
        ),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_orders_amount_positive")),
        sa.CheckConstraint(
            "refunded_minor >= 0 AND refunded_minor <= refund_reserved_minor AND refund_reserved_minor <= paid_minor",
            name=op.f("ck_orders_refund_within_paid"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "trade_no", name=op.f("pk_orders")),
        sa.UniqueConstraint(
            "merchant_id", "out_trade_no", name=op.f("uq_orders_merchant_id_out_trade_no")
        ),
    )
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.create_index("ix_orders_created_at_us", ["created_at_us"], unique=False)
        batch_op.create_index(
            "ix_orders_due",
            ["expires_at_us"],
            unique=False,
            **only_where("status IN ('CREATED','WAIT_PAY')"),
        )
        batch_op.create_index("ix_orders_trade_no", ["trade_no"], unique=True)

    op.create_table(
        "recon_breaks",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("line_no", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("trade_no", sa.Text(), nullable=False),
        sa.Column("refund_no", sa.Text(), server_default="", nullable=False),
        sa.Column("merchant_id", sa.Text(), server_default="", nullable=False),
        sa.Column("ours_minor", sa.BigInteger(), nullable=True),
        sa.Column("theirs_minor", sa.BigInteger(), nullable=True),
        sa.Column("currency", sa.Text(), server_default="", nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("status", sa.Text(), server_default="OPEN", nullable=False),
        sa.PrimaryKeyConstraint("run_id", "line_no", name=op.f("pk_recon_breaks")),
    )
    op.create_table(
        "recon_runs",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("bill_day", sa.Text(), nullable=False),
        sa.Column("bill_sha256", sa.Text(), nullable=False),
        sa.Column("bill_rows", sa.Integer(), nullable=False),
        sa.Column("ledger_rows", sa.Integer(), nullable=False),
        sa.Column("matched", sa.Integer(), nullable=False),
        sa.Column("breaks", sa.Integer(), nullable=False),
        sa.Column("gap_minor", sa.BigInteger(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_recon_runs")),
    )
    with op.batch_alter_table("recon_runs", schema=None) as batch_op:
        batch_op.create_index("ix_recon_runs_day", ["channel", "bill_day"], unique=False)

    op.create_table(
        "risk_events",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("trade_no", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_risk_events")),
    )
    with op.batch_alter_table("risk_events", schema=None) as batch_op:
        batch_op.create_index("ix_risk_events_trade_no", ["trade_no", "kind"], unique=False)

    op.create_table(
        "risk_inbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("trade_no", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("known_at_us", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_risk_inbox")),
    )
    with op.batch_alter_table("risk_inbox", schema=None) as batch_op:
        batch_op.create_index(
            "ix_risk_inbox_open",
            ["id"],
            unique=False,
            **only_where("seq IS NULL"),
        )

    op.create_table(
        "ledger_postings",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("line_no", sa.Integer(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.CheckConstraint("amount_minor <> 0", name=op.f("ck_ledger_postings_moves_something")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "entry_id"],
            ["ledger_entries.merchant_id", "ledger_entries.entry_id"],
            name=op.f("fk_ledger_postings_ledger_entries"),
        ),
        sa.PrimaryKeyConstraint(
            "merchant_id", "entry_id", "line_no", name=op.f("pk_ledger_postings")
        ),
    )
    with op.batch_alter_table("ledger_postings", schema=None) as batch_op:
        batch_op.create_index("ix_ledger_postings_account", ["account", "currency"], unique=False)

    op.create_table(
        "refunds",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("refund_no", sa.Text(), nullable=False),
        sa.Column("out_refund_no", sa.Text(), nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("trade_no", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("next_try_at_us", sa.BigInteger(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("finished_at_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_refunds_amount_positive")),
        sa.ForeignKeyConstraint(
            ["merchant_id", "trade_no"],
            ["orders.merchant_id", "orders.trade_no"],
            name=op.f("fk_refunds_orders"),
        ),
        sa.PrimaryKeyConstraint("merchant_id", "refund_no", name=op.f("pk_refunds")),
        sa.UniqueConstraint(
            "merchant_id", "out_refund_no", name=op.f("uq_refunds_merchant_id_out_refund_no")
        ),
    )
    with op.batch_alter_table("refunds", schema=None) as batch_op:
        batch_op.create_index(
            "ix_refunds_due",
            ["next_try_at_us"],
            unique=False,
            **only_where("status = 'PROCESSING'"),
        )
        batch_op.create_index("ix_refunds_trade_no", ["trade_no"], unique=False)


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("refunds", schema=None) as batch_op:
        batch_op.drop_index("ix_refunds_trade_no")
        batch_op.drop_index("ix_refunds_due")

    op.drop_table("refunds")
    with op.batch_alter_table("ledger_postings", schema=None) as batch_op:
        batch_op.drop_index("ix_ledger_postings_account")

    op.drop_table("ledger_postings")
    with op.batch_alter_table("risk_inbox", schema=None) as batch_op:
        batch_op.drop_index("ix_risk_inbox_open")

    op.drop_table("risk_inbox")
    with op.batch_alter_table("risk_events", schema=None) as batch_op:
        batch_op.drop_index("ix_risk_events_trade_no")

    op.drop_table("risk_events")
    with op.batch_alter_table("recon_runs", schema=None) as batch_op:
        batch_op.drop_index("ix_recon_runs_day")

    op.drop_table("recon_runs")
    op.drop_table("recon_breaks")
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.drop_index("ix_orders_trade_no")
        batch_op.drop_index("ix_orders_due")
        batch_op.drop_index("ix_orders_created_at_us")

    op.drop_table("orders")
    with op.batch_alter_table("order_events", schema=None) as batch_op:
        batch_op.drop_index("ix_order_events_trade_no")

    op.drop_table("order_events")
    with op.batch_alter_table("notifications", schema=None) as batch_op:
        batch_op.drop_index("ix_notifications_trade_no")
        batch_op.drop_index("ix_notifications_due")

    op.drop_table("notifications")
    op.drop_table("merchants")
    op.drop_table("merchant_keys")
    with op.batch_alter_table("ledger_entries", schema=None) as batch_op:
        batch_op.drop_index("ix_ledger_entries_created_at_us")

    op.drop_table("ledger_entries")
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        batch_op.drop_index("ix_decisions_trade_no")
        batch_op.drop_index("ix_decisions_decided_at_us")

    op.drop_table("decisions")
    with op.batch_alter_table("channel_facts", schema=None) as batch_op:
        batch_op.drop_index("ix_channel_facts_trade_no")

    op.drop_table("channel_facts")
    with op.batch_alter_table("audit_log", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_log_object_id")

    op.drop_table("audit_log")
