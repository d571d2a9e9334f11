"""A batch does what is to be done, leaves what is complete, and never harms what is not its own."""

import errno
import json
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from vidrestore.cli.app import main
from vidrestore.errors import MediaError, OutputError, SettingsError, WeightsError
from vidrestore.jobs.batch import restore_folder
from vidrestore.jobs.batch_record import State, held
from vidrestore.jobs.batch_work import Hung, Outcome
from vidrestore.jobs.progress import Progress
from vidrestore.jobs.space import is_disk_full
from vidrestore.runtime.workers import Died, Finished, Told
from vidrestore.settings import (
    BatchSettings,
    BlendSettings,
    EncodeSettings,
    ModelSettings,
    Moment,
    RestoreSettings,
    TimeSpan,
)

HALF = RestoreSettings(blend=BlendSettings(strength=0.5))


class InlineWorkers:
    """Workers that are none: what is started is done at once."""

    def __init__(self, open_work, count):
        self.count, self.events = count, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    has_room = property(lambda self: not self.events)
    num_busy = property(lambda self: len(self.events))

    def start(self, task):
        done.append(task)
        if "dies" in task.name:
            self.events = [Died(task, "was killed (SIGKILL)")]
        elif "hangs" in task.name:
            self.events = [Told(task, Hung("a codec hangs")), Died(task, "ended with exit code 3")]
        else:
            progress = Told(task, Progress(1, 2, 0.0))
            self.events = [progress, Finished(task, outcome_of(task))]

    def listen(self, _):
        events, self.events = self.events, []
        return events


def outcome_of(task):
    if "broken" in task.name:
        return Outcome(State.FAILED, 0.1, 3, "it is broken", ("something is kept",))
    if "full" in task.name:
        return Outcome(State.FAILED, 0.1, 6, "the disk is full", is_disk_full=True)
    strength = task.settings.blend.strength
    task.target.write_text(f"{task.source.read_text()} at {strength}")
    return Outcome(State.DONE, 0.1, counts={"written": 9, "painted": 4, "faces": 4, "kept": 0})


done = []


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("vidrestore.jobs.batch.Workers", InlineWorkers)
    done.clear()
    for name in ("a.avi", "sub/b.mp4", "p.jpg"):
        write(tmp_path / "in" / name, name)
    return tmp_path / "in"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def run(folder, settings=None, **batch):
    done.clear()
    result = restore_folder(
        folder, folder.parent / "out", settings, BatchSettings(recursive=True, **batch)
    )
    return {row.name: row.verdict for row in result.rows}, result


def names_done():
    return [task.name for task in done]


def record(folder):
    return json.loads((folder.parent / "out" / "batch.json").read_text())["items"]


def test_every_input_gets_its_output_photographs_first(folder):
    verdicts, result = run(folder)
    assert verdicts == {"p.jpg": "done", "a.avi": "done", "sub/b.mp4": "done"}
    assert names_done() == ["p.jpg", "a.avi", "sub/b.mp4"]
    assert result.is_complete
    out = folder.parent / "out"
    files = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert files == {"a.mp4", "sub/b.mp4", "p.jpg", "batch.json"}
    entry = record(folder)["a.avi"]
    assert entry["state"] == "done"
    assert (entry["output"], entry["output_bytes"]) == ("a.mp4", len("a.avi at 1.0"))
    assert entry["source"]["num_bytes"] == 5
    assert entry["counts"]["written"] == 9
    assert entry["seconds"] == 0.1


def test_what_is_complete_is_skipped(folder):
    run(folder)
    verdicts, result = run(folder)
    assert set(verdicts.values()) == {"skipped"}
    assert done == []
    assert result.is_complete


def test_a_new_input_and_a_lost_output_are_done(folder):
    run(folder)
    write(folder / "new.mkv", "new")
    (folder.parent / "out" / "a.mp4").unlink()
    verdicts, _ = run(folder)
    assert [name for name, verdict in verdicts.items() if verdict == "done"] == ["a.avi", "new.mkv"]


