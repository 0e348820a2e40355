"""Where a refund goes, at channels that can't send it back to where it came from.

Revision: 0008.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    with op.batch_alter_table("refunds") as batch:
        batch.add_column(sa.Column("to_account", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Go back."""
    with op.batch_alter_table("refunds") as batch:
        batch.drop_column("to_account")
