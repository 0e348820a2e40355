"""A mapping says what a history's columns mean, and says clearly what is wrong with itself."""

import pytest

from gateway.replay.mapping import InputRefused, context_kinds, load, parse, shipped

GOOD = """
merchant = "Shop"
pay_type = "alipay"
subject = "Payment {ID}"
[time]
column = "AT"
kind = "seconds"
base = "2026-01-01T00:00:00Z"
[amount]
column = "AMOUNT"
[label]
column = "FRAUD"
fraud = [1]
genuine = [0]
delay_s = 60
[context]
"payer.account_id" = "C{CUSTOMER}"
"geo.lat" = "{LAT}"
"""


@pytest.mark.parametrize("name", ["handbook", "sffsd", "synthetic"])
def test_every_shipped_mapping_reads(name: str) -> None:
    assert load(name).name == name
    assert name in shipped()


def test_a_mapping_names_each_column_it_needs_once() -> None:
    assert parse(GOOD, "good").columns == ("AT", "AMOUNT", "FRAUD", "ID", "CUSTOMER", "LAT")


def test_the_handbook_mapping_never_reads_the_label_in_disguise() -> None:
    assert "TX_FRAUD_SCENARIO" not in load("handbook").columns


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('merchant = "Shop"', "", "merchant"),
        ('merchant = "Shop"', "merchant = 7", "merchant"),
        ('kind = "seconds"', 'kind = "weeks"', "time.kind"),
        ('base = "2026-01-01T00:00:00Z"', 'base = "soon"', "time.base"),
        ('column = "AMOUNT"', 'column = "AMOUNT"\ncurrency = "XXX"', "amount.currency"),
        ('column = "AMOUNT"', 'column = "AMOUNT"\nzero_as = "0.001"', "amount.zero_as"),
        ("fraud = [1]", "fraud = []", "label.fraud"),
        ("genuine = [0]", "genuine = [1]", "label.genuine"),
        ("delay_s = 60", "delay_s = -1", "label.delay_s"),
        ("delay_s = 60", "delay_days = 1", "label.delay_days"),
        ('"geo.lat" = "{LAT}"', '"geo.mood" = "{LAT}"', "context.geo.mood"),
        ('"geo.lat" = "{LAT}"', '"geo.lat" = "x{LAT}"', "context.geo.lat"),
        ('"geo.lat" = "{LAT}"', '"geo.place" = "{LAT!r}"', "context.geo.place"),
        ('pay_type = "alipay"', 'pay_type = "cash"', "pay_type"),
    ],
)
def test_a_wrong_key_is_named(old: str, new: str, key: str) -> None:
    assert old in GOOD

    with pytest.raises(InputRefused) as refusal:
        parse(GOOD.replace(old, new), "bad")

    assert refusal.value.column == key


def test_text_that_is_no_toml_is_refused_by_the_mappings_name() -> None:
    with pytest.raises(InputRefused, match="broken"):
        parse("merchant = ", "broken")


def test_an_unknown_mapping_lists_the_shipped_ones() -> None:
    with pytest.raises(InputRefused, match="handbook, sffsd, synthetic"):
        load("nothing-of-this-name")


def test_every_field_of_the_risk_context_has_a_kind() -> None:
    kinds = context_kinds()

    assert kinds["payer.account_id"] == "text"
    assert kinds["payer.guest"] == "flag"
    assert kinds["client.tz_offset_min"] == "integer"
    assert kinds["behavior.pasted"] == "list"
