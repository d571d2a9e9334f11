"""Losses that networks give are shown the clean picture's colours."""

import pytest
import torch

from tests.train.tiny import tiny_config
from vidrestore.train.luma import luma, with_colour_of
from vidrestore.train.networks import build_learners
from vidrestore.train.parallel import training_processes
from vidrestore.train.step import TrainingStep

CLEAN = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
BLUE = torch.tensor([-0.114, 0.0, 0.299])[:, None, None]
"""A colour without luma."""


def test_luma_is_that_of_the_standard_and_asks_for_grey():
    picture = torch.eye(3).reshape(3, 3, 1, 1).requires_grad_()  # red, green, blue
    found = luma(picture)
    assert found.flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])
    found.sum().backward()
    assert torch.equal(picture.grad, torch.full((3, 3, 1, 1), 1 / 3))


def test_the_luma_is_the_picture_s_and_the_colour_the_target_s():
    target = CLEAN.clone().requires_grad_()
    picture = (CLEAN.flip(3) + BLUE).requires_grad_()
    mixed = with_colour_of(target, picture)
    torch.testing.assert_close(luma(mixed), luma(picture))
    difference = mixed - target
    torch.testing.assert_close(difference, difference[:, :1].expand(-1, 3, -1, -1))
    mixed.square().sum().backward()
    assert target.grad is None
    assert picture.grad.abs().sum() > 0


class _Watching(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, picture, target):
        self.shown.append((picture, target))
        return (picture - target).square().mean()


def test_what_a_network_judges_has_the_clean_colours(tmp_path):
    config = tiny_config(tmp_path, loss={"adversarial": 0.0})
    with training_processes("cpu") as processes:
        step = TrainingStep(config, build_learners(config, processes.device), processes)
        step._perceptual, step._identity = watching = _Watching(), _Watching()
        step.run(CLEAN.flip(2), CLEAN)
    for network in watching:
        ((picture, target),) = network.shown
        assert torch.equal(target, CLEAN)
        difference = (picture - target).detach()
        assert difference.std() > 0.01
        torch.testing.assert_close(difference, difference[:, :1].expand(-1, 3, -1, -1))
