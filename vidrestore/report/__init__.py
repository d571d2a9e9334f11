"""The report of a run: what was found, what was done, what was chosen, how long it took."""

from vidrestore.report.document import (
    SCHEMA_VERSION,
    RestoreReport,
    describe_machine,
    describe_times,
    describe_versions,
    plain,
)
from vidrestore.report.history import RunHistory
from vidrestore.report.recorder import FrameRecorder
from vidrestore.report.tracks import TrackSummary

__all__ = [
    "SCHEMA_VERSION",
    "FrameRecorder",
    "RestoreReport",
    "RunHistory",
    "TrackSummary",
    "describe_machine",
    "describe_times",
    "describe_versions",
    "plain",
]
