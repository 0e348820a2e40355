"""A few features, replayed some entities at a time, are the same columns of the whole catalogue."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risk.decision import Feedback
from risk.features import entities
from risk.features.catalogue import FEATURES, PLACES
from risk.features.definition import Feature, cells_of
from risk.features.event import ATTEMPT, INDEX, KIND
from risk.features.replay import fields_needed, of_attempts, replay
from risk.state.store import MemoryStateStore
from tests.property.risk_streams import Act, busy_streams, events_of, streams

SPLIT = tuple(feature for feature in FEATURES if entities.suits(cells_of((feature,))))
subsets = st.lists(st.sampled_from(SPLIT), min_size=1, max_size=8, unique=True).map(tuple)


def test_all_but_the_graph_can_be_split_by_entity() -> None:
    rest = [feature.name for feature in FEATURES if feature not in SPLIT]

    assert all("graph." in str(FEATURES[PLACES[name]].formula) for name in rest)
    assert len(SPLIT) > len(FEATURES) / 2
    assert not entities.suits(cells_of(FEATURES))


@settings(max_examples=200, deadline=None)
@given(stream=st.one_of(streams, busy_streams), features=subsets)
def test_a_few_features_are_columns_of_the_whole(
    stream: list[Act], features: tuple[Feature, ...]
) -> None:
    events = events_of(stream)
    whole = replay(events)[:, [PLACES[feature.name] for feature in features]]

    assert replay(events, features=features).tobytes() == whole.tobytes()
    in_order = replay(events, store=MemoryStateStore(features))
    assert in_order.tobytes() == whole.tobytes()


@settings(max_examples=60, deadline=None)
@given(stream=st.one_of(streams, busy_streams), features=subsets)
def test_the_fields_named_as_needed_are_enough(
    stream: list[Act], features: tuple[Feature, ...]
) -> None:
    events = events_of(stream)
    fields = fields_needed(features)
    some = events[:, [INDEX[name] for name in fields]]

    found = of_attempts(some, fields, features=features)
    assert (
        found.tobytes() == replay(events, features=features)[events[:, KIND] == ATTEMPT].tobytes()
    )


def test_feedback_fades_a_profile_whatever_else_is_read() -> None:
    days = [*[0] * 17, 3, 3, 0]  # A month of the engine ends between the fourth and the sixth day.
    kinds = [*[None] * 18, Feedback.FAILED, None]
    stream = [
        Act(day * 86_400, (0,) * 7, int(place == 16), None, kind, 0)
        for place, (day, kind) in enumerate(zip(days, kinds, strict=True))
    ]
    events = events_of(stream)
    features = (FEATURES[PLACES["amount_merchant_rank"]],)
    whole = replay(events)[:, [PLACES["amount_merchant_rank"]]]

    assert replay(events, features=features).tobytes() == whole.tobytes()


def test_many_groups_of_entities_are_kept_apart() -> None:
    rng = np.random.default_rng(11)
    stream = [
        Act(int(moved_s), (user, device, ip, None, 0, payee, None), amount, None, None, 0)
        for moved_s, user, device, ip, payee, amount in rng.integers(
            0, [600, 3_000, 500, 90, 3_000, 10_000], (8_000, 6)
        ).tolist()
    ]
    events = events_of(stream)
    names = ("amount_user_mean_7d", "device_users_24h", "payee_count_7d", "time_user_count_24h")
    features = tuple(FEATURES[PLACES[name]] for name in names)
    whole = replay(events)[:, [PLACES[feature.name] for feature in features]]

    assert replay(events, features=features).tobytes() == whole.tobytes()


def test_missing_fields_and_features_of_the_graph_are_refused() -> None:
    events = events_of([Act(0, (0,) * 7, 100, None, None, 0)])
    with pytest.raises(ValueError, match="need amount"):
        of_attempts(events[:, [KIND]], ("kind",), features=SPLIT[:1])
    with pytest.raises(ValueError, match="order of the log"):
        of_attempts(events[:, : len(INDEX)], tuple(INDEX), features=FEATURES)
