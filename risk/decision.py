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
class Shadow:
    """What others would have said, recorded beside the answer and without a part in it.

    Attributes:
        rules: Names of the shadow rules that fired.
        model_version: The challenger, or empty if none answered.
        score: Its calibrated probability of fraud.
        score_raw: Its own output before calibration.
        outcome: The whole decision it would have led to, or empty.
        fault: Empty, or why a part of this is missing (``rules:…``, ``model:…``, ``deadline``).
        elapsed_us: Time this took, after the answer was settled.
    """

    rules: tuple[str, ...] = ()
    model_version: str = ""
    score: float = 0.0
    score_raw: float = 0.0
    outcome: str = ""
    fault: str = ""
    elapsed_us: int = 0


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
        list_version: Lists that the rules looked into, or ``none``.
        geo_version: Table that told where an address is, or ``none``.
        policy_version: Policy that decided (`risk.policy`).
        category: The merchant's trade in that policy; empty where the policy was not asked.
        costs: Expected cost of approve, challenge, review and decline in minor units of the
            policy's currency; empty where costs did not decide.
        step: Which step of the ladder decided (`risk.verdict.Step`).
        engine_version: Code that computed the features.
        key_seqs: int64 little-endian, the sequence number read for each of
            `risk.features.event.KEYS` (0 = none); ten of them before revision 2 of the vector.
        degraded: Empty, or what went wrong: ``deadline`` and ``fault:…`` (a lower step decided),
            ``late`` (the full path decided, but overran), ``context:…`` (fields that can't be
            used are missing), ``reasons:…`` (shares could not be computed).
        fallback: Empty, or what is configured for such a case (``open``, ``closed``, ``rules``).
        elapsed_us: Time until the answer was settled.
        shadow: What others would have said; None if nobody was asked.
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
    list_version: str
    geo_version: str
    policy_version: str
    category: str
    costs: tuple[float, ...]
    step: str
    engine_version: str
    key_seqs: bytes
    degraded: str
    fallback: str
    elapsed_us: int
    shadow: Shadow | None
    event: LogEvent

    @property
    def fell_back(self) -> bool:
        """Whether a step below the full path decided."""
        return bool(self.fallback)

    @property
    def causes(self) -> tuple[str, ...]:
        """What went wrong, as few stable words: no field's and no exception's name."""
        return causes_of(self.degraded)


def causes_of(degraded: str) -> tuple[str, ...]:
    """Return the causes that a decision's `degraded` names, for metrics and for merchants.

    Examples:
        >>> causes_of("fault:model:ValueError;context:form_ms,user")
        ('fault:model', 'context')
        >>> causes_of("")
        ()
    """
    found = []
    for part in filter(None, degraded.split(";")):
        kind, _, rest = part.partition(":")
        found.append(f"fault:{rest.partition(':')[0]}" if kind == "fault" else kind)
    return tuple(dict.fromkeys(found))
