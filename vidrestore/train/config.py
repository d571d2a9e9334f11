"""What a training run does: data that checks itself; ``config_file`` reads it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from vidrestore.errors import SettingsError
from vidrestore.models.gpen_widths import num_channels
from vidrestore.models.registry import Template
from vidrestore.train.degrade import Mix


class Precision(StrEnum):
    """Float type of the convolutions; weights and optimisers are always float32."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    """Needs CUDA; the loss is scaled so that small gradients survive."""


class Content(StrEnum):
    """Distance between pictures that the content loss measures."""

    SMOOTH_L1 = "smooth_l1"
    L1 = "l1"


class Backbone(StrEnum):
    """Network whose features the perceptual loss compares."""

    NONE = "none"
    ALEX = "alex"
    VGG = "vgg"


class Schedule(StrEnum):
    """How the learning rates go after the warm-up."""

    CONSTANT = "constant"
    COSINE = "cosine"
    """Falls to ``final`` of the full rate at the last step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The network, and where its numbers come from."""

    size: int = 256
    """Side of the picture in pixels, a power of two from 8 to 2048."""
    channel_multiplier: int = 1
    narrow: float = 0.25
    style_dim: int = 512
    n_mlp: int = 8
    template: Template = Template.FFHQ
    """How the faces of the data are aligned; written into the exported file."""
    init: str | None = None
    """Weights to begin from: a file, or a name of ``vidrestore weights list``; None: random."""
    init_discriminator: Path | None = None
    """A training checkpoint to take the discriminator from; None: random."""
    freeze_decoder: bool = False
    """Train the encoder alone."""

    def __post_init__(self) -> None:
        _require(self.size in {2**i for i in range(3, 12)}, "size", "a power of two, 8 to 2048")
        _require(self.channel_multiplier >= 1, "channel_multiplier", "at least 1")
        _require_channels(self.size, self.channel_multiplier, self.narrow)
        _require(self.style_dim >= 1, "style_dim", "at least 1")
        _require(self.n_mlp >= 1, "n_mlp", "at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the clean faces are."""

    folder: Path = Path("faces")
    """Images, or shards ``.npy``/``.npz`` of shape (N, H, W, 3) uint8 RGB; searched downwards."""
    prefixes: tuple[str, ...] = ()
    """Take only files whose names begin so; empty: all."""
    validation: Path | None = None
    """Folder some of whose faces fill the sample pictures (``prefixes`` counts there as well);
    None: faces of ``folder``."""
    workers: int = 0
    """Processes that prepare pictures; 0: the training process does."""
    cache_megabytes: int = 1024
    """Decoded images are kept in memory up to this, in each process; ``.npz`` always are."""

    def __post_init__(self) -> None:
        _require(self.workers >= 0, "workers", "0 or more")
        _require(self.cache_megabytes >= 0, "cache_megabytes", "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """Changes to the clean face before it is damaged."""

    flip: float = 0.5
    """Share of pictures that are mirrored."""
    move: float = 0.7
    """Share of pictures that are turned, scaled and shifted."""
    rotation: float = 8.0
    """Degrees to each side."""
    scale: tuple[float, float] = (0.92, 1.2)
    shift: float = 0.04
    """Of the side, to each side."""
    colour: float = 0.7
    """Share of pictures whose colours change: gamma, saturation, gains."""
    gamma: float = 1.3
    """Largest gamma; the smallest is its reciprocal."""
    saturation: tuple[float, float] = (0.6, 1.3)
    gain: float = 0.08
    """Relative change of each of R, G and B, to each side."""
    grey: float = 0.05
    """Share of pictures without colour."""
    side_light: float = 0.2
    """Share of faces that get one half brighter than the other."""

    def __post_init__(self) -> None:
        for name in ("flip", "move", "colour", "grey", "side_light"):
            _require(0 <= getattr(self, name) <= 1, name, "0 to 1")
        _require(0 <= self.rotation <= 180, "rotation", "0 to 180")
        _require(0 <= self.shift < 1, "shift", "0 to 1")
        _require(0 < self.scale[0] <= self.scale[1], "scale", "two rising numbers above 0")
        _require(self.gamma >= 1, "gamma", "at least 1")
        _require(0 <= self.saturation[0] <= self.saturation[1], "saturation", "two rising numbers")
        _require(0 <= self.gain < 1, "gain", "0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Weights of the losses; 0 leaves one out."""

    content: Content = Content.SMOOTH_L1
    content_weight: float = 1.0
    gradient: float = 0.0
    """L1 of the differences between neighbouring pixels."""
    detail: float = 0.0
    """L1 of the strength of fine detail in each window of 16 pixels."""
    start_step: int = 0
    """First step with a discriminator; before it the generator learns from pictures alone."""
    ramp_steps: int = 0
    """Steps from ``start_step`` in which the adversarial weight grows from 0 to its full value."""
    adversarial: float = 0.0
    feature: float = 1.0
    """L1 of the discriminator's maps (GPEN, equation 4); counts once ``adversarial`` does."""
    r1: float = 10.0
    r1_every: int = 16
    perceptual: Backbone = Backbone.NONE
    perceptual_weight: float = 0.0
    perceptual_crop: int = 0
    """Side of the random part of each picture that is compared, which costs less; 0: the whole."""
    identity: str | None = None
    """``dlib``, the embedding that ``vidrestore evaluate`` measures with; or a file, a program of
    ``torch.export`` that embeds faces: (N, 3, 112, 112) RGB in [-1, 1] to (N, D)."""
    identity_weight: float = 0.0

    def __post_init__(self) -> None:
        names = ("content_weight", "gradient", "detail", "adversarial", "feature", "r1")
        for name in (
            *names,
            "perceptual_weight",
            "perceptual_crop",
            "identity_weight",
            "start_step",
            "ramp_steps",
        ):
            _require(getattr(self, name) >= 0, name, "0 or more")
        _require(self.r1_every >= 1, "r1_every", "at least 1")
        wants = self.perceptual_weight > 0
        _require(wants == (self.perceptual is not Backbone.NONE), "perceptual",
                 "alex or vgg together with a perceptual_weight above 0")  # fmt: skip
        wants = self.identity_weight > 0
        _require(wants == (self.identity is not None), "identity",
                 "\"dlib\" or a file together with an identity_weight above 0")  # fmt: skip
        total = self.content_weight + self.gradient + self.perceptual_weight
        if self.start_step == 0:
            total += self.adversarial
        _require(total > 0, "content_weight", "above 0, or another loss from the first step on")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserConfig:
    """Steps of the two networks."""

    steps: int = 100_000
    """Of the whole run."""
    batch_size: int = 8
    """Pictures in a step, in each process."""
    generator_rate: float = 8e-4
    discriminator_rate: float = 8e-4
    slow: float = 0.1
    """Factor on the generator's rate for style network, final linear layer and modulations: at the
    full rate a network with random weights diverges."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Of the generator's Adam."""
    discriminator_betas: tuple[float, float] = (0.0, 0.99)
    weight_decay: float = 0.0
    warmup_steps: int = 200
    schedule: Schedule = Schedule.COSINE
    final: float = 0.02
    """Factor that the cosine ends with."""
    clip: float = 1.0
    """Largest norm of the generator's gradient; 0: any."""
    ema: float = 0.999
    """Share of the averaged generator that stays at each step."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            _require(getattr(self, name) >= 1, name, "at least 1")
        for name in ("generator_rate", "discriminator_rate"):
            _require(getattr(self, name) > 0, name, "above 0")
        for name in ("slow", "weight_decay", "warmup_steps", "clip"):
            _require(getattr(self, name) >= 0, name, "0 or more")
        for name in ("betas", "discriminator_betas"):
            _require(all(0 <= b < 1 for b in getattr(self, name)), name, "0 to 1, 1 excluded")
        _require(0 <= self.final <= 1, "final", "0 to 1")
        _require(0 <= self.ema < 1, "ema", "0 to 1, 1 excluded")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorConfig:
    """Size of the discriminator, and what it sees."""

    channel_multiplier: int = 1
    narrow: float = 0.25
    """1 gives the paper's widths."""
    crop: int = 0
    """Side of the random part of each picture that it judges, a power of two from 8: it costs less,
    and judges texture rather than the whole face. 0: the whole picture, as in the paper."""

    def __post_init__(self) -> None:
        _require(
            self.crop in {0, *(2**i for i in range(3, 12))},
            "crop",
            "0 or a power of two, 8 to 2048",
        )
        _require(self.channel_multiplier >= 1, "channel_multiplier", "at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Where and how the run goes."""

    folder: Path = Path("training")
    """Gets checkpoints, log, samples and the exported model."""
    seed: int = 1
    device: str = "auto"
    """``auto`` (CUDA if there is one), ``cpu``, ``cuda`` or ``cuda:N``."""
    precision: Precision = Precision.FP32
    threads: int = 0
    """Of torch on the CPU; 0: torch decides."""
    checkpoint_every: int = 10_000
    """Steps between two checkpoints that are kept."""
    save_every: int = 500
    """Steps between two writings of the checkpoint that a broken run goes on from."""
    sample_every: int = 1000
    log_every: int = 50

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "save_every", "sample_every", "log_every"):
            _require(getattr(self, name) >= 1, name, "at least 1")
        _require(self.threads >= 0, "threads", "0 or more")
        _require(0 <= self.seed < 2**32, "seed", "0 to 2^32 - 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """A whole run, one field for each table of the file."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    degrade: Mix = field(default_factory=Mix)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        if self.discriminator.crop > self.model.size:
            raise SettingsError("[discriminator] crop is larger than [model] size")
        if self.loss.perceptual_crop > self.model.size:
            raise SettingsError("[loss] perceptual_crop is larger than [model] size")
        seen, judge = self.discriminator.crop or self.model.size, self.discriminator
        try:
            _require_channels(seen, judge.channel_multiplier, judge.narrow)
        except SettingsError as error:
            raise SettingsError(f"[discriminator] {error}") from None


def _require_channels(size: int, channel_multiplier: int, narrow: float) -> None:
    """Narrow networks run out of channels where maps are small, or where they are largest."""
    has_all = all(num_channels(side, channel_multiplier, narrow) >= 1 for side in (4, size))
    _require(has_all, "narrow", f"more: maps of {size} pixels would have no channel")


def _require(is_met: bool, name: str, legal: str) -> None:
    if not is_met:
        raise SettingsError(f"{name}: use {legal}")
