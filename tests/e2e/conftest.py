"""The sample restored once, without loss of coding, for all tests that look at it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from vidrestore.cli.app import main

SAMPLE = REPOSITORY / "samples" / "home-video.mp4"


@pytest.fixture(scope="session")
def restored_sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The film, and the report with every frame's landmarks."""
    folder = tmp_path_factory.mktemp("restored")
    film, report = folder / "out.mkv", folder / "report.json"
    words = [SAMPLE, film, "--codec", "ffv1", "--report", report, "--report-landmarks"]
    assert main([str(word) for word in words]) == 0
    return film, json.loads(report.read_text(encoding="utf-8"))
