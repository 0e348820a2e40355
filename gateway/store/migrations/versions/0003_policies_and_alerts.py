"""Policies, the ladder's step, shadow answers, and alerts.

Revision: 0003, after 0001. Decisions of before keep what they said: they were made by the full
path, or say in `fallback` that they were not.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_DECISIONS = (
    ("list_version", "none"),
    ("geo_version", "none"),
    ("category", ""),
    ("costs", "[]"),
    ("shadow", "{}"),
    ("step", "full"),
)


def upgrade() -> None:
    """Go forward."""
    op.add_column(
        "orders", sa.Column("risk_degraded", sa.Text(), server_default="", nullable=False)
    )
    for name, default in _DECISIONS:
        op.add_column(
            "decisions", sa.Column(name, sa.Text(), server_default=default, nullable=False)
        )
    op.execute("UPDATE decisions SET step = fallback WHERE fallback <> ''")
    op.create_table(
        "policies",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_policies")),
    )
    op.create_table(
        "policy_live",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_live")),
    )
    op.create_table(
        "alerts",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("minute_at_us", sa.BigInteger(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("first_at_us", sa.BigInteger(), nullable=False),
        sa.Column("last_at_us", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "minute_at_us", name=op.f("pk_alerts")),
    )
    op.create_index("ix_alerts_last_at_us", "alerts", ["last_at_us"], unique=False)


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_alerts_last_at_us", "alerts")
    op.drop_table("alerts")
    op.drop_table("policy_live")
    op.drop_table("policies")
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        for name, _ in reversed(_DECISIONS):
            batch_op.drop_column(name)
    with op.batch_alter_table("orders", schema=None) as batch_op:
        batch_op.drop_column("risk_degraded")
