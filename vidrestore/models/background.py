"""Networks of the user's own for whole pictures, as spandrel knows them.

spandrel tells from the names and shapes of the weights which network a file holds (Real-ESRGAN,
SwinIR, SCUNet and many more). The file itself is read here, as plain data.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vidrestore.errors import DeviceError, WeightsCorruptError, WeightsError, WeightsNotFoundError
from vidrestore.models.devices import choose_device
from vidrestore.models.tiles import Place, Tiling
from vidrestore.models.weights import is_data_only
from vidrestore.runtime.streams import PendingRows, TransferLane

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

_INSTALL = "pip install 'vidrestore[background]'"
_SCALES = (1, 2, 4)
_LARGEST_TILE, _LEAST_TILE = 384, 128
_IN_FLIGHT = 2

FloatPicture = npt.NDArray[np.float32]


def load_picture_model(path: Path, *, device: str) -> TiledModel:
    """Read a network from a file and make it ready.

    Args:
        path: ``.safetensors``, or ``.pth`` that holds nothing but weights.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        WeightsNotFoundError: There is no such file.
        WeightsCorruptError: It is not a file of plain weights, or they do not fit together.
        WeightsError: spandrel is not installed, does not know the network, or the network is not
            one for whole colour pictures.
        DeviceError: The device cannot be had.
    """
    if not path.is_file():
        raise WeightsNotFoundError(f"the background model {path} does not exist")
    try:
        import spandrel
    except ImportError as error:
        raise WeightsError(f"--background needs spandrel, which is missing: {_INSTALL}") from error
    state = spandrel.canonicalize_state_dict(_read(path))
    try:
        network = spandrel.ModelLoader("cpu").load_from_state_dict(state)
    except spandrel.UnsupportedModelError as error:
        raise WeightsError(
            f"{path} holds no network that spandrel {spandrel.__version__} knows: --background "
            "takes models for whole pictures, such as Real-ESRGAN's"
        ) from error
    except (RuntimeError, LookupError, ValueError, TypeError, AssertionError) as error:
        # a network was recognised by some names, and the others do not fit
        reason = str(error).partition("\n")[0]
        raise WeightsCorruptError(f"{path}: the weights do not fit together ({reason})") from error
    if not isinstance(network, spandrel.ImageModelDescriptor):
        raise WeightsError(f"{path} holds a network that fills holes in pictures: not one for this")
    _check(network, path)
    return TiledModel(network, path.stem, choose_device(device))


def _read(path: Path) -> dict[str, Any]:
    """Read a file as plain data; nothing in it is run."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if is_data_only(path):
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    except (
        SafetensorError,
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        LookupError,
        ValueError,
    ) as error:
        raise WeightsCorruptError(
            f"{path} is not a file of plain weights (.safetensors or .pth); nothing in it was run"
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(name, str) for name in loaded):
        raise WeightsCorruptError(f"{path} holds no weights by name")
    return loaded


def _check(network: ImageModelDescriptor[Any], path: Path) -> None:
    kind = network.architecture.name
    if network.purpose == "FaceSR":
        raise WeightsError(
            f"{path} is a {kind} network for faces: --background wants one for scenes"
        )
    channels = network.input_channels, network.output_channels
    if channels != (3, 3):
        raise WeightsError(
            f"{path} is a {kind} network from {channels[0]} to {channels[1]} channels: "
            "--background wants one from colour to colour (3 to 3)"
        )
    if network.scale not in _SCALES:
        raise WeightsError(
            f"{path} enlarges {network.scale} times: use a model for 1, 2 or 4 times"
        )


