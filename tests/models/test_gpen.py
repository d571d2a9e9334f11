"""The network against the official code's numbers, against a naive one, and folded against not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vidrestore.errors import WeightsError
from vidrestore.models.gpen import Gpen, load_gpen_state
from vidrestore.models.gpen_folded import FoldedGpen
from vidrestore.models.gpen_layers import (
    EqualConv,
    EqualLinear,
    FirResample,
    FusedLeakyReLU,
    ModulatedConv,
    PixelNorm,
    StyledConv,
    ToRgb,
    upfirdn,
)

GOLDENS = (
    "gpen_64_n0125_cm2",
    "gpen_64_n015_cm1",
    "gpen_128_n0125_cm2",
    "gpen_128_n005_cm1_sd512",
    "gpen_64_n0125_cm2_add",
    "gpen_sr_32_64_n0125_cm2",
)
FOLDABLE = GOLDENS[:4]
FP32, OPS = 2e-4, 1e-5  # the reference's own tolerances
HALVES = {torch.float16: 3e-2, torch.bfloat16: 2e-1}


class Golden:
    """A stored network with its input and what the official code made of it."""

    def __init__(self, folder: Path, name: str) -> None:
        with np.load(folder / "golden" / f"{name}.npz") as file:
            arrays = {key: torch.from_numpy(file[key]) for key in file.files if key != "config"}
            self.config: dict[str, Any] = json.loads(str(file["config"]))
        self.state = {k[3:]: v for k, v in arrays.items() if k.startswith("sd/")}
        self.middle = {k[4:]: v for k, v in arrays.items() if k.startswith("mid/")}
        self.image = arrays["input_rgb_u8"].permute(0, 3, 1, 2).float() / 127.5 - 1
        self.output = arrays["output"]
        self.output_without_features = arrays["output_noise_weights_zero"]
        drawn = [v.float() for k, v in sorted(arrays.items()) if k.startswith("drawn_noise/")]
        self.noise = drawn or None

    def network(self) -> Gpen:
        network = Gpen(**self.config)
        load_gpen_state(network, self.state)
        return network.eval()


@pytest.fixture(params=GOLDENS)
def golden(request: pytest.FixtureRequest, shared_dir: Path) -> Golden:
    return Golden(shared_dir, request.param)


@pytest.fixture(params=FOLDABLE)
def foldable(request: pytest.FixtureRequest, shared_dir: Path) -> Golden:
    return Golden(shared_dir, request.param)


def tiny(size: int = 32, **options: Any) -> Gpen:
    """Return a small network in which every parameter matters."""
    torch.manual_seed(1)
    network = Gpen(size, style_dim=24, n_mlp=2, channel_multiplier=1, narrow=0.04, **options)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("noise.weight") or (
                name.endswith("bias") and "modulation" not in name
            ):
                parameter.normal_(std=0.5)
    return network.eval()


def pictures(n: int, size: int = 32) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(5)) * 2 - 1


def largest_error(got: Tensor, expected: Tensor) -> float:
    assert got.shape == expected.shape
    return float((got - expected).abs().max())


# --- against the official code -------------------------------------------------------------------


@torch.inference_mode()
def test_gives_what_the_official_code_gives(golden: Golden) -> None:
    network = golden.network()
    assert largest_error(network(golden.image, golden.noise), golden.output) < FP32
    for name, parameter in network.named_parameters():
        if name.endswith("noise.weight"):
            parameter.zero_()
    without = network(golden.image, golden.noise)
    assert largest_error(without, golden.output_without_features) < FP32


@torch.inference_mode()
def test_every_step_gives_what_the_official_code_gives(golden: Golden) -> None:
    network = golden.network()
    parts = {
        "z": network.final_linear,
        "w": network.generator.style,
        "feat4": network.generator.conv1,
        "rgb4": network.generator.to_rgb1,
    }
    parts |= {f"enc{j}": stage for j, stage in enumerate(network.encoder)}
    parts |= {f"rgb{8 << i}": head for i, head in enumerate(network.generator.to_rgbs)}
    seen: dict[str, Tensor] = {}
    for name, part in parts.items():
        part.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out}))
    network(golden.image, golden.noise)
    assert len(golden.middle) > 5
    for name, expected in golden.middle.items():
        assert largest_error(seen[name], expected) < FP32, name


@torch.inference_mode()
def test_folded_gives_what_the_official_code_gives(foldable: Golden) -> None:
    folded = FoldedGpen(foldable.network())
    assert largest_error(folded(foldable.image), foldable.output) < FP32


@pytest.mark.parametrize("dtype", HALVES)
@torch.inference_mode()
def test_half_precision_stays_near_the_official_code(foldable: Golden, dtype: torch.dtype) -> None:
    folded = FoldedGpen(foldable.network()).with_precision(dtype)
    result = folded(foldable.image)
    assert result.dtype == torch.float32
    error = largest_error(result, foldable.output)
    assert 1e-4 < error < HALVES[dtype], "too exact to be half precision, or too far off"


def test_parameters_have_the_published_names_and_shapes(shared_dir: Path) -> None:
    tables = json.loads((shared_dir / "golden" / "state_dict_tables.json").read_text())
    assert set(tables) == {f"GPEN-BFR-{size}" for size in (256, 512, 1024, 2048)}
    for table in tables.values():
        keys = ("size", "style_dim", "n_mlp", "channel_multiplier", "narrow", "isconcat")
        with torch.device("meta"):
            network = Gpen(**{key: table[key] for key in keys})
        parameters = {name: list(p.shape) for name, p in network.named_parameters()}
        buffers = {name: list(b.shape) for name, b in network.named_buffers()}
        assert parameters == table["parameters"]
        assert buffers == table["buffers"]


@pytest.fixture
def ops(shared_dir: Path) -> dict[str, Tensor]:
    with np.load(shared_dir / "golden" / "gpen_ops.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


@pytest.mark.parametrize("case", ["down_blur", "up_blur", "up2", "down2", "asym", "crop"])
def test_resampling_is_the_official_one(ops: dict[str, Tensor], case: str) -> None:
    up, down, before, after = ops[f"upfirdn/{case}/up_down_pad"].tolist()
    kernel = ops[f"upfirdn/{case}/kernel"]
    result = upfirdn(ops["upfirdn/x"], kernel, up=up, down=down, pad=(before, after))
    assert largest_error(result, ops[f"upfirdn/{case}/y"]) < OPS


@torch.inference_mode()
def test_small_layers_are_the_official_ones(ops: dict[str, Tensor]) -> None:
    for bias, x, y in (("bias", "x4", "y4"), ("bias2", "x2", "y2")):
        activation = FusedLeakyReLU(len(ops[f"lrelu/{bias}"]))
        activation.bias.copy_(ops[f"lrelu/{bias}"])
        assert largest_error(activation(ops[f"lrelu/{x}"]), ops[f"lrelu/{y}"]) < OPS
    assert largest_error(PixelNorm()(ops["pixelnorm/x"]), ops["pixelnorm/y"]) < OPS
    for name, is_activated in (("plain", False), ("style", True), ("final", True)):
        lr_mul = float(ops[f"linear/{name}/lr_mul"])
        linear = EqualLinear(16, 12, lr_mul=lr_mul, is_activated=is_activated)
        linear.weight.copy_(ops[f"linear/{name}/weight"])
        linear.bias.copy_(ops[f"linear/{name}/bias"])
        assert largest_error(linear(ops["lrelu/x2"]), ops[f"linear/{name}/y"]) < OPS


MODULES = {
    "modconv": lambda: ModulatedConv(6, 5, 3, 16),
    "modconv_up": lambda: ModulatedConv(6, 5, 3, 16, is_upsampling=True),
    "modconv_nodemod_1x1": lambda: ModulatedConv(6, 5, 1, 16, is_demodulated=False),
    "styled_cat": lambda: StyledConv(6, 5, 16),
    "styled_cat_up": lambda: StyledConv(6, 5, 16, is_upsampling=True),
    "styled_add": lambda: StyledConv(6, 5, 16, isconcat=False),
    "to_rgb": lambda: ToRgb(6, 16),
    "enc1x1": lambda: torch.nn.Sequential(EqualConv(6, 5, 1), FusedLeakyReLU(5)),
    "encdown": lambda: torch.nn.Sequential(
        FirResample(pad=(2, 2)), EqualConv(6, 5, 3, stride=2), FusedLeakyReLU(5)
    ),
}


@pytest.mark.parametrize("name", MODULES)
@torch.inference_mode()
def test_a_layer_with_official_weights_gives_official_numbers(
    ops: dict[str, Tensor], name: str
) -> None:
    layer = MODULES[name]()
    prefix = f"{name}/sd/"
    layer.load_state_dict({k[len(prefix) :]: v for k, v in ops.items() if k.startswith(prefix)})
    inputs = [ops["feat"]]
    if not name.startswith("enc"):
        inputs.append(ops["w"])
    if name.startswith("styled"):
        inputs.append(ops["noise16" if name.endswith("_up") else "noise8"])
    if name == "to_rgb":
        assert largest_error(layer(*inputs), ops["to_rgb/y_noskip"]) < OPS
        inputs.append(ops["skip"])
    assert largest_error(layer(*inputs), ops[f"{name}/y"]) < OPS


def test_filters_are_the_published_ones(golden: Golden) -> None:
    buffers = dict(Gpen(**golden.config).named_buffers())
    published = {key: value for key, value in golden.state.items() if key.endswith("kernel")}
    assert buffers.keys() == published.keys()
    for name, expected in published.items():
        assert torch.equal(buffers[name], expected), name


# --- against a naive formulation, without stored numbers -----------------------------------------


def naive_fir(x: Tensor, kernel: Tensor, up: int, before: int, after: int) -> Tensor:
    n, channels, height, width = x.shape
    spread = x.new_zeros(n, channels, height * up, width * up)
    spread[:, :, ::up, ::up] = x
    spread = functional.pad(spread, (before, after, before, after))
    maps = [
        functional.conv2d(spread[:, c : c + 1], kernel.flip(0, 1)[None, None])
        for c in range(channels)
    ]
    return torch.cat(maps, dim=1)


def naive_modulated(conv: ModulatedConv, x: Tensor, style: Tensor) -> Tensor:
    """StyleGAN2's own way: filters made for each sample."""
    results = []
    for sample, w in zip(x, style, strict=True):
        head = conv.modulation
        s = head.weight @ w / math.sqrt(len(w)) + head.bias
        weight = conv.weight[0] / math.sqrt(conv.weight[0, 0].numel()) * s[None, :, None, None]
        if conv.is_demodulated:
            weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if conv.is_upsampling:
            y = functional.conv_transpose2d(sample[None], weight.transpose(0, 1), stride=2)
            results.append(naive_fir(y, conv.blur.kernel, 1, 1, 1))
        else:
            results.append(functional.conv2d(sample[None], weight, padding=weight.shape[-1] // 2))
    return torch.cat(results)


def naive_gpen(network: Gpen, image: Tensor) -> Tensor:
    def activate(x: Tensor, bias: Tensor) -> Tensor:
        x = x + bias[:, None, None]
        return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)

    def styled(layer: StyledConv, x: Tensor, feature: Tensor) -> Tensor:
        y = naive_modulated(layer.conv, x, style)
        return activate(torch.cat((y, layer.noise.weight * feature), dim=1), layer.activate.bias)

    x, maps = image, []
    for j, stage in enumerate(network.encoder):
        if j > 0:
            x = naive_fir(x, stage[0].kernel, 1, 2, 2)
        conv = stage[-2]
        weight = conv.weight / math.sqrt(conv.weight[0].numel())
        x = activate(functional.conv2d(x, weight, stride=2 if j else 1), stage[-1].bias)
        maps.append(x)
    code = network.final_linear[0](x.reshape(len(x), -1))
    style = code / (code.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for linear in list(network.generator.style)[1:]:
        v = style @ linear.weight.T * (0.01 / math.sqrt(style.shape[1])) + linear.bias * 0.01
        style = torch.where(v > 0, v, 0.2 * v) * math.sqrt(2)
    decoder = network.generator
    x = styled(decoder.conv1, decoder.input.input.repeat(len(image), 1, 1, 1), maps[-1])
    rgb = naive_modulated(decoder.to_rgb1.conv, x, style) + decoder.to_rgb1.bias
    for i, head in enumerate(decoder.to_rgbs):
        for layer in (decoder.convs[2 * i], decoder.convs[2 * i + 1]):
            x = styled(layer, x, maps[-2 - i])
        larger = naive_fir(rgb, head.upsample.kernel, 2, 2, 1)
        rgb = naive_modulated(head.conv, x, style) + head.bias + larger
    return rgb


@pytest.mark.parametrize("n", [1, 3])
@torch.inference_mode()
def test_both_forms_equal_the_naive_formulation(n: int) -> None:
    network = tiny()
    expected = naive_gpen(network, pictures(n))
    limit = 1e-5 * float(expected.abs().max())
    assert expected.std() > 0.1
    assert largest_error(network(pictures(n)), expected) < limit
    assert largest_error(FoldedGpen(network)(pictures(n)), expected) < limit


@torch.inference_mode()
def test_results_do_not_mix_within_a_batch() -> None:
    network = tiny()
    together = network(pictures(4))
    for i in range(4):
        assert largest_error(together[i : i + 1], network(pictures(4)[i : i + 1])) < 1e-5


def test_every_parameter_is_learnt() -> None:
    network = tiny(16)
    network(pictures(2, 16)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_a_smaller_input_gets_fresh_noise_above_its_size() -> None:
    network = tiny(32, in_size=16)
    image = pictures(1, 16)
    with torch.inference_mode():
        first, second = network(image), network(image)
        fixed = [torch.zeros(1, network.channels[32], 32, 32)] * 2
        assert torch.equal(network(image, fixed), network(image, fixed))
    assert first.shape == (1, 3, 32, 32)
    assert not torch.equal(first, second)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="side 100"):
        Gpen(100)
    with pytest.raises(ValueError, match=r"input \(64\) is larger"):
        Gpen(32, in_size=64)
    with pytest.raises(ValueError, match=r"expected \(N, 3, 32, 32\)"):
        tiny()(pictures(1, 16))


# --- folding -------------------------------------------------------------------------------------


def test_folding_leaves_the_network_as_it_was() -> None:
    network = tiny()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded = FoldedGpen(network)
    folded.with_precision(torch.float16)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_styles_and_colour_sums_stay_in_fp32() -> None:
    half = FoldedGpen(tiny()).with_precision(torch.float16)
    for name, value in half.named_buffers():
        in_fp32 = name.startswith(("style.", "doubling."))
        assert value.dtype == (torch.float32 if in_fp32 else torch.float16), name


def test_a_copy_in_half_precision_leaves_the_original_in_fp32() -> None:
    folded = FoldedGpen(tiny())
    folded.with_precision(torch.bfloat16)
    assert {value.dtype for value in folded.buffers()} == {torch.float32}


@torch.inference_mode()
def test_a_batch_of_one_size_computes_each_sample_alike_whatever_the_others() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        folded = FoldedGpen(tiny()).with_precision(dtype)
        batch = pictures(3)
        expected = folded(batch)
        others = torch.flip(batch, dims=(0,))
        assert torch.equal(torch.flip(folded(others), dims=(0,)), expected)
        others = -batch
        others[1] = batch[1]
        assert torch.equal(folded(others)[1], expected[1])


def test_what_no_published_network_is_cannot_be_folded() -> None:
    for network in (tiny(isconcat=False), tiny(in_size=16)):
        with pytest.raises(ValueError, match="only a GPEN with joined maps"):
            FoldedGpen(network)


# --- loading -------------------------------------------------------------------------------------


@pytest.fixture
def source() -> Gpen:
    return tiny()


def loaded(state: dict[str, Any], *, on_meta: bool = False) -> Gpen:
    torch.manual_seed(2)
    with torch.device("meta" if on_meta else "cpu"):
        network = Gpen(32, style_dim=24, n_mlp=2, channel_multiplier=1, narrow=0.04)
    load_gpen_state(network, state)
    return network


@pytest.mark.parametrize("on_meta", [False, True])
def test_all_published_forms_of_a_checkpoint_load(source: Gpen, on_meta: bool) -> None:
    bare = source.state_dict()
    prefixed = {f"module.{key}": value for key, value in bare.items()}
    without_kernels = {key: value for key, value in bare.items() if not key.endswith("kernel")}
    assert len(without_kernels) < len(bare)
    checkpoint = {"g": {}, "d": {}, "g_ema": prefixed, "g_optim": {}}
    for state in (bare, prefixed, without_kernels, {"g_ema": bare}, checkpoint):
        network = loaded(state, on_meta=on_meta)
        with torch.inference_mode():
            assert torch.equal(network(pictures(1)), source(pictures(1)))


@torch.inference_mode()
def test_half_precision_files_are_widened(source: Gpen) -> None:
    network = loaded({key: value.half() for key, value in source.state_dict().items()})
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert largest_error(network(pictures(1)), source(pictures(1))) < 0.05


def test_loading_copies_unless_the_network_has_no_memory_of_its_own(source: Gpen) -> None:
    state = source.state_dict()
    key = "generator.input.input"
    assert loaded(state).state_dict()[key].data_ptr() != state[key].data_ptr()
    assert loaded(state, on_meta=True).state_dict()[key].data_ptr() == state[key].data_ptr()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("ecd0.0.0.weight"), "'ecd0.0.0.weight' is missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "it has no 'extra'"),
        (
            lambda s: s.update({"final_linear.0.bias": torch.zeros(7)}),
            r"'final_linear.0.bias' has shape \(7,\), needs \(24,\)",
        ),
        (
            lambda s: s.update({"ecd0.0.1.bias": torch.zeros(20, dtype=torch.int64)}),
            "'ecd0.0.1.bias' is missing or not numbers",
        ),
        (lambda s: s.update({"ecd0.0.1.bias": "text"}), "'ecd0.0.1.bias' is missing or not"),
        (lambda s: s.update(g_ema=3), "'g_ema' is not a state dict"),
        (lambda s: s.clear(), "is missing"),
    ],
)
def test_other_weights_are_refused_in_one_line(source: Gpen, change: Any, message: str) -> None:
    state: dict[str, Any] = dict(source.state_dict())
    change(state)
    with pytest.raises(WeightsError, match=message) as caught:
        loaded(state)
    assert "\n" not in str(caught.value)
