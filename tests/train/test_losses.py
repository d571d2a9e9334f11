import pytest
import torch
from torch.nn import functional

from tests.conftest import skip_or_fail
from vidrestore.errors import WeightsCorruptError, WeightsError
from vidrestore.train.config import Backbone, Content
from vidrestore.train.losses import (
    IdentityLoss,
    adversarial_loss,
    content_loss,
    detail_loss,
    discriminator_loss,
    feature_loss,
    gradient_loss,
    r1_penalty,
    with_coarse_gradient,
)
from vidrestore.train.perceptual import PerceptualLoss, read_backbone


def test_content_is_quadratic_near_zero_only_when_smooth():
    a, b = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
    assert content_loss(Content.L1, a, b).item() == pytest.approx(0.5)
    assert content_loss(Content.SMOOTH_L1, a, b).item() == pytest.approx(0.125)


def test_gradient_loss_sees_edges_and_no_offset():
    ramp = torch.arange(8.0).expand(1, 3, 8, 8)
    assert gradient_loss(ramp + 5, ramp).item() == pytest.approx(0.0)
    assert gradient_loss(ramp, torch.zeros_like(ramp)).item() == pytest.approx(1.0)
    assert gradient_loss(ramp.mT, torch.zeros_like(ramp)).item() == pytest.approx(1.0)


def test_detail_loss_sees_how_much_detail_there_is_and_not_where():
    grain = torch.randn(1, 1, 66, 66, generator=torch.Generator().manual_seed(0))
    detailed = grain.expand(1, 3, -1, -1).contiguous()
    shifted = torch.roll(detailed, 1, dims=3)
    assert detail_loss(detailed, detailed).item() == 0
    assert detail_loss(shifted, detailed) < 0.1 * functional.l1_loss(shifted, detailed)
    assert detail_loss(detailed + 0.3, detailed).item() == pytest.approx(0, abs=1e-5)
    soft = functional.avg_pool2d(detailed, 3, stride=1, padding=1)
    half = detail_loss(0.5 * detailed, detailed).item()
    assert half == pytest.approx(detail_loss(0 * detailed, detailed).item() / 2, rel=0.01)
    learnt = soft.clone().requires_grad_()
    detail_loss(learnt, detailed).backward()
    assert learnt.grad.abs().max() > 0
    red, green, blue = learnt.grad.unbind(dim=1)  # alike: it asks for no colour
    assert torch.equal(red, green)
    assert torch.equal(blue, green)
    assert detail_loss(learnt - 0.1 * learnt.grad.sign(), detailed) < detail_loss(soft, detailed)


@pytest.mark.parametrize("side", [8, 16, 64, 256])
def test_detail_loss_looks_at_all_of_a_picture(side):
    grain = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    picture = grain.expand(1, 3, -1, -1).clone().requires_grad_()
    detail_loss(picture, torch.zeros_like(picture)).backward()
    assert picture.grad.abs().amin() > 0


def test_adversarial_losses_pull_against_each_other():
    low, high = torch.full((4, 1), -3.0), torch.full((4, 1), 3.0)
    assert adversarial_loss(high) < adversarial_loss(low)
    assert discriminator_loss(high, low) < discriminator_loss(low, high)
    expected = functional.binary_cross_entropy_with_logits(low, torch.ones(4, 1))
    assert adversarial_loss(low).item() == pytest.approx(expected.item())


def test_r1_is_the_squared_gradient_and_can_be_learnt_from():
    slope = torch.tensor(2.0, requires_grad=True)
    real = torch.randn(2, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty((slope * real).sum(dim=(1, 2, 3))[:, None], real)
    assert penalty.item() == pytest.approx(4 * 48)
    penalty.backward()
    assert slope.grad.item() == pytest.approx(2 * 2 * 48)


def test_feature_loss_weighs_layers_alike():
    maps = [torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 4, 4)]
    others = [torch.ones(2, 4, 8, 8), torch.full((2, 4, 4, 4), 3.0)]
    assert feature_loss(maps, others).item() == pytest.approx(2.0)


class _Embedding(torch.nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


def test_a_coarse_gradient_keeps_the_picture_and_asks_for_no_spots():
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    shown = with_coarse_gradient(picture)
    assert torch.allclose(shown, picture)
    board = (-1.0) ** torch.arange(16)
    wanted = 1 + board[:, None] * board  # what is coarse, and what alternates
    (shown * wanted).sum().backward()
    inner = picture.grad[..., 6:-6, 6:-6]
    assert torch.allclose(inner, torch.ones_like(inner), atol=0.01)


def test_identity_loss_is_zero_for_the_same_face_and_reaches_the_picture(tmp_path):
    path = tmp_path / "embedding.pt2"
    dynamic = ({0: torch.export.Dim("n")},)
    program = torch.export.export(
        _Embedding(), (torch.ones(2, 3, 112, 112),), dynamic_shapes=dynamic
    )
    torch.export.save(program, path)
    loss = IdentityLoss(path)
    face = torch.rand(3, 3, 64, 64)
    assert loss(face, face).item() == pytest.approx(0.0, abs=1e-5)
    other = torch.rand(3, 3, 64, 64, requires_grad=True)
    scaled = other * torch.tensor([1.0, 0.1, 0.1])[:, None, None]
    loss(scaled, face).backward()
    assert other.grad.abs().sum() > 0


def test_a_file_that_is_no_embedding_is_said(tmp_path):
    (tmp_path / "no.pt2").write_bytes(b"no")
    with pytest.raises(WeightsError, match=r"no\.pt2"):
        IdentityLoss(tmp_path / "no.pt2")


@pytest.mark.parametrize("backbone", [Backbone.ALEX, Backbone.VGG])
def test_perceptual_loss_knows_more_blur_from_less(backbone):
    try:
        state = read_backbone(backbone)
    except WeightsError as error:
        skip_or_fail("stlpips", str(error))
    loss = PerceptualLoss(backbone, state)
    torch.manual_seed(0)
    clean = functional.interpolate(torch.rand(1, 3, 16, 16), (64, 64), mode="bicubic") * 2 - 1
    blurred = [functional.avg_pool2d(clean, k, 1, k // 2).requires_grad_() for k in (3, 7)]
    assert loss(clean, clean).item() == pytest.approx(0.0, abs=1e-6)
    little, much = (loss(picture, clean) for picture in blurred)
    assert 0 < little < much
    much.backward()
    assert blurred[1].grad.abs().sum() > 0
    del state["lin0.model.1.weight"]
    with pytest.raises(WeightsCorruptError, match=r"lin0\.model"):
        PerceptualLoss(backbone, state)
