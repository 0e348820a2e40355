"""The names a rule may use: features, fields and words of a payment, and how words are numbered."""

import difflib
from collections.abc import Callable, Iterable
from typing import Final

from risk.features.catalogue import PLACES
from risk.features.event import FIELDS, FIRST_KEY, PRESENCE
from risk.features.fields import CONTEXT_FIELDS
from risk.features.identity import code_of, identify, network_of
from risk.geo.language import primary

NumberOf = Callable[[str, str], int]
"""(kind, text) -> the number that stands for it in the log; 0 if it can't be known."""

# The payer's account in the role of payee and the reverse: features need them, people don't.
_MIRRORS: Final = frozenset({"inflow", "outflow"})
_COUNTRY: Final = "country"
_ADDRESS: Final = "address"
WORDS: Final = (
    *(name for name in FIELDS[FIRST_KEY:PRESENCE] if name not in _MIRRORS),
    "currency",
    "pay_type",
)
NUMBERS: Final = CONTEXT_FIELDS
NAMES: Final = (*PLACES, *NUMBERS, *WORDS)
PERSONS: Final = frozenset({"user", "payee"})  # The text of a rule is kept for good.
CODE_LETTERS: Final = {"currency": (3, "CNY"), _COUNTRY: (2, "CN")}


def kind_of(word: str) -> str:
    """Return how a word is numbered; words of one kind compare with each other.

    Examples:
        >>> kind_of("card_country"), kind_of("bill_address"), kind_of("card")
        ('country', 'address', 'card')
    """
    return next((kind for kind in (_COUNTRY, _ADDRESS) if word.endswith(kind)), word)


KINDS: Final = tuple(dict.fromkeys(kind_of(word) for word in WORDS))


def words_of(kind: str) -> tuple[str, ...]:
    """Return which words a list that acts by itself looks at: the kind's own, else all of it.

    Examples:
        >>> words_of("country"), words_of("address")
        (('country',), ('ship_address', 'bill_address'))
    """
    return (kind,) if kind in WORDS else tuple(word for word in WORDS if kind_of(word) == kind)


def number_of(kind: str, text: str) -> int:
    """Return the number of a word as the event holds it; 0 if it can't have one.

    Codes go by letter, a network by any address in it, its operator by number (``AS`` or not), a
    language without its country; the rest is hashed.

    Examples:
        >>> number_of("currency", "cny") == number_of("currency", "CNY")
        True
        >>> number_of("network", "192.0.2.0/24") == number_of("network", "192.0.2.7") != 0
        True
        >>> number_of("language", "zh-CN") == number_of("language", "zh")
        True
        >>> number_of("asn", "AS64500") == number_of("asn", "64500"), number_of("asn", "big one")
        (True, 0)
    """
    if kind in CODE_LETTERS:
        return code_of(text)
    if kind == "network":
        return network_of(text.partition("/")[0])
    if kind == "language":
        return identify(kind, primary(text))
    if kind == "asn":
        digits = text.upper().removeprefix("AS")
        return identify(kind, digits.lstrip("0")) if digits.isdecimal() else 0
    return identify(kind, text)


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like `name`, or nothing if none is.

    Examples:
        >>> closest("amont", ["amount", "items"])
        'amount'
    """
    close = difflib.get_close_matches(name, tuple(known), n=1, cutoff=0.4)
    return close[0] if close else ""
