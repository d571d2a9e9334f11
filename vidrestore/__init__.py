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
    from vidrestore.jobs.batch import restore_folder
    from vidrestore.jobs.batch_result import BatchResult
    from vidrestore.jobs.crops import restore_crops
    from vidrestore.jobs.id_photo import IdPhotoResult, make_id_photo
    from vidrestore.jobs.photo import photo_restorer, restore_photo, restore_pixels
    from vidrestore.jobs.photo_results import PhotoResult
    from vidrestore.jobs.preview import Preview, preview_video
    from vidrestore.jobs.preview_frame import FramePreview, frame_before_after, preview_frame
    from vidrestore.jobs.progress import Progress
    from vidrestore.jobs.restore import restore_video
    from vidrestore.media.images import is_photograph
    from vidrestore.report import RestoreReport
    from vidrestore.settings import (
        BatchSettings,
        BlendSettings,
        Compare,
        Deinterlace,
        DetectSettings,
        EncodeSettings,
        FaceChoice,
        IdPhotoSettings,
        ModelSettings,
        Moment,
        PhotoSettings,
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
    "BatchResult",
    "BatchSettings",
    "BlendSettings",
    "Compare",
    "Deinterlace",
    "DetectSettings",
    "DeviceError",
    "EncodeSettings",
    "FaceChoice",
    "FramePreview",
    "IdPhotoResult",
    "IdPhotoSettings",
    "MediaError",
    "ModelSettings",
    "Moment",
    "OutputError",
    "PhotoResult",
    "PhotoSettings",
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
    "frame_before_after",
    "is_photograph",
    "make_id_photo",
    "photo_restorer",
    "preview_frame",
    "preview_video",
    "restore_crops",
    "restore_folder",
    "restore_photo",
    "restore_pixels",
    "restore_video",
]

_HOMES = {
    "vidrestore.errors": (
        "DeviceError", "MediaError", "OutputError", "SettingsError", "VidrestoreError",
        "WeightsError",
    ),
    "vidrestore.jobs.batch": ("restore_folder",),
    "vidrestore.jobs.batch_result": ("BatchResult",),
    "vidrestore.jobs.crops": ("restore_crops",),
    "vidrestore.jobs.id_photo": ("IdPhotoResult", "make_id_photo"),
    "vidrestore.jobs.photo": ("photo_restorer", "restore_photo", "restore_pixels"),
    "vidrestore.jobs.photo_results": ("PhotoResult",),
    "vidrestore.jobs.preview": ("Preview", "preview_video"),
    "vidrestore.jobs.preview_frame": ("FramePreview", "frame_before_after", "preview_frame"),
    "vidrestore.jobs.progress": ("Progress",),
    "vidrestore.jobs.restore": ("restore_video",),
    "vidrestore.media.images": ("is_photograph",),
    "vidrestore.report": ("RestoreReport",),
    "vidrestore.settings": (
        "BatchSettings",
        "BlendSettings", "Compare", "Deinterlace", "DetectSettings", "EncodeSettings", "FaceChoice",
        "IdPhotoSettings", "ModelSettings", "Moment", "PhotoSettings", "Precision", "ReadSettings",
        "RestoreSettings", "Runtime", "TimeSpan", "TrackChoice", "TrackSettings", "VideoCodec",
    ),
}  # fmt: skip


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module holds
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module 'vidrestore' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
