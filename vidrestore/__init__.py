"""Restores the faces in old home videos and leaves everything else as it was.

>>> from vidrestore import restore_video
>>> report = restore_video("tape.mp4", "restored.mp4")  # doctest: +SKIP

Names are imported when they are first used, so that ``import vidrestore`` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidrestore.errors import (
        DeviceError,
        MediaError,
        OutputError,
        SettingsError,
        VidrestoreError,
        WeightsError,
    )
    from vidrestore.jobs.crops import restore_crops
    from vidrestore.jobs.preview import Preview, preview_video
    from vidrestore.jobs.progress import Progress
    from vidrestore.jobs.restore import restore_video
    from vidrestore.report import RestoreReport
    from vidrestore.settings import (
        BlendSettings,
        Deinterlace,
        DetectSettings,
        EncodeSettings,
        FaceChoice,
        ModelSettings,
        Moment,
        Precision,
        ReadSettings,
        RestoreSettings,
        Runtime,
        TimeSpan,
        TrackChoice,
        TrackSettings,
        VideoCodec,
    )

__version__ = "0.1.0"

__all__ = [
    "BlendSettings",
    "Deinterlace",
    "DetectSettings",
    "DeviceError",
    "EncodeSettings",
    "FaceChoice",
    "MediaError",
    "ModelSettings",
    "Moment",
    "OutputError",
    "Precision",
    "Preview",
    "Progress",
    "ReadSettings",
    "RestoreReport",
    "RestoreSettings",
    "Runtime",
    "SettingsError",
    "TimeSpan",
    "TrackChoice",
    "TrackSettings",
    "VideoCodec",
    "VidrestoreError",
    "WeightsError",
    "__version__",
    "preview_video",
    "restore_crops",
    "restore_video",
]

_HOMES = {
    "vidrestore.errors": (
        "DeviceError", "MediaError", "OutputError", "SettingsError", "VidrestoreError",
        "WeightsError",
    ),
    "vidrestore.jobs.crops": ("restore_crops",),
    "vidrestore.jobs.preview": ("Preview", "preview_video"),
    "vidrestore.jobs.progress": ("Progress",),
    "vidrestore.jobs.restore": ("restore_video",),
    "vidrestore.report": ("RestoreReport",),
    "vidrestore.settings": (
        "BlendSettings", "Deinterlace", "DetectSettings", "EncodeSettings", "FaceChoice",
        "ModelSettings", "Moment", "Precision", "ReadSettings", "RestoreSettings", "Runtime",
        "TimeSpan", "TrackChoice", "TrackSettings", "VideoCodec",
    ),
}  # fmt: skip


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module holds
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'vidrestore' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
