"""Assess a payment: features, rules, model, policy, inside a deadline, and never an exception.

The engine owns the state and the numbering of the log. Every event it takes is applied to the
state and given back as a log row to commit, whatever becomes of the decision; so the log replayed
through the same kernel gives the same features, bit for bit.

One thread at a time assesses (`risk.course` holds the stages); models, rules and policy may be
changed from another: each swaps one reference, under a lock that no assessment takes.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from risk.compiled import ENGINE_VERSION
from risk.course import Course, Kit
from risk.decision import Decision, EventKind, Feedback, LogEvent
from risk.default_policy import DEFAULT_POLICY
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
from risk.geo.table import IpTable
from risk.policy import Policy
from risk.rules.shipped import default_rules
from risk.rules.source import RuleSet
from risk.scorer import Bundle, challenger_version, champion_version, load_bundle
from risk.state import snapshot
from risk.state.store import LogGap, MemoryStateStore
from risk.tariff import Tariff
from risk.transaction import Transaction
from risk.verdict import Fallback

NO_MODEL: Final = "none"
NO_TABLE: Final = "none"
RESTORE_BATCH: Final = 4_096


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
        policy: Policy = DEFAULT_POLICY,
        geo: IpTable | None = None,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Build an engine with an empty state and load the champion, if there is one.

        Args:
            bundle_dir: Where models are published; None scores nothing, rules decide.
            deadline_us: Budget of one assessment; after it a lower step of the ladder decides.
            fallback: Which: ``rules`` (rules and lists, then the policy's static table),
                ``open`` (let through) or ``closed`` (hold for review); `risk.verdict`.
            rules: Rule set; the default one if None.
            policy: What outcomes cost.
            geo: Where addresses are; None looks nothing up.
            clock_ns: A monotonic clock, for the deadline only.

        Raises:
            BundleRefused: the published model is not for this engine.
            TreesUnavailable: LightGBM's library can't be loaded.
        """
        self._bundle_dir = bundle_dir
        self._deadline_ns = deadline_us * 1_000
        self._fallback: Fallback = fallback
        self._clock_ns = clock_ns
        self._kit = Kit(rules=rules or default_rules(), tariff=Tariff(policy))
        self._swap = threading.Lock()
        self._challenger_seen: str | None = None
        self._geo = geo
        self._lock = threading.RLock()
        self._event = np.zeros(EVENT_WIDTH, dtype=np.int64)
        self._event_bytes = self._event.data.cast("B")
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
        return _version(self._kit.bundle)

    @property
    def challenger_version(self) -> str:
        """Version of the model that scores beside it, ``none`` without one."""
        return _version(self._kit.challenger)

    @property
    def rule_version(self) -> str:
        """Version of the rule set in use."""
        return self._kit.rules.version

    @property
    def policy_version(self) -> str:
        """Version of the policy in use."""
        return self._kit.tariff.version

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
            kit, store = self._kit, self._store
            course = Course(
                kit,
                clock_ns=self._clock_ns,
                deadline_ns=self._deadline_ns,
                fallback=self._fallback,
            )
            values, broken = write_attempt(
                transaction, now_us, self._next_seq, self._event_bytes, self._geo
            )
            if broken:
                course.note(f"context:{','.join(broken)}")
            self._next_seq += 1
            course.read_state(store, self._event)
            course.run_rules(self._vector, values)
            course.run_model(store.features)
            course.judge(values)
            return self._decision(transaction, values, kit, course)

    def _decision(
        self, transaction: Transaction, values: list[int], kit: Kit, course: Course
    ) -> Decision:
        store = self._store
        reasons = course.explain(store.features)
        elapsed_us = course.settle_us()
        shadow = course.shadow(store.features, self._vector, values, elapsed_us)
        return Decision(
            outcome=course.verdict.outcome,
            score=course.probability,
            score_raw=course.raw,
            reasons=reasons,
            rule_hits=tuple([rule.name for rule in course.hits]) if course.hits else (),
            features=store.features.tobytes(),
            presence=store.presence.tobytes(),
            missing=missing_families(values),
            feature_hash=FEATURE_HASH,
            model_version=_version(kit.bundle),
            rule_version=kit.rules.version,
            list_version=kit.rules.list_version,
            geo_version=self._geo.version if self._geo else NO_TABLE,
            policy_version=kit.tariff.version,
            category=course.category,
            costs=course.costs,
            step=course.step.value,
            engine_version=ENGINE_VERSION,
            key_seqs=store.key_seqs.tobytes(),
            degraded=course.degraded,
            fallback=self._fallback if course.fell_back else "",
            elapsed_us=elapsed_us,
            shadow=shadow,
            event=LogEvent(
                seq=values[0],
                kind=EventKind.ATTEMPT,
                at_us=values[2],
                trade_no=transaction.event_id,
                payload=self._event_bytes.tobytes(),
            ),
        )

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

    def use_rules(self, rules: RuleSet) -> None:
        """Run these rules from the next payment on."""
        with self._swap:
            self._kit = replace(self._kit, rules=rules)

    def use_policy(self, policy: Policy) -> None:
        """Decide by this policy from the next payment on."""
        tariff = Tariff(policy)
        with self._swap:
            self._kit = replace(self._kit, tariff=tariff)

    def refresh_model(self) -> bool:
        """Load the champion if it changed, and swap it in; True if it was swapped.

        Raises:
            BundleRefused: the new one is not for this engine; the old one stays in use.
            TreesUnavailable: LightGBM's library can't be loaded; the old one stays in use.
        """
        wanted = champion_version(self._bundle_dir) if self._bundle_dir else None
        if self._bundle_dir is None or wanted in {None, self.model_version}:
            return False
        bundle = load_bundle(self._bundle_dir, str(wanted))
        explain_ns = self._try_out(bundle)
        with self._swap:
            self._kit = replace(self._kit, bundle=bundle, explain_ns=explain_ns)
        return True

    def refresh_challenger(self) -> bool:
        """Load the challenger if another one is named, or drop it; True if anything changed.

        Raises:
            BundleRefused: the new one is not for this engine; nobody challenges then. It is not
                tried again until another is named.
            TreesUnavailable: LightGBM's library can't be loaded; likewise.
        """
        wanted = challenger_version(self._bundle_dir) if self._bundle_dir else None
        if self._bundle_dir is None or wanted == self._challenger_seen:
            return False
        self._challenger_seen = wanted
        self._challenge(None)
        if wanted is not None:
            bundle = load_bundle(self._bundle_dir, wanted)
            self._try_out(bundle)
            self._challenge(bundle)
        return True

    def _challenge(self, bundle: Bundle | None) -> None:
        with self._swap:
            self._kit = replace(self._kit, challenger=bundle)

    def _try_out(self, bundle: Bundle) -> int:
        """Use a model once before it may decide; return how long its reasons take, ns."""
        probe = np.zeros(len(FEATURE_NAMES))
        bundle.score(probe)
        bundle.contributions(probe)
        started_ns = self._clock_ns()
        bundle.contributions(probe)
        return self._clock_ns() - started_ns


def _version(bundle: Bundle | None) -> str:
    return bundle.meta.version if bundle else NO_MODEL
