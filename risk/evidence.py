"""Which families of evidence a request brought nothing for.

Absence is no innocence: a decision made without device evidence says so, so that a merchant who
sends none, or an attacker who suppresses it, can be seen.
"""

from typing import Final

from risk.features.definition import Family
from risk.features.event import FIRST_CONTEXT, FIRST_KEY, INDEX, PRESENCE

# What a request must hold at least one of for a family to have evidence of its own. Time is
# always known, the merchant and the amount too.
_NEEDS: Final[dict[Family, tuple[str, ...]]] = {
    Family.DEVICE: ("device", "risk_labels", "attestation", "agent_mask", "virtual_camera"),
    Family.BEHAVIOUR: (
        "form_ms",
        "first_input_ms",
        "key_dwell_ms",
        "key_flight_ms",
        "key_flight_iqr_ms",
        "pasted",
        "straightness",
        "touch_var",
        "motion",
        "on_call",
        "pages",
        "login_age_ms",
        "login_failures",
        "password_age_ms",
        "pad_score",
        "iad_score",
    ),
    Family.GEO: ("ip", "place", "lat", "country", "mismatches", "tz_gap_min"),
    Family.GRAPH: ("device", "card", "payee"),
}
_NAMED_COUNT: Final = PRESENCE - FIRST_KEY  # Keys and words: sent unless 0.


def _masks() -> tuple[tuple[str, int], ...]:
    """Per family one mask: key or word k at bit k, context field c above them."""
    rows = []
    for family, names in _NEEDS.items():
        mask = 0
        for name in names:
            place = INDEX[name]
            if place < PRESENCE:
                mask |= 1 << (place - FIRST_KEY)
            else:
                mask |= 1 << (_NAMED_COUNT + place - FIRST_CONTEXT)
        rows.append((family.value, mask))
    return tuple(rows)


_MASKS: Final = _masks()
_known: dict[int, tuple[str, ...]] = {}
_KNOWN_COUNT: Final = 4_096


def missing_families(values: list[int]) -> tuple[str, ...]:
    """Return the families without evidence in an event, in a fixed order.

    Args:
        values: The event's integers.
    """
    mask = values[PRESENCE] << _NAMED_COUNT
    bit = 1
    for key in values[FIRST_KEY:PRESENCE]:
        if key:
            mask |= bit
        bit <<= 1
    found = _known.get(mask)
    if found is None:
        found = tuple(family for family, needs in _MASKS if not mask & needs)
        if len(_known) < _KNOWN_COUNT:
            _known[mask] = found
    return found
