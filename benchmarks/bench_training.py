"""Times one training step by what is in it, all variants in turn, several rounds.

    python benchmarks/bench_training.py [--batch 4] [--rounds 5] [--json FILE]

Prints pictures a second (medians) and each variant's time over that of pixel losses alone.
Perceptual and identity loss need the extra ``train``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from vidrestore.report import describe_machine, describe_versions
from vidrestore.train.config import (
    Backbone,
    Content,
    DiscriminatorConfig,
    LossConfig,
    ModelConfig,
    OptimiserConfig,
    Precision,
    RunConfig,
    TrainConfig,
)
from vidrestore.train.networks import build_learners
from vidrestore.train.parallel import training_processes
from vidrestore.train.step import TrainingStep

PIXELS = LossConfig(content=Content.L1, gradient=0.5, adversarial=0.0, feature=0.0)
WITH_ALEX = replace(PIXELS, perceptual=Backbone.ALEX, perceptual_weight=0.15, perceptual_crop=128)
WITH_DISCRIMINATOR = replace(PIXELS, adversarial=0.01, feature=1.0, start_step=0, r1=0.0)
"""R1, every 16th step, left out: it would fall into some rounds alone."""


def variants(batch: int) -> Mapping[str, TrainConfig]:
    """Return the configs to compare, by name; the first is what the others are held against."""
    base = TrainConfig(
        model=ModelConfig(size=256, channel_multiplier=1, narrow=0.25),
        loss=PIXELS,
        optimiser=OptimiserConfig(batch_size=batch),
        discriminator=DiscriminatorConfig(channel_multiplier=1, narrow=0.25),
    )
    losses = {
        "AlexNet on a crop of 128": WITH_ALEX,
        "VGG on a crop of 128": replace(WITH_ALEX, perceptual=Backbone.VGG),
        "identity": replace(PIXELS, identity="dlib", identity_weight=0.5),
        "discriminator and its features": WITH_DISCRIMINATOR,
    }
    return {
        "pixel losses": base,
        "pixel losses, bf16": replace(base, run=RunConfig(precision=Precision.BF16)),
        **{f"… with {name}": replace(base, loss=loss) for name, loss in losses.items()},
    }


def main() -> None:
    """Time all variants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    shape = (arguments.batch, 3, 256, 256)
    damaged, clean = (torch.rand(shape) * 2 - 1 for _ in range(2))
    seconds: dict[str, list[float]] = {}
    with training_processes("cpu") as processes:
        steps = {
            name: TrainingStep(config, build_learners(config, processes.device), processes)
            for name, config in variants(arguments.batch).items()
        }
        for k in range(arguments.rounds + 1):
            for name, step in steps.items():
                begun = time.perf_counter()
                step.run(damaged, clean)
                if k:  # the first prepares
                    seconds.setdefault(name, []).append(time.perf_counter() - begun)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    base = next(iter(medians.values()))
    rows = {
        name: {"pictures_per_second": arguments.batch / median, "time_ratio": median / base}
        for name, median in medians.items()
    }
    for name, row in rows.items():
        print(f"{name:42} {row['pictures_per_second']:6.2f} /s  {row['time_ratio']:5.2f}")
    if arguments.json:
        facts = {"machine": describe_machine(), "versions": describe_versions(), "rows": rows}
        facts |= {"batch": arguments.batch, "threads": arguments.threads}
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
