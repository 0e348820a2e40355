"""The channel's own number of a refund.

Revision: 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    with op.batch_alter_table("refunds") as batch:
        batch.add_column(
            sa.Column("channel_refund_no", sa.Text(), nullable=False, server_default="")
        )


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("refunds") as batch:
        batch.drop_column("channel_refund_no")
