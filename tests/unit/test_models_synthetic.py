"""The synthetic world is seeded, labelled, and plausible enough to learn from."""

from collections import Counter

import numpy as np
import pytest

from models.synthetic.fraud import KIND_NAMES
from models.synthetic.payment import payments
from models.synthetic.population import CITIES, PAYEES_PER_MERCHANT, build
from models.synthetic.stream import START_US, History, Stream, blocks, generate
from risk.features.agent import AUTOMATED, TRANSPORT, agent_mask
from risk.geo import shipped
from risk.geo.table import HOSTING
from risk.transaction import RiskContext

NOW_US = 1_790_000_000_000_000


def test_the_same_seed_gives_the_same_table_and_another_seed_another() -> None:
    table = generate(3_000, seed=5)

    assert table.equals(generate(3_000, seed=5))
    assert not table.equals(generate(3_000, seed=6))


def test_another_part_has_other_payments_of_the_same_people() -> None:
    first = History(rows_count=2_000, seed=5, part=1)
    second = History(rows_count=2_000, seed=5, part=2)

    assert not next(blocks(first)).equals(next(blocks(second)))
    assert np.array_equal(first.population().users.city, second.population().users.city)


def test_every_kind_of_fraud_is_there_in_the_asked_share() -> None:
    table = generate(20_000, seed=2, fraud_share=0.02)
    kinds = Counter(table["fraud_kind"].to_pylist())

    assert set(kinds) == set(KIND_NAMES)
    assert sum(kinds.values()) - kinds[""] == 400
    assert table["is_fraud"].to_pylist() == [kind != "" for kind in table["fraud_kind"].to_pylist()]


def test_rows_are_in_order_of_time_within_the_span() -> None:
    at_us = generate(5_000, seed=3, span_s=3_600.0)["at_us"].to_numpy()

    assert (np.diff(at_us) >= 0).all()
    assert at_us[0] >= START_US
    assert at_us[-1] < START_US + 3_600_000_000


def test_labels_are_known_only_after_the_payment_and_most_frauds_are_reported() -> None:
    table = generate(20_000, seed=4)
    known = table["label_known_at_us"].to_pandas()
    fraud = table["is_fraud"].to_pandas()

    assert (known.dropna() > table["at_us"].to_pandas()[known.notna()]).all()
    assert 0.88 < known[fraud].notna().mean() < 0.98
    assert 0.10 < known[~fraud].notna().mean() < 0.14


def test_people_pay_more_by_day_than_in_the_small_hours() -> None:
    hour = generate(10_000, seed=1)["at_us"].to_numpy() // 3_600_000_000 % 24
    china_hour = (hour + 8) % 24

    assert (china_hour == 20).sum() > 5 * (china_hour == 3).sum()


def test_amounts_are_whole_positive_fen_and_identifiers_say_synthetic() -> None:
    table = generate(5_000, seed=8)

    assert min(table["amount_minor"].to_pylist()) >= 100
    for column in ("merchant", "payer_account_id", "payee_account_id", "device_id"):
        assert all(name.startswith("synthetic-") for name in table[column].to_pylist())


def test_what_a_shop_does_not_send_stays_missing() -> None:
    contexts = [payment.context for payment in payments(generate(2_000, seed=9))]

    unsent = [context for context in contexts if context.behavior.form_ms is None]
    assert 0 < len(unsent) < len(contexts)
    assert all(context.behavior.on_call is None for context in unsent)
    assert all(isinstance(context, RiskContext) for context in contexts)


def test_the_context_for_the_wire_has_no_nulls() -> None:
    payment = next(payments(generate(500, seed=9)))

    sent = payment.risk_context()

    assert sent["payer"]["account_id"] == payment.context.payer.account_id
    assert "liveness" not in sent
    assert all(value is not None for fields in sent.values() for value in fields.values())


def test_a_payees_number_belongs_to_its_merchant() -> None:
    table = generate(2_000, seed=1)

    for merchant, payee in zip(
        table["merchant"].to_pylist(), table["payee_account_id"].to_pylist(), strict=True
    ):
        assert int(payee[-6:]) // PAYEES_PER_MERCHANT == int(merchant[-6:])


def test_a_stream_is_endless_seeded_and_in_the_callers_present() -> None:
    population = History(rows_count=5_000, seed=3, users_count=500).population()
    streams = [Stream(population, seed=4, now_us=NOW_US, payments_per_s=5.0) for _ in range(2)]
    times_us = [NOW_US + number * 200_000 for number in range(4_000)]

    first, second = ([stream.next_payment(at_us) for at_us in times_us] for stream in streams)

    assert first == second
    assert [payment.at_us for payment in first] == times_us
    assert any(payment.is_fraud for payment in first)
    for payment in first:
        assert payment.context.session.login_at_ms is not None
        assert payment.context.session.login_at_ms <= payment.at_us // 1_000
        assert payment.label_known_at_us is None or payment.label_known_at_us > payment.at_us


def test_a_stream_and_a_history_of_one_world_share_their_people() -> None:
    history = History(rows_count=5_000, seed=3, users_count=500)
    known = set(generate(5_000, seed=3, users_count=500)["payer_account_id"].to_pylist())
    stream = Stream(history.population(), seed=9, now_us=NOW_US)

    met = {stream.next_payment(NOW_US).context.payer.account_id for _ in range(300)}

    assert len(met & known) > 0.8 * len(met)


def test_a_world_too_small_for_its_frauds_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 50 users"):
        build(1, users_count=10)
    with pytest.raises(ValueError, match="cannot generate"):
        generate(0)


def test_there_is_more_than_one_country() -> None:
    assert len({city[1] for city in CITIES}) >= 8


def test_addresses_lie_in_the_country_they_are_meant_to_be_in() -> None:
    seen = [payment.context.client for payment in payments(generate(3_000, seed=11))]
    found = [shipped().find(client.ip) for client in seen]

    assert [place.country for place in found] == [client.ip_country for client in seen]
    assert {place.flags for place in found} == {0, HOSTING}
    assert sum(place.flags == HOSTING for place in found) < len(found) // 20


def test_honest_clients_contradict_nothing_and_some_scripts_do() -> None:
    rows = list(payments(generate(20_000, seed=12, fraud_share=0.1)))
    masks = {"": 0, "card_testing": 0}
    for payment in rows:
        mask = agent_mask(payment.context.client, payment.context.device) or 0
        masks[payment.fraud_kind] = masks.get(payment.fraud_kind, 0) | mask

    assert masks[""] == 0
    assert masks["card_testing"] & (AUTOMATED | TRANSPORT) == AUTOMATED | TRANSPORT


def test_the_moments_a_payment_mentions_move_with_it() -> None:
    stream = Stream(History(rows_count=1_000).population(), seed=2, now_us=NOW_US)
    payment = stream.next_payment(NOW_US + 86_400_000_000)
    context = payment.context

    assert abs((context.client.clock_at_ms or 0) - payment.at_us // 1_000) < 2 * 3_600_000
    assert (context.payer.contact_changed_at_ms or 0) <= payment.at_us // 1_000
