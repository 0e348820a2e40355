"""The names a rule may use: features, fields and words of a payment, and how words are numbered."""

import difflib
from collections.abc import Callable, Iterable
from typing import Final

from risk.features.catalogue import PLACES
from risk.features.event import FIELDS, FIRST_KEY, PRESENCE
from risk.features.fields import CONTEXT_FIELDS
from risk.features.identity import code_of, identify

NumberOf = Callable[[str, str], int]
"""(kind, text) -> the number that stands for it in the log; 0 if it can't be known."""

# The payer's account in the role of payee and the reverse: features need them, people don't.
_MIRRORS: Final = frozenset({"inflow", "outflow"})
_COUNTRY: Final = "country"
_HASHED: Final = tuple(name for name in FIELDS[FIRST_KEY:PRESENCE] if name not in _MIRRORS)
_SENT_AS_CODE: Final = tuple(name for name in CONTEXT_FIELDS if name == _COUNTRY)
WORDS: Final = (*_HASHED, "currency", "pay_type", *_SENT_AS_CODE)
NUMBERS: Final = tuple(name for name in CONTEXT_FIELDS if name not in WORDS)
NAMES: Final = (*PLACES, *NUMBERS, *WORDS)
CODE_LETTERS: Final = {"currency": (3, "CNY"), _COUNTRY: (2, "CN")}


def kind_of(word: str) -> str:
    """Return how a word is numbered; words of one kind compare with each other.

    Examples:
        >>> kind_of("country"), kind_of("card")
        ('country', 'card')
    """
    return _COUNTRY if word.endswith(_COUNTRY) else word


def number_of(kind: str, text: str) -> int:
    """Return the number of a word as the event holds it: codes by letter, the rest hashed.

    Examples:
        >>> number_of("currency", "cny") == number_of("currency", "CNY")
        True
    """
    return code_of(text) if kind in CODE_LETTERS else identify(kind, text)


def closest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like `name`, or nothing if none is.

    Examples:
        >>> closest("amont", ["amount", "items"])
        'amount'
    """
    close = difflib.get_close_matches(name, tuple(known), n=1, cutoff=0.4)
    return close[0] if close else ""
