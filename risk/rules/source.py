"""Rules: what they say, what they do, and the set that ships.

A rule set has a version, the hash of all it says, which every decision records.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from risk.features.catalogue import PLACES
from risk.reasons import CODES
from risk.rules.language import Evaluate, RuleError, compile_rules, names_in

_NO_FEATURES: Final = memoryview(b"")


class Action(StrEnum):
    """What a rule asks for."""

    APPROVE_OVERRIDE = "APPROVE_OVERRIDE"
    CHALLENGE = "CHALLENGE"
    REVIEW = "REVIEW"
    DECLINE = "DECLINE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        name: Stable; stored with every decision it fired in.
        expression: `risk.rules.language`.
        action: What it asks for.
        reason: Code of `risk.reasons`.
        overridable: Whether an APPROVE_OVERRIDE rule may lift it.
    """

    name: str
    expression: str
    action: Action
    reason: str
    overridable: bool = True


class RuleSet:
    """A compiled, versioned set of rules; immutable, swapped as a whole."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        """Check and compile.

        Raises:
            RuleError: an expression is not a rule, a name stands twice, a reason is unknown.
        """
        self.rules = rules
        seen: set[str] = set()
        digest = hashlib.blake2b(digest_size=6)
        for rule in rules:
            if rule.name in seen:
                raise RuleError(rule.name, "the name stands twice")
            if rule.reason not in CODES:
                raise RuleError(rule.name, f"unknown reason code {rule.reason!r}")
            seen.add(rule.name)
            digest.update(repr(rule).encode())
        self.version = f"rules-{digest.hexdigest()}"
        self.list_version = "none"
        self._evaluate: Evaluate = compile_rules([(r.name, r.expression) for r in rules])
        self._fixed = tuple(
            rule
            for rule in rules
            if rule.action is Action.DECLINE
            and not rule.overridable
            and not names_in(rule.expression) & PLACES.keys()
        )
        self._evaluate_fixed: Evaluate = compile_rules(
            [(r.name, r.expression) for r in self._fixed]
        )

    def hits(self, features: memoryview, event: list[int]) -> tuple[Rule, ...]:
        """Return the rules that fired, in the set's order.

        Args:
            features: float64, catalogue order.
            event: The event's integers.
        """
        mask = self._evaluate(features, event)
        if not mask:
            return ()
        return tuple(rule for place, rule in enumerate(self.rules) if mask >> place & 1)

    def shadow_hits(self, features: memoryview, event: list[int]) -> tuple[str, ...]:
        """Return the names of the shadow rules that fired; this set has none."""
        del features, event
        return ()

    def must_hold(self, event: list[int]) -> tuple[Rule, ...]:
        """Return the declines that may not be overridden, need no feature, and fired."""
        mask = self._evaluate_fixed(_NO_FEATURES, event)
        return tuple(rule for place, rule in enumerate(self._fixed) if mask >> place & 1)


class RuleSource(Protocol):
    """Where live rules come from."""

    def current(self) -> RuleSet:
        """Return the set to run now."""


DEFAULT_RULES: Final = (
    Rule(
        name="emulator_new_account",
        expression=(
            "device_emulated == 1 and amount >= 50_000 "
            "and (time_account_age_days < 7 or time_user_age_s < 86_400)"
        ),
        action=Action.DECLINE,
        reason="DEVICE_EMULATOR",
    ),
    Rule(
        name="card_testing_burst",
        expression=(
            "(behaviour_user_cards_1h >= 4 or device_cards_1h >= 4) "
            "and (amount <= 2_000 or time_user_failed_24h >= 3 or device_failed_share_24h > 0.5)"
        ),
        action=Action.DECLINE,
        reason="CARD_TESTING",
    ),
    # A carrier's shared address brings many honest cards: there, only failures make a burst.
    Rule(
        name="card_testing_from_one_address",
        expression="geo_ip_cards_1h >= 6 and geo_ip_failed_24h >= 6 and amount <= 2_000",
        action=Action.CHALLENGE,
        reason="CARD_TESTING",
    ),
    Rule(
        name="micro_payments_by_script",
        expression="amount_user_micro_1h >= 6 and time_card_count_10m >= 5",
        action=Action.CHALLENGE,
        reason="CARD_TESTING",
    ),
    Rule(
        name="device_farm",
        expression="device_users_24h >= 6 and graph_hub == 1",
        action=Action.REVIEW,
        reason="DEVICE_FARM",
    ),
    Rule(
        name="impossible_travel",
        expression="geo_speed_kmh > 900 and geo_moved_km > 300",
        action=Action.CHALLENGE,
        reason="IMPOSSIBLE_TRAVEL",
    ),
    Rule(
        name="remote_control_payment",
        expression="device_remote_control == 1 and (amount >= 100_000 or behaviour_on_call == 1)",
        action=Action.REVIEW,
        reason="REMOTE_CONTROL",
    ),
    Rule(
        name="virtual_camera",
        expression="device_virtual_camera == 1 or behaviour_iad_score < 0.2",
        action=Action.DECLINE,
        reason="LIVENESS_INJECTION",
        overridable=False,
    ),
    Rule(
        name="device_of_known_fraud",
        expression="device_fraud_30d >= 2 and device_known_to_user == 0",
        action=Action.DECLINE,
        reason="DEVICE_KNOWN_FRAUD",
    ),
    Rule(
        name="card_of_known_fraud",
        expression="time_card_fraud_30d >= 2 and time_card_last_label == 1",
        action=Action.DECLINE,
        reason="CARD_KNOWN_FRAUD",
    ),
    Rule(
        name="ring_of_known_fraud",
        expression="graph_ring_fraud >= 3 and graph_ring_users >= 4",
        action=Action.REVIEW,
        reason="FRAUD_RING",
    ),
    Rule(
        name="structuring",
        expression="amount_user_near_limit_7d >= 3 and amount >= 475_000",
        action=Action.REVIEW,
        reason="STRUCTURING",
    ),
    Rule(
        name="large_at_night_to_new_payee",
        expression=(
            "hour < 5 and amount >= 500_000 and graph_payee_known_to_user == 0 "
            "and amount_user_over_max > 3 and not missing(behaviour_form_ms)"
        ),
        action=Action.CHALLENGE,
        reason="NIGHT_LARGE_NEW_PAYEE",
    ),
    Rule(
        name="automated_page",
        expression="device_automated == 1 and behaviour_form_ms < 2_000",
        action=Action.CHALLENGE,
        reason="AUTOMATION",
    ),
)


def default_rules() -> RuleSet:
    """Return the rule set that ships."""
    return RuleSet(DEFAULT_RULES)
