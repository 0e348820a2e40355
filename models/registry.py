"""Which models exist, how good each was, and which one decides: MLflow's registry, on SQLite.

MLflow is the record and stays off the hot path. Promotion moves the alias and then publishes a
bundle, by atomic rename, into the folder that the risk engine watches; the engine never opens
MLflow. The alias moves first, once the engine's own loader has accepted the
bundle: after a crash in between, promoting again ends in the same state.
"""

import hashlib
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from models.policy import Thresholds
from models.train import Calibration, TrainedModel
from risk.features.catalogue import FEATURE_HASH
from risk.scorer import (
    BundleMeta,
    challenge,
    challenger_version,
    load_bundle,
    publish,
    unchallenge,
    write_bundle,
)

EXPERIMENT: Final = "risk"
MODEL_NAME: Final = "yumen-risk"
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
ROC_AUC_MIN: Final = 0.55  # Below this a model is no better than guessing.
VERSIONS_MAX: Final = 1_000


class UnknownVersion(LookupError):
    """No model of that version was ever registered here."""


class NotPromotable(ValueError):
    """The model may not decide; the message says why. The champion stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """One model of the record, for lists and pages.

    Attributes:
        version: Name of its bundle, e.g. ``v3-1f0c88d2``.
        run_name: What it was trained on, in the words of whoever did.
        created_at_ms: When it was registered, Unix milliseconds.
        is_champion: Whether it decides now.
        metrics: As `models.evaluate.summary` and training recorded them.
    """

    version: str
    run_name: str
    created_at_ms: int
    is_champion: bool
    metrics: dict[str, float]


class Registry:
    """The models under one folder of embedded state.

    Tracking and registry live in ``var/mlflow.db``, artifacts in ``var/mlflow/``, published
    bundles in ``var/bundles/``. An MLflow server can open the same files.
    """

    def __init__(self, var: Path) -> None:
        self._var = var.resolve()
        self._var.mkdir(parents=True, exist_ok=True)
        self._opened: Any = None

    @property
    def bundle_dir(self) -> Path:
        """The folder that the risk engine reads."""
        return self._var / "bundles"

    def register(self, trained: TrainedModel, *, run_name: str) -> str:
        """Record a trained model with its figures and return its version; it doesn't decide yet."""
        with _quiet():
            client = self._client()
            run = client.create_run(self._experiment_id(), run_name=run_name)
            run_id = run.info.run_id
            for name, value in trained.parameters().items():
                client.log_param(run_id, name, value)
            for name, value in trained.metrics.items():
                client.log_metric(run_id, name, value)
            client.log_text(run_id, trained.model_text, "model/model.txt")
            client.log_dict(run_id, _terms(trained), "model/terms.json")
            client.set_terminated(run_id)
            self._ensure_model()
            number = client.create_model_version(
                MODEL_NAME, source=f"{run.info.artifact_uri}/model", run_id=run_id
            ).version
            version = f"v{number}-{_sha256(trained.model_text)[:8]}"
            client.set_model_version_tag(MODEL_NAME, number, "bundle", version)
        return version

    def promote(self, version: str) -> Path:
        """Make a registered model the champion and publish its bundle for the risk engine.

        Returns:
            The folder of the published bundle.

        Raises:
            UnknownVersion: nothing of that version is registered.
            NotPromotable: it was trained on other features than this release computes, or is no
                better than guessing.
            BundleRefused: the risk engine can't load it.
        """
        with _quiet():
            number, written = self._written(version)
            self._client().set_registered_model_alias(MODEL_NAME, CHAMPION, number)
            publish(self.bundle_dir, version)
        if challenger_version(self.bundle_dir) == version:
            self.unchallenge()
        return written

    def challenge(self, version: str) -> Path:
        """Let a registered model score beside the champion; it decides nothing.

        Returns:
            The folder of its bundle.

        Raises:
            UnknownVersion, NotPromotable, BundleRefused: as `promote`.
        """
        with _quiet():
            number, written = self._written(version)
            self._client().set_registered_model_alias(MODEL_NAME, CHALLENGER, number)
            challenge(self.bundle_dir, version)
        return written

    def unchallenge(self) -> None:
        """Let nobody score beside the champion."""
        with _quiet():
            unchallenge(self.bundle_dir)
            if CHALLENGER in self._aliases():
                self._client().delete_registered_model_alias(MODEL_NAME, CHALLENGER)

    def _written(self, version: str) -> tuple[str, Path]:
        """Write the bundle of a registered model that may decide; return its number and folder."""
        number, run_id = self._find(version)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(self._client().download_artifacts(run_id, "model", folder))
            model_text = (place / "model.txt").read_text(encoding="utf-8")
            terms = json.loads((place / "terms.json").read_text(encoding="utf-8"))
        meta = _meta(version, model_text, terms)
        _refuse_unfit(meta)
        written = write_bundle(self.bundle_dir, meta, model_text)
        load_bundle(self.bundle_dir, version)
        return number, written

    def champion(self) -> str | None:
        """Version of the model that decides, or None while there is none."""
        champions = [model.version for model in self.models() if model.is_champion]
        return champions[0] if champions else None

    def models(self) -> list[RegisteredModel]:
        """All registered models, newest first."""
        with _quiet():
            client = self._client()
            found = client.search_model_versions(
                f"name='{MODEL_NAME}'", max_results=VERSIONS_MAX, order_by=["version_number DESC"]
            )
            deciding = self._aliases().get(CHAMPION)
            return [self._described(model, deciding) for model in found]

    def _aliases(self) -> dict[str, str]:
        """Alias to version number; found on the model alone, not on its versions."""
        found = self._client().search_registered_models(f"name='{MODEL_NAME}'")
        return {
            alias: str(number) for model in found for alias, number in dict(model.aliases).items()
        }

    def _described(self, found: Any, deciding: str | None) -> RegisteredModel:  # noqa: ANN401
        # MLflow is not typed for us; its object becomes ours here and goes no further.
        run = self._client().get_run(found.run_id)
        return RegisteredModel(
            version=found.tags["bundle"],
            run_name=run.info.run_name,
            created_at_ms=int(found.creation_timestamp),
            is_champion=str(found.version) == deciding,
            metrics=dict(run.data.metrics),
        )

    def _find(self, version: str) -> tuple[str, str]:
        for found in self._client().search_model_versions(
            f"name='{MODEL_NAME}'", max_results=VERSIONS_MAX
        ):
            if found.tags.get("bundle") == version:
                return str(found.version), str(found.run_id)
        raise UnknownVersion(f"no registered model is called {version!r}")

    def _experiment_id(self) -> str:
        client = self._client()
        known = client.get_experiment_by_name(EXPERIMENT)
        if known is not None:
            return str(known.experiment_id)
        artifacts = (self._var / "mlflow").as_uri()
        return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))

    def _ensure_model(self) -> None:
        client = self._client()
        if not client.search_registered_models(f"name='{MODEL_NAME}'"):
            client.create_registered_model(MODEL_NAME)

    def _client(self) -> Any:  # noqa: ANN401
        # Any: MLflow's client; imported here because that alone takes seconds.
        if self._opened is None:
            # Written, not read, and before the import: MLflow would call home while importing.
            os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # noqa: TID251
            from mlflow import MlflowClient

            # Importing MLflow sets its own level, so ours comes after.
            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(logging.WARNING)
            uri = f"sqlite:///{self._var / 'mlflow.db'}"
            self._opened = MlflowClient(tracking_uri=uri, registry_uri=uri)
        return self._opened


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the deprecation warnings of MLflow's own code: they are not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _terms(trained: TrainedModel) -> dict[str, Any]:
    """Everything of a trained model but its trees, as JSON takes it."""
    return {
        "feature_names": list(trained.feature_names),
        "feature_hash": trained.feature_hash,
        "calibration": asdict(trained.calibration),
        "thresholds": asdict(trained.thresholds),
        "trained_at_us": trained.trained_at_us,
        "model_sha256": _sha256(trained.model_text),
        "metrics": trained.metrics,
    }


