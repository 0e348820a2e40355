"""Applications with their papers, operators, approvals; modes and limits of merchants.

Revision: 0007. Every merchant there is stays a live one, may call from anywhere, and its keys serve
the API both ways.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    zero = sa.text("0")
    with op.batch_alter_table("merchants") as batch:
        batch.add_column(sa.Column("mode", sa.Text(), nullable=False, server_default="LIVE"))
        batch.add_column(sa.Column("networks", sa.Text(), nullable=False, server_default=""))
        batch.add_column(sa.Column("rate_per_s", sa.Integer(), nullable=False, server_default=zero))
        batch.add_column(
            sa.Column("md5_allowed", sa.Integer(), nullable=False, server_default=zero)
        )
    with op.batch_alter_table("merchant_keys") as batch:
        batch.add_column(sa.Column("purpose", sa.Text(), nullable=False, server_default="API"))
    op.create_table(
        "applications",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("sandbox_merchant_id", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("contact_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("details_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("details_masked", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("message", sa.Text(), nullable=False, server_default=""),
        sa.Column("agreement_version", sa.Text(), nullable=False, server_default=""),
        sa.Column("agreed_at_us", sa.BigInteger(), nullable=False, server_default=zero),
        sa.Column("submitted_at_us", sa.BigInteger(), nullable=False, server_default=zero),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("merchant_id", name=op.f("pk_applications")),
    )
    op.create_table(
        "materials",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("material_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("uploaded_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("merchant_id", "material_id", name=op.f("pk_materials")),
    )
    op.create_table(
        "operators",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at_us", sa.BigInteger(), nullable=False, server_default=zero),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_operators")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_operators_token_sha256")),
    )
    op.create_table(
        "approvals",
        sa.Column("approval_id", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("object_id", sa.Text(), nullable=False),
        sa.Column("request_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("shown", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("requested_at_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False, server_default=""),
        sa.Column("decided_at_us", sa.BigInteger(), nullable=False, server_default=zero),
        sa.CheckConstraint("decided_by <> requested_by", name=op.f("ck_approvals_four_eyes")),
        sa.PrimaryKeyConstraint("approval_id", name=op.f("pk_approvals")),
    )


def downgrade() -> None:
    """Go back."""
    for table in ("approvals", "operators", "materials", "applications"):
        op.drop_table(table)
    with op.batch_alter_table("merchant_keys") as batch:
        batch.drop_column("purpose")
    with op.batch_alter_table("merchants") as batch:
        for column in ("md5_allowed", "rate_per_s", "networks", "mode"):
            batch.drop_column(column)
