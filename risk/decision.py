"""A decision and all it depended on: what is stored to replay it, and nothing that isn't."""

from dataclasses import dataclass
from enum import StrEnum


class RiskOutcome(StrEnum):
    """What the engine says to do with a payment, mildest first."""

    APPROVE = "APPROVE"
    CHALLENGE = "CHALLENGE"
    REVIEW = "REVIEW"
    DECLINE = "DECLINE"


class EventKind(StrEnum):
    """Kinds of event in the one log."""

    ATTEMPT = "ATTEMPT"
    OUTCOME = "OUTCOME"
    LABEL = "LABEL"
    TABLE = "TABLE"  # One entity's row of a computed table, in force from its place in the log.


class Feedback(StrEnum):
    """What becomes known of an assessed payment later; all but the verdicts are OUTCOME events.

    A log stores a member by its place here: new ones go to the end.
    """

    PAID = "PAID"
    FAILED = "FAILED"
    CLOSED = "CLOSED"
    REFUNDED = "REFUNDED"
    FRAUD = "FRAUD"
    GENUINE = "GENUINE"
    DECLINED = "DECLINED"  # Refused by the risk engine or by the merchant; never tried.

    @property
    def kind(self) -> EventKind:
        """The kind of log event this is."""
        return EventKind.LABEL if self in (Feedback.FRAUD, Feedback.GENUINE) else EventKind.OUTCOME


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One row of the log: its dense place, what it is, and the int64 vector the kernel read.

    Attributes:
        seq: 1, 2, 3, … without gaps, given by the engine.
        kind: What it is.
        at_us: When it counts from (an attempt's time; when an outcome or label became known).
        trade_no: The payment it is about.
        payload: Little-endian int64 vector (`risk.features.event`).
    """

    seq: int
    kind: EventKind
    at_us: int
    trade_no: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why; `code` is stable and documented (`risk.reasons`), in English and Chinese there.

    Attributes:
        code: e.g. ``DEVICE_EMULATOR``.
        family: device, behaviour, geo, amount, time, graph, merchant or system.
        contribution: Share in the model's log-odds, or 0.0 for a rule.
    """

    code: str
    family: str
    contribution: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The engine's answer; stored whole, so that it can be recomputed and compared.

    Attributes:
        outcome: What to do.
        score: Calibrated probability of fraud, 0 to 1 (0.0 when no model answered).
        score_raw: The model's own output before calibration.
        reasons: Ranked, strongest first; never empty unless APPROVE.
        rule_hits: Names of the rules that fired.
        features: float64 little-endian, catalogue order, NaN where missing.
        presence: One bit a feature, little-endian bytes.
        missing: Families of evidence the request brought nothing for.
        feature_hash: Hash of the feature catalogue.
        model_version: Bundle that scored, or ``none``.
        rule_version: Rule set that ran.
        policy_version: Thresholds that decided.
        engine_version: Code that computed the features.
        key_seqs: int64 little-endian, the sequence number read for each of
            `risk.features.event.KEYS` (0 = none); ten of them before revision 2 of the vector.
        degraded: Empty, or why the full path did not decide (``deadline``, ``fault``, …).
        fallback: Empty, or the policy that decided instead (``open``, ``closed``, ``rules``).
        elapsed_us: Time the assessment took.
        event: The log row to commit with the order.
    """

    outcome: RiskOutcome
    score: float
    score_raw: float
    reasons: tuple[Reason, ...]
    rule_hits: tuple[str, ...]
    features: bytes
    presence: bytes
    missing: tuple[str, ...]
    feature_hash: str
    model_version: str
    rule_version: str
    policy_version: str
    engine_version: str
    key_seqs: bytes
    degraded: str
    fallback: str
    elapsed_us: int
    event: LogEvent
