"""The event vector as the first release stored it, and how it reads today.

Logs of revision 0001 hold vectors of 64 integers. They stay as they were written (a log is never
rewritten) and are mapped field by field, by name, when they are read. What the first release did
not record is missing there. This layout is frozen.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

WIDTH_V1: Final = 64
PRESENCE_V1: Final = 18
FIELDS_V1: Final = (
    "seq",
    "kind",
    "at_us",
    "amount",
    "currency",
    "pay_type",
    "ref_seq",
    "feedback",
    "user",
    "device",
    "ip",
    "card",
    "merchant",
    "payee",
    "place",
    "mcc",
    "inflow",
    "outflow",
    "presence",
    "hour",
    "country",
    "lat",
    "lon",
    "accuracy_m",
    "tz_gap_min",
    "mismatches",
    "agent_mismatch",
    "risk_labels",
    "attestation",
    "account_age_ms",
    "password_age_ms",
    "login_failures",
    "kyc_level",
    "guest",
    "card_age_ms",
    "cvc_ok",
    "three_ds",
    "funding",
    "payee_age_ms",
    "login_age_ms",
    "pages",
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
    "items",
    "digital",
    "coupon",
    "pad_score",
    "iad_score",
    "virtual_camera",
)

# What it called otherwise: then a flag, now the first bit of a mask.
RENAMED: Final = {"agent_mismatch": "agent_mask"}


def widen(rows: Ints, *, width: int, index: Mapping[str, int]) -> Ints:
    """Return vectors of the first release in today's layout.

    Args:
        rows: Shape ``(n, 64)``.
        width: Of today's vector.
        index: Place of each of today's fields; those after ``presence`` have a bit in it.

    Returns:
        Shape ``(n, width)``.
    """
    wide = np.zeros((len(rows), width), dtype=np.int64)
    presence = index["presence"]
    for place, name in enumerate(FIELDS_V1):
        if place == PRESENCE_V1:
            continue
        target = index[RENAMED.get(name, name)]
        wide[:, target] = rows[:, place]
        if target > presence:
            sent = rows[:, PRESENCE_V1] >> (place - PRESENCE_V1 - 1) & 1
            wide[:, presence] |= sent << (target - presence - 1)
    return wide
