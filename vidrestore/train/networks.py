"""Builds what a run trains: networks, their averages, optimisers, learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidrestore.errors import SettingsError, WeightsError, WeightsNotFoundError
from vidrestore.models.gpen import Gpen, load_gpen_state
from vidrestore.models.registry import RESTORERS, WeightsFile
from vidrestore.models.weights import UNREADABLE, WeightsStore, read_state
from vidrestore.train.config import ModelConfig, OptimiserConfig, Schedule, TrainConfig
from vidrestore.train.discriminator import Discriminator
from vidrestore.train.generator import TrainedGpen

_EMA_WARMUP = 10


@dataclass(slots=True)
class Learners:
    """Everything that a step changes."""

    generator: TrainedGpen
    average: Gpen
    """Exponential moving average of the generator: what is shown and exported."""
    discriminator: Discriminator
    generator_optimiser: torch.optim.Optimizer
    discriminator_optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    """Scales the loss for fp16; else it does nothing."""
    step: int = 0
    """Steps done."""
    num_pictures: int = 0
    """Pictures seen by all processes together."""
    seconds: float = 0.0
    """Time spent, interruptions left out."""


def build_learners(config: TrainConfig, device: torch.device) -> Learners:
    """Make the networks, from random or given weights, and their optimisers.

    Raises:
        SettingsError: ``init`` names no model.
        WeightsError: A file cannot be read or has other shapes than the config says.
    """
    torch.manual_seed(config.run.seed)
    network = build_network(config.model)
    judge = config.discriminator
    discriminator = Discriminator(
        judge.crop or config.model.size, judge.channel_multiplier, judge.narrow
    )
    if config.model.init is not None:
        load_gpen_state(network, read_weights(config.model.init))
    if config.model.init_discriminator is not None:
        _load_discriminator(discriminator, config.model.init_discriminator)
    average = build_network(config.model)
    average.load_state_dict(network.state_dict())
    average.requires_grad_(False)
    if config.model.freeze_decoder:
        network.generator.requires_grad_(False)
    for built in (network, average, discriminator):
        built.to(device)
    is_scaled = config.run.precision == "fp16"
    return Learners(
        generator=TrainedGpen(network),
        average=average,
        discriminator=discriminator,
        generator_optimiser=_generator_optimiser(network, config.optimiser),
        discriminator_optimiser=torch.optim.AdamW(
            [{"params": list(discriminator.parameters()), "factor": 1.0}],
            lr=config.optimiser.discriminator_rate,
            betas=config.optimiser.discriminator_betas,
            weight_decay=0.0,
            fused=True,
        ),
        scaler=torch.amp.GradScaler(device.type, enabled=is_scaled),
    )


def build_network(config: ModelConfig) -> Gpen:
    """Make a network with random weights."""
    return Gpen(
        config.size,
        style_dim=config.style_dim,
        n_mlp=config.n_mlp,
        channel_multiplier=config.channel_multiplier,
        narrow=config.narrow,
    )


def read_weights(name: str) -> dict[str, Tensor]:
    """Read weights by the name of a model, or from a file.

    Raises:
        SettingsError: Neither a known model nor the name of a file.
        WeightsError: The model is not installed, or the file cannot be read.
    """
    if name in RESTORERS:
        spec = RESTORERS[name]
        return read_state(WeightsStore().locate(spec), spec.weights)
    path = Path(name)
    if path.suffix.lower() not in {".pth", ".pt", ".safetensors"}:
        known = ", ".join(RESTORERS)
        raise SettingsError(f"init is '{name}': use a .pth, .pt or .safetensors file, or {known}")
    if not path.is_file():
        raise WeightsNotFoundError(f"the weights file {path} does not exist")
    unknown = WeightsFile(path.name, None, None, None, "your own file", True)
    return read_state(path, unknown, allow_unverified=True)  # opened as plain data in any case


def _load_discriminator(discriminator: Discriminator, path: Path) -> None:
    """Take over a published discriminator, or that of a training checkpoint (``d``)."""
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("d", state)
        discriminator.load_state_dict(state)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    except (*UNREADABLE, AttributeError, TypeError) as error:
        raise WeightsError(
            f"{path} does not hold a discriminator of this size: its size (or crop), "
            "channel_multiplier and narrow must be those of [discriminator]"
        ) from error


def _generator_optimiser(network: Gpen, config: OptimiserConfig) -> torch.optim.Optimizer:
    learning = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    groups = [
        {
            "params": [p for name, p in learning if is_slow(name) is slow],
            "factor": config.slow if slow else 1.0,
        }
        for slow in (False, True)
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.generator_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )


def is_slow(name: str) -> bool:
    """Say whether a parameter belongs to the style path, which learns at the slow rate."""
    return "modulation" in name or name.startswith(("final_linear.", "generator.style."))


def rate_factor(config: OptimiserConfig, step: int) -> float:
    """Return the factor on the learning rates at a step, counted from 0."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule is Schedule.CONSTANT:
        return 1.0
    length = max(1, config.steps - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / length)
    return config.final + (1 - config.final) * (1 + math.cos(math.pi * progress)) / 2


def set_rates(learners: Learners, config: OptimiserConfig) -> float:
    """Set the learning rates for the step to come; return the generator's full one."""
    factor = rate_factor(config, learners.step)
    pairs = (
        (learners.generator_optimiser, config.generator_rate),
        (learners.discriminator_optimiser, config.discriminator_rate),
    )
    for optimiser, rate in pairs:
        for group in optimiser.param_groups:
            group["lr"] = rate * factor * group["factor"]
    return config.generator_rate * factor


def update_average(average: Gpen, network: nn.Module, share: float, step: int) -> None:
    """Move the average towards the network; faster in the first steps, when it knows little."""
    share = min(share, (1 + step) / (_EMA_WARMUP + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - share)
