"""A disk that is too small is noticed before the work begins."""

import shutil
from collections import namedtuple

import pytest

from tests.support.synthetic import Clip, make_clip
from vidrestore.errors import OutputError
from vidrestore.jobs.space import as_size, check_space
from vidrestore.media.estimate import estimate_output_bytes
from vidrestore.media.probe import probe
from vidrestore.settings import EncodeSettings

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    return probe(make_clip(tmp_path_factory.mktemp("film") / "in.mp4", Clip(num_frames=50)))


def free(monkeypatch, num_bytes):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, num_bytes))


def test_room_enough_needs_no_warning(info, tmp_path, monkeypatch):
    free(monkeypatch, 1 << 40)
    size, warning = check_space(tmp_path / "out.mp4", info, EncodeSettings(), None)
    assert size.startswith("out.mp4 will take ")
    assert warning is None


def test_what_surely_does_not_fit_is_refused(info, tmp_path, monkeypatch):
    least, _ = estimate_output_bytes(info, EncodeSettings(), None)
    free(monkeypatch, 2 * least - 1)
    with pytest.raises(OutputError, match=r"will take .* are free there: free some space"):
        check_space(tmp_path / "out.mp4", info, EncodeSettings(), None)


def test_what_may_not_fit_is_said(info, tmp_path, monkeypatch):
    _, most = estimate_output_bytes(info, EncodeSettings(), None)
    free(monkeypatch, 2 * most - 1)
    _, warning = check_space(tmp_path / "out.mp4", info, EncodeSettings(), None)
    assert "may not be enough" in warning
    assert "the same command goes on" in warning


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "2 kB"), (2.5e6, "2 MB"), (7.24e10, "72.4 GB")],
)
def test_sizes_for_people(num_bytes, text):
    assert as_size(num_bytes) == text
