"""Chooses, checks and loads the networks of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from vidrestore.contracts import FaceDetector, FaceRestorer, PictureModel
from vidrestore.errors import DeviceError, WeightsCorruptError
from vidrestore.models.choice import pick_detector, pick_restorer
from vidrestore.models.identity import DlibIdentity
from vidrestore.models.registry import DetectorSpec, RestorerSpec
from vidrestore.models.retinaface import build_detector
from vidrestore.models.weights import notice, read_state, sha256_of
from vidrestore.pipeline import Networks
from vidrestore.settings import DetectSettings, ModelSettings, RestoreSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChosenModels:
    """Which models a run uses, before anything is loaded."""

    restorer: RestorerSpec
    restorer_path: Path
    detector: DetectorSpec
    detector_path: Path
    choices: tuple[str, ...]
    """What was decided, one sentence each."""


def cache_dir() -> Path:
    """Return the folder for converted networks; it need not exist."""
    return platformdirs.user_cache_path("vidrestore", appauthor=False)


def choose_models(settings: ModelSettings) -> ChosenModels:
    """Decide on both models; fails at once if one is unknown or not installed.

    Raises:
        SettingsError: Unknown name.
        WeightsError: Not installed, or not readable.
    """
    restorer, restorer_path, why = pick_restorer(settings)
    detector, detector_path, why_detector = pick_detector(settings)
    choices = (f"model {why}", f"detector {why_detector}")
    return ChosenModels(restorer, restorer_path, detector, detector_path, choices)


@contextmanager
def loaded_restorer(
    chosen: ChosenModels, settings: ModelSettings, cache: Path | None = None
) -> Iterator[tuple[FaceRestorer, dict[str, Any], list[str]]]:
    """Check the restoring model's hash, read its weights, and build it on its device.

    Args:
        chosen: Which models.
        settings: Where they run.
        cache: Folder for converted networks; None takes the user's.

    Yields:
        The network, what the report says of it, and what was decided.

    Raises:
        WeightsError: The hash differs or the file does not fit; nothing of it was executed.
        DeviceError: The device, runtime or precision asked for cannot be had.
    """
    from vidrestore.models.restorers import build_restorer  # late: PyTorch takes seconds

    spec, path = chosen.restorer, chosen.restorer_path
    terms = notice(spec)
    if terms is not None:
        logger.warning("%s", terms)
    state = read_state(path, spec.weights, allow_unverified=settings.allow_unverified)
    digest = sha256_of(path)
    restorer, choices = build_restorer(
        spec,
        state,
        weights_sha256=digest,
        device=settings.device,
        runtime=settings.runtime,
        precision=settings.precision,
        cache_dir=cache or cache_dir(),
    )
    try:
        yield restorer, _facts(spec, digest, restorer.description), choices
    finally:
        restorer.close()


@contextmanager
def loaded_detector(
    chosen: ChosenModels,
    settings: ModelSettings,
    detect: DetectSettings,
    cache: Path | None = None,
) -> Iterator[tuple[FaceDetector, dict[str, Any], list[str]]]:
    """Do for the detector what ``loaded_restorer`` does for the restoring model."""
    spec = chosen.detector
    detector, choices = build_detector(
        spec,
        chosen.detector_path,
        device=settings.device,
        runtime=settings.runtime,
        threshold=detect.doubtful,  # what is not believed may still be worth a closer look
        cache_dir=cache or cache_dir(),
    )
    try:
        yield detector, _facts(spec, spec.weights.sha256, detector.description), choices
    finally:
        detector.close()


@contextmanager
def _optional_background(
    settings: RestoreSettings,
) -> Iterator[tuple[PictureModel | None, dict[str, Any], list[str]]]:
    """Load the user's network for whole pictures, if there is one."""
    path = settings.background.model
    if path is None:
        yield None, {}, []
        return
    from vidrestore.models.background import load_picture_model  # late: PyTorch takes seconds

    model = load_picture_model(path, device=settings.model.device)
    facts = {"name": path.name, "sha256": sha256_of(path), "runs_as": model.description}
    try:
        yield model, {"background": facts}, [f"background: {model.description}"]
    finally:
        model.close()


def load_embedder() -> tuple[DlibIdentity | None, str]:
    """Load what tells people apart, if it is installed.

    Returns:
        It, or None, and what was decided.
    """
    try:
        embedder = DlibIdentity.installed(cache_dir())
    except (WeightsCorruptError, DeviceError) as error:
        logger.warning("faces are told apart without an embedding: %s", error)
        return None, "identity by geometry and structure (the embedding installed is not usable)"
    if embedder is None:
        return None, "identity by geometry and structure (no embedding installed)"
    return embedder, f"identity by {embedder.description}"


@contextmanager
def loaded_networks(
    chosen: ChosenModels, settings: RestoreSettings, cache: Path | None = None
) -> Iterator[tuple[Networks, dict[str, Any], list[str]]]:
    """Load all networks; see ``loaded_restorer``."""
    embedder, why = load_embedder()
    with (
        _optional_background(settings) as (background, background_facts, background_choices),
        loaded_restorer(chosen, settings.model, cache) as (
            restorer,
            restorer_facts,
            restorer_choices,
        ),
        loaded_detector(chosen, settings.model, settings.detect, cache) as (
            detector,
            detector_facts,
            detector_choices,
        ),
    ):
        facts = {"restorer": restorer_facts, "detector": detector_facts}
        if embedder is not None:
            facts["embedder"] = {"name": embedder.description, "sha256": embedder.sha256}
        facts |= background_facts
        choices = [*restorer_choices, *detector_choices, *background_choices, why]
        yield Networks(detector, restorer, embedder, background), facts, choices


def _facts(
    spec: RestorerSpec | DetectorSpec, digest: str | None, description: str
) -> dict[str, Any]:
    return {
        "name": spec.name,
        "sha256": digest,
        "licence": spec.weights.licence,
        "runs_as": description,
    }
