"""The chain over decisions and events; people's keys and sealed evidence.

Revision: 0004. What the database already holds is chained here, once: events by seq, then
decisions by time and number. Such decisions have no evidence, and their events hold plain hashes
of account ids: keys protect what is written from now on.
"""

import sqlalchemy as sa
from alembic import op

from gateway.store.chain import adopt
from gateway.store.raw import raw_of

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "chain_records",
        sa.Column(
            "n",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("marks", sa.LargeBinary(), nullable=False),
        sa.Column("link", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_chain_records")),
    )
    op.create_table(
        "subjects",
        sa.Column(
            "subject_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("lookup", sa.LargeBinary(), nullable=True),
        sa.Column("key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_us", sa.BigInteger(), nullable=False),
        sa.Column("erased_at_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("subject_id", name=op.f("pk_subjects")),
        sa.UniqueConstraint("lookup", name=op.f("uq_subjects_lookup")),
    )
    op.create_table(
        "erasures",
        sa.Column(
            "erasure_no", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("erased_at_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("erasure_no", name=op.f("pk_erasures")),
    )
    op.create_table(
        "evidence",
        sa.Column("merchant_id", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=False),
        sa.Column("payee_subject_id", sa.BigInteger(), nullable=False),
        sa.Column("key_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("payee_sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("merchant_id", "decision_id", name=op.f("pk_evidence")),
    )
    # The chain reads and writes on the driver's own connection, inside this same transaction.
    adopt(raw_of(op.get_bind()))


def downgrade() -> None:
    """Go back."""
    op.drop_table("evidence")
    op.drop_table("erasures")
    op.drop_table("subjects")
    op.drop_table("chain_records")
