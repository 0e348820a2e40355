"""Assess a payment: features, rules, model, policy, inside a deadline, and never an exception.

The engine owns the state and the numbering of the log. Every event it takes is applied to the
state and given back as a log row to commit, whatever becomes of the decision; so the log replayed
through the same kernel gives the same features, bit for bit.

One thread at a time assesses; `refresh_model` may run in another and swaps one reference.
"""

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import numpy as np

from risk import policy, reasons
from risk.compiled import ENGINE_VERSION
from risk.decision import Decision, EventKind, Feedback, LogEvent, Reason, RiskOutcome
from risk.evidence import missing_families
from risk.features.catalogue import FEATURE_HASH, FEATURE_NAMES
from risk.features.event import (
    EVENT_WIDTH,
    IntVector,
    decode,
    encode_attributes,
    encode_feedback,
    kind_of,
    stack,
    write_attempt,
)
from risk.features.identity import table_subject
from risk.policy import Fallback, Verdict
from risk.rules.source import Rule, RuleSet, default_rules
from risk.scorer import Bundle, champion_version, load_champion
from risk.state import snapshot
from risk.state.store import MemoryStateStore
from risk.transaction import Transaction

NO_MODEL: Final = "none"
RESTORE_BATCH: Final = 4_096
# What a fault in one stage may be: anything but a signal to stop the process.
_FAULTS: Final = (Exception,)


