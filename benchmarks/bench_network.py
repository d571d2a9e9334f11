"""Times the restoring network against the official formulation, with the same weights.

    python benchmarks/bench_network.py [--model vidrestore-lite-256] [--random-weights]
                                       [--rounds 9] [--json FILE]

Every round runs all contenders one after the other, so that whatever else the machine does hits
all; the speed-up is the median of the rounds' ratios. One crop a call for PyTorch; for OpenVINO
as many as the restorer takes at once, with 8 bits in and out. Besides the time on the clock the
processor time is given, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vidrestore.models.crop_tensors import normalise_crops
from vidrestore.models.gpen import Gpen, load_gpen_state
from vidrestore.models.gpen_folded import FoldedGpen
from vidrestore.models.gpen_layers import EqualConv, FirResample, ModulatedConv, StyledConv, ToRgb
from vidrestore.models.processor import has_bf16
from vidrestore.models.registry import RestorerSpec, landmark_template, restorer_spec
from vidrestore.models.restorer_openvino import OpenVinoRestorer
from vidrestore.models.weights import WeightsStore, read_state
from vidrestore.report import describe_machine, describe_versions
from vidrestore.settings import Precision


class OfficialForm:
    """GPEN as StyleGAN2 formulates it: filters for each sample, grouped; FIRs on zero-filled maps.

    Written for this comparison; gives the numbers of ``Gpen``.
    """

    def __init__(self, network: Gpen) -> None:
        self._network = network

    def __call__(self, image: Tensor) -> Tensor:
        """Restore (N, 3, S, S)."""
        network = self._network
        maps, x = [], image
        for stage in network.encoder:
            if len(stage) == 3:
                x = self._resample(cast(FirResample, stage[0]), x)
            conv = cast(EqualConv, stage[-2])
            x = stage[-1](functional.conv2d(x, conv.weight * conv.scale, stride=conv.stride))
            maps.append(x)
        decoder = network.generator
        style = decoder.style(network.final_linear(x.flatten(1)))
        x = decoder.input.input.repeat(len(image), 1, 1, 1)
        x = self._styled(decoder.conv1, x, style, maps[-1])
        rgb = self._modulated(decoder.to_rgb1.conv, x, style) + decoder.to_rgb1.bias
        for i, part in enumerate(decoder.to_rgbs):
            for layer in (decoder.convs[2 * i], decoder.convs[2 * i + 1]):
                x = self._styled(cast(StyledConv, layer), x, style, maps[-2 - i])
            head = cast(ToRgb, part)
            picture = self._modulated(head.conv, x, style) + head.bias
            rgb = picture + self._resample(head.upsample, rgb)
        return rgb

    def _styled(self, layer: StyledConv, x: Tensor, style: Tensor, feature: Tensor) -> Tensor:
        joined: Tensor = layer.noise(self._modulated(layer.conv, x, style), feature)
        activated: Tensor = layer.activate(joined)
        return activated

    def _modulated(self, conv: ModulatedConv, x: Tensor, style: Tensor) -> Tensor:
        n, num_in, height, width = x.shape
        num_out, size = conv.weight.shape[1], conv.weight.shape[-1]
        modulation = conv.modulation(style).view(n, 1, num_in, 1, 1)
        weight = conv.weight * conv.scale * modulation  # (N, out, in, k, k)
        if conv.is_demodulated:
            norm = torch.rsqrt(weight.square().sum(dim=(2, 3, 4)) + 1e-8)
            weight = weight * norm.view(n, num_out, 1, 1, 1)
        x = x.reshape(1, n * num_in, height, width)
        if conv.is_upsampling:
            weight = weight.transpose(1, 2).reshape(n * num_in, num_out, size, size)
            x = functional.conv_transpose2d(x, weight, stride=2, groups=n)
            x = x.view(n, num_out, 2 * height + 1, 2 * width + 1)
            return self._resample(conv.blur, x)
        weight = weight.view(n * num_out, num_in, size, size)
        x = functional.conv2d(x, weight, padding=size // 2, groups=n)
        return x.view(n, num_out, height, width)

    def _resample(self, fir: FirResample, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        up, (before, after) = fir.up, fir.pad
        x = x.reshape(n * channels, 1, height, 1, width, 1)
        x = functional.pad(x, (0, up - 1, 0, 0, 0, up - 1))
        x = x.view(n * channels, 1, height * up, width * up)
        x = functional.pad(x, (before, after, before, after))
        x = functional.conv2d(x, fir.kernel.flip(0, 1)[None, None])
        return x.view(n, channels, x.shape[2], x.shape[3])


@dataclass
class Contender:
    """Something that restores crops, and how long it took, for each crop."""

    run: Callable[[], object]
    crops: int = 1
    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def time_once(self) -> None:
        """Run and note the times."""
        cpu, wall = time.process_time(), time.perf_counter()
        self.run()
        self.wall_ms.append((time.perf_counter() - wall) * 1e3 / self.crops)
        self.cpu_ms.append((time.process_time() - cpu) * 1e3 / self.crops)


def load(spec: RestorerSpec, random_weights: bool) -> Gpen:
    """Build the network."""
    torch.manual_seed(0)
    network = Gpen(spec.size, spec.style_dim, spec.n_mlp, spec.channel_multiplier, spec.narrow)
    if random_weights:
        for name, parameter in network.named_parameters():
            if name.endswith("noise.weight"):
                torch.nn.init.constant_(parameter, 0.3)
    else:
        load_gpen_state(network, read_state(WeightsStore().locate(spec), spec.weights))
    return network.eval()


def openvino_contender(
    spec: RestorerSpec, network: FoldedGpen, precision: Precision, cache_dir: Path
) -> tuple[Contender, dict[str, float]]:
    """Build the restorer twice, the second time from its cache; with the seconds both took."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        restorer = OpenVinoRestorer(
            lambda: network,
            size=spec.size,
            template=landmark_template(spec.template, spec.size),
            precision=precision,
            cache_dir=cache_dir,
            weights_key="benchmark",
            name=spec.name,
        )
        seconds.append(round(time.perf_counter() - start, 2))
    rng = np.random.default_rng(0)
    shape = (restorer.batch_size, spec.size, spec.size, 3)
    crops = list(rng.integers(0, 256, shape, dtype=np.uint8))
    contender = Contender(lambda: restorer.submit(crops).result(), len(crops))
    return contender, {"first": seconds[0], "from_cache": seconds[1]}


