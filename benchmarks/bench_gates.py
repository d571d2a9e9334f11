"""Shows what the gates see of faces that are clean, soft, degraded, blurred, covered or another's.

    python benchmarks/bench_gates.py --faces DIR [--count 124] [--json FILE]

Each picture is degraded twice with the same parameters and other noise, as two frames of a film
are; so the noise is measured as in a film. Printed: quantiles of each measure, the mean opening of
its gate, and, by bins of the gain, how often the restored picture is nearer to the clean one than
the film's (ST-LPIPS, if stlpips-pytorch is installed).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidrestore.contracts import FaceRestorer, RGBImage
from vidrestore.core.compositing import FaceMask, feathered_mask
from vidrestore.core.gates import GATES, measure_pictures
from vidrestore.core.texture import Texture, TextureFilter
from vidrestore.evaluate.perceptual import ShiftTolerantLpips
from vidrestore.jobs.networks import choose_models, loaded_restorer
from vidrestore.report import describe_machine
from vidrestore.settings import ModelSettings
from vidrestore.train.degrade import degrade_clip

_BLURS = (4, 8, 12, 16)
_BINS = (0.0, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5, 2.0, 9.0)
_JUDGED = ("clean", "half size", "blind", "tape")


@dataclasses.dataclass(frozen=True)
class Case:
    """One picture, and what the gates measure of it."""

    kind: str
    film: RGBImage
    restored: RGBImage
    clean: RGBImage
    measures: dict[str, float]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=Path, required=True, help="aligned pictures, 256 px")
    parser.add_argument("--count", type=int, default=124)
    parser.add_argument("--model", default="auto")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    paths = sorted(p for p in arguments.faces.iterdir() if p.suffix in {".webp", ".png", ".jpg"})
    paths = paths[:: max(1, len(paths) // arguments.count)][: arguments.count]
    faces = [np.asarray(cv2.imread(str(p), cv2.IMREAD_COLOR_RGB), np.uint8) for p in paths]
    settings = ModelSettings(name=arguments.model)
    chosen = choose_models(settings)
    with loaded_restorer(chosen, settings) as (restorer, facts, _):
        cases = list(_cases(faces, restorer))
    result = {"machine": describe_machine(), "model": facts, "num_faces": len(faces)}
    result |= {"measures": _quantiles(cases), "benefit": _benefit(cases)}
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _cases(faces: list[RGBImage], restorer: FaceRestorer) -> Iterator[Case]:
    mask = FaceMask.of(feathered_mask(restorer.template, restorer.size))
    left, top, right, bottom = mask.box
    box = np.s_[top:bottom, left:right]
    weights = np.ascontiguousarray(mask.weights[box])
    links = TextureFilter((bottom - top, right - left))
    for number, clean in enumerate(faces):
        for kind, pair in _pairs(clean, number).items():
            (restored,) = restorer.submit(pair[:1]).result()
            if kind == "another's":
                restored = faces[(number + 7) % len(faces)]
            first, second = (Texture.of(image[box], restored[box]) for image in pair)
            links.link(second, first)
            found = measure_pictures(first.film, first.restored, first.noise, weights)
            names = ("structure", "gain", "agreement", "likeness")
            yield Case(kind, pair[0], restored, clean, dict(zip(names, found, strict=True)))


def _pairs(clean: RGBImage, seed: int) -> dict[str, list[RGBImage]]:
    """Return two frames of each kind."""
    rng = np.random.default_rng(seed)
    half = cv2.resize(clean, (128, 128), interpolation=cv2.INTER_AREA)
    soft = np.asarray(cv2.resize(half, (256, 256), interpolation=cv2.INTER_CUBIC), np.uint8)
    covered = clean.copy()
    middle = (int(rng.integers(90, 166)), int(rng.integers(120, 210)))
    axes = (int(rng.integers(20, 40)), int(rng.integers(30, 70)))
    colour = [int(value) for value in rng.integers(20, 220, 3)]
    cv2.ellipse(covered, middle, axes, int(rng.integers(0, 180)), 0, 360, colour, -1)
    pairs = {"clean": [clean, clean], "half size": _noisy(soft, 2, rng)}
    for family in ("blind", "tape"):
        pairs[family] = degrade_clip([clean, clean], family, seed)
    for sigma in _BLURS:
        blurred = np.asarray(cv2.GaussianBlur(clean, (0, 0), sigma), np.uint8)
        pairs[f"blur {sigma}"] = _noisy(blurred, 3, rng)
    pairs["covered"] = degrade_clip([covered, covered], "tape", seed)
    pairs["another's"] = pairs["tape"]
    return pairs


def _noisy(image: RGBImage, sigma: float, rng: np.random.Generator) -> list[RGBImage]:
    noise = rng.normal(scale=sigma, size=(2, *image.shape))
    return [np.clip(np.rint(image + n), 0, 255).astype(np.uint8) for n in noise]


def _quantiles(cases: list[Case]) -> list[dict[str, Any]]:
    rows = []
    for kind in dict.fromkeys(case.kind for case in cases):
        of_kind = [case.measures for case in cases if case.kind == kind]
        for name in of_kind[0]:
            values = np.array([measures[name] for measures in of_kind])
            low, middle, high = np.nanpercentile(values, [5, 50, 95]).round(3).tolist()
            opening = round(float(GATES[name](values).mean()), 3)
            rows.append({"kind": kind, "measure": name, "p5": low, "p50": middle, "p95": high,
                         "gate": opening})  # fmt: skip
            print(f"{kind:10} {name:10} {low:8.2f} {middle:8.2f} {high:8.2f}   gate {opening:.2f}")
    return rows


def _benefit(cases: list[Case]) -> list[dict[str, Any]]:
    lpips = ShiftTolerantLpips.installed()
    if lpips is None:
        print("stlpips-pytorch is not installed: nothing judges whether a face is nearer to clean")
        return []
    gains, better = [], []
    for case in cases:
        if case.kind in _JUDGED:
            layers = [lpips.layers(image) for image in (case.clean, case.film, case.restored)]
            gains.append(case.measures["gain"])
            better.append(
                lpips.distance(layers[2], layers[0]) < lpips.distance(layers[1], layers[0])
            )
    rows = []
    for low, high in pairwise(_BINS):
        inside = [b for g, b in zip(gains, better, strict=True) if low <= g < high]
        if inside:
            share = round(float(np.mean(inside)), 3)
            rows.append({"from": low, "to": high, "count": len(inside), "better": share})
            print(
                f"gain {low:.1f} to {high:.1f}: {len(inside):4} faces, {share:.2f} nearer to clean"
            )
    return rows


if __name__ == "__main__":
    main()