class LogGap(ValueError):
    """The log handed to `Engine.restore` is not dense."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(f"the log goes on with event {found}, expected {expected}")
        self.expected = expected
        self.found = found


class _Course:
    """One assessment under way: what is known so far, and what went wrong."""

    __slots__ = ("degraded", "hits", "probability", "raw", "scored", "started_ns")

    def __init__(self, started_ns: int) -> None:
        self.started_ns = started_ns
        self.degraded = ""
        self.hits: tuple[Rule, ...] | None = None
        self.probability = 0.0
        self.raw = 0.0
        self.scored = False


class Engine:
    """The risk engine of one process.

    Attributes:
        feature_names: Names in the order of every stored vector.
        feature_hash: Hash of the catalogue.
        engine_version: Hash of the code that computes the features.
    """

    feature_names: tuple[str, ...] = FEATURE_NAMES
    feature_hash: str = FEATURE_HASH
    engine_version: str = ENGINE_VERSION

    def __init__(
        self,
        *,
        bundle_dir: Path | None = None,
        deadline_us: int = 10_000,
        fallback: Fallback = "rules",
        rules: RuleSet | None = None,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Build an engine with an empty state and load the champion, if there is one.

        Args:
            bundle_dir: Where models are published; None scores nothing, rules decide.
            deadline_us: Budget of one assessment; after it the fallback decides.
            fallback: ``open`` approves, ``closed`` reviews, ``rules`` lets the rules decide.
            rules: Rule set; the default one if None.
            clock_ns: A monotonic clock, for the deadline only.

        Raises:
            BundleRefused: the published model is not for this engine.
            TreesUnavailable: LightGBM's library can't be loaded.
        """
        self._bundle_dir = bundle_dir
        self._deadline_ns = deadline_us * 1_000
        self._fallback: Fallback = fallback
        self._clock_ns = clock_ns
        self._rules = rules or default_rules()
        self._lock = threading.RLock()
        self._event = np.zeros(EVENT_WIDTH, dtype=np.int64)
        self._event_bytes = self._event.data.cast("B")
        self._bundle: Bundle | None = None
        self._reset(MemoryStateStore())
        self._warm()
        self.refresh_model()

    def _reset(self, store: MemoryStateStore) -> None:
        self._store = store
        self._vector = store.features.data
        self._next_seq = 1

    def _warm(self) -> None:
        """Compile (or load from the cache) all kernels now, not under the first payment."""
        probe = Transaction(event_id="", merchant_id="", amount_minor=1, currency="", pay_type="")
        self.assess(probe, 0)
        self._store.apply(np.zeros((0, EVENT_WIDTH), dtype=np.int64))
        self._reset(MemoryStateStore())

    @property
    def next_seq(self) -> int:
        """The number the next event will get; 1 on an empty log."""
        return self._next_seq

    @property
    def model_version(self) -> str:
        """Version of the model in use, ``none`` without one."""
        bundle = self._bundle
        return bundle.meta.version if bundle else NO_MODEL

    @property
    def rule_version(self) -> str:
        """Version of the rule set in use."""
        return self._rules.version

    @property
    def entity_count(self) -> int:
        """How many entities the state knows."""
        return self._store.entity_count

    @property
    def state_bytes(self) -> int:
        """Bytes the state takes."""
        return self._store.state_bytes

    def assess(self, transaction: Transaction, now_us: int) -> Decision:
        """Decide about a payment, then let it count. Never raises.

        Args:
            transaction: The payment.
            now_us: Its time, Unix microseconds.

        Returns:
            The decision with the log row to commit; `degraded` says if anything went wrong.
        """
        with self._lock:
            bundle = self._bundle
            course = _Course(self._clock_ns())
            values, broken = write_attempt(transaction, now_us, self._next_seq, self._event_bytes)
            if broken:
                course.degraded = f"context:{','.join(broken)}"
            self._next_seq += 1
            self._read_state(course)
            # Rules run even past the deadline: they take microseconds, and a block must hold.
            self._run_rules(values, course)
            self._run_model(bundle, course)
            verdict = self._judge(bundle, course)
            return self._decision(transaction, values, bundle, course, verdict)

    def _read_state(self, course: _Course) -> None:
        try:
            self._store.step(self._event)
        except _FAULTS as error:
            self._store.forget_answer()
            course.degraded = f"fault:features:{type(error).__name__}"
            return
        self._check_deadline(course)

    def _check_deadline(self, course: _Course) -> None:
        if self._clock_ns() - course.started_ns > self._deadline_ns:
            course.degraded = "deadline"

    def _run_rules(self, values: list[int], course: _Course) -> None:
        if course.degraded.startswith("fault"):
            return
        try:
            course.hits = self._rules.hits(self._vector, values)
        except _FAULTS as error:
            course.degraded = f"fault:rules:{type(error).__name__}"

    def _run_model(self, bundle: Bundle | None, course: _Course) -> None:
        if bundle is None or course.hits is None or self._fell_back(course):
            return
        try:
            course.probability, course.raw = bundle.score(self._store.features)
            course.scored = True
        except _FAULTS as error:
            course.degraded = f"fault:model:{type(error).__name__}"
            return
        self._check_deadline(course)

    def _judge(self, bundle: Bundle | None, course: _Course) -> Verdict:
        if self._fell_back(course):
            return policy.without_score(self._fallback, course.hits)
        hits = course.hits or ()
        if bundle is None:
            return policy.decide(hits, RiskOutcome.APPROVE)
        return policy.decide(hits, policy.by_score(bundle.meta, course.probability))

    def _fell_back(self, course: _Course) -> bool:
        return bool(course.degraded) and not course.degraded.startswith("context")

    def _decision(
        self,
        transaction: Transaction,
        values: list[int],
        bundle: Bundle | None,
        course: _Course,
        verdict: Verdict,
    ) -> Decision:
        store = self._store
        fell_back = self._fell_back(course)
        payload = self._event_bytes.tobytes()
        return Decision(
            outcome=verdict.outcome,
            score=course.probability,
            score_raw=course.raw,
            reasons=self._reasons(bundle, course, verdict),
            rule_hits=tuple([rule.name for rule in course.hits]) if course.hits else (),
            features=store.features.tobytes(),
            presence=store.presence.tobytes(),
            missing=missing_families(values),
            feature_hash=FEATURE_HASH,
            model_version=bundle.meta.version if bundle else NO_MODEL,
            rule_version=self._rules.version,
            policy_version=bundle.policy_version if bundle else policy.RULES_ONLY,
            engine_version=ENGINE_VERSION,
            key_seqs=store.key_seqs.tobytes(),
            degraded=course.degraded,
            fallback=self._fallback if fell_back else "",
            elapsed_us=(self._clock_ns() - course.started_ns) // 1_000,
            event=LogEvent(
                seq=values[0],
                kind=EventKind.ATTEMPT,
                at_us=values[2],
                trade_no=transaction.event_id,
                payload=payload,
            ),
        )

    def _reasons(
        self, bundle: Bundle | None, course: _Course, verdict: Verdict
    ) -> tuple[Reason, ...]:
        fell_back = self._fell_back(course)
        if verdict.outcome is RiskOutcome.APPROVE:
            return (reasons.reason("SYSTEM_DEGRADED"),) if fell_back else ()
        shares: list[float] | None = None
        if bundle is not None and course.scored and not fell_back:
            try:
                shares = bundle.contributions(self._store.features).tolist()
            except _FAULTS as error:
                course.degraded = f"context:reasons:{type(error).__name__}"
        codes = [rule.reason for rule in verdict.rules]
        return reasons.ranked(codes, shares, degraded=fell_back)

    def record(
        self,
        feedback: Feedback,
        *,
        attempt: bytes,
        trade_no: str,
        known_at_us: int,
        amount_minor: int = 0,
    ) -> LogEvent:
        """Let an outcome or a label of an earlier attempt count, and return its log row.

        Args:
            feedback: What became known.
            attempt: Payload of the attempt's log row.
            trade_no: The payment it is about.
            known_at_us: When it became known, Unix microseconds.
            amount_minor: For a refund, how much.

        Raises:
            ValueError: `attempt` is no event, or not an attempt.
        """
        source = decode(attempt)
        if source[1] != 0:
            raise ValueError(f"event {int(source[0])} is not an attempt")
        with self._lock:
            event = encode_feedback(
                feedback,
                source,
                seq=self._next_seq,
                known_at_us=known_at_us,
                amount_minor=amount_minor,
            )
            return self._take(event, trade_no)

    def attribute(
        self, user: int, values: tuple[int, int, int, int], *, now_us: int, ref_seq: int
    ) -> LogEvent:
        """Let a user's row of a table count (see `encode_attributes`); return its log row."""
        with self._lock:
            seq = self._next_seq
            event = encode_attributes(user, values, seq=seq, at_us=now_us, ref_seq=ref_seq)
            return self._take(event, table_subject(user))

    def _take(self, event: IntVector, subject: str) -> LogEvent:
        self._store.step(event)
        self._next_seq += 1
        kind, payload = kind_of(event), event.astype("<i8").tobytes()
        seq, _, at_us = event[:3].tolist()
        return LogEvent(seq=seq, kind=kind, at_us=at_us, trade_no=subject, payload=payload)

    def restore(self, events: Iterable[tuple[int, bytes]]) -> int:
        """Apply a stored log, or its tail after a snapshot; events already applied are skipped.

        Args:
            events: (seq, payload) in order.

        Returns:
            The last number applied, 0 for an empty log.

        Raises:
            LogGap: a number is missing.
            ValueError: a payload is no event.
        """
        batch: list[bytes] = []
        with self._lock:
            expected = self._next_seq
            for seq, payload in events:
                if seq < expected:
                    continue
                if seq > expected:
                    raise LogGap(expected, seq)
                batch.append(payload)
                expected += 1
                if len(batch) == RESTORE_BATCH:
                    self._apply(batch)
                    batch = []
            self._apply(batch)
            return self._next_seq - 1

    def _apply(self, payloads: list[bytes]) -> None:
        self._store.apply(stack(payloads))
        self._next_seq += len(payloads)

    def save_snapshot(self, path: Path) -> None:
        """Write the state to `path`, atomically.

        Raises:
            OSError: the disk refuses.
        """
        with self._lock:
            seq, arrays = self._next_seq - 1, self._store.export()
        snapshot.save(path, seq, arrays)

    def load_snapshot(self, path: Path) -> int:
        """Load a snapshot; returns the number it stands at, 0 if it can't be used."""
        found = snapshot.load(path)
        if found is None:
            return 0
        seq, arrays = found
        with self._lock:
            store = MemoryStateStore()
            store.load(arrays)
            self._reset(store)
            self._next_seq = seq + 1
        return seq

    def refresh_model(self) -> bool:
        """Load the champion if it changed, and swap it in; True if it was swapped.

        Raises:
            BundleRefused: the new one is not for this engine; the old one stays in use.
            TreesUnavailable: LightGBM's library can't be loaded; the old one stays in use.
        """
        if self._bundle_dir is None or champion_version(self._bundle_dir) in {
            None,
            self.model_version,
        }:
            return False
        bundle = load_champion(self._bundle_dir)
        if bundle is None:
            return False
        bundle.score(np.zeros(len(FEATURE_NAMES)))
        bundle.contributions(np.zeros(len(FEATURE_NAMES)))
        self._bundle = bundle
        return True
