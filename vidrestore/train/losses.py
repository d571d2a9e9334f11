"""What the two networks are to make small.

Sources: Yang et al. (GPEN), CVPR 2021, section 3.3: content, adversarial and feature loss;
Goodfellow et al., "Generative Adversarial Nets", 2014, section 3: the non-saturating form;
Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018: R1;
Karras et al. (StyleGAN2), CVPR 2020, appendix B: R1 only every few steps.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from vidrestore.errors import WeightsError
from vidrestore.models.registry import landmark_template
from vidrestore.train.config import Content, ModelConfig
from vidrestore.train.dlib_loss import DlibIdentityLoss, installed_network
from vidrestore.train.luma import luma

_COARSE = 5
"""Side of the boxes, two of which blur a gradient: a triangle 9 wide."""
_DLIB = "dlib"
_IDENTITY_SIDE = 112
_LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
_WINDOW = 16


def content_loss(kind: Content, picture: Tensor, target: Tensor) -> Tensor:
    """Return the mean distance of the values; both (N, 3, H, W) in [-1, 1]."""
    if kind is Content.L1:
        return functional.l1_loss(picture, target)
    return functional.smooth_l1_loss(picture, target)


def gradient_loss(picture: Tensor, target: Tensor) -> Tensor:
    """Return the mean L1 distance of the differences between neighbours, across and down."""
    error = picture - target
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return across + down


def detail_loss(picture: Tensor, target: Tensor) -> Tensor:
    """Return the mean L1 distance of how strong fine detail is from place to place.

    The strength is the root of the mean squared Laplacian of luma in each window of 16×16, or in
    all of a smaller picture; both (N, 3, H, W) RGB in [-1, 1]. Where detail lies inside its window
    does not matter, so unlike a distance of values it does not reward blur.
    """
    return functional.l1_loss(_detail(picture), _detail(target))


def _detail(picture: Tensor) -> Tensor:
    framed = functional.pad(luma(picture), (1, 1, 1, 1), mode="reflect")
    laplacian = functional.conv2d(framed, picture.new_tensor(_LAPLACIAN)[None, None])
    window = min(_WINDOW, *picture.shape[-2:])
    return (functional.avg_pool2d(laplacian.square(), window) + 1e-6).sqrt()


def adversarial_loss(fake_logits: Tensor) -> Tensor:
    """Return the generator's loss, -log D(G(x)), mean over logits of shape (N, 1)."""
    return functional.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the discriminator's logistic loss; logits of shape (N, 1)."""
    return functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()


def r1_penalty(real_logits: Tensor, real: Tensor) -> Tensor:
    """Return the mean squared norm of the gradient of the logits at real pictures.

    Args:
        real_logits: Shape (N, 1), computed from ``real``.
        real: Shape (N, 3, S, S), requiring gradients.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def feature_loss(fake_maps: Sequence[Tensor], real_maps: Sequence[Tensor]) -> Tensor:
    """Return the L1 distance of the discriminator's maps, mean over each, mean over layers.

    GPEN's equation 4 sums norms instead; means keep its weight independent of the picture's size.
    """
    pairs = zip(fake_maps, real_maps, strict=True)
    return torch.stack([(fake.float() - real.float()).abs().mean() for fake, real in pairs]).mean()


def make_identity_loss(name: str, model: ModelConfig) -> IdentityLoss | DlibIdentityLoss:
    """Make the identity loss that a config names.

    Args:
        name: ``dlib``, or a file for ``IdentityLoss``.
        model: Says how faces lie in the pictures.

    Raises:
        WeightsError: What it needs is missing or damaged.
    """
    if name != _DLIB:
        return IdentityLoss(Path(name))
    landmarks = landmark_template(model.template, model.size)
    return DlibIdentityLoss(installed_network(), landmarks, model.size)


def with_coarse_gradient(picture: Tensor) -> Tensor:
    """Return the picture (N, 3, H, W) itself; its gradient comes back blurred.

    An embedding's gradient in the eyes is many times that of a distance of values, and alternates
    from pixel to pixel: followed as it is, it paints spots there. What makes a face someone is
    larger than that.
    """
    low = picture
    for _ in range(2):
        low = functional.avg_pool2d(
            low, _COARSE, stride=1, padding=_COARSE // 2, count_include_pad=False
        )
    return low + (picture - low).detach()


class IdentityLoss(nn.Module):
    """One minus the cosine between the embeddings of two faces.

    Args:
        path: A program of ``torch.export``: (N, 3, 112, 112) RGB in [-1, 1] to (N, D).

    Raises:
        WeightsError: The file is missing or no such program.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        if not zipfile.is_zipfile(path):
            raise WeightsError(f"the face embedding {path} is missing or no torch.export program")
        try:
            embedding = torch.export.load(path).module()
        except (OSError, RuntimeError, ValueError) as error:
            raise WeightsError(f"{path} is no torch.export program: {error}") from error
        self.embedding = embedding.requires_grad_(False)

    def forward(self, picture: Tensor, target: Tensor) -> Tensor:
        """Compare (N, 3, S, S) in [-1, 1], aligned alike."""
        with torch.no_grad():
            wanted = self._embed(target)
        return 1 - functional.cosine_similarity(self._embed(picture), wanted).mean()

    def _embed(self, picture: Tensor) -> Tensor:
        side = (_IDENTITY_SIDE, _IDENTITY_SIDE)
        small = functional.interpolate(picture, side, mode="bilinear", antialias=True)
        embedded: Tensor = self.embedding(small)
        return embedded
