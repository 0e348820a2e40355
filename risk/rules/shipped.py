"""The rules that ship: a start that analysts change as they learn."""

from typing import Final

from risk.rules.source import Action, Rule, RuleSet

DEFAULT_RULES: Final = (
    Rule(
        name="emulator_new_account",
        expression=(
            "device_emulated == 1 and amount >= yuan(500) "
            "and (time_account_age_days < 7 or time_user_age_s < days(1))"
        ),
        action=Action.DECLINE,
        reason="DEVICE_EMULATOR",
    ),
    Rule(
        name="card_testing_burst",
        expression=(
            "(behaviour_user_cards_1h >= 4 or device_cards_1h >= 4) "
            "and (amount <= yuan(20) or time_user_failed_24h >= 3 or device_failed_share_24h > 0.5)"
        ),
        action=Action.DECLINE,
        reason="CARD_TESTING",
    ),
    # A carrier's shared address brings many honest cards: there, only failures make a burst.
    Rule(
        name="card_testing_from_one_address",
        expression="geo_ip_cards_1h >= 6 and geo_ip_failed_24h >= 6 and amount <= yuan(20)",
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
        expression="geo_speed_kmh > 900 and geo_moved_km > km(300)",
        action=Action.CHALLENGE,
        reason="IMPOSSIBLE_TRAVEL",
    ),
    Rule(
        name="remote_control_payment",
        expression=(
            "device_remote_control == 1 and (amount >= yuan(1_000) or behaviour_on_call == 1)"
        ),
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
        expression="amount_user_near_limit_7d >= 3 and amount >= yuan(4_750)",
        action=Action.REVIEW,
        reason="STRUCTURING",
    ),
    Rule(
        name="large_at_night_to_new_payee",
        expression=(
            "hour < 5 and amount >= yuan(5_000) and graph_payee_known_to_user == 0 "
            "and amount_user_over_max > 3 and not missing(behaviour_form_ms)"
        ),
        action=Action.CHALLENGE,
        reason="NIGHT_LARGE_NEW_PAYEE",
    ),
    Rule(
        name="automated_page",
        expression="device_automated == 1 and behaviour_form_ms < seconds(2)",
        action=Action.CHALLENGE,
        reason="AUTOMATION",
    ),
)


def default_rules() -> RuleSet:
    """Return the rule set that ships."""
    return RuleSet(DEFAULT_RULES)
