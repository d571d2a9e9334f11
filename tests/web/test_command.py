from __future__ import annotations

import socket
from pathlib import Path

import pytest

from vidrestore.cli.app import main
from vidrestore.errors import SettingsError
from vidrestore.web.server import listen, parse_size


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["--host", "0.0.0.0"], "add --auth USER:PASSWORD"),
        (["--auth", "ann"], "--auth is not USER:PASSWORD"),
        (["--max-upload", "much"], "write it like 500MB or 4GB"),
        (["--root", "there/is/none"], "is not a folder"),
        (["--port", "70000"], "use 1 to 65535"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(
    capsys: pytest.CaptureFixture[str], words: list[str], answer: str
) -> None:
    assert main(["web", "--no-browser", *words]) == 2
    said = capsys.readouterr().err
    assert answer in said
    assert said.count("\n") == 1


def test_a_port_in_use_is_refused_or_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert main(["web", "--no-browser", "--port", str(port)]) == 2
        assert f"port {port}" in capsys.readouterr().err
    with listen("127.0.0.1", None) as first, listen("127.0.0.1", None) as second:
        assert first.getsockname() != second.getsockname()
        assert isinstance(second, socket.socket)


def test_sizes_are_read_as_people_write_them() -> None:
    sizes = [parse_size(text) for text in ("1", "2k", "1.5 GB", "500mb")]
    assert sizes == [1, 2000, 1_500_000_000, 500_000_000]
    for text in ("", "0", "-1", "4 GiB", "GB"):
        with pytest.raises(SettingsError):
            parse_size(text)


def test_a_mistyped_command_is_told_from_a_film(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["wweb", str(tmp_path / "out.mp4")]) == 2
    assert "vidrestore web" in capsys.readouterr().err
