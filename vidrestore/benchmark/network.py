"""Times a restoring network in every runtime, precision and batch against its official form."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from vidrestore.benchmark.official_form import OfficialForm
from vidrestore.benchmark.rounds import (
    Contender,
    OnRound,
    paired_ratio,
    preamble,
    quartiles,
    run_rounds,
)
from vidrestore.benchmark.ways import Way, WaysToCompute, load_network
from vidrestore.contracts import FaceRestorer, RGBImage
from vidrestore.errors import SettingsError
from vidrestore.models.crop_tensors import normalise_crops, quantise_pictures
from vidrestore.models.devices import choose_device
from vidrestore.models.gpen import Gpen
from vidrestore.settings import ModelSettings, Precision, Runtime

BATCHES = (1, 4)
"""Crops handed over at once."""
_LARGEST_PSNR_DB = 99.0
"""Stands for pictures that do not differ in a single sample."""


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """One way to compute the network; times are medians over the rounds, for one face."""

    runtime: str
    precision: str
    batch: int
    ms_per_face: float
    ms_per_face_p25: float
    ms_per_face_p75: float
    cpu_ms_per_face: float
    """Processor time of all cores together."""
    times_reference: float
    """How many times as fast as the reference: the median of the rounds' ratios."""
    times_reference_by_cpu: float
    """The same in processor time."""
    psnr_to_fp32_db: float | None
    """How near its pictures are to the reference's, in 8 bits, over all faces; 99 if equal. None if
    no faces were given."""


@dataclass(frozen=True, slots=True)
class NetworkBench:
    """What was measured of one network."""

    model: str
    has_random_weights: bool
    reference_ms: float
    """The official formulation, PyTorch fp32, one crop a call."""
    reference_cpu_ms: float
    rows: tuple[NetworkRow, ...]
    startup_seconds: Mapping[str, Mapping[str, float]]
    """By runtime and precision, to the first face: with nothing converted (``cold``), and again
    (``warm``)."""
    left_out: tuple[str, ...]
    """What cannot be had on this machine and why, one sentence each."""
    notes: tuple[str, ...]
    """What happened on the way, such as faces that had to be computed again in fp32."""
    num_rounds: int
    num_faces: int
    """Faces that the pictures were compared on; 0: none."""
    facts: Mapping[str, Any]
    """Date, machine and versions."""

    @property
    def best(self) -> NetworkRow:
        """The fastest row."""
        return min(self.rows, key=lambda row: row.ms_per_face)

    def to_plain(self) -> dict[str, Any]:
        """Return everything as plain data."""
        best = self.best
        return {
            "model": self.model,
            "reference_ms": self.reference_ms,
            "best_ms": best.ms_per_face,
            "best_runtime": best.runtime,
            "rows": [dataclasses.asdict(row) for row in self.rows],
            "best_precision": best.precision,
            "best_batch": best.batch,
            "random_weights": self.has_random_weights,
            "reference_cpu_ms": self.reference_cpu_ms,
            "startup_seconds": {k: dict(v) for k, v in self.startup_seconds.items()},
            "left_out": list(self.left_out),
            "notes": list(self.notes),
            "rounds": self.num_rounds,
            "faces_compared": self.num_faces,
            **self.facts,
        }