def test_changed_settings_replace_the_outputs_of_this_batch(folder):
    run(folder)
    run(folder, HALF)
    assert names_done() == ["p.jpg", "a.avi", "sub/b.mp4"]
    assert (folder.parent / "out" / "a.mp4").read_text() == "a.avi at 0.5"
    verdicts, _ = run(folder, HALF)
    assert set(verdicts.values()) == {"skipped"}


def test_what_is_about_films_leaves_photographs_alone(folder):
    run(folder)
    verdicts, _ = run(folder, RestoreSettings(encode=EncodeSettings(crf=30)))
    assert verdicts == {"p.jpg": "skipped", "a.avi": "done", "sub/b.mp4": "done"}


def test_overwriting_and_starting_over_do_not_make_outputs_outdated(folder):
    run(folder)
    lenient = RestoreSettings(encode=EncodeSettings(overwrite=True), resume=False, overlap=False)
    assert set(run(folder, lenient)[0].values()) == {"skipped"}


def test_a_changed_input_is_done_again(folder):
    run(folder)
    (folder / "a.avi").write_text("A.AVI")
    os.utime(folder / "p.jpg")  # touched, not changed
    verdicts, _ = run(folder)
    assert verdicts == {"p.jpg": "skipped", "a.avi": "done", "sub/b.mp4": "skipped"}


def test_files_of_others_are_replaced_only_when_asked_for(folder):
    out = folder.parent / "out"
    write(out / "a.mp4", "mine")
    verdicts, result = run(folder)
    assert verdicts["a.avi"] == "failed"
    row = next(row for row in result.rows if row.name == "a.avi")
    assert row.why.endswith("a.mp4 exists, and is not of this batch: --overwrite replaces it")
    assert row.exit_code == 6
    assert (out / "a.mp4").read_text() == "mine"
    assert not result.is_complete
    run(folder, RestoreSettings(encode=EncodeSettings(overwrite=True)))
    assert names_done() == ["a.avi"]
    assert (out / "a.mp4").read_text() == "a.avi at 1.0"


def test_an_output_that_was_edited_since_is_not_replaced(folder):
    run(folder)
    write(folder.parent / "out" / "a.mp4", "edited by hand")
    verdicts, result = run(folder, HALF)
    assert verdicts["a.avi"] == "failed"
    assert "not as this batch left it" in next(r.why for r in result.rows if r.name == "a.avi")
    assert (folder.parent / "out" / "a.mp4").read_text() == "edited by hand"


def test_the_same_names_in_another_folder_do_not_replace_outputs(folder):
    run(folder)
    other = folder.parent / "other"
    write(other / "a.avi", "another film")
    verdicts, result = run(other)
    assert verdicts == {"a.avi": "failed"}
    assert f"made of another file of that name, in {folder}" in result.rows[0].why


def test_a_folder_that_was_moved_is_complete_all_the_same(folder):
    run(folder)
    moved = folder.rename(folder.parent / "moved")
    assert set(run(moved)[0].values()) == {"skipped"}


def test_it_goes_on_past_what_fails(folder, caplog):
    for name in ("broken.avi", "dies.avi", "hangs.avi"):
        write(folder / name, name)
    verdicts, result = run(folder)
    failed = {row.name: row.exit_code for row in result.rows if row.verdict == "failed"}
    assert failed == {"broken.avi": 3, "dies.avi": 1, "hangs.avi": 3}
    assert verdicts["sub/b.mp4"] == "done"
    assert record(folder)["broken.avi"]["error"] == "it is broken"
    errors = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert errors == [
        "3 of 6: broken.avi: it is broken; something is kept",
        "4 of 6: dies.avi: its process was killed (SIGKILL): memory may have run out, or a codec "
        "failed",
        "5 of 6: hangs.avi: a codec hangs",
    ]
    run(folder)
    assert names_done() == ["broken.avi", "dies.avi", "hangs.avi"]


