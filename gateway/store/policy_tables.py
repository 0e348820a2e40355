"""Tables of policies and alerts; conventions as in `gateway.store.tables`, which holds them all."""

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from gateway.store.schema import metadata

policies = Table(
    "policies",
    metadata,
    # Every policy that ever decided, under the hash of what it says; never changed, never deleted.
    Column("version", Text, primary_key=True),
    Column("content", Text, nullable=False),  # JSON, risk.policy.Policy.canonical.
    Column("author", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("created_at_us", BigInteger, nullable=False),
)

policy_live = Table(
    "policy_live",
    metadata,
    # Which policy decides: the newest row; the others are its history.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("version", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("since_us", BigInteger, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    # What operators should look at, one row a kind and minute however often it happened.
    Column("kind", Text, nullable=False),  # e.g. risk.degraded:deadline
    Column("minute_at_us", BigInteger, nullable=False),
    Column("severity", Text, nullable=False),  # INFO | WARNING | ERROR
    Column("detail", Text, nullable=False),  # Of the latest.
    Column("first_at_us", BigInteger, nullable=False),
    Column("last_at_us", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("kind", "minute_at_us"),
    Index("ix_alerts_last_at_us", "last_at_us"),
)
