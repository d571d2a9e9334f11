"""What this processor is good at, measured once and then remembered; whether bf16 pays."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vidrestore.models.openvino_runtime import compile_model, load_openvino

logger = logging.getLogger(__name__)

_NUM_RUNS = 8

T = TypeVar("T")


def has_bf16() -> bool:
    """Whether the processor has instructions for bf16."""
    return "BF16" in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def remembered(
    cache_dir: Path,
    name: str,
    key: str,
    measure: Callable[[], dict[str, Any]],
    read: Callable[[Mapping[str, Any]], T],
) -> T:
    """Return what was measured on this processor, measuring it if it never was.

    All runs decide alike then, however busy the machine is.

    Args:
        cache_dir: Where measurements are kept; if it cannot be written, all are made anew.
        name: What is measured, for people who look into the folder.
        key: Everything it depends on but the processor and the version of OpenVINO.
        measure: Returns it as plain data.
        read: Makes of that data what is returned; raises for anything else.
    """
    ov = load_openvino()
    processor = ov.Core().get_property("CPU", "FULL_DEVICE_NAME")
    digest = hashlib.sha256(f"{processor} {ov.__version__} {key}".encode()).hexdigest()
    path = cache_dir / f"{name}-{digest[:16]}.json"
    try:
        return read(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError):  # not there yet, or damaged
        measured = measure()
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps({"processor": processor, **measured}), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        logger.warning("measurement not kept in %s: %s", cache_dir, error)
    return read(measured)


def bf16_gain(cache_dir: Path) -> float:
    """Return how many times as fast a convolution is in bf16 as in fp32 on this processor.

    The instructions alone say little: AVX512-BF16 makes GPEN 1.9 times as fast on an AMD Zen 5
    and 1.4 times as slow on an Intel Sapphire Rapids whose AMX is switched off. The measurement
    takes a quarter of a second.
    """

    def measure() -> dict[str, Any]:
        return {"gain": _measure_gain()}

    return remembered(cache_dir, "bf16-gain", "", measure, lambda data: float(data["gain"]))


def _measure_gain() -> float:
    """Time one 3×3 convolution, 128 → 64 channels at 64×64, on one thread; best of each type."""
    ov = load_openvino()
    ops = ov.opset13
    properties = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    requests = []
    for element in (ov.Type.f32, ov.Type.bf16):
        maps = ops.parameter([1, 128, 64, 64], ov.Type.f32)
        weight = ops.convert(ops.constant(np.ones((64, 128, 3, 3), np.float32)), element)
        ones = [1, 1]
        result = ops.convolution(ops.convert(maps, element), weight, ones, ones, ones, ones)
        model = ov.Model([ops.convert(result, ov.Type.f32)], [maps], "probe")
        compiled = compile_model(model, properties)
        requests.append(compiled.create_infer_request())
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(_NUM_RUNS):
        for request, taken in zip(requests, seconds, strict=True):
            start = time.perf_counter()
            request.infer()
            taken.append(time.perf_counter() - start)
    return min(seconds[0]) / min(seconds[1])
