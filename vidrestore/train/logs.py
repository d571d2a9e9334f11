"""What a run leaves to look at: a table of its losses, and pictures."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from vidrestore.contracts import RGBImage
from vidrestore.errors import OutputError

COLUMNS = (
    "step", "pictures", "hours", "pictures_per_second", "learning_rate", "content", "gradient",
    "detail", "perceptual", "identity", "adversarial", "feature", "gradient_norm", "discriminator",
    "r1", "real_logits", "fake_logits",
)  # fmt: skip
"""Of the table; a loss that does not take part is left empty."""


class LossTable:
    """A CSV file, one row for each interval, losses averaged over it.

    Args:
        path: The file. Rows after ``step`` are dropped: a run that goes on writes them again.
        step: Last step that counts.

    Raises:
        OutputError: The file cannot be written.
    """

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        rows = []
        if step and path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if _is_row_until(step, row)]
        self._write(rows, "w")

    def add(self, losses: Mapping[str, float]) -> None:
        """Take the losses of a step."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Return the means since the last row."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}

    def close_row(self, facts: Mapping[str, float]) -> None:
        """Write a row of the means and ``facts``, and begin the next.

        Raises:
            OutputError: The file cannot be written.
        """
        row = {name: f"{value:.6g}" for name, value in {**self.means(), **facts}.items()}
        self._write([{**row, "step": str(int(facts["step"]))}], "a")
        self._sums.clear()
        self._counts.clear()

    def _write(self, rows: Sequence[Mapping[str, str]], mode: str) -> None:
        try:
            with self._path.open(mode, newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
                if mode == "w":
                    writer.writeheader()
                writer.writerows(rows)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}") from error


def _is_row_until(step: int, row: Mapping[str, Any]) -> bool:
    """Say whether a row counts; one that was half written does not."""
    try:
        return int(row["step"]) <= step
    except (TypeError, ValueError, KeyError):
        return False


def write_grid(path: Path, columns: Sequence[Tensor]) -> None:
    """Write pictures side by side: one row for each sample, one column for each kind.

    Args:
        path: A PNG file.
        columns: Each of shape (N, 3, S, S), RGB in [-1, 1].

    Raises:
        OutputError: The file cannot be written.
    """
    rows = torch.cat(list(columns), dim=3).float().cpu()  # (N, 3, S, columns·S)
    grid: RGBImage = np.concatenate(
        [((row.permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).byte().numpy() for row in rows]
    )
    is_encoded, png = cv2.imencode(".png", grid[..., ::-1])
    assert is_encoded
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png.tobytes())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
