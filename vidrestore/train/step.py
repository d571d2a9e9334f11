"""One step of training: what GPEN's recipe does with one batch."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from vidrestore.errors import SettingsError, VidrestoreError
from vidrestore.train.config import Backbone, Precision, TrainConfig
from vidrestore.train.losses import (
    adversarial_loss,
    content_loss,
    detail_loss,
    discriminator_loss,
    feature_loss,
    gradient_loss,
    make_identity_loss,
    r1_penalty,
    with_coarse_gradient,
)
from vidrestore.train.luma import with_colour_of
from vidrestore.train.networks import Learners, update_average
from vidrestore.train.parallel import Processes
from vidrestore.train.perceptual import PerceptualLoss, read_backbone

_DTYPES = {Precision.FP32: None, Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
_PERCEPTUAL_CROP = 3
_JUDGED_CROP = 4
"""Tell the random numbers of the crops from those of the pictures."""


class TrainingStep:
    """Changes the networks by one batch at a time.

    Args:
        config: Losses and optimisers.
        learners: What learns.
        processes: Who trains together.

    Raises:
        SettingsError: fp16 was asked for on a CPU.
        WeightsError: A loss's own network cannot be had.
    """

    def __init__(self, config: TrainConfig, learners: Learners, processes: Processes) -> None:
        self._config = config
        self._learners = learners
        self._processes = processes
        self._dtype = _DTYPES[config.run.precision]
        if config.run.precision is Precision.FP16 and processes.device.type == "cpu":
            raise SettingsError("[run] precision fp16 is for CUDA: use bf16 or fp32 on a CPU")
        loss = config.loss
        self._perceptual: PerceptualLoss | None = None
        if loss.perceptual is not Backbone.NONE:
            state = read_backbone(loss.perceptual)
            self._perceptual = PerceptualLoss(loss.perceptual, state).to(processes.device)
        self._identity: nn.Module | None = None
        if loss.identity is not None:
            self._identity = make_identity_loss(loss.identity, config.model).to(processes.device)

    def run(self, damaged: Tensor, clean: Tensor) -> dict[str, float]:
        """Do one step.

        Args:
            damaged: Shape (N, 3, S, S), RGB in [-1, 1].
            clean: What it should become, same shape.

        Returns:
            The losses by the names of :data:`vidrestore.train.logs.COLUMNS`.

        Raises:
            VidrestoreError: A loss or gradient is no number any more; the network that it would
                have changed was left as it was.
        """
        learners, loss = self._learners, self._config.loss
        is_adversarial = loss.adversarial > 0 and learners.step >= loss.start_step
        with self._autocast():
            restored = learners.generator(damaged)
        restored = restored.float()
        told: dict[str, float] = {}
        parts = self._picture_losses(restored, clean)
        if is_adversarial:
            judged = self._cropped(restored, clean, self._config.discriminator.crop, _JUDGED_CROP)
            told |= self._teach_discriminator(judged[0].detach(), judged[1])
            parts |= self._judged_losses(*judged)
        total = torch.stack([weight * value for weight, value in parts.values()]).sum()
        told |= {name: value.item() for name, (_, value) in parts.items()}
        self._require_finite(total.item(), "loss")
        told["gradient_norm"] = self._update_generator(total)
        update_average(
            learners.average, learners.generator.network, self._config.optimiser.ema, learners.step
        )
        learners.step += 1
        learners.num_pictures += len(clean) * self._processes.count
        return told

    def _picture_losses(self, restored: Tensor, clean: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Return the weights and values of the losses that need no discriminator."""
        loss = self._config.loss
        parts: dict[str, tuple[float, Tensor]] = {}
        if loss.content_weight:
            value = content_loss(loss.content, restored, clean)
            parts["content"] = loss.content_weight, value
        if loss.gradient:
            parts["gradient"] = loss.gradient, gradient_loss(restored, clean)
        if loss.detail:
            parts["detail"] = loss.detail, detail_loss(restored, clean)
        if self._perceptual is None and self._identity is None:
            return parts
        shown = with_colour_of(clean, restored)
        if self._perceptual is not None:
            seen, wanted = self._cropped(shown, clean, loss.perceptual_crop, _PERCEPTUAL_CROP)
            with self._autocast():
                value = self._perceptual(seen, wanted)
            parts["perceptual"] = loss.perceptual_weight, value.float()
        if self._identity is not None:
            coarse = with_coarse_gradient(shown)
            parts["identity"] = loss.identity_weight, self._identity(coarse, clean)
        return parts

    def _judged_losses(self, restored: Tensor, clean: Tensor) -> dict[str, tuple[float, Tensor]]:
        """Return the weights and values of the losses that the discriminator gives."""
        loss, discriminator = self._config.loss, self._learners.discriminator
        discriminator.requires_grad_(False)
        with self._autocast():
            fake_logits, fake_maps = discriminator(restored)
            with torch.no_grad():
                real_maps = discriminator(clean)[1] if loss.feature else []
        discriminator.requires_grad_(True)
        share = 1.0
        if loss.ramp_steps:
            share = min(1.0, (self._learners.step - loss.start_step + 1) / loss.ramp_steps)
        parts = {"adversarial": (loss.adversarial * share, adversarial_loss(fake_logits))}
        if loss.feature:
            parts["feature"] = loss.feature, feature_loss(fake_maps, real_maps)
        return parts

    def _teach_discriminator(self, restored: Tensor, clean: Tensor) -> dict[str, float]:
        learners, loss = self._learners, self._config.loss
        has_penalty = loss.r1 > 0 and learners.step % loss.r1_every == 0
        with self._autocast():
            real_logits, _ = learners.discriminator(clean)
            fake_logits, _ = learners.discriminator(restored)
        total = discriminator_loss(real_logits, fake_logits)
        told = {
            "discriminator": total.item(),
            "real_logits": real_logits.mean().item(),
            "fake_logits": fake_logits.mean().item(),
        }
        if has_penalty:  # in fp32: it is a gradient of a gradient
            real = clean.detach().requires_grad_()
            penalty = r1_penalty(learners.discriminator(real)[0], real)
            told["r1"] = penalty.item()
            total = total + penalty * (loss.r1 / 2 * loss.r1_every)
        self._require_finite(total.item(), "discriminator's loss")
        optimiser = learners.discriminator_optimiser
        optimiser.zero_grad()
        torch.autograd.backward(learners.scaler.scale(total))
        # averaged first, so that all processes see the same overflow
        parameters = list(learners.discriminator.parameters())
        self._processes.average_gradients(parameters)
        learners.scaler.unscale_(optimiser)
        if not learners.scaler.is_enabled():  # with it, a step that overflows is left out
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            self._require_finite(norm.item(), "discriminator's gradient")
        learners.scaler.step(optimiser)
        return told

    def _update_generator(self, total: Tensor) -> float:
        """Take the generator's step; return the norm of its gradient before clipping."""
        learners, clip = self._learners, self._config.optimiser.clip
        parameters = [p for p in learners.generator.parameters() if p.requires_grad]
        optimiser = learners.generator_optimiser
        optimiser.zero_grad()
        torch.autograd.backward(learners.scaler.scale(total))
        self._processes.average_gradients(parameters)
        learners.scaler.unscale_(optimiser)
        norm = nn.utils.clip_grad_norm_(parameters, clip or math.inf).item()
        if not learners.scaler.is_enabled():  # with it, a step that overflows is left out
            self._require_finite(norm, "gradient")
        learners.scaler.step(optimiser)
        learners.scaler.update()
        return norm

    def _cropped(
        self, restored: Tensor, clean: Tensor, crop: int, purpose: int
    ) -> tuple[Tensor, Tensor]:
        """Cut a random square out of each pair of pictures; a ``crop`` of 0 leaves them whole."""
        side, count = clean.shape[-1], len(clean)
        if not 0 < crop < side:
            return restored, clean
        first = self._learners.num_pictures + self._processes.rank * count
        parts = []
        for number in range(first, first + count):
            rng = np.random.default_rng((self._config.run.seed, purpose, number))
            top, left = rng.integers(0, side - crop + 1, 2).tolist()
            parts.append((slice(None), slice(top, top + crop), slice(left, left + crop)))
        cut = [
            torch.stack([picture[part] for picture, part in zip(pictures, parts, strict=True)])
            for pictures in (restored, clean)
        ]
        seen, wanted = (x.contiguous(memory_format=torch.channels_last) for x in cut)
        return seen, wanted

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self._processes.device.type, self._dtype, enabled=self._dtype is not None
        )

    def _require_finite(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            raise VidrestoreError(
                f"the {what} is not finite any more at step {self._learners.step}: lower the "
                "learning rates and go on with --resume from the last checkpoint"
            )
