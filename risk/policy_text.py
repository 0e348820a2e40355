"""Policies as JSON: read strictly, so that a misspelt word is refused and not ignored."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final, TypeVar, cast

from risk.decision import RiskOutcome
from risk.policy import (
    Category,
    Costs,
    Kind,
    Override,
    Policy,
    PolicyError,
    StaticRow,
    Thresholds,
    check_cost,
)

T = TypeVar("T")
TEXT_LENGTH_MAX: Final = 1_000_000
LEVEL_MAX: Final = 2
KINDS: Final[tuple[Kind, ...]] = ("costs", "thresholds")


def read_policy(text: str) -> Policy:
    """Read a policy.

    Args:
        text: JSON, as `Policy.canonical` writes it; what is left out has its default.

    Raises:
        PolicyError: it is no JSON, or no policy; says where and why.
    """
    if len(text) > TEXT_LENGTH_MAX:
        raise PolicyError("document", f"longer than {TEXT_LENGTH_MAX} characters")
    try:
        data = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        if isinstance(error, PolicyError):
            raise
        raise PolicyError("document", f"not JSON: {error}") from error
    return policy_of(data)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise PolicyError("document", f"{twice!r} stands twice")
    return found


def policy_of(data: object) -> Policy:
    """Return the policy that JSON values say.

    Raises:
        PolicyError: they say none.
    """
    given = _object(data, "document", [item.name for item in fields(Policy)])
    readers: dict[str, Callable[[Any], Any]] = {
        "kind": _kind,
        "currency": lambda value: _word(value, "currency"),
        "rates_ppm": lambda value: _map(value, "rates_ppm", _whole),
        "costs": lambda value: Costs(**_costs(value, "costs")),
        "thresholds": lambda value: _optional(value, "thresholds", thresholds_of),
        "categories": lambda value: _map(value, "categories", _category),
        "merchants": lambda value: _map(value, "merchants", override_of),
        "static": lambda value: tuple(_list(value, "static", _static_row)),
    }
    return Policy(**{name: readers[name](value) for name, value in given.items()})


def override_of(data: object, place: str) -> Override:
    """Return what JSON values say of one merchant.

    Raises:
        PolicyError: a word or a value is unknown.
    """
    given = _object(data, place, [item.name for item in fields(Override)])
    return Override(
        category=_word(given.get("category", ""), f"{place}.category"),
        costs=_costs(given.get("costs", {}), f"{place}.costs"),
        thresholds=_optional(given.get("thresholds"), f"{place}.thresholds", thresholds_of),
        cap=_optional(given.get("cap"), f"{place}.cap", _outcome),
    )


def thresholds_of(data: object, place: str) -> Thresholds:
    """Return the thresholds that JSON values say.

    Raises:
        PolicyError: one is missing, is no number, or they don't rise.
    """
    names = [item.name for item in fields(Thresholds)]
    given = _object(data, place, names)
    if len(given) != len(names):
        raise PolicyError(place, f"must give {', '.join(names)}")
    return Thresholds(**{name: _level(value, f"{place}.{name}") for name, value in given.items()})


def _category(data: object, place: str) -> Category:
    given = _object(data, place, [item.name for item in fields(Category)])
    return Category(
        mcc=tuple(_list(given.get("mcc", []), f"{place}.mcc", _word)),
        costs=_costs(given.get("costs", {}), f"{place}.costs"),
        cap=_outcome(given.get("cap", RiskOutcome.DECLINE), f"{place}.cap"),
    )


def _static_row(data: object, place: str) -> StaticRow:
    given = _object(data, place, [item.name for item in fields(StaticRow)])
    if "outcome" not in given:
        raise PolicyError(place, "must give an outcome")
    return StaticRow(
        pay_type=_word(given.get("pay_type", "*"), f"{place}.pay_type"),
        up_to_minor=_optional(given.get("up_to_minor"), f"{place}.up_to_minor", _whole),
        outcome=_outcome(given["outcome"], f"{place}.outcome"),
    )


def _object(data: object, place: str, known: list[str]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise PolicyError(place, f"must be an object, was {type(data).__name__}")
    for name in data:
        if name not in known:
            raise PolicyError(place, f"{name!r} is unknown; there are {', '.join(known)}")
    return cast("dict[str, Any]", data)


def _map(data: object, place: str, read: Callable[[object, str], T]) -> Mapping[str, T]:
    if not isinstance(data, dict):
        raise PolicyError(place, f"must be an object, was {type(data).__name__}")
    return {name: read(value, f"{place}.{name}") for name, value in data.items()}


def _list(data: object, place: str, read: Callable[[object, str], T]) -> list[T]:
    if not isinstance(data, list):
        raise PolicyError(place, f"must be a list, was {type(data).__name__}")
    return [read(value, f"{place}[{number}]") for number, value in enumerate(data)]


def _optional(data: object, place: str, read: Callable[[object, str], T]) -> T | None:
    return None if data is None else read(data, place)


def _costs(data: object, place: str) -> dict[str, int]:
    given = _map(data, place, _whole)
    for name, value in given.items():
        check_cost(name, value, place)
    return dict(given)


def _whole(data: object, place: str) -> int:
    if not isinstance(data, int) or isinstance(data, bool):
        raise PolicyError(place, f"must be a whole number, was {data!r}")
    return data


def _level(data: object, place: str) -> float:
    if not isinstance(data, int | float) or isinstance(data, bool):
        raise PolicyError(place, f"must be a number, was {data!r}")
    if not math.isfinite(data) or abs(data) > LEVEL_MAX:
        raise PolicyError(place, f"must be a probability, or {LEVEL_MAX} for never")
    return float(data)


def _word(data: object, place: str) -> str:
    if not isinstance(data, str):
        raise PolicyError(place, f"must be a word, was {data!r}")
    return data


def _kind(data: object) -> Kind:
    for kind in KINDS:
        if data == kind:
            return kind
    raise PolicyError("kind", f"must be {' or '.join(KINDS)}, was {data!r}")


def _outcome(data: object, place: str) -> RiskOutcome:
    if not isinstance(data, str) or data not in set(RiskOutcome):
        raise PolicyError(place, f"must be one of {', '.join(RiskOutcome)}, was {data!r}")
    return RiskOutcome(data)
