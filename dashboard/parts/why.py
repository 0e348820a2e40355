"""Why risk decided as it did, in the analyst's language."""

import math
import struct
from dataclasses import dataclass

from dashboard.parts.text import Language
from risk import reasons
from risk.features import catalogue


@dataclass(frozen=True, slots=True)
class FeatureValue:
    """One feature of a stored decision, in words.

    Attributes:
        name: Its name in the catalogue, or its place if the catalogue is another one.
        value: None where it is missing.
    """

    name: str
    family: str
    value: float | None
    meaning: str


def reason_text(code: str, language: Language) -> str:
    """Return what a reason code says; the code itself if this console does not know it yet."""
    try:
        return reasons.text(code, language)
    except KeyError:
        return code


def feature_values(
    stored: bytes, feature_hash: str, language: Language
) -> tuple[FeatureValue, ...]:
    """Name the numbers that a decision was made from.

    Args:
        stored: float64, little-endian, NaN where missing.
        feature_hash: Catalogue they were made by. If it is not this console's, the numbers are
            shown without names: a wrong name would be worse than none.
        language: Language of the meanings.
    """
    numbers = struct.unpack(f"<{len(stored) // 8}d", stored[: len(stored) // 8 * 8])
    known = catalogue.FEATURES if feature_hash == catalogue.FEATURE_HASH else ()
    values = []
    for place, number in enumerate(numbers):
        value = None if math.isnan(number) else number
        if place < len(known):
            feature = known[place]
            meaning = feature.meaning_zh if language == "zh" else feature.meaning_en
            values.append(FeatureValue(feature.name, str(feature.family), value, meaning))
        else:
            values.append(FeatureValue(f"#{place}", "", value, ""))
    return tuple(values)


def is_known(feature_hash: str) -> bool:
    """Say whether this console can name the features of a decision."""
    return feature_hash == catalogue.FEATURE_HASH