def test_a_full_disk_ends_the_batch_and_says_what_is_left(folder):
    write(folder / "full.avi", "x")
    write(folder / "z.avi", "x")
    verdicts, result = run(folder)
    assert verdicts == {
        "p.jpg": "done", "a.avi": "done", "full.avi": "left", "sub/b.mp4": "left", "z.avi": "left",
    }  # fmt: skip
    assert not result.is_complete
    assert "z.avi" not in record(folder)


def test_a_full_disk_is_seen_behind_the_error():
    error = OutputError("the disk is full")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert is_disk_full(error)
    assert not is_disk_full(OutputError("it exists"))


def test_a_run_that_was_killed_between_start_and_record_is_done_again(folder):
    run(folder)
    path = folder.parent / "out" / "batch.json"
    data = json.loads(path.read_text())
    data["items"]["a.avi"] |= {"state": "started", "output_bytes": None}
    path.write_text(json.dumps(data))
    verdicts, _ = run(folder)
    assert verdicts == {"p.jpg": "skipped", "a.avi": "done", "sub/b.mp4": "skipped"}


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "{}", '{"schema_version": 1, "items": {"a.avi": {}}}',
        '{"schema_version": 9, "items": {}}', "\udcff",
    ],
)  # fmt: skip
def test_a_record_that_makes_no_sense_is_refused(folder, text):
    path = folder.parent / "out" / "batch.json"
    path.parent.mkdir()
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(OutputError, match=r"batch\.json"):
        run(folder)
    assert done == []


def test_a_record_that_names_files_elsewhere_is_refused(folder):
    run(folder)
    path = folder.parent / "out" / "batch.json"
    path.write_text(path.read_text().replace('"a.mp4"', '"../a.mp4"'))
    with pytest.raises(OutputError, match=r"is damaged"):
        run(folder)


def test_two_batches_into_one_folder_are_refused(folder):
    with held(folder.parent / "out"), pytest.raises(OutputError, match="another batch is at work"):
        run(folder)


def test_names_that_are_no_text_are_recorded(folder):
    name = os.fsdecode(b"caf\xe9.avi")
    write(folder / name, "x")
    run(folder)
    assert record(folder)[name]["state"] == "done"
    assert run(folder)[0][name] == "skipped"


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            RestoreSettings(blend=BlendSettings(faces_file=Path("f.toml"))),
            SettingsError,
            "a faces file is of one film",
        ),
        (
            RestoreSettings(span=TimeSpan(end=Moment.parse("1"))),
            SettingsError,
            "a range is of one film",
        ),
        (RestoreSettings(model=ModelSettings(name="no.pth")), WeightsError, "does not exist"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(folder, settings, error, message):
    with pytest.raises(error, match=message):
        run(folder, settings)
    assert not (folder.parent / "out").exists()


def test_a_folder_without_films_is_refused(folder):
    with pytest.raises(MediaError, match=r"no film and no photograph that matches '\*\.vob'"):
        run(folder, pattern="*.vob")
    (folder.parent / "empty").mkdir()
    write(folder.parent / "empty" / "notes.txt", "x")
    with pytest.raises(MediaError, match=r"\(other files: 1\)"):
        run(folder.parent / "empty")


def test_a_folder_that_cannot_be_written_to_is_refused(folder, monkeypatch):
    (folder.parent / "out").write_text("a file")
    with pytest.raises(OutputError, match="out is a file: name a folder"):
        run(folder)
    (folder.parent / "out").unlink()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match=r"cannot write to the folder .*out: Permission denied"):
        run(folder)


def test_a_file_in_the_way_of_a_folder_fails_its_items_only(folder):
    write(folder.parent / "out" / "sub", "a file")
    verdicts, _ = run(folder)
    assert verdicts == {"p.jpg": "done", "a.avi": "done", "sub/b.mp4": "failed"}


