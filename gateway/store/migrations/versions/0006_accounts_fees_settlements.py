"""Accounts at payment systems, fees and costs of orders, settlements.

Revision: 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ADDED = ("fee_minor", "fee_returned_minor", "cost_minor", "cost_returned_minor")


def upgrade() -> None:
    """Go forward."""
    with op.batch_alter_table("orders") as batch:
        batch.add_column(sa.Column("tried_channels", sa.Text(), nullable=False, server_default=""))
        for name in _ADDED:
            batch.add_column(
                sa.Column(name, sa.BigInteger(), nullable=False, server_default=sa.text("0"))
            )
    op.create_table(
        "channel_accounts",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("settings_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("pay_types", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("fee_ppm", sa.BigInteger(), nullable=False),
        sa.Column("fee_fixed_minor", sa.BigInteger(), nullable=False),
        sa.Column("cost_ppm", sa.BigInteger(), nullable=False),
        sa.Column("cost_fixed_minor", sa.BigInteger(), nullable=False),
        sa.Column("fee_returned", sa.Integer(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.PrimaryKeyConstraint("merchant_id", "account", name=op.f("pk_channel_accounts")),
        sa.CheckConstraint("fee_ppm BETWEEN 0 AND 1000000", name="fee_share"),
        sa.CheckConstraint("cost_ppm BETWEEN 0 AND 1000000", name="cost_share"),
        sa.CheckConstraint(
            "fee_fixed_minor >= 0 AND cost_fixed_minor >= 0", name="fixed_not_negative"
        ),
    )
    op.create_table(
        "settlements",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("settlement_no", sa.Text(), nullable=False),
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("carried_minor", sa.BigInteger(), nullable=False),
        sa.Column("paid_minor", sa.BigInteger(), nullable=False),
        sa.Column("refunded_minor", sa.BigInteger(), nullable=False),
        sa.Column("fees_minor", sa.BigInteger(), nullable=False),
        sa.Column("net_minor", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False, server_default=""),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("paid_out_at_us", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("merchant_id", "settlement_no", name=op.f("pk_settlements")),
        sa.CheckConstraint("net_minor > 0", name="net_positive"),
    )
    op.create_index(
        "uq_settlements_day", "settlements", ["merchant_id", "currency", "day"], unique=True
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("settlements")
    op.drop_table("channel_accounts")
    with op.batch_alter_table("orders") as batch:
        for name in (*_ADDED, "tried_channels"):
            batch.drop_column(name)
