"""Whether bf16 pays on this processor: measured once, then remembered."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from pathlib import Path

import numpy as np

from vidrestore.models.openvino_runtime import compile_model, load_openvino

logger = logging.getLogger(__name__)

_NUM_RUNS = 8


def has_bf16() -> bool:
    """Whether the processor has instructions for bf16."""
    return "BF16" in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def bf16_gain(cache_dir: Path) -> float:
    """Return how many times as fast a convolution is in bf16 as in fp32 on this processor.

    The instructions alone say little: AVX512-BF16 makes GPEN 1.9 times as fast on an AMD Zen 5
    and 1.4 times as slow on an Intel Sapphire Rapids whose AMX is switched off. The measurement
    takes a quarter of a second. It is kept in ``cache_dir``, so that all runs decide alike.
    """
    ov = load_openvino()
    processor = ov.Core().get_property("CPU", "FULL_DEVICE_NAME")
    digest = hashlib.sha256(f"{processor} {ov.__version__}".encode()).hexdigest()
    path = cache_dir / f"bf16-gain-{digest[:16]}.json"
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["gain"])
    except (OSError, ValueError, KeyError, TypeError):  # not there yet, or damaged
        gain = _measure_gain()
    draft = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps({"processor": processor, "gain": gain}), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        logger.warning("measurement not kept in %s: %s", cache_dir, error)
    return gain


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
