import subprocess
import sys

import pytest

import vidrestore


def test_the_public_names_are_these():
    assert vidrestore.__all__ == [
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


def test_every_public_name_can_be_had_and_is_documented():
    for name in vidrestore.__all__:
        value = getattr(vidrestore, name)
        assert name == "__version__" or value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_thing"):
        vidrestore.no_such_thing  # noqa: B018


def test_importing_the_package_loads_no_heavy_library_and_starts_nothing():
    code = (
        "import sys, threading, logging, vidrestore;"
        "heavy = {'torch', 'av', 'cv2', 'openvino', 'numpy'} & set(sys.modules);"
        "assert not heavy, heavy;"
        "assert threading.active_count() == 1;"
        "assert not logging.getLogger('vidrestore').handlers"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
