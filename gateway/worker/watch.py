"""Watches decisions as they are made: counts them, and says loudly when something went wrong.

Called on the hot path, so it counts in memory alone; alerts are written by the worker.
"""

import logging
from collections.abc import Callable

from gateway.store.alerts import AlertBook, Severity
from gateway.telemetry import Metrics
from risk import Decision

_log = logging.getLogger("yumen.risk")
# A merchant's unusable field is its own trouble: counted and answered, but nobody is woken.
_NO_ALERT = frozenset({"context"})


class DecisionWatch:
    """Counts, logs and raises alerts."""

    def __init__(self, metrics: Metrics, book: AlertBook, clock_us: Callable[[], int]) -> None:
        self._metrics = metrics
        self._book = book
        self._clock_us = clock_us

    def __call__(self, decision: Decision) -> None:
        """Take note of a decision."""
        self._metrics.decided(decision.outcome.value, decision.event.seq, decision.elapsed_us / 1e6)
        if decision.degraded:
            self._degraded(decision)
        if decision.shadow is not None and decision.shadow.fault:
            self._shadow_fault(decision.event.trade_no, decision.shadow.fault)

    def _degraded(self, decision: Decision) -> None:
        causes = decision.causes
        self._metrics.went_wrong(causes, decision.step)
        trade_no = decision.event.trade_no
        _log.warning(
            "risk was degraded for %s: %s; step %s decided %s",
            trade_no,
            decision.degraded,
            decision.step,
            decision.outcome.value,
        )
        for cause in causes:
            if cause not in _NO_ALERT:
                severity = Severity.ERROR if cause.startswith("fault") else Severity.WARNING
                detail = f"{trade_no}: {decision.degraded}; step {decision.step} decided"
                self._book.note(f"risk.degraded:{cause}", severity, detail, self._clock_us())

    def _shadow_fault(self, trade_no: str, fault: str) -> None:
        part = fault.partition(":")[0]
        self._metrics.shadow_faults.labels(part).inc()
        _log.warning("a shadow answer is missing for %s: %s", trade_no, fault)
        self._book.note(
            f"risk.shadow:{part}", Severity.WARNING, f"{trade_no}: {fault}", self._clock_us()
        )
