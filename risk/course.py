"""One assessment under way: the stages in their order, each in its own net, inside one budget.

The budget is looked at between the stages. Whatever is late or fails is named, the next lower step
of the ladder (`risk.verdict`) decides, and nothing raises. Rules run even past the deadline: they
take microseconds, and what must hold must hold. Challenger and shadow rules come after the answer
is settled, use only what is left of the budget, and have no way to change it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from risk import reasons
from risk.decision import Reason, RiskOutcome, Shadow
from risk.features.event import IntVector
from risk.reasons import Floats
from risk.rules.source import Rule, RuleSet
from risk.scorer import Bundle
from risk.tariff import Tariff, Terms
from risk.verdict import Fallback, Step, Verdict, decide, decide_below, step_below

# What a fault in one stage may be: anything but a signal to stop the process.
FAULTS: Final = (Exception,)


class Store(Protocol):
    """What an assessment needs of the feature state."""

    features: Floats

    def step(self, event: IntVector) -> None:
        """Read and apply one event."""

    def forget_answer(self) -> None:
        """Say that nothing is known."""


class ScoreRefused(ArithmeticError):
    """A model gave something that is no probability."""


@dataclass(frozen=True, slots=True)
class Kit:
    """What an assessment works with; immutable, swapped as a whole.

    Attributes:
        rules: The rules that run.
        tariff: The policy that decides.
        bundle: The model that scores, if there is one.
        challenger: The model that scores beside it, if there is one.
        explain_ns: How long the shares of one score take, for the budget.
    """

    rules: RuleSet
    tariff: Tariff
    bundle: Bundle | None = None
    challenger: Bundle | None = None
    explain_ns: int = 0


class Course:
    """What is known of one payment so far, and what went wrong."""

    __slots__ = (
        "_clock_ns",
        "_deadline_ns",
        "_fallback",
        "_kit",
        "_started_ns",
        "_terms",
        "checked",
        "costs",
        "degraded",
        "fell_back",
        "hits",
        "probability",
        "raw",
        "rules_ran",
        "step",
        "verdict",
    )

    def __init__(
        self, kit: Kit, *, clock_ns: Callable[[], int], deadline_ns: int, fallback: Fallback
    ) -> None:
        self._kit = kit
        self._clock_ns = clock_ns
        self._deadline_ns = deadline_ns
        self._fallback: Fallback = fallback
        self._started_ns = clock_ns()
        self._terms: Terms | None = None
        self.checked = True
        self.costs: tuple[float, ...] = ()
        self.degraded = ""
        self.fell_back = False
        self.hits: tuple[Rule, ...] = ()
        self.probability = 0.0
        self.raw = 0.0
        self.rules_ran = False
        self.step = Step.FULL
        self.verdict = Verdict(RiskOutcome.REVIEW, ())

    @property
    def category(self) -> str:
        """The merchant's trade, if the policy was asked."""
        return self._terms.category if self._terms else ""

    def note(self, why: str) -> None:
        """Say what went wrong beside the decision; the full path goes on."""
        self.degraded = f"{self.degraded};{why}" if self.degraded else why

    def read_state(self, store: Store, event: IntVector) -> None:
        """Read the features and let the payment count."""
        try:
            store.step(event)
        except FAULTS as error:
            store.forget_answer()
            self._fall("fault:features", error)

    def run_rules(self, vector: memoryview, values: list[int]) -> None:
        """Run the rules; without features or after a fault, at least those that must hold."""
        if not self.fell_back:
            try:
                self.hits = self._kit.rules.hits(vector, values)
            except FAULTS as error:
                self._fall("fault:rules", error)
            else:
                self.rules_ran = True
        if not self.rules_ran:
            self._run_what_must_hold(values)
        self._look_at_the_clock()

    def run_model(self, features: Floats) -> None:
        """Score, if there is a model and time for it."""
        bundle = self._kit.bundle
        if bundle is None or self.fell_back:
            return
        try:
            probability, raw = bundle.score(features)
            if not 0.0 <= probability <= 1.0:
                raise ScoreRefused(f"{probability!r} is no probability")
        except FAULTS as error:
            self._fall("fault:model", error)
            return
        self._look_at_the_clock()
        if not self.fell_back:
            self.probability, self.raw = probability, raw

    def judge(self, values: list[int]) -> None:
        """Reach the verdict on the highest step that can."""
        if not self.fell_back:
            try:
                self.verdict = self._judge_full(values)
            except FAULTS as error:
                self.costs = ()
                self._fall("fault:policy", error)
            else:
                return
        self.step = step_below(self._fallback, rules_ran=self.rules_ran)
        static = RiskOutcome.REVIEW
        try:
            static = self._kit.tariff.static(values)
        except FAULTS as error:
            self.note(f"fault:static:{type(error).__name__}")
        try:
            self.verdict = decide_below(self.step, self.hits, static, checked=self.checked)
        except FAULTS as error:
            self.note(f"fault:ladder:{type(error).__name__}")

    def explain(self, features: Floats) -> tuple[Reason, ...]:
        """Return why the payment is not simply approved, and settle the answer."""
        if self.verdict.outcome is RiskOutcome.APPROVE:
            return reasons.ranked([], None, degraded=True) if self.fell_back else ()
        codes = [rule.reason for rule in self.verdict.rules]
        try:
            return reasons.ranked(codes, self._shares(features), degraded=self.fell_back)
        except FAULTS as error:
            self.note(f"reasons:{type(error).__name__}")
        return reasons.ranked([], None, degraded=self.fell_back)

    def settle_us(self) -> int:
        """Return how long it took until now; a full path that overran in the end says so."""
        left_ns = self._left_ns()
        if left_ns < 0 and not self.fell_back:
            self.note("late")
        return (self._deadline_ns - left_ns) // 1_000

    def shadow(
        self, features: Floats, vector: memoryview, values: list[int], settled_us: int
    ) -> Shadow | None:
        """Ask challenger and shadow rules what they would have said; never raises."""
        if self.fell_back:
            return None
        names: tuple[str, ...] = ()
        fault, version, outcome, probability, raw = "", "", "", 0.0, 0.0
        try:
            names = self._kit.rules.shadow_hits(vector, values)
        except FAULTS as error:
            fault = f"rules:{type(error).__name__}"
        challenger = self._kit.challenger
        if challenger is not None:
            try:
                if self._left_ns() < 0:
                    fault = "deadline"
                else:
                    probability, raw = challenger.score(features)
                    outcome = self._would_be(challenger, probability, values)
                    version = challenger.meta.version
            except FAULTS as error:
                fault = f"model:{type(error).__name__}"
                probability, raw = 0.0, 0.0
        if not (fault or names or version):
            return None
        return Shadow(
            rules=names,
            model_version=version,
            score=probability,
            score_raw=raw,
            outcome=outcome,
            fault=fault,
            elapsed_us=(self._deadline_ns - self._left_ns()) // 1_000 - settled_us,
        )

    def _shares(self, features: Floats) -> Floats | None:
        bundle = self._kit.bundle
        if bundle is None or self.fell_back:
            return None
        if self._left_ns() < self._kit.explain_ns:
            self.note("reasons:deadline")
            return None
        try:
            return bundle.contributions(features)
        except FAULTS as error:
            self.note(f"reasons:{type(error).__name__}")
        return None

    def _judge_full(self, values: list[int]) -> Verdict:
        tariff, bundle = self._kit.tariff, self._kit.bundle
        terms = self._terms = tariff.terms(values)
        if bundle is None:
            return decide(self.hits, RiskOutcome.APPROVE)
        amount_minor = tariff.amount_minor(values)
        scored, costs = terms.choose(self.probability, amount_minor, bundle.thresholds)
        self.costs = costs or ()
        return decide(self.hits, scored)

    def _would_be(self, challenger: Bundle, probability: float, values: list[int]) -> str:
        if not 0.0 <= probability <= 1.0:
            raise ScoreRefused(f"{probability!r} is no probability")
        tariff = self._kit.tariff
        amount_minor = tariff.amount_minor(values)
        scored, _ = tariff.terms(values).choose(probability, amount_minor, challenger.thresholds)
        return decide(self.hits, scored).outcome.value

    def _run_what_must_hold(self, values: list[int]) -> None:
        try:
            self.hits = self._kit.rules.must_hold(values)
        except FAULTS as error:
            self.checked = False
            self.note(f"fault:must_hold:{type(error).__name__}")

    def _look_at_the_clock(self) -> None:
        if self._left_ns() < 0 and not self.fell_back:
            self._fall("deadline")

    def _left_ns(self) -> int:
        return self._started_ns + self._deadline_ns - self._clock_ns()

    def _fall(self, why: str, error: Exception | None = None) -> None:
        why = why if error is None else f"{why}:{type(error).__name__}"
        self.degraded = f"{why};{self.degraded}" if self.degraded else why
        self.fell_back = True
