import math

import pytest
import torch

from tests.train.tiny import tiny_config
from vidrestore.errors import SettingsError, WeightsError
from vidrestore.models.gpen import Gpen
from vidrestore.train.config import OptimiserConfig, Schedule
from vidrestore.train.discriminator import Discriminator, with_spread
from vidrestore.train.generator import TrainedGpen
from vidrestore.train.networks import build_learners, is_slow, rate_factor, read_weights

CPU = torch.device("cpu")


@pytest.mark.parametrize("isconcat", [True, False])
def test_the_form_for_training_is_the_same_function_with_the_same_gradients(isconcat):
    # 128 pixels: both ways of modulating take part
    torch.manual_seed(0)
    network = Gpen(128, 32, 2, 1, 0.02, isconcat=isconcat)
    with torch.no_grad():
        for parameter in network.parameters():  # biases and scalars are zero at first
            if parameter.numel() < 100:
                parameter += 0.3 * torch.randn_like(parameter)
    image = torch.randn(2, 3, 128, 128)
    weight = torch.randn(2, 3, 128, 128)
    parameters = list(network.parameters())
    expected = network(image)
    found = TrainedGpen(network)(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    wanted = torch.autograd.grad((expected * weight).sum(), parameters)
    gradients = torch.autograd.grad((found * weight).sum(), parameters)
    for name, a, b in zip(dict(network.named_parameters()), gradients, wanted, strict=True):
        assert (a - b).norm() <= 1e-3 * b.norm() + 1e-4, name


@pytest.mark.parametrize("autocast", [False, True])
def test_every_large_map_keeps_the_layout_of_the_picture(autocast, monkeypatch):
    # where two layouts meet, a step takes nearly twice as long
    seen = []
    convolve = torch.nn.functional.conv2d

    def watched(x, *args, **kwargs):
        seen.append(x)
        return convolve(x, *args, **kwargs)

    monkeypatch.setattr("torch.nn.functional.conv2d", watched)
    image = torch.randn(2, 3, 128, 128).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        restored = TrainedGpen(Gpen(128, 32, 2, 1, 0.1))(image)
    maps = [x for x in seen if x.shape[1] > 3]  # the upsampled picture is padded, which reorders it
    large = [x for x in [*maps, restored] if x.shape[-1] >= 64]
    assert len(large) >= 10
    for x in large:
        assert x.is_contiguous(memory_format=torch.channels_last), (x.shape, x.stride())


def test_bf16_changes_the_picture_little():
    torch.manual_seed(0)
    network = TrainedGpen(Gpen(64, 32, 2, 1, 0.1))
    image = torch.randn(2, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(image)
    exact = network(image)
    assert rough.dtype is torch.float32
    assert (rough - exact).std() < 0.05 * exact.std()


def test_the_published_discriminator_has_these_names_and_numbers():
    with torch.device("meta"):
        network = Discriminator(256, 2, 1.0)
    assert sum(p.numel() for p in network.parameters()) == 28_864_129
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes["convs.0.0.weight"] == (128, 3, 1, 1)
    assert shapes["convs.1.conv2.0.kernel"] == (4, 4)
    assert shapes["convs.1.conv2.1.weight"] == (256, 128, 3, 3)
    assert shapes["convs.1.skip.1.weight"] == (256, 128, 1, 1)
    assert shapes["final_conv.0.weight"] == (512, 513, 3, 3)
    assert shapes["final_linear.1.weight"] == (1, 512)


def test_the_discriminator_is_stylegan2s_written_out():
    """The √2 folded into weights must give what the layers give one after another."""
    torch.manual_seed(0)
    network = Discriminator(16, 1, 0.02)
    x = torch.randn(4, 3, 16, 16)
    y = x
    logits, maps = network(x)
    from torch.nn import functional

    def conv(stage, x, padding):
        padded = functional.pad(x, (padding,) * 4)
        return stage[-1](stage[-2](padded))

    y = conv(network.convs[0], y, 0)
    for block, seen in zip(list(network.convs)[1:], maps, strict=True):
        skipped = block.skip[1](block.skip[0](y))
        y = (conv(block.conv2, block.conv2[0](conv(block.conv1, y, 1)), 0) + skipped) / math.sqrt(2)
        torch.testing.assert_close(seen, y, rtol=1e-4, atol=1e-4)
    y = network.final_linear(conv(network.final_conv, with_spread(y), 1).flatten(1))
    torch.testing.assert_close(logits, y, rtol=1e-4, atol=1e-4)


def test_the_spread_map_tells_equal_samples_from_different_ones():
    equal = torch.randn(1, 2, 4, 4).expand(4, -1, -1, -1)
    assert with_spread(equal)[:, 2].max() < 1e-3
    spread = with_spread(torch.stack([torch.zeros(2, 4, 4), torch.full((2, 4, 4), 2.0)]))
    torch.testing.assert_close(spread[:, 2], torch.ones(2, 4, 4))


def test_the_style_path_learns_at_the_slow_rate(tmp_path):
    learners = build_learners(tiny_config(tmp_path), CPU)
    network = learners.generator.network
    slow = {name for name, _ in network.named_parameters() if is_slow(name)}
    assert "generator.style.1.weight" in slow
    assert "final_linear.0.bias" in slow
    assert "generator.convs.0.conv.modulation.weight" in slow
    assert not slow & {"generator.convs.0.conv.weight", "ecd0.0.0.weight"}
    fast, slowly = learners.generator_optimiser.param_groups
    assert (fast["factor"], slowly["factor"]) == (1.0, 0.1)
    assert len(slowly["params"]) == len(slow)


def test_a_frozen_decoder_does_not_learn(tmp_path):
    config = tiny_config(tmp_path, model={"freeze_decoder": True})
    learners = build_learners(config, CPU)
    network = learners.generator.network
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    assert learning == {n for n, _ in network.named_parameters() if not n.startswith("generator.")}


def test_rates_warm_up_and_fall():
    config = OptimiserConfig(steps=100, warmup_steps=10, final=0.1)
    assert rate_factor(config, 0) == pytest.approx(0.1)
    assert rate_factor(config, 10) == pytest.approx(1.0)
    assert rate_factor(config, 55) == pytest.approx(0.55)
    assert rate_factor(config, 100) == pytest.approx(0.1)
    constant = OptimiserConfig(steps=100, warmup_steps=0, schedule=Schedule.CONSTANT)
    assert {rate_factor(constant, step) for step in (0, 50, 99)} == {1.0}


def test_weights_of_another_shape_are_one_clear_line(tmp_path):
    other = build_learners(tiny_config(tmp_path, model={"narrow": 0.1}), CPU)
    path = tmp_path / "other.pth"
    torch.save(other.average.state_dict(), path)
    with pytest.raises(WeightsError, match="has shape"):
        build_learners(tiny_config(tmp_path, model={"init": str(path)}), CPU)
    with pytest.raises(WeightsError, match="discriminator of this size"):
        build_learners(tiny_config(tmp_path, model={"init_discriminator": str(path)}), CPU)


def test_weights_that_are_not_there_are_said():
    with pytest.raises(WeightsError, match=r"nothing\.pth does not exist"):
        read_weights("nothing.pth")
    with pytest.raises(SettingsError, match="init is 'nothing'"):
        read_weights("nothing")


def test_init_takes_weights_over(tmp_path):
    first = build_learners(tiny_config(tmp_path, run={"seed": 5}), CPU)
    path = tmp_path / "first.pth"
    torch.save({"g_ema": first.average.state_dict()}, path)
    second = build_learners(tiny_config(tmp_path, model={"init": str(path)}), CPU)
    state = first.average.state_dict()
    for name, value in second.generator.network.state_dict().items():
        assert torch.equal(value, state[name]), name
