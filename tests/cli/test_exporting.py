from pathlib import Path

import pytest

from vidrestore.cli.app import main
from vidrestore.jobs import exporting
from vidrestore.models.onnx_file import OnnxFile


def test_the_command_says_what_was_written_and_how_near_it_is(tmp_path, monkeypatch, capsys):
    seen = {}

    def export_onnx(network, path, facts):
        seen.update(facts, size=network.size)
        path.write_bytes(b"onnx")
        return OnnxFile(path, 4_000_000, 20, 1)

    monkeypatch.setattr(exporting, "export_onnx", export_onnx)
    target = tmp_path / "lite.onnx"
    assert main(["export", "vidrestore-lite-256", str(target)]) == 0
    said = capsys.readouterr().out
    assert "4.0 MB, opset 20" in said
    assert "at most 1 of 255 levels" in said
    assert "licence of the weights: " in said
    assert seen["size"] == 256
    assert seen["model"] == "vidrestore-lite-256"
    assert len(seen["sha256"]) == 64
    assert seen["landmarks"].count("[") == 6


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [("lite.pb", 2, "call it lite.onnx"), ("missing/lite.onnx", 6, "does not exist")],
)
def test_a_target_that_cannot_be_is_refused_before_the_work(tmp_path, capsys, name, code, message):
    assert main(["export", "vidrestore-lite-256", str(tmp_path / name)]) == code
    assert message in capsys.readouterr().err
    assert not list(Path(tmp_path).iterdir())