def contenders(
    spec: RestorerSpec, network: Gpen, cache_dir: Path
) -> tuple[dict[str, Contender], dict[str, dict[str, float]]]:
    """Build all; with the seconds that OpenVINO's took to start."""
    crops = torch.randint(0, 256, (1, spec.size, spec.size, 3), dtype=torch.uint8)
    image = normalise_crops(crops)
    plain, standing = image.contiguous(), image.contiguous(memory_format=torch.channels_last)
    official, folded = OfficialForm(network), FoldedGpen(network)
    expected = network(plain)
    for other in (official(plain), folded(plain)):
        if (other - expected).abs().max() > 1e-5 * expected.abs().max():
            raise SystemExit("the formulations disagree")
    result = {
        "official formulation, torch fp32": Contender(lambda: official(plain)),
        "folded, torch fp32": Contender(lambda: folded(standing)),
    }
    precisions = [Precision.FP32]
    if has_bf16():
        half = folded.with_precision(torch.bfloat16)
        result["folded, torch bf16"] = Contender(lambda: half(standing))
        precisions.append(Precision.BF16)
    startup = {}
    for precision in precisions:
        name = f"folded, OpenVINO {precision}"
        result[name], startup[name] = openvino_contender(spec, folded, precision, cache_dir)
    return result, startup


def summarise(contender: Contender, official: Contender) -> dict[str, float]:
    """Return quartiles in milliseconds a crop, and how many times as fast as the official form."""
    p25, median, p75 = np.percentile(contender.wall_ms, (25, 50, 75))
    ratios = np.array([official.wall_ms, official.cpu_ms]) / [contender.wall_ms, contender.cpu_ms]
    by_wall, by_cpu = np.median(ratios, axis=1)
    figures = {
        "median": median,
        "p25": p25,
        "p75": p75,
        "min": min(contender.wall_ms),
        "cpu_median": np.median(contender.cpu_ms),
        "times_official": by_wall,
        "times_official_by_cpu": by_cpu,
    }
    return {key: round(float(value), 2) for key, value in figures.items()}


@torch.inference_mode()
def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="vidrestore-lite-256")
    parser.add_argument("--random-weights", action="store_true")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    spec = restorer_spec(arguments.model)
    network = load(spec, arguments.random_weights)
    with tempfile.TemporaryDirectory() as folder:
        all_contenders, startup = contenders(spec, network, Path(folder))
        for round_number in range(arguments.rounds + 1):
            for contender in all_contenders.values():
                contender.time_once()
                if round_number == 0:  # to warm up
                    contender.wall_ms.clear()
                    contender.cpu_ms.clear()
    official = next(iter(all_contenders.values()))
    table = {name: summarise(c, official) for name, c in all_contenders.items()}
    print(f"{spec.name}, milliseconds a crop, {arguments.rounds} rounds")
    for name, row in table.items():
        print(
            f"{name:34} median {row['median']:8.1f}  min {row['min']:8.1f}  "
            f"cpu {row['cpu_median']:8.1f}  official x {row['times_official']:5.2f}  "
            f"by cpu x {row['times_official_by_cpu']:5.2f}"
        )
    print("seconds to start:", json.dumps(startup))
    if arguments.json is not None:
        content: dict[str, Any] = {
            "model": spec.name,
            "random_weights": arguments.random_weights,
            "rounds": arguments.rounds,
            "machine": describe_machine() | {"load_average_1min": round(os.getloadavg()[0], 1)},
            "versions": describe_versions(),
            "milliseconds_a_crop": table,
            "startup_seconds": startup,
        }
        arguments.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
