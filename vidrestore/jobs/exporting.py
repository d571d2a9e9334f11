"""A restoring model becomes a file for other programs."""

from __future__ import annotations

import json
from pathlib import Path

from vidrestore.errors import SettingsError
from vidrestore.media.target import claim_target
from vidrestore.models.choice import pick_restorer
from vidrestore.models.onnx_file import OnnxFile, export_onnx
from vidrestore.models.registry import landmark_template
from vidrestore.models.restorers import folded_network
from vidrestore.models.weights import notice, read_state, sha256_of
from vidrestore.settings import ModelSettings


def export_model(settings: ModelSettings, target: Path, *, overwrite: bool) -> tuple[OnnxFile, str]:
    """Write a restoring model as ONNX and check it against PyTorch.

    The file says whose weights it holds, under which licence, and where the landmarks lie in a
    crop, for aligned crops are all that it takes.

    Args:
        settings: Name the model.
        target: The file to be, ``.onnx``.
        overwrite: It may replace another.

    Returns:
        What was written, and the model's licence.

    Raises:
        SettingsError: Unknown model, or the target is called something else.
        WeightsError: The model is not installed or damaged.
        DeviceError: What the export needs is not installed.
        OutputError: The file cannot be written, or computes something else.
    """
    if target.suffix.lower() != ".onnx":
        raise SettingsError(f"the file is ONNX: call it {target.with_suffix('.onnx').name}")
    spec, weights, _ = pick_restorer(settings)
    claim_target(target, weights, overwrite=overwrite)
    state = read_state(weights, spec.weights, allow_unverified=settings.allow_unverified)
    template = landmark_template(spec.template, spec.size)
    facts = {
        "model": spec.name,
        "sha256": sha256_of(weights),
        "licence": notice(spec) or spec.weights.licence,
        "landmarks": json.dumps(template.tolist()),
    }
    return export_onnx(folded_network(spec, state), target, facts), spec.weights.licence
