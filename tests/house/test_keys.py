"""The merchant is part of every key of a merchant's tables, so that they can be sharded by it."""

from sqlalchemy import Table, UniqueConstraint

from gateway.store.tables import metadata

# What belongs to the house and not to one merchant, and why.
HOUSE = {
    "risk_events": "one log over all merchants: features link payers across them",
    "chain_records": "one chain over all decisions and events, in the order of commit",
    "risk_inbox": "the queue of the feature state's one owner",
    "subjects": "people are known across merchants",
    "erasures": "people are forgotten everywhere at once",
    "audit_log": "what operators did, whatever it was about",
    "operators": "the house's own people",
    "approvals": "acts of the house's people that wait for a second one",
    "recon_runs": "a channel's bill covers all merchants",
    "recon_breaks": "belongs to a run, and may name no merchant that we know",
    "policies": "versions of the house's policy",
    "policy_live": "which policy decides",
    "alerts": "what operators should look at",
    "change_counters": "how often rules and lists changed",
    "rules": "the house's rules",
    "rule_sets": "what ran",
    "lists": "the house's lists",
    "list_entries": "words on the house's lists",
}


def without_merchant(table: Table) -> list[str]:
    """The keys of a table that don't contain the merchant."""
    keys = {"primary key": table.primary_key.columns.keys()}
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            keys[str(constraint.name)] = constraint.columns.keys()
    for index in table.indexes:
        if index.unique:
            keys[str(index.name)] = index.columns.keys()
    return [
        f"{table.name}: {name}" for name, columns in keys.items() if "merchant_id" not in columns
    ]


def test_the_merchant_is_part_of_every_key_of_a_merchants_table() -> None:
    tables = [table for table in metadata.sorted_tables if table.name not in HOUSE]

    assert [key for table in tables for key in without_merchant(table)] == []


def test_what_refers_to_a_merchants_table_names_the_merchant() -> None:
    references = [
        (table.name, sorted(reference.column_keys))
        for table in metadata.sorted_tables
        for reference in table.foreign_key_constraints
        if reference.referred_table.name not in HOUSE
    ]

    assert [one for one in references if "merchant_id" not in one[1]] == []


def test_the_houses_tables_are_tables() -> None:
    assert set(metadata.tables) >= set(HOUSE)
