"""A model bundle: what training publishes and the engine loads, verified by name and hash.

``<dir>/<version>/model.txt`` holds the trees, ``bundle.json`` beside it everything else;
``<dir>/champion.json`` names the version in use and changes by atomic rename, so a reader sees
the old one or the new one and never half of either. ``challenger.json`` names, in the same way,
a version that scores beside the champion and decides nothing.
"""

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from risk.features.catalogue import FEATURE_HASH, FEATURE_NAMES
from risk.policy import Thresholds
from risk.shapley import Explainer
from risk.trees import Trees, TreesRefused

MODEL_FILE: Final = "model.txt"
META_FILE: Final = "bundle.json"
CHAMPION_FILE: Final = "champion.json"
CHALLENGER_FILE: Final = "challenger.json"
_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class BundleRefused(ValueError):
    """A bundle is not what it says, or not for this engine; the message names what differs."""

    def __init__(self, version: str, problem: str) -> None:
        super().__init__(f"bundle {version!r} refused: {problem}")
        self.version = version
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleMeta:
    """All of a bundle but its trees.

    Attributes:
        version: Its name.
        feature_hash: Catalogue it was trained under.
        feature_names: In the order of the model's columns.
        calibration_x: Model outputs, rising.
        calibration_y: Probability of fraud at each, not falling.
        challenge_at: Calibrated probability from which to challenge.
        review_at: The same for a review.
        decline_at: The same for a refusal.
        trained_at_us: When, Unix microseconds.
        model_sha256: Of ``model.txt``, hexadecimal.
        metrics: What evaluation said.
    """

    version: str
    feature_hash: str
    feature_names: tuple[str, ...]
    calibration_x: tuple[float, ...]
    calibration_y: tuple[float, ...]
    challenge_at: float
    review_at: float
    decline_at: float
    trained_at_us: int
    model_sha256: str
    metrics: dict[str, float] = field(default_factory=dict)


class Bundle:
    """A verified model, ready to score one payment at a time."""

    def __init__(self, meta: BundleMeta, model_text: str) -> None:
        """Load the trees.

        Raises:
            BundleRefused: LightGBM refuses them, or they want another number of features.
            TreesUnavailable: LightGBM itself can't be loaded.
        """
        self.meta = meta
        self.thresholds = Thresholds(
            challenge_at=meta.challenge_at,
            review_at=meta.review_at,
            decline_at=meta.decline_at,
        )
        try:
            self.trees = Trees(model_text)
        except TreesRefused as error:
            raise BundleRefused(meta.version, f"LightGBM says: {error}") from error
        wanted, found = len(meta.feature_names), self.trees.feature_count
        if wanted != found:
            raise BundleRefused(meta.version, f"{found} model columns for {wanted} features")
        try:
            self.explainer = Explainer(model_text)
        except ValueError as error:
            raise BundleRefused(meta.version, str(error)) from error

    def score(self, features: npt.NDArray[np.float64]) -> tuple[float, float]:
        """Return (calibrated probability of fraud, the model's own output)."""
        raw = self.trees.predict(features)
        return self.calibrate(raw), raw

    def calibrate(self, raw: float) -> float:
        """Return the piecewise linear calibration at `raw`, flat beyond its ends."""
        return calibrate(self.meta.calibration_x, self.meta.calibration_y, raw)

    def contributions(self, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return each feature's exact Shapley share in the log-odds, shape ``(F,)``."""
        return self.explainer.contributions(features)


def calibrate(x: tuple[float, ...], y: tuple[float, ...], raw: float) -> float:
    """Interpolate linearly, with ``+ - * /`` alone so that replay gives the same bits.

    Examples:
        >>> calibrate((0.0, 0.5, 1.0), (0.0, 0.1, 1.0), 0.75)
        0.55
        >>> calibrate((0.2, 0.5), (0.0, 0.1), 0.9)
        0.1
    """
    if raw <= x[0]:
        return y[0]
    if raw >= x[-1]:
        return y[-1]
    low, high = 0, len(x) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if x[middle] <= raw:
            low = middle
        else:
            high = middle
    part = (raw - x[low]) / (x[high] - x[low])
    return y[low] + part * (y[high] - y[low])


def write_bundle(bundle_dir: Path, meta: BundleMeta, model_text: str) -> Path:
    """Write ``<bundle_dir>/<version>/`` and return it; the bundle is not in use until `publish`.

    Raises:
        BundleRefused: the version is no file name, the calibration or the thresholds make no
            sense, or the model text has another hash than the meta says.
    """
    _check_meta(meta)
    _check_text(meta, model_text)
    folder = bundle_dir / meta.version
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / MODEL_FILE, model_text.encode())
    _replace(folder / META_FILE, json.dumps(asdict(meta), indent=1).encode())
    return folder


