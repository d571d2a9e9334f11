"""Everything this program raises on purpose, and the exit code each branch ends with.

::

    VidrestoreError                      1   base of all below
    ├── SettingsError (ValueError)       2   an option, or a combination of them, makes no sense
    ├── MediaError                       3   the input film
    │   ├── MediaOpenError                   missing, not a video, no usable video stream
    │   └── RangeError                       the range asked for holds no frame of the film
    ├── WeightsError                     4   model files
    │   ├── WeightsNotFoundError             (FileNotFoundError)
    │   ├── WeightsCorruptError              SHA-256 differs; nothing was unpickled
    │   └── DownloadError                    a requested download failed
    ├── DeviceError                      5   the device or runtime asked for cannot be had
    └── OutputError                      6   the output cannot be written
"""

from __future__ import annotations

from typing import ClassVar


class VidrestoreError(Exception):
    """Base of every error raised on purpose; its text is one line for the user."""

    exit_code: ClassVar[int] = 1


class SettingsError(VidrestoreError, ValueError):
    """An option is out of its range or two options contradict each other."""

    exit_code = 2


class MediaError(VidrestoreError):
    """The input cannot be read as asked."""

    exit_code = 3


class MediaOpenError(MediaError):
    """The input is missing, is not a video, or has no usable video stream."""


class RangeError(MediaError):
    """The range asked for holds no frame of the film."""


class WeightsError(VidrestoreError):
    """A model file is missing, unknown or damaged."""

    exit_code = 4


class WeightsNotFoundError(WeightsError, FileNotFoundError):
    """The weights of a model are not installed."""


class WeightsCorruptError(WeightsError):
    """A weights file has another SHA-256 than the registry; it was not opened."""


class DownloadError(WeightsError):
    """A download that the user asked for failed."""


class DeviceError(VidrestoreError):
    """The device, runtime or precision asked for cannot be had here."""

    exit_code = 5


class OutputError(VidrestoreError):
    """The output cannot be written: it exists, its folder is missing, the disk is full ..."""

    exit_code = 6
