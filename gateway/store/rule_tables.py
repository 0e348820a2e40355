"""Tables of rules and lists: nothing in them is ever rewritten, except where a thing stands.

A rule's text is fixed once it has a version; a change is a new version. An entry of a list is
closed, never deleted, and carries the numbers of the changes that put it on and took it off, so
that every list can be read as it stood at any of its versions.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from gateway.store.schema import metadata, only_where

change_counters = Table(
    "change_counters",
    metadata,
    # How often something changed: what a running gateway looks at to learn that it did.
    Column("name", Text, primary_key=True),  # rules | lists
    Column("number", BigInteger, nullable=False),
)

rules = Table(
    "rules",
    metadata,
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("expression", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("reason", Text, nullable=False),  # Code of risk.reasons.
    Column("overridable", Integer, nullable=False),
    Column("numbers", Text, nullable=False, server_default="[]"),  # JSON, see Rule.numbers.
    Column("valid_from_us", BigInteger, nullable=False, server_default=text("0")),
    Column("valid_to_us", BigInteger, nullable=False, server_default=text("0")),  # 0: no end.
    Column("author", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
    Column("created_at_us", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # DRAFT | SHADOW | LIVE | RETIRED
    Column("changed_at_us", BigInteger, nullable=False),
    PrimaryKeyConstraint("name", "version"),
    CheckConstraint("state IN ('DRAFT', 'SHADOW', 'LIVE', 'RETIRED')", name="state_known"),
    Index(
        "ix_rules_running",
        "name",
        "state",
        unique=True,
        **only_where("state IN ('SHADOW', 'LIVE')"),
    ),
)

rule_sets = Table(
    "rule_sets",
    metadata,
    # What ran: every version that a decision names can be compiled again from here.
    Column("version", Text, primary_key=True),
    Column("content", Text, nullable=False),  # JSON, see risk.rules.source.RuleSet.as_json.
    Column("created_at_us", BigInteger, nullable=False),
)

lists = Table(
    "lists",
    metadata,
    Column("name", Text, primary_key=True),
    Column("purpose", Text, nullable=False),  # ALLOW | BLOCK | NAMED
    Column("note", Text, nullable=False, server_default=""),
    Column("author", Text, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),
    Column("created_version", BigInteger, nullable=False),
    CheckConstraint("purpose IN ('ALLOW', 'BLOCK', 'NAMED')", name="purpose_known"),
)

list_entries = Table(
    "list_entries",
    metadata,
    Column("entry_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("list_name", Text, nullable=False),
    Column("kind", Text, nullable=False),  # risk.rules.names.KINDS
    # What was put on; '' once a person's data was erased. The number alone decides.
    Column("value", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("reason", Text, nullable=False, server_default=""),
    Column("author", Text, nullable=False),
    Column("added_at_us", BigInteger, nullable=False),
    Column("added_version", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False, server_default=text("0")),  # 0: never.
    Column("removed_at_us", BigInteger, nullable=False, server_default=text("0")),
    Column("removed_version", BigInteger, nullable=False, server_default=text("0")),
    Index(
        "ix_list_entries_open",
        "list_name",
        "kind",
        "number",
        unique=True,
        **only_where("removed_version = 0"),
    ),
    Index("ix_list_entries_number", "kind", "number"),
)
