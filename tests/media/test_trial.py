from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest

from tests.support.films import payloads, rewrite
from tests.support.synthetic import Clip, Sound, make_clip
from vidrestore.errors import OutputError
from vidrestore.media.probe import probe
from vidrestore.media.read import VideoReader
from vidrestore.media.trial import TrialEncoder, sound_rate, stored_bytes
from vidrestore.settings import EncodeSettings, VideoCodec

OPTIONS = {"preset": "ultrafast", "crf": "10", "g": "25"}
SETTINGS = EncodeSettings(preset="ultrafast", overwrite=True)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    clip = Clip(num_frames=250, options=OPTIONS, sounds=(Sound(),))
    return make_clip(tmp_path_factory.mktemp("film") / "in.mp4", clip)


def trial_of(film, settings, count):
    with VideoReader(film) as reader:
        with TrialEncoder(reader.info, settings, Path("out.mkv")) as trial:
            for frame in islice(reader.frames(), count):
                trial.write(frame)
        return trial


@pytest.mark.parametrize(
    "settings", [SETTINGS, EncodeSettings(codec=VideoCodec.FFV1, overwrite=True)]
)
def test_a_part_tells_the_size_of_the_whole(film, tmp_path, settings):
    rewrite(film, tmp_path / "out.mkv", settings)
    so = sum(len(p) for p in payloads(tmp_path / "out.mkv", "video")[0]) / 250
    trial = trial_of(film, settings, 60)
    assert (trial.num_frames, trial.seconds > 0) == (60, True)
    assert trial.bytes_for_frame() == pytest.approx(so, rel=0.12)


def test_nothing_written_has_no_size_and_leaves_no_file(film, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert trial_of(film, SETTINGS, 0).bytes_for_frame() == 0
    trial_of(film, SETTINGS, 3)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_of_output_is_refused(film):
    with pytest.raises(OutputError, match="name the output with one of"):
        TrialEncoder(probe(film), SETTINGS, Path("out.avi"))


def test_stored_bytes_are_those_of_whole_groups_of_pictures(film):
    sizes = [len(p) for p in payloads(film, "video")[0]]
    stored = stored_bytes(probe(film), Fraction("2.3"), Fraction("4.1"))
    assert stored is not None
    assert float(stored.seconds) == pytest.approx(3, abs=0.06)
    assert stored.pictures == pytest.approx(sum(sizes[50:125]), rel=0.03)
    assert stored.others == pytest.approx(3 * sound_rate(film), rel=0.15)


def test_stored_bytes_of_the_end_are_those_up_to_the_end(film):
    sizes = [len(p) for p in payloads(film, "video")[0]]
    stored = stored_bytes(probe(film), Fraction(9), Fraction(11))
    assert stored is not None
    assert stored.pictures == pytest.approx(sum(sizes[225:]), rel=0.03)
    assert float(stored.seconds) == pytest.approx(1, abs=0.1)


def test_the_rate_of_the_sound_is_that_of_its_packets(film, tmp_path):
    heard = sum(len(p) for p in payloads(film)[0])
    assert sound_rate(film) == pytest.approx(heard / 10, rel=0.01)
    assert sound_rate(make_clip(tmp_path / "mute.mp4", Clip())) == 0