def test_a_file_that_cannot_be_read_fails_alone(folder):
    (folder / "gone.mp4").symlink_to(folder / "nowhere.mp4")
    verdicts, result = run(folder)
    assert verdicts["gone.mp4"] == "failed"
    row = next(row for row in result.rows if row.name == "gone.mp4")
    assert row.why.startswith("cannot read ")
    assert row.exit_code == 3
    assert verdicts["a.avi"] == "done"


def test_progress_is_told_by_name(folder):
    seen = []
    restore_folder(
        folder, folder.parent / "out", None, None, lambda name, at: seen.append((name, at))
    )
    assert seen[0] == ("p.jpg", Progress(1, 2, 0.0))
    assert ("a.avi", None) in seen


def test_settings_name_what_they_refuse():
    for jobs in (0, 65):
        with pytest.raises(SettingsError, match=f"jobs is {jobs}"):
            BatchSettings(jobs=jobs)
    with pytest.raises(SettingsError, match="pattern is empty"):
        replace(BatchSettings(), pattern="")


def command(capsys, *words):
    code = main(["batch", *map(str, words)])
    return code, capsys.readouterr()


def test_the_command_shows_a_table_and_says_by_its_code_whether_all_went_well(folder, capsys):
    out = folder.parent / "out"
    code, said = command(capsys, folder, out)
    assert code == 0
    assert said.out.splitlines()[:2] == [
        "done  p.jpg           faces restored in 4 of 9 frames; 0.1 s",
        "done  a.avi -> a.mp4  faces restored in 4 of 9 frames; 0.1 s",
    ]
    assert said.out.splitlines()[2].startswith("2 done of 2; 0 s; see ")
    assert "1 of 2: p.jpg: to " in said.err
    write(folder / "broken.avi", "x")
    code, said = command(capsys, folder, out)
    assert code == 1
    assert "failed   broken.avi -> broken.mp4  it is broken (exit code 3)" in said.out
    assert "1 failed of 3" in said.out
    code, said = command(capsys, folder, out, "--quiet")
    assert (code, said.out) == (1, "")
    assert said.err.splitlines() == ["3 of 3: broken.avi: it is broken; something is kept"]


def test_a_dry_run_tells_lengths_and_writes_nothing(folder, capsys, monkeypatch):
    @contextmanager
    def never(*_):
        raise AssertionError
        yield

    monkeypatch.setattr("vidrestore.jobs.batch.held", never)
    sample = Path(__file__).resolve().parents[2] / "samples" / "home-video.mp4"
    (folder / "tape.mp4").write_bytes(sample.read_bytes())
    before = sorted(folder.parent.rglob("*"))
    code, said = command(capsys, folder, folder.parent / "out", "--dry-run")
    assert code == 1
    lines = said.out.splitlines()
    assert lines[0].split() == ["restore", "p.jpg", "photograph"]
    assert lines[1].startswith("fail     a.avi -> a.mp4  ")
    assert lines[2].split() == ["restore", "tape.mp4", "8", "s"]
    assert lines[3].startswith("to restore: films 1 (8 s), photographs 1; 0 complete, 1 cannot")
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--report", "r.json"), "--report is of one film"),
        (("--jobs", "0"), "jobs is 0: use 1 to 64"),
        (("--faces-file", "f.toml"), "a faces file is of one film"),
    ],
)
def test_options_that_make_no_sense_are_one_line(folder, capsys, words, message):
    code, said = command(capsys, folder, folder.parent / "out", *words)
    assert code == 2
    assert message in said.err
    assert len(said.err.splitlines()) == 1


def test_a_mistyped_command_is_recognised(capsys):
    assert main(["batc", "out"]) == 2
    assert "did you mean 'vidrestore batch'?" in capsys.readouterr().err
