"""Lists as rules see them: which numbers are on which list, and until when.

A list holds words of any kind (users, cards, addresses, countries …). What stands on it at a
version never changes; whether an entry still counts is asked with the event's own time, so that a
replay gives the answer of the day.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

NEVER_US: Final = 1 << 62
"""Expiry of an entry that does not expire; later than any event."""
_EMPTY: Final[Mapping[int, int]] = MappingProxyType({})


class Purpose(StrEnum):
    """What a list does.

    ALLOW lets its payments pass unless something that may not be overridden forbids it, BLOCK
    declines them whoever vouches, NAMED does nothing by itself: rules name it.
    """

    ALLOW = "ALLOW"
    BLOCK = "BLOCK"
    NAMED = "NAMED"


@dataclass(frozen=True, slots=True)
class NamedList:
    """One list.

    Attributes:
        name: What rules call it.
        purpose: What it does.
        entries: Kind of word -> its number -> Unix microseconds from which it no longer counts.
    """

    name: str
    purpose: Purpose
    entries: Mapping[str, Mapping[int, int]] = field(default_factory=dict)

    def of_kind(self, kind: str) -> Mapping[int, int]:
        """Return the entries of one kind; empty if there are none."""
        return self.entries.get(kind, _EMPTY)


@dataclass(frozen=True, slots=True)
class Lists:
    """All lists as they stand at one version.

    Attributes:
        version: Stored with every decision.
        by_name: The lists.
    """

    version: str
    by_name: Mapping[str, NamedList] = field(default_factory=dict)


NO_LISTS: Final = Lists(version="lists-0")