def bench_network(
    settings: ModelSettings,
    *,
    random_weights: bool = False,
    with_compilers: bool = False,
    num_rounds: int = 7,
    faces: Sequence[RGBImage] = (),
    on_round: OnRound | None = None,
) -> NetworkBench:
    """Time a network in turns with the official formulation of it, on the same device.

    Args:
        settings: The model, and where it runs. AUTO for runtime or precision takes all there are.
        random_weights: Draw the weights instead of reading them; the model is one of the registry.
        with_compilers: AUTO takes those runtimes too that compile for minutes.
        num_rounds: Each times every way once.
        faces: Square crops of aligned faces, brought to the model's size, to compare the pictures;
            none: the crops that are timed are noise, and nothing is compared.
        on_round: Called after each round.

    Raises:
        SettingsError: Unknown model, or less than one round.
        WeightsError: The model is not installed.
        DeviceError: What was asked for cannot be had.
    """
    if num_rounds < 1:
        raise SettingsError(f"rounds is {num_rounds}: use at least 1")
    spec, network, state = load_network(settings, random_weights=random_weights)
    faces = [_resized(face, spec.size) for face in faces]
    crops = [face for _, face in zip(range(max(BATCHES)), _endless(faces, spec.size), strict=False)]
    facts = preamble()
    # the same for all: on a machine with a card "auto" would put OpenVINO on the processor
    device = choose_device(settings.device, settings.runtime)
    settings = dataclasses.replace(settings, device=str(device))
    reference = _reference(network, device)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ways = WaysToCompute(spec, state, settings, folder, with_compilers=with_compilers)
        restorers = {
            way: stack.enter_context(closing(made)) for way, made in ways.restorers().items()
        }
        official = Contender(lambda: reference(crops[:1]))
        contenders = {
            (way, batch): Contender(_restoring(made, crops[:batch]), batch)
            for (way, made), batch in product(restorers.items(), BATCHES)
        }
        run_rounds([official, *contenders.values()], num_rounds, on_round)
        near = _compare(reference, restorers, faces)
        notes = [
            f"{runtime} {precision}: {note}"
            for (runtime, precision), made in restorers.items()
            for note in made.notes
        ]
    _, reference_ms, _ = quartiles(official.wall_ms)
    _, reference_cpu_ms, _ = quartiles(official.cpu_ms)
    return NetworkBench(
        model=spec.name,
        has_random_weights=random_weights,
        reference_ms=round(reference_ms, 2),
        reference_cpu_ms=round(reference_cpu_ms, 2),
        rows=tuple(
            _row(*way, batch, contender, official, near.get(way))
            for (way, batch), contender in contenders.items()
        ),
        startup_seconds=ways.startup_seconds,
        left_out=tuple(ways.left_out),
        notes=tuple(notes),
        num_rounds=num_rounds,
        num_faces=len(faces),
        facts=facts,
    )


def _reference(
    network: Gpen, device: torch.device
) -> Callable[[Sequence[RGBImage]], list[RGBImage]]:
    """Return the official formulation, from crops to crops as a restorer is."""
    official = OfficialForm(network.to(device))

    def run(crops: Sequence[RGBImage]) -> list[RGBImage]:
        with torch.inference_mode():
            rows = torch.from_numpy(np.stack(crops)).to(device)
            return list(quantise_pictures(official(normalise_crops(rows))).cpu().numpy())

    return run


def _resized(face: RGBImage, size: int) -> RGBImage:
    if len(face) == size:
        return face
    kind = cv2.INTER_AREA if len(face) > size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(face, (size, size), interpolation=kind), np.uint8)


def _endless(faces: Sequence[RGBImage], size: int) -> Iterator[RGBImage]:
    """Yield the faces over and over; noise if there are none."""
    rng = np.random.default_rng(0)
    while True:
        yield from faces or (rng.integers(0, 256, (size, size, 3), dtype=np.uint8),)


def _restoring(restorer: FaceRestorer, crops: Sequence[RGBImage]) -> Callable[[], list[RGBImage]]:
    """Return what restores crops that are handed over at once."""
    step = restorer.batch_size
    parts = [crops[k : k + step] for k in range(0, len(crops), step)]

    def run() -> list[RGBImage]:
        under_way = [restorer.submit(part) for part in parts]
        return [crop for pending in under_way for crop in pending.result()]

    return run


def _compare(
    reference: Callable[[Sequence[RGBImage]], list[RGBImage]],
    restorers: Mapping[Way, FaceRestorer],
    faces: Sequence[RGBImage],
) -> dict[Way, float]:
    """Return how near each comes to the reference: the PSNR in dB over all faces together."""
    if not faces:
        return {}
    expected = np.stack([reference([face])[0] for face in faces]).astype(np.float32)
    near = {}
    for way, restorer in restorers.items():
        error = np.stack(_restoring(restorer, faces)()) - expected
        mean_square = max(float(np.square(error).mean()), 1e-12)
        psnr = float(20 * np.log10(255) - 10 * np.log10(mean_square))
        near[way] = round(min(psnr, _LARGEST_PSNR_DB), 2)
    return near


def _row(
    runtime: Runtime,
    precision: Precision,
    batch: int,
    contender: Contender,
    official: Contender,
    psnr_db: float | None,
) -> NetworkRow:
    low, median, high = quartiles(contender.wall_ms)
    _, cpu, _ = quartiles(contender.cpu_ms)
    return NetworkRow(
        runtime=str(runtime),
        precision=str(precision),
        batch=batch,
        ms_per_face=round(median, 2),
        ms_per_face_p25=round(low, 2),
        ms_per_face_p75=round(high, 2),
        cpu_ms_per_face=round(cpu, 2),
        times_reference=round(paired_ratio(official.wall_ms, contender.wall_ms), 2),
        times_reference_by_cpu=round(paired_ratio(official.cpu_ms, contender.cpu_ms), 2),
        psnr_to_fp32_db=psnr_db,
    )
