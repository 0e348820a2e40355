"""Every key of a merchant's table contains the merchant, so that the schema can be sharded.

Revision: 0008, after 0007. Also leases of orders and refunds, so that several workers share them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.drop_index("ix_orders_trade_no", "orders")
    op.create_index("ix_orders_trade_no", "orders", ["trade_no"], unique=False)
    for table in ("orders", "refunds"):
        op.add_column(
            table,
            sa.Column(
                "lease_until_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False
            ),
        )
    with op.batch_alter_table("merchants") as batch:
        batch.drop_constraint("uq_merchants_app_id", type_="unique")
    _channel_facts()
    _order_events()


def _channel_facts() -> None:
    op.execute(
        "CREATE TABLE moved AS SELECT o.merchant_id, f.channel, f.event_id, f.trade_no, f.outcome,"
        " f.amount_minor, f.verdict, f.raw, f.received_at_us"
        " FROM channel_facts f JOIN orders o ON o.trade_no = f.trade_no"
    )
    op.drop_index("ix_channel_facts_trade_no", "channel_facts")
    op.drop_table("channel_facts")
    op.create_table(
        "channel_facts",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("trade_no", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("received_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "merchant_id", "channel", "event_id", name=op.f("pk_channel_facts")
        ),
    )
    op.create_index("ix_channel_facts_trade_no", "channel_facts", ["trade_no"], unique=False)
    _fill("channel_facts")


def _order_events() -> None:
    op.execute(
        "CREATE TABLE moved AS SELECT merchant_id, trade_no,"
        " row_number() OVER (PARTITION BY merchant_id, trade_no ORDER BY id) AS event_no,"
        " kind, amount_minor, detail, created_at_us FROM order_events"
    )
    op.drop_index("ix_order_events_trade_no", "order_events")
    op.drop_table("order_events")
    op.create_table(
        "order_events",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("trade_no", sa.Text(), nullable=False),
        sa.Column("event_no", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "merchant_id", "trade_no", "event_no", name=op.f("pk_order_events")
        ),
    )
    op.create_index("ix_order_events_trade_no", "order_events", ["trade_no"], unique=False)
    _fill("order_events")


def _fill(table: str) -> None:
    """Put the rows back that were set aside, column by column in the same order."""
    op.execute(f"INSERT INTO {table} SELECT * FROM moved")  # noqa: S608 - our own names
    op.execute("DROP TABLE moved")


def downgrade() -> None:
    """There is no way back: two merchants may share a number now that one key held apart."""
    raise RuntimeError("restore the copy that was kept before the upgrade")
