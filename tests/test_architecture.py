from pathlib import Path

import vidrestore

PACKAGE = Path(vidrestore.__file__).parent
VAGUE = {"utils", "util", "common", "helpers", "helper", "misc", "tools", "manager"}


def test_no_module_hides_behind_a_vague_name():
    assert not [path for path in PACKAGE.rglob("*.py") if path.stem in VAGUE]


def test_no_module_is_named_like_one_of_the_standard_library():
    import sys

    names = {path.stem for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert not names & sys.stdlib_module_names


def test_the_nine_stages_are_the_nine_words():
    stages = {path.stem for path in (PACKAGE / "stages").glob("*.py")} - {"__init__"}
    assert stages == {
        "decode", "detect", "track", "align", "restore", "steady", "background",
        "blend", "encode",
    }  # fmt: skip


def test_modules_stay_small():
    long = {
        path.name: count
        for path in PACKAGE.rglob("*.py")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert not long
