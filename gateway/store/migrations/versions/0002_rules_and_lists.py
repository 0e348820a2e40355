"""Rules and lists live in the database.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

from gateway.store.schema import only_where

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "change_counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_change_counters")),
    )
    op.create_table(
        "rules",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("expression", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("overridable", sa.Integer(), nullable=False),
        sa.Column("numbers", sa.Text(), server_default="[]", nullable=False),
        sa.Column("valid_from_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("valid_to_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("changed_at_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state IN ('DRAFT', 'SHADOW', 'LIVE', 'RETIRED')", name=op.f("ck_rules_state_known")
        ),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_rules")),
    )
    op.create_index(
        "ix_rules_running",
        "rules",
        ["name", "state"],
        unique=True,
        **only_where("state IN ('SHADOW', 'LIVE')"),
    )
    op.create_table(
        "rule_sets",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_rule_sets")),
    )
    _lists()


def _lists() -> None:
    op.create_table(
        "lists",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("created_version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "purpose IN ('ALLOW', 'BLOCK', 'NAMED')", name=op.f("ck_lists_purpose_known")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lists")),
    )
    op.create_table(
        "list_entries",
        sa.Column("entry_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("list_name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("added_at_us", sa.BigInteger(), nullable=False),
        sa.Column("added_version", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("removed_at_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("removed_version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_list_entries")),
    )
    op.create_index(
        "ix_list_entries_open",
        "list_entries",
        ["list_name", "kind", "number"],
        unique=True,
        **only_where("removed_version = 0"),
    )
    op.create_index("ix_list_entries_number", "list_entries", ["kind", "number"], unique=False)


def downgrade() -> None:
    """Go back."""
    for table in ("list_entries", "lists", "rule_sets", "rules", "change_counters"):
        op.drop_table(table)