def publish(bundle_dir: Path, version: str) -> None:
    """Make `version` the champion, by atomic rename.

    Raises:
        BundleRefused: it can't be loaded by this engine.
    """
    load_bundle(bundle_dir, version)
    _replace(bundle_dir / CHAMPION_FILE, json.dumps({"version": version}).encode())


def challenge(bundle_dir: Path, version: str) -> None:
    """Let `version` score beside the champion, by atomic rename.

    Raises:
        BundleRefused: it can't be loaded by this engine.
    """
    load_bundle(bundle_dir, version)
    _replace(bundle_dir / CHALLENGER_FILE, json.dumps({"version": version}).encode())


def unchallenge(bundle_dir: Path) -> None:
    """Let nobody score beside the champion."""
    (bundle_dir / CHALLENGER_FILE).unlink(missing_ok=True)


def champion_version(bundle_dir: Path) -> str | None:
    """Return the version in use, or None if none was ever published.

    Raises:
        BundleRefused: the pointer is damaged.
    """
    return _pointed(bundle_dir / CHAMPION_FILE)


def challenger_version(bundle_dir: Path) -> str | None:
    """Return the version that scores beside the champion, or None.

    Raises:
        BundleRefused: the pointer is damaged.
    """
    return _pointed(bundle_dir / CHALLENGER_FILE)


def _pointed(path: Path) -> str | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        version = json.loads(data)["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleRefused("?", f"{path.name} is damaged") from error
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise BundleRefused(str(version), "not a version")
    return version


def load_champion(bundle_dir: Path) -> Bundle | None:
    """Load the bundle in use, or None if there is none.

    Raises:
        BundleRefused: it is damaged or not for this engine.
        TreesUnavailable: LightGBM can't be loaded.
    """
    version = champion_version(bundle_dir)
    return None if version is None else load_bundle(bundle_dir, version)


def load_bundle(bundle_dir: Path, version: str) -> Bundle:
    """Load one version, verified.

    Raises:
        BundleRefused: it is missing, damaged or not for this engine.
        TreesUnavailable: LightGBM can't be loaded.
    """
    folder = bundle_dir / version
    try:
        data = json.loads((folder / META_FILE).read_bytes())
        model_text = (folder / MODEL_FILE).read_bytes().decode()
        meta = _meta_of(data)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BundleRefused(version, f"can't be read: {error}") from error
    if meta.version != version:
        raise BundleRefused(version, f"it says it is {meta.version!r}")
    _check_meta(meta)
    _check_text(meta, model_text)
    if meta.feature_hash != FEATURE_HASH:
        raise BundleRefused(
            version,
            f"trained for features {meta.feature_hash}, this engine has {FEATURE_HASH}"
            f"{_difference(meta.feature_names)}",
        )
    if meta.feature_names != FEATURE_NAMES:
        raise BundleRefused(version, f"other features{_difference(meta.feature_names)}")
    return Bundle(meta, model_text)


def _difference(names: tuple[str, ...]) -> str:
    absent = sorted(set(FEATURE_NAMES) - set(names))
    extra = sorted(set(names) - set(FEATURE_NAMES))
    lacks = f"; it lacks {', '.join(absent[:3])}" if absent else ""
    return lacks + (f"; it has {', '.join(extra[:3])} too many" if extra else "")


def _meta_of(data: dict[str, object]) -> BundleMeta:
    known = {item.name for item in fields(BundleMeta)}
    values = {name: value for name, value in data.items() if name in known}
    for name in ("feature_names", "calibration_x", "calibration_y"):
        values[name] = tuple(values[name])  # type: ignore[arg-type]  # a JSON list, or it raises
    return BundleMeta(**values)  # type: ignore[arg-type]  # checked by _check_meta


def _check_meta(meta: BundleMeta) -> None:
    x, y = meta.calibration_x, meta.calibration_y
    if not _VERSION.fullmatch(meta.version):
        raise BundleRefused(meta.version, "the version must be letters, digits, . _ -")
    rising = all(left < right for left, right in pairwise(x))
    steady = all(left <= right for left, right in pairwise(y))
    if len(x) != len(y) or not x or not rising or not steady:
        raise BundleRefused(meta.version, "the calibration is not a rising curve")
    if not all(0.0 <= value <= 1.0 for value in y):
        raise BundleRefused(meta.version, "the calibration leaves 0 to 1")
    if not 0.0 <= meta.challenge_at <= meta.review_at <= meta.decline_at:
        raise BundleRefused(meta.version, "thresholds must rise: challenge, review, decline")


def _check_text(meta: BundleMeta, model_text: str) -> None:
    found = hashlib.sha256(model_text.encode()).hexdigest()
    if found != meta.model_sha256:
        raise BundleRefused(
            meta.version, f"model.txt has SHA-256 {found[:12]}…, not {meta.model_sha256[:12]}…"
        )


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
