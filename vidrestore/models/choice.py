"""Decides which model a run uses, and says why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vidrestore.errors import WeightsCorruptError, WeightsNotFoundError
from vidrestore.models.registry import (
    DETECTORS,
    RESTORERS,
    DetectorSpec,
    RestorerSpec,
    Template,
    WeightsFile,
    detector_spec,
    restorer_spec,
)
from vidrestore.models.weights import WeightsStore, is_data_only, read_state, sha256_of
from vidrestore.settings import ModelSettings

if TYPE_CHECKING:
    import torch

_Spec = TypeVar("_Spec", RestorerSpec, DetectorSpec)

_FILE_SUFFIXES = {".pth", ".pt", ".safetensors"}


def pick_restorer(settings: ModelSettings) -> tuple[RestorerSpec, Path, str]:
    """Choose the restoring model: by name, by file, or the best that is installed.

    Returns:
        The model, its weights file, and one sentence for the user.

    Raises:
        SettingsError: There is no model of that name.
        WeightsNotFoundError: It is not installed.
        WeightsError: A file of the user's own may not, or cannot, be read as a GPEN network.
    """
    store = WeightsStore(settings.weights_dir)
    if settings.name == "auto":
        return _best_installed(RESTORERS, store)
    if Path(settings.name).suffix.lower() in _FILE_SUFFIXES:
        return _from_file(Path(settings.name), allow_unverified=settings.allow_unverified)
    spec = restorer_spec(settings.name)
    return spec, store.locate(spec), f"{spec.name}: as asked"


def pick_detector(settings: ModelSettings) -> tuple[DetectorSpec, Path, str]:
    """Choose the detector: by name, or the best that is installed; see ``pick_restorer``."""
    store = WeightsStore(settings.weights_dir)
    if settings.detector == "auto":
        return _best_installed(DETECTORS, store)
    spec = detector_spec(settings.detector)
    return spec, store.locate(spec), f"{spec.name}: as asked"


def _best_installed(models: Mapping[str, _Spec], store: WeightsStore) -> tuple[_Spec, Path, str]:
    ranked = sorted((s for s in models.values() if s.rank > 0), key=lambda s: s.rank, reverse=True)
    missing: list[_Spec] = []
    for spec in ranked:
        if (path := store.find(spec)) is not None:
            reason = f"{spec.name}: the best model installed"
            if missing and isinstance(spec, RestorerSpec):
                reason += f" ('vidrestore weights fetch {missing[0].name}' gets a better one"
                reason += ")" if missing[0].weights.allows_commercial_use else ", non-commercial)"
            return spec, path, reason
        missing.append(spec)
    return ranked[-1], store.locate(ranked[-1]), ""  # raises: says how to install the simplest


def _from_file(path: Path, *, allow_unverified: bool) -> tuple[RestorerSpec, Path, str]:
    if not path.is_file():
        raise WeightsNotFoundError(f"the weights file {path} does not exist")
    digest = sha256_of(path)
    for spec in RESTORERS.values():
        if spec.weights.sha256 == digest:
            return spec, path, f"{spec.name}: {path} is its file"
    unknown = WeightsFile(path.name, None, path.stat().st_size, None, "your own file", True)
    state = read_state(path, unknown, allow_unverified=allow_unverified)
    spec = spec_for_file(path, state)
    return spec, path, f"{spec.name}: the network in {path}, {spec.template} template"


def spec_for_file(path: Path, state: Mapping[str, torch.Tensor]) -> RestorerSpec:
    """Describe a GPEN network by the shapes of its state dict (official names).

    Channels are 512·narrow up to 32 pixels and 256·multiplier·narrow at 64. Where the landmarks
    belong cannot be seen: a safetensors file may say it (metadata ``template``: gpen or ffhq),
    else the official template is taken.

    Raises:
        WeightsCorruptError: The names or shapes are not those of a GPEN network.
    """
    try:
        channels = state["generator.input.input"].shape[1]
        levels = 1 + sum(name.startswith("ecd") and name.endswith(".bias") for name in state)
        size = 2**levels
        style_dim = state["final_linear.0.weight"].shape[0]
        is_concat = state["generator.conv1.activate.bias"].shape[0] == 2 * channels
        at_64 = f"ecd{levels - 6}.0.1.weight" if size > 64 else "ecd0.0.0.weight"
        multiplier = round(2 * state[at_64].shape[0] / channels) if size >= 64 else 2
    except (LookupError, ZeroDivisionError) as error:
        raise WeightsCorruptError(f"{path} does not hold a GPEN network") from error
    if not is_concat or multiplier < 1:
        raise WeightsCorruptError(f"{path} holds a GPEN network of a kind that is not supported")
    return RestorerSpec(
        name=path.stem,
        weights=WeightsFile(
            name=path.name,
            sha256=sha256_of(path),
            num_bytes=path.stat().st_size,
            url=None,
            licence="your own file",
            allows_commercial_use=True,
        ),
        size=size,
        channel_multiplier=multiplier,
        narrow=channels / 512,
        template=_declared_template(path),
        rank=0,
        style_dim=style_dim,
        n_mlp=sum(
            name.startswith("generator.style.") and name.endswith(".weight") for name in state
        ),
    )


def _declared_template(path: Path) -> Template:
    if not is_data_only(path):
        return Template.GPEN
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        declared = (file.metadata() or {}).get("template", Template.GPEN)
    if declared not in set(Template):
        raise WeightsCorruptError(f"{path} names an unknown landmark template '{declared}'")
    return Template(declared)
