import json
import logging

import pytest

from tests.conftest import REPOSITORY
from tests.support.synthetic import Clip, Sound, make_clip
from vidrestore import __version__
from vidrestore.cli.app import main
from vidrestore.cli.console import ProgressBar, as_time, talking
from vidrestore.cli.facts import table
from vidrestore.cli.options import TalkOptions
from vidrestore.jobs.progress import Progress
from vidrestore.settings import EncodeSettings, RestoreSettings

SAMPLE = REPOSITORY / "samples" / "home-video.mp4"


def out_of(capsys, *words):
    code = main([str(w) for w in words])
    return code, capsys.readouterr()


def test_help_fits_a_screen_and_shows_the_main_job_first(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, said = out_of(capsys, "--help")
    lines = said.out.splitlines()
    assert code == 0
    assert len(lines) <= 72
    assert max(map(len, lines)) <= 80
    assert "vidrestore in.mp4 out.mp4" in said.out
    assert said.out.index("--strength") < said.out.index("Expert") < said.out.index("--lookahead")


def test_no_words_at_all_show_the_help(capsys):
    code, said = out_of(capsys)
    assert code == 0
    assert "IN OUT" in said.out


def test_version(capsys):
    code, said = out_of(capsys, "--version")
    assert (code, said.out.strip()) == (0, __version__)


def test_defaults_of_the_options_are_those_of_the_settings():
    from vidrestore.cli.options import ModelOptions, RangeOptions, RestoreOptions

    made = RestoreOptions().settings(RangeOptions().span(), ModelOptions().settings())
    assert made == RestoreSettings()


def test_options_reach_the_settings():
    from vidrestore.cli.options import ModelOptions, RangeOptions, RestoreOptions
    from vidrestore.settings import VideoCodec

    options = RestoreOptions(codec=VideoCodec.AV1, crf=30, preset="8", strength=0.5, lookahead=3)
    made = options.settings(RangeOptions("1", "@9").span(), ModelOptions(device="cpu").settings())
    assert made.encode == EncodeSettings(VideoCodec.AV1, 30, "8")
    assert (made.blend.strength, made.track.lookahead, made.model.device) == (0.5, 3, "cpu")
    assert (made.span.start.seconds, made.span.end.frame) == (1, 9)


def test_weights_list_names_every_model_with_its_licence(capsys):
    code, said = out_of(capsys, "weights", "list")
    assert code == 0
    for name in ("vidrestore-lite-256", "gpen-bfr-512", "retinaface-resnet50"):
        assert name in said.out
    assert "non-commercial" in said.out


def test_weights_verify_finds_damage(capsys, tmp_path):
    (tmp_path / "GPEN-BFR-256.pth").write_bytes(b"broken")
    code, said = out_of(capsys, "weights", "verify", "--weights-dir", tmp_path)
    assert code == 4
    assert "DAMAGED" in said.out
    assert "intact" in said.out  # our own


def test_an_unknown_weights_name_is_one_line(capsys):
    code, said = out_of(capsys, "weights", "fetch", "gpen-9000")
    assert code == 2
    assert said.err.startswith("vidrestore: unknown model 'gpen-9000'")
    assert len(said.err.splitlines()) == 1


def test_doctor_says_what_there_is(capsys):
    code, said = out_of(capsys, "doctor")
    assert code == 0
    rows = {tuple(line.split("  ", 1)) for line in said.out.splitlines()}
    facts = {name: text.strip() for name, text in rows}
    assert facts["encoder h264"] == "works"
    assert facts["verdict"] == "ready"
    assert "OpenVINO" in facts["cpu"]
    assert {"torch", "openvino", "av", "weights", "cache"} <= set(facts)


def test_inspect_tells_streams_and_what_mp4_cannot_keep(capsys, tmp_path):
    film = make_clip(tmp_path / "in.mkv", Clip(sounds=(Sound("pcm_s16le"),)))
    code, said = out_of(capsys, "inspect", film)
    assert code == 0
    assert "160x96" in said.out
    assert "pcm_s16le, 44100 Hz, stereo" in said.out
    assert "encoded to AAC" in said.out
    assert "none at" in said.out
    code, said = out_of(capsys, "inspect", film, "--json")
    assert json.loads(said.out)["source"]["video"]["width"] == 160


def test_inspect_finds_the_faces_of_the_sample(capsys):
    code, said = out_of(capsys, "inspect", SAMPLE, "--json")
    widths = [s["widths_px"] for s in json.loads(said.out)["samples"]]
    assert code == 0
    assert sum(len(w) >= 1 for w in widths) >= 6
    assert any(not w for w in widths)


def test_inspect_numbers_the_faces_and_a_run_restores_those_asked_for(capsys, tmp_path):
    path = tmp_path / "sample.faces.toml"
    code, said = out_of(capsys, "inspect", SAMPLE, "--faces-file", path)
    assert code == 0
    assert "numbered 1 to" in said.out
    assert f"who is who: {path.with_suffix('.png')}" in said.out
    code, said = out_of(capsys, "inspect", SAMPLE, "--faces-file", path)
    assert (code, said.out) == (6, "")
    assert said.err.endswith(f"{path} exists: use --overwrite to replace it\n")
    report = tmp_path / "r.json"
    options = ("--faces-file", path, "--start", "1.2", "--end", "1.3", "--report", report)
    code, said = out_of(capsys, SAMPLE, tmp_path / "out.mp4", "--faces", "1", *options)
    assert code == 0
    assert {t["face_id"] for t in json.loads(report.read_text())["tracks"]} == {1}
    code, said = out_of(capsys, SAMPLE, tmp_path / "no.mp4", "--faces", "99", *options[:-2])
    assert code == 2
    assert "there is no face 99" in said.err


def test_inspect_gives_json_alone_when_it_numbers_faces(capsys, tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip())
    code, said = out_of(
        capsys, "inspect", film, "--json", "--faces-file", tmp_path / "f.toml", "--quiet"
    )
    assert (code, said.err) == (0, "")
    assert json.loads(said.out)["source"]["video"]["width"] == 160
    assert (tmp_path / "f.toml").exists()
    assert (tmp_path / "f.png").exists()


@pytest.mark.parametrize(
    ("choice", "message"),
    [("2,5", "--faces 2,5 needs the faces numbered"), ("smallest", "cannot read 'smallest'")],
)
def test_a_choice_of_faces_that_makes_no_sense_is_one_line(capsys, tmp_path, choice, message):
    code, said = out_of(capsys, SAMPLE, tmp_path / "out.mp4", "--faces", choice)
    assert code == 2
    assert message in said.err
    assert len(said.err.splitlines()) == 1


def test_quiet_says_nothing(capsys, tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip())
    code, said = out_of(capsys, film, tmp_path / "out.mp4", "--quiet")
    assert (code, said.out, said.err) == (0, "", "")


def test_choices_are_said_before_the_work(capsys, tmp_path):
    film = make_clip(tmp_path / "in.mp4", Clip())
    code, said = out_of(capsys, film, tmp_path / "out.mp4")
    assert code == 0
    assert "vidrestore-lite-256" in said.err
    assert "retinaface" in said.err
    assert "out.mp4" in said.out


def test_debug_shows_the_traceback(capsys, tmp_path):
    code, said = out_of(capsys, tmp_path / "no.mp4", tmp_path / "out.mp4", "--debug")
    assert code == 3
    assert "Traceback" in said.err


def test_without_a_terminal_progress_is_a_line_now_and_then(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("vidrestore.cli.console.time.monotonic", lambda: now[0])
    with ProgressBar(is_quiet=False) as bar:
        for done in range(1, 61):
            now[0] += 1
            bar(Progress(done, 120, done / 25))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[-1] == "51 of 120 frames, 1.0 frames/s, 1 min 08 s left"


def test_a_second_run_has_a_speed_of_its_own(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("vidrestore.cli.console.time.monotonic", lambda: now[0])
    with ProgressBar(is_quiet=False) as bar:
        for seconds_a_frame in (9, 1):
            for done in range(1, 21):
                now[0] += seconds_a_frame
                bar(Progress(done, 20, done / 25))
    assert capsys.readouterr().err.splitlines()[-1] == "11 of 20 frames, 1.1 frames/s, 8 s left"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (185, "3 min 05 s"), (7810, "2 h 10 min")],
)
def test_lengths_of_time_are_for_people(seconds, text):
    assert as_time(seconds) == text


def test_a_repeated_name_is_written_once():
    assert table([("a", "1"), ("a", "2"), ("bc", "3")]) == ["a   1", "    2", "bc  3"]


def test_faces_that_were_held_back_are_counted_by_reason():
    from vidrestore.cli.facts import held_back
    from vidrestore.report import TrackSummary

    tracks = [
        TrackSummary(1, 0, 1, num_frames=30, held_back={"already sharp": 10, "covered": 2}),
        TrackSummary(2, 0, 1, num_frames=20, held_back={"covered": 15}),
    ]
    assert held_back(tracks) == [
        "held back, wholly or in part, 27 of 50 times: 17 covered, 10 already sharp"
    ]
    assert held_back(tracks[1:]) == ["held back, wholly or in part, 15 of 20 times: covered"]
    assert held_back([TrackSummary(1, 0, 1, num_frames=30)]) == []


def test_the_log_says_a_thing_once_but_warns_each_time(capsys):
    with talking(TalkOptions()):
        logger = logging.getLogger("vidrestore.jobs.restore")
        for text in ("model a", "model a", "model b"):
            logger.info("%s", text)
            logger.warning("mind %s", text)
    said = capsys.readouterr().err.splitlines()
    assert said == ["model a", "mind model a", "mind model a", "model b", "mind model b"]
