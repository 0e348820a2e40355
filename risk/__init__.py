"""The risk engine: `Engine.assess(transaction, now_us) -> Decision`, and what that needs.

Start reading at `risk.engine`. Features are declared in `risk.signals`, computed by one compiled
kernel (`risk.features.kernel`) online and offline alike, and documented in docs/FEATURES.md.
"""

from risk.decision import Decision, EventKind, Feedback, LogEvent, Reason, RiskOutcome
from risk.engine import Engine
from risk.scorer import BundleRefused
from risk.state.store import LogGap
from risk.transaction import EMPTY_CONTEXT, RiskContext, Transaction
from risk.trees import TreesUnavailable

__all__ = [
    "EMPTY_CONTEXT",
    "BundleRefused",
    "Decision",
    "Engine",
    "EventKind",
    "Feedback",
    "LogEvent",
    "LogGap",
    "Reason",
    "RiskContext",
    "RiskOutcome",
    "Transaction",
    "TreesUnavailable",
]