class TiledModel:
    """A :class:`vidrestore.contracts.PictureModel` that works through a picture in tiles.

    Args:
        network: In fp32, on the CPU.
        name: Of the model, for the description.
        device: Where to compute; on CUDA in fp16 if the network can.
        largest_tile: Most pixels along a side of a tile; halved when the device has no room.
    """

    def __init__(
        self,
        network: ImageModelDescriptor[Any],
        name: str,
        device: torch.device,
        largest_tile: int = _LARGEST_TILE,
    ) -> None:
        from spandrel import ModelTiling

        self.scale = network.scale
        self.notes: list[str] = []
        self.num_parts = 0
        self._network, self._device = network.eval(), device
        self._is_half = device.type == "cuda" and network.supports_half
        self._is_whole = network.tiling is not ModelTiling.SUPPORTED
        self._largest_tile = largest_tile
        self._lane: TransferLane | None = None
        self._tiling: Tiling | None = None
        version = torch.__version__.partition("+")[0]
        self.description = (
            f"{name} ({network.architecture.name}, {self.scale}x), torch {version} on {device}, "
            f"{'fp16' if self._is_half else 'fp32'}"
        )
        try:
            network.to(device, torch.float16 if self._is_half else torch.float32)
        except torch.OutOfMemoryError as error:
            raise self._no_memory() from error

    def enhance(self, picture: FloatPicture) -> FloatPicture:
        """See :class:`vidrestore.contracts.PictureModel`.

        Raises:
            DeviceError: The device has no room for a small tile.
            WeightsError: The network gives no numbers.
        """
        while True:
            try:
                result = self._enhance(picture)
            except torch.OutOfMemoryError as error:
                self._shrink(error)
                continue
            if np.isfinite(result).all():
                return result
            if not self._is_half:
                raise WeightsError(f"{self.description} gives no numbers: use another model")
            self._go_exact()

    def close(self) -> None:
        """Free the device."""
        if self._lane is not None:
            self._lane.close()
        self._lane = self._tiling = None

    def _enhance(self, picture: FloatPicture) -> FloatPicture:
        height, width, _ = picture.shape
        if self._tiling is None or self._tiling.picture != (height, width):
            self.close()
            largest = max(height, width) if self._is_whole else self._largest_tile
            self._tiling = Tiling((height, width), largest)
            shape = (1, *self._tiling.tile, 3)
            # a network of the user's own need not be one that can be recorded as a graph
            self._lane = TransferLane(
                self._device, self._compute, shape, dtype=torch.float32, use_graph=False
            )
        lane, tiling = self._lane, self._tiling
        assert lane is not None
        result = np.zeros((height * self.scale, width * self.scale, 3), np.float32)
        places = list(tiling.places)

        def submit(place: Place) -> PendingRows:
            sent = lane.submit([tiling.cut(picture, place)])
            self.num_parts += 1
            return sent

        pending = [submit(place) for place in places[:_IN_FLIGHT]]
        for k, place in enumerate(places):
            (rows,) = pending.pop(0).result()
            if k + _IN_FLIGHT < len(places):
                pending.append(submit(places[k + _IN_FLIGHT]))
            tiling.add(result, rows[0], place, self.scale)
        return result

    def _compute(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Take pictures (N, H, W, 3), float32 in [0, 1], and return larger ones."""
        pictures = rows.permute(0, 3, 1, 2)
        enhanced = self._network(pictures.half() if self._is_half else pictures.contiguous())
        return (enhanced.float().permute(0, 2, 3, 1).contiguous(),)

    def _shrink(self, error: torch.OutOfMemoryError) -> None:
        self.close()
        if self._is_whole or self._largest_tile < 2 * _LEAST_TILE:
            raise self._no_memory() from error
        self._largest_tile //= 2
        self.notes.append(
            f"{self._device} ran out of memory: the background goes on in tiles of "
            f"{self._largest_tile} pixels"
        )

    def _go_exact(self) -> None:
        """Compute in fp32 from now on."""
        self.close()
        self._is_half = False
        try:
            self._network.to(self._device, torch.float32)
        except torch.OutOfMemoryError as error:
            raise self._no_memory() from error
        self.notes.append("the background model gives no numbers in fp16: it goes on in fp32")

    def _no_memory(self) -> DeviceError:
        return DeviceError(
            f"{self._device} has no memory left for the background model: close other programs, "
            "or use a smaller model or --device cpu"
        )
