"""Writes and reads the state of a run, so that it goes on as if it had never stopped.

A checkpoint holds the names that GPEN's own training uses (``g``, ``d``, ``g_ema``, ``g_optim``,
``d_optim``), so that the program can restore films with it, and more that an exact resume needs.
Everything in it is plain data. The pictures' random numbers follow from the seed and the number of
pictures seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from vidrestore.errors import OutputError, WeightsError
from vidrestore.models.gpen import Gpen
from vidrestore.models.registry import Template
from vidrestore.models.weights import UNREADABLE
from vidrestore.train.config import TrainConfig
from vidrestore.train.config_file import as_tables
from vidrestore.train.networks import Learners

LATEST = "latest.pt"
MODEL = "model.safetensors"
_FORMAT = 1


def checkpoint_name(step: int) -> str:
    """Return the name of a checkpoint that is kept."""
    return f"step-{step:08}.pt"


def save_checkpoint(path: Path, learners: Learners, config: TrainConfig) -> None:
    """Write the state; the file is either the old one or the new one, never half of it.

    Raises:
        OutputError: It cannot be written.
    """
    state = {
        "format": _FORMAT,
        "config": as_tables(config),
        "step": learners.step,
        "num_pictures": learners.num_pictures,
        "seconds": learners.seconds,
        "g": learners.generator.network.state_dict(),
        "g_ema": learners.average.state_dict(),
        "d": learners.discriminator.state_dict(),
        "g_optim": learners.generator_optimiser.state_dict(),
        "d_optim": learners.discriminator_optimiser.state_dict(),
        "scaler": learners.scaler.state_dict(),
        "torch_rng": torch.get_rng_state(),
    }
    _write(path, lambda draft: torch.save(state, draft))


def remove_run(folder: Path) -> None:
    """Remove what a run could be taken up from, and its model.

    Raises:
        OutputError: A file cannot be removed.
    """
    try:
        for path in (folder / LATEST, folder / MODEL, *folder.glob("step-*.pt")):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot remove {error.filename}: {error.strerror}") from error


def load_checkpoint(path: Path, learners: Learners, config: TrainConfig) -> None:
    """Put the state of a run into freshly built networks and optimisers.

    The config may differ from the run's so far in all but the networks' shapes.

    Raises:
        WeightsError: The file is missing, damaged, no checkpoint, or of other networks.
    """
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, *UNREADABLE) as error:
        raise WeightsError(f"cannot read the checkpoint {path}: {error}") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise WeightsError(f"{path} is no checkpoint of vidrestore train: use it as init instead")
    try:
        _check_shapes(path, state["config"], as_tables(config))
        learners.generator.network.load_state_dict(state["g"])
        learners.average.load_state_dict(state["g_ema"])
        learners.discriminator.load_state_dict(state["d"])
        _restore(learners.generator_optimiser, state["g_optim"])
        _restore(learners.discriminator_optimiser, state["d_optim"])
        if state["scaler"]:  # empty where the run so far was not in fp16
            learners.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["torch_rng"])
        learners.step = int(state["step"])
        learners.num_pictures = int(state["num_pictures"])
        learners.seconds = float(state["seconds"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise WeightsError(f"the checkpoint {path} is damaged: {error}") from error


def export_model(path: Path, average: Gpen, template: Template) -> None:
    """Write the averaged generator as the program loads it: safetensors, half precision.

    Raises:
        OutputError: It cannot be written.
    """
    state = {
        name: value.detach().to("cpu", torch.float16).contiguous()
        for name, value in average.state_dict().items()
        if not name.endswith(".kernel")
    }
    packed = save(state, metadata={"template": str(template)})
    _write(path, lambda draft: draft.write_bytes(packed))


def _restore(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take over the moments, but keep rates, betas and the like of the config."""
    options = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimiser.param_groups
    ]
    optimiser.load_state_dict(state)
    for group, kept in zip(optimiser.param_groups, options, strict=True):
        group.update(kept)


def _check_shapes(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for table, keys in _SHAPES.items():
        for key in keys:
            if before[table].get(key) != now[table].get(key):
                raise WeightsError(
                    f"the checkpoint {path} has [{table}] {key} = {before[table].get(key)}, the "
                    f"config {now[table].get(key)}: a run goes on with the same networks only"
                )


_SHAPES = {
    "model": ("size", "channel_multiplier", "narrow", "style_dim", "n_mlp", "freeze_decoder"),
    "discriminator": ("channel_multiplier", "narrow", "crop"),
}


def _write(path: Path, write: Callable[[Path], object]) -> None:
    draft = path.with_name(f".{path.name}.part")
    try:
        write(draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        draft.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error}") from error
