from fractions import Fraction

import pytest

from vidrestore.errors import SettingsError
from vidrestore.settings import (
    BlendSettings,
    DetectSettings,
    EncodeSettings,
    ModelSettings,
    Moment,
    TimeSpan,
    TrackSettings,
    VideoCodec,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("1:30", 90),
        ("01:30.250", Fraction(361, 4)),
        ("0:01:30.5", Fraction(181, 2)),
        ("2:00:00", 7200),
        ("12.04", Fraction(301, 25)),
    ],
)
def test_times_are_read_exactly(text, seconds):
    assert Moment.parse(text).seconds == seconds


def test_frame_numbers_are_read():
    assert Moment.parse("@2250") == Moment(frame=2250)


@pytest.mark.parametrize("text", ["", "x", "1:2:3:4", "-5", "1:", "@", "@-3", "1.5.2", "1e3", " 5"])
def test_what_is_no_time_is_refused_with_the_forms_that_are(text):
    with pytest.raises(SettingsError, match="1:30"):
        Moment.parse(text)


def test_a_range_must_not_end_before_it_starts():
    with pytest.raises(SettingsError, match="starts at 5s but ends at 4s"):
        TimeSpan(Moment.parse("5"), Moment.parse("4"))
    with pytest.raises(SettingsError, match="starts at @5 but ends at @5"):
        TimeSpan(Moment.parse("@5"), Moment.parse("@5"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: DetectSettings(every=0),
        lambda: DetectSettings(threshold=1.0),
        lambda: DetectSettings(max_side=10),
        lambda: TrackSettings(lookahead=-1),
        lambda: TrackSettings(fade_frames=99),
        lambda: BlendSettings(strength=1.01),
        lambda: BlendSettings(strength=float("nan")),
        lambda: EncodeSettings(crf=99),
        lambda: EncodeSettings(codec=VideoCodec.FFV1, crf=18),
        lambda: ModelSettings(device="gpu"),
        lambda: Moment(),
        lambda: Moment(seconds=Fraction(-1)),
    ],
)
def test_senseless_settings_are_refused(make):
    with pytest.raises(SettingsError):
        make()
