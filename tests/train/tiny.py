"""The smallest runs of training that still have every part."""

from pathlib import Path

import cv2
import numpy as np

from vidrestore.train.config import TrainConfig
from vidrestore.train.config_file import parse_config


def write_faces(folder: Path, count: int = 6, side: int = 32) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for k in range(count):
        small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        image = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(folder / f"face{k}.png"), image)
    return folder


def tiny_config(tmp_path: Path, **tables: dict[str, object]) -> TrainConfig:
    """Adversarial from the second step on; ``tables`` change single keys."""
    plain: dict[str, dict[str, object]] = {
        "model": {"size": 32, "narrow": 0.05, "style_dim": 16, "n_mlp": 2},
        "data": {"folder": str(tmp_path / "faces")},
        "degrade": {"tape": 0.0},
        "loss": {"gradient": 0.5, "adversarial": 0.1, "start_step": 1, "r1_every": 2},
        "optimiser": {"steps": 4, "batch_size": 2, "warmup_steps": 2, "ema": 0.9},
        "discriminator": {"narrow": 0.05},
        "run": {"folder": str(tmp_path / "run"), "device": "cpu", "log_every": 1, "threads": 1},
    }
    for name, table in tables.items():
        plain[name].update(table)
    return parse_config(plain)
