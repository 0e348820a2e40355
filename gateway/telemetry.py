"""What the gateway says of itself: structured logs with a request id, and metrics.

Nothing secret may reach a log: values of fields that carry secrets are masked by name, and runs
of 12 to 19 digits that pass the card check (Luhn) are masked wherever they stand.
"""

import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECRET_FIELDS = frozenset(
    {"secret", "sign", "signature", "password", "token", "authorization", "private_key", "api_key"}
)
_DIGITS = re.compile(r"(?<![\dA-Za-z])\d{12,19}(?![\dA-Za-z])")
_MASK = "***"


def _passes_luhn(digits: str) -> bool:
    doubled = [int(d) * (2 if place % 2 else 1) for place, d in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0  # noqa: PLR2004


def mask(text: str) -> str:
    """Hide what looks like a card number, but for its last four digits.

    Examples:
        >>> mask("paid with 4111111111111111")
        'paid with ***1111'
        >>> mask("order 1234567890123")
        'order 1234567890123'
    """
    return _DIGITS.sub(
        lambda found: _MASK + found[0][-4:] if _passes_luhn(found[0]) else found[0], text
    )


def _mask_event(
    _logger: Any,  # noqa: ANN401 - structlog's processor signature
    _method: str,
    event: MutableMapping[str, Any],
) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if name.lower() in SECRET_FIELDS:
            event[name] = _MASK
        elif isinstance(value, str):
            event[name] = mask(value)
    return event


def set_up_logs(level: str) -> None:
    """Send all logs, ours and the libraries', to standard error as one JSON object a line."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.stdlib.PositionalArgumentsFormatter(),
        _mask_event,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _mask_event,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Their lines repeat what our own say, once a request.
    for name in ("httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)


class Metrics:
    """The gateway's metrics, in a registry of its own so that two gateways can share a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "yumen_requests",
            "Requests of merchants by route and result.",
            ["route", "code"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "yumen_request_seconds",
            "Time to answer a request of a merchant, in seconds.",
            ["route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
            registry=self.registry,
        )
        self.decisions = Counter(
            "yumen_decisions",
            "Risk decisions by outcome.",
            ["outcome"],
            registry=self.registry,
        )
        self.degraded = Counter(
            "yumen_risk_degraded",
            "Risk decisions in which something went wrong, by cause and the step that decided.",
            ["reason", "step"],
            registry=self.registry,
        )
        self.shadow_faults = Counter(
            "yumen_risk_shadow_faults",
            "Shadow answers that are missing, by the part that failed; no decision depends on one.",
            ["part"],
            registry=self.registry,
        )
        self.assess_seconds = Histogram(
            "yumen_assess_seconds",
            "Time of a risk assessment, in seconds.",
            buckets=(1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2),
            registry=self.registry,
        )
        self.channel_facts = Counter(
            "yumen_channel_facts",
            "What channels reported, by channel and verdict.",
            ["channel", "verdict"],
            registry=self.registry,
        )
        # Finding a labelled child costs more than counting in it: hot callers keep theirs.
        self._answered: dict[tuple[str, str], Counter] = {}
        self._timed: dict[str, Histogram] = {}
        self._decided: dict[str, Counter] = {}
        self.log_seq = Gauge(
            "yumen_risk_log_seq", "Last number given in the risk log.", registry=self.registry
        )

    def answered(self, route: str, code: str, elapsed_s: float) -> None:
        """Count an answer to a merchant: SUCCESS or an error code, and the time it took."""
        counter = self._answered.get((route, code))
        if counter is None:
            counter = self._answered[route, code] = self.requests.labels(route, code)
        counter.inc()
        timed = self._timed.get(route)
        if timed is None:
            timed = self._timed[route] = self.request_seconds.labels(route)
        timed.observe(elapsed_s)

    def decided(self, outcome: str, seq: int, elapsed_s: float) -> None:
        """Count a risk decision and the time it took."""
        counter = self._decided.get(outcome)
        if counter is None:
            counter = self._decided[outcome] = self.decisions.labels(outcome)
        counter.inc()
        self.assess_seconds.observe(elapsed_s)
        self.log_seq.set(seq)

    def went_wrong(self, causes: Iterable[str], step: str) -> None:
        """Count what went wrong in a decision; causes are few and stable words."""
        for cause in causes:
            self.degraded.labels(cause, step).inc()
