"""What this machine can do, and what stands in the way of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vidrestore.errors import OutputError, VidrestoreError
from vidrestore.jobs.networks import cache_dir, choose_models, load_embedder
from vidrestore.media.containers import CONTAINERS
from vidrestore.media.encoders import choose_encoder
from vidrestore.models.openvino_runtime import load_openvino
from vidrestore.models.weights import user_weights_dir
from vidrestore.report import describe_machine, describe_versions
from vidrestore.settings import EncodeSettings, ModelSettings, VideoCodec


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What ``vidrestore doctor`` shows."""

    machine: dict[str, Any]
    versions: dict[str, str]
    devices: dict[str, str]
    """What computes there: name to description."""
    encoders: dict[str, bool]
    """Codec to whether it opened."""
    models: tuple[str, ...]
    """Which models a run would take, and why; and how people are told apart."""
    folders: dict[str, Path]
    problems: tuple[str, ...]
    """What stands in the way of a run, one sentence each."""

    @property
    def is_able(self) -> bool:
        """A film can be restored here."""
        return not self.problems


def diagnose() -> Diagnosis:
    """Look at devices, encoders, versions and models; nothing is changed."""
    problems = []
    models: tuple[str, ...] = ()
    try:
        models = choose_models(ModelSettings()).choices
    except VidrestoreError as error:
        problems.append(str(error))
    encoders = {codec.value: _opens(codec) for codec in VideoCodec}
    if not encoders[EncodeSettings().codec]:
        problems.append(f"the default codec, {EncodeSettings().codec}, cannot be written here")
    return Diagnosis(
        machine=describe_machine(),
        versions=describe_versions(),
        devices=_devices(),
        encoders=encoders,
        models=(*models, load_embedder()[1]),
        folders={"weights": user_weights_dir(), "cache": cache_dir()},
        problems=tuple(problems),
    )


def _devices() -> dict[str, str]:
    core = load_openvino().Core()
    formats = ", ".join(
        name.lower()
        for name in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if name in ("FP32", "FP16", "BF16", "INT8")
    )
    devices = {"cpu": f"{core.get_property('CPU', 'FULL_DEVICE_NAME')} (OpenVINO: {formats})"}
    for k in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(k)
        devices[f"cuda:{k}"] = f"{facts.name}, {facts.total_memory / 2**30:.1f} GiB"
    return devices


def _opens(codec: VideoCodec) -> bool:
    try:
        choose_encoder(EncodeSettings(codec=codec), CONTAINERS[".mkv"])
    except OutputError:
        return False
    return True
