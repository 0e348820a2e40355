"""Where a refund goes, and orders paid by transfer, which may receive more after they ended.

Revision: 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TRANSFERS = sa.text("pay_type = 'crypto'")


def upgrade() -> None:
    """Go forward."""
    op.add_column("refunds", sa.Column("to_account", sa.Text(), server_default="", nullable=False))
    op.create_index(
        "ix_orders_transfers",
        "orders",
        ["created_at_us"],
        sqlite_where=_TRANSFERS,
        postgresql_where=_TRANSFERS,
    )


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_orders_transfers", "orders")
    with op.batch_alter_table("refunds") as batch:
        batch.drop_column("to_account")
