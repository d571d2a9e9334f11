"""What the benchmark scripts share: one run, here or in a process of its own, and its results."""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

from safetensors.torch import save_file

from vidrestore import RestoreSettings, restore_video
from vidrestore.benchmark.rounds import preamble
from vidrestore.benchmark.ways import random_network
from vidrestore.models.registry import restorer_spec
from vidrestore.report import RestoreReport, plain
from vidrestore.settings import BlendSettings, ModelSettings

RESULTS = Path(__file__).parent / "results"
_NO_EMBEDDING = (None, "identity by geometry and structure (left so for the benchmark)")


def restored(film: Path, target: Path, settings: RestoreSettings) -> RestoreReport:
    """Restore a film, as after a plain installation: without the face embedding of an extra.

    The result is removed.
    """
    with patch("vidrestore.jobs.networks.load_embedder", lambda: _NO_EMBEDDING):
        report = restore_video(film, target, settings)
    target.unlink()
    return report


def restored_apart(film: Path, target: Path, settings: RestoreSettings) -> RestoreReport:
    """Do the same in a process of its own: its peak of memory is that of this run alone."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as pool:
        return pool.submit(restored, film, target, settings).result()


def with_random_weights(model: str, folder: Path, weights_dir: Path | None) -> RestoreSettings:
    """Write a network of a model's shape with random weights, and return settings that take it.

    No gate holds a face back: what such a network draws is no face.

    Args:
        model: A name of the registry.
        folder: Where the weights are written.
        weights_dir: Where the detector's are looked for first.
    """
    spec = restorer_spec(model)
    path = folder / f"{model}-random.safetensors"
    state = random_network(spec).state_dict()
    own = {name: tensor.clone() for name, tensor in state.items()}
    save_file(own, path, metadata={"template": str(spec.template)})
    return RestoreSettings(
        model=ModelSettings(name=str(path), weights_dir=weights_dir, allow_unverified=True),
        blend=BlendSettings(gates=False),
    )


def json_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Add ``--json``; given without a file it means the place of the committed results."""
    parser.add_argument("--json", type=Path, nargs="?", const=RESULTS / f"{name}.json")


def write_result(path: Path | None, what: str, result: Mapping[str, Any]) -> None:
    """Write a result with date, machine and versions, if a file is asked for."""
    if path is not None:
        content = plain({"what": what, **preamble(), **result})
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows that have the same columns."""
    heads = list(rows[0])
    cells = [heads, *([_cell(row[head]) for head in heads] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(f"{cell:>{wide}}" for cell, wide in zip(line, widths, strict=True)))


def _cell(value: Any) -> str:  # noqa: ANN401 - any plain value
    return f"{value:.3f}" if isinstance(value, float) else str(value)