def _meta(version: str, model_text: str, terms: dict[str, Any]) -> BundleMeta:
    if _sha256(model_text) != terms["model_sha256"]:
        raise NotPromotable(f"the trees of {version} are not those that were registered")
    calibration = Calibration(
        x=tuple(terms["calibration"]["x"]), y=tuple(terms["calibration"]["y"])
    )
    thresholds = Thresholds(**terms["thresholds"])
    return BundleMeta(
        version=version,
        feature_hash=terms["feature_hash"],
        feature_names=tuple(terms["feature_names"]),
        calibration_x=calibration.x,
        calibration_y=calibration.y,
        challenge_at=thresholds.challenge_at,
        review_at=thresholds.review_at,
        decline_at=thresholds.decline_at,
        trained_at_us=terms["trained_at_us"],
        model_sha256=terms["model_sha256"],
        metrics=terms["metrics"],
    )


def _refuse_unfit(meta: BundleMeta) -> None:
    if meta.feature_hash != FEATURE_HASH:
        raise NotPromotable(
            f"{meta.version} was trained on features {meta.feature_hash}, "
            f"this release computes {FEATURE_HASH}"
        )
    roc_auc = meta.metrics["roc_auc"]
    if not roc_auc >= ROC_AUC_MIN:
        raise NotPromotable(f"{meta.version} has a ROC AUC of {roc_auc:.3f}: guessing has 0.5")
