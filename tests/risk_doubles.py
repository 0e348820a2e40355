"""Parts of the risk engine that fail or dawdle on command, for the tests of its ladder."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from risk.decision import RiskOutcome
from risk.features.event import IntVector
from risk.policy import Thresholds
from risk.reasons import Floats
from risk.rules.source import Rule, RuleSet
from risk.scorer import BundleMeta
from risk.state.store import MemoryStateStore
from risk.tariff import Tariff, Terms


class Broken(RuntimeError):
    """What a failing part raises."""


@dataclass
class Time:
    """A monotonic clock that stands still until told to go on."""

    now_ns: int = 0

    def __call__(self) -> int:
        return self.now_ns

    def pass_ms(self, milliseconds: float) -> None:
        self.now_ns += int(milliseconds * 1e6)


@dataclass
class Trouble:
    """What happens to a part when it is used.

    Attributes:
        breaks: Whether it raises.
        takes_ms: How long it takes, on `time`.
    """

    time: Time
    breaks: bool = False
    takes_ms: float = 0.0

    def strike(self) -> None:
        self.time.pass_ms(self.takes_ms)
        if self.breaks:
            raise Broken("on purpose")


class TroubledStore(MemoryStateStore):
    """A feature store that can fail."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__()
        self.trouble = trouble

    def step(self, event: IntVector) -> None:
        super().step(event)
        self.trouble.strike()


class TroubledRules(RuleSet):
    """Rules that can fail, and shadow rules that say what they are told."""

    def __init__(
        self,
        rules: tuple[Rule, ...],
        trouble: Trouble,
        *,
        must: Trouble | None = None,
        shadow: Trouble | None = None,
        shadow_names: tuple[str, ...] = (),
    ) -> None:
        super().__init__(rules)
        self._trouble = trouble
        self._must = must or Trouble(trouble.time)
        self._shadow_trouble = shadow or Trouble(trouble.time)
        self._shadow_names = shadow_names

    def hits(self, features: Sequence[float], event: Sequence[int]) -> tuple[Rule, ...]:
        self._trouble.strike()
        return super().hits(features, event)

    def must_hold(self, event: Sequence[int]) -> tuple[Rule, ...]:
        self._must.strike()
        return super().must_hold(event)

    def shadow_hits(self, features: Sequence[float], event: Sequence[int]) -> tuple[str, ...]:
        self._shadow_trouble.strike()
        return self._shadow_names


@dataclass
class FixedModel:
    """A model with one opinion; stands in for a bundle."""

    probability: float
    scoring: Trouble
    explaining: Trouble
    version: str = "fixed"
    shares: dict[int, float] = field(default_factory=dict)
    thresholds: Thresholds = Thresholds(challenge_at=0.2, review_at=0.5, decline_at=0.8)  # noqa: RUF009 - frozen

    @property
    def meta(self) -> BundleMeta:
        return BundleMeta(
            version=self.version,
            feature_hash="",
            feature_names=(),
            calibration_x=(),
            calibration_y=(),
            challenge_at=0.2,
            review_at=0.5,
            decline_at=0.8,
            trained_at_us=0,
            model_sha256="",
        )

    def score(self, features: Floats) -> tuple[float, float]:
        self.scoring.strike()
        return self.probability, math.nan if math.isnan(self.probability) else self.probability / 2

    def contributions(self, features: Floats) -> Floats:
        self.explaining.strike()
        found = features * 0.0
        found[:] = 0.0
        for place, share in self.shares.items():
            found[place] = share
        return found


class TroubledTariff(Tariff):
    """A policy that can fail, on the full path and in its static table."""

    terms_trouble: Trouble
    static_trouble: Trouble

    def terms(self, values: list[int]) -> Terms:
        self.terms_trouble.strike()
        return super().terms(values)

    def static(self, values: list[int]) -> RiskOutcome:
        self.static_trouble.strike()
        return super().static(values)
