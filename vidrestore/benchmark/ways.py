"""Builds a restoring network in every runtime and precision that a machine has."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from vidrestore.contracts import FaceRestorer
from vidrestore.errors import DeviceError
from vidrestore.models.choice import pick_restorer
from vidrestore.models.gpen import Gpen, load_gpen_state
from vidrestore.models.registry import RestorerSpec, restorer_spec
from vidrestore.models.restorers import build_restorer
from vidrestore.models.weights import read_state
from vidrestore.settings import ModelSettings, Precision, Runtime

_RANDOM_NOISE = 0.3
"""Share of the encoder's maps in random networks, so that every layer has an effect."""

COMPILERS = frozenset({Runtime.TORCH_COMPILE, Runtime.TENSORRT})
"""Runtimes that compile the network for minutes before the first face."""

State = Mapping[str, Tensor]
Way = tuple[Runtime, Precision]
_Choice = TypeVar("_Choice", bound=StrEnum)


def random_network(spec: RestorerSpec) -> Gpen:
    """Make a network of a model's shape with random weights, the same each time."""
    torch.manual_seed(0)
    network = Gpen(spec.size, spec.style_dim, spec.n_mlp, spec.channel_multiplier, spec.narrow)
    for name, parameter in network.named_parameters():
        if name.endswith("noise.weight"):
            torch.nn.init.constant_(parameter, _RANDOM_NOISE)
    return network.eval()


def load_network(
    settings: ModelSettings, *, random_weights: bool
) -> tuple[RestorerSpec, Gpen, State]:
    """Return the model, its network in fp32, and its weights.

    Args:
        settings: Name the model.
        random_weights: Draw the weights; the model is one of the registry.

    Raises:
        SettingsError: Unknown model.
        WeightsError: The model is not installed, or its file is not what it should be.
    """
    if random_weights:
        spec = restorer_spec(settings.name)
        network = random_network(spec)
        return spec, network, network.state_dict()
    spec, path, _ = pick_restorer(settings)
    state = read_state(path, spec.weights, allow_unverified=settings.allow_unverified)
    network = Gpen(spec.size, spec.style_dim, spec.n_mlp, spec.channel_multiplier, spec.narrow)
    load_gpen_state(network, state)
    return spec, network.eval(), state


class WaysToCompute:
    """Builds the restorers, and notes how long each takes to start and which cannot be had.

    Args:
        spec: The model.
        state: Its weights.
        settings: Where it runs. AUTO for runtime or precision takes all there are.
        folder: For converted networks; empty, so that the first start is a cold one.
        with_compilers: AUTO takes the compilers too.
    """

    startup_seconds: dict[str, dict[str, float]]
    """By runtime and precision, to the first face: with nothing converted (``cold``), and again
    (``warm``)."""
    left_out: list[str]
    """What cannot be had and why, one sentence each."""

    def __init__(
        self,
        spec: RestorerSpec,
        state: State,
        settings: ModelSettings,
        folder: Path,
        *,
        with_compilers: bool = False,
    ) -> None:
        self._spec, self._state = spec, state
        self._settings, self._folder = settings, folder
        self._with_compilers = with_compilers
        self.startup_seconds, self.left_out = {}, []

    def restorers(self) -> dict[Way, FaceRestorer]:
        """Build every one that the settings ask for and the machine allows.

        Raises:
            DeviceError: None can be had.
        """
        found: dict[Way, FaceRestorer] = {}
        precisions = _all_or(self._settings.precision, Precision.AUTO)
        for runtime, precision in product(self._runtimes(), precisions):
            try:
                found[runtime, precision] = self._build_twice(runtime, precision)
            except DeviceError as error:
                self.left_out.append(f"{runtime} {precision}: {error}")
        if not found:
            raise DeviceError("; ".join(self.left_out))
        return found

    def _runtimes(self) -> Sequence[Runtime]:
        runtimes = _all_or(self._settings.runtime, Runtime.AUTO)
        if self._settings.runtime is not Runtime.AUTO or self._with_compilers:
            return runtimes
        self.left_out += [
            f"{runtime}: compiles for minutes; --compilers takes it in"
            for runtime in runtimes
            if runtime in COMPILERS
        ]
        return [runtime for runtime in runtimes if runtime not in COMPILERS]

    def _build_twice(self, runtime: Runtime, precision: Precision) -> FaceRestorer:
        crop = np.zeros((self._spec.size, self._spec.size, 3), np.uint8)
        crop[::2] = 255
        cold = time.perf_counter()
        with closing(self._build(runtime, precision)) as first:
            first.submit([crop]).result()
        warm = time.perf_counter()
        restorer = self._build(runtime, precision)
        restorer.submit([crop]).result()
        end = time.perf_counter()
        seconds = {"cold": round(warm - cold, 2), "warm": round(end - warm, 2)}
        self.startup_seconds[f"{runtime} {precision}"] = seconds
        return restorer

    def _build(self, runtime: Runtime, precision: Precision) -> FaceRestorer:
        restorer, _ = build_restorer(
            self._spec,
            self._state,
            weights_sha256="of a benchmark",  # names files in a folder of this benchmark alone
            device=self._settings.device,
            runtime=runtime,
            precision=precision,
            cache_dir=self._folder,
        )
        return restorer


def _all_or(asked: _Choice, auto: _Choice) -> Sequence[_Choice]:
    """Return every choice there is for ``auto``, else what was asked for."""
    return [c for c in type(asked) if c is not auto] if asked is auto else [asked]
