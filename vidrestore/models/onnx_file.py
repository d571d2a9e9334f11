"""The restoring network as an ONNX file, for other programs, and the proof that it is the same."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vidrestore.errors import DeviceError, OutputError
from vidrestore.models.crop_tensors import CropNetwork
from vidrestore.models.gpen_folded import FoldedGpen
from vidrestore.models.openvino_runtime import compile_model, load_openvino

OPSET = 20
_LARGEST_DIFFERENCE = 2
"""Levels; half a level either way may round differently."""
_SMOOTH = 8
"""Side in pixels of the patches of the pictures that are compared."""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """What was written."""

    path: Path
    num_bytes: int
    opset: int
    max_difference: int
    """Largest difference to PyTorch, in levels of 255, over the pictures compared."""


def export_onnx(network: FoldedGpen, path: Path, facts: Mapping[str, str]) -> OnnxFile:
    """Write a network as ONNX, in fp32, and compare what it makes with what PyTorch makes.

    Input ``crops`` and output ``restored`` are (n, S, S, 3), uint8, RGB; n is free. The file
    appears under its name when it has passed.

    Args:
        network: In fp32, on the CPU.
        path: The file to be; replaced if it is there.
        facts: Written into the file as metadata.

    Raises:
        DeviceError: What the export needs is not installed.
        OutputError: The file cannot be written, or computes something else.
    """
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript")):
        raise DeviceError("the export needs more: pip install 'vidrestore[onnx]'")
    crops = _pictures(network.size)
    model = CropNetwork(network).eval()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # PyTorch's exporter uses what PyTorch deprecates
        program = torch.onnx.export(
            model,
            (torch.from_numpy(crops),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["crops"],
            output_names=["restored"],
            dynamic_shapes=({0: torch.export.Dim("n", min=1, max=64)},),
            verbose=False,
        )
        expected = model(torch.from_numpy(crops)).numpy()
    assert program is not None
    program.model.metadata_props.update(facts)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        program.save(draft, external_data=False)
        difference = int(np.abs(_computed(draft, crops).astype(int) - expected).max())
        if difference > _LARGEST_DIFFERENCE:
            raise OutputError(
                f"{path} was not written: its pictures differ from PyTorch's by {difference} of "
                "255 levels"
            )
        draft.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    return OnnxFile(path, path.stat().st_size, OPSET, difference)


def _pictures(size: int) -> npt.NDArray[np.uint8]:
    """Make two pictures to compare, (2, size, size, 3): soft patches, and noise."""
    random = np.random.default_rng(0)
    cells = -(-size // _SMOOTH)
    patches = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    patches = patches.repeat(_SMOOTH, axis=0).repeat(_SMOOTH, axis=1)[:size, :size]
    return np.stack((patches, random.integers(0, 256, (size, size, 3), dtype=np.uint8)))


def _computed(path: Path, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Run the file in OpenVINO, which reads ONNX."""
    try:
        model = load_openvino().Core().read_model(path)
        request = compile_model(model, {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
        (restored,) = request.infer([crops]).values()
    except RuntimeError as error:
        raise OutputError("the exported network cannot be read back") from error
    result: npt.NDArray[np.uint8] = np.asarray(restored)
    return result
