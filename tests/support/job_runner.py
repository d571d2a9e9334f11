"""Runs the whole job with stand-ins for the networks, in this process or as one of its own.

``python -m tests.support.job_runner SOURCE TARGET ...`` is a program to be killed, starved and
hindered: segments are short, and every frame may be made slow or the last of its kind.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from tests.support.fakes import FakeDetector, FakeRestorer, landmarks_at, observation
from tests.support.synthetic import Clip, Sound
from vidrestore.cli.app import main as command_line
from vidrestore.contracts import FaceObservation, RGBImage
from vidrestore.jobs.networks import ChosenModels
from vidrestore.jobs.restore import JobResult, run_job
from vidrestore.pipeline import Networks
from vidrestore.settings import RestoreSettings

SEGMENT_SECONDS = (1, 2)
EIGHT_SECONDS = Clip(
    num_frames=200,
    options={"preset": "ultrafast", "crf": "10", "g": "20", "bf": "2"},
    sounds=(Sound(),),
)
"""A film with a key frame every 0.8 s: four or five such segments."""
CHOSEN = ChosenModels(None, Path(), None, Path(), ("fake models",))  # type: ignore[arg-type]
FACTS = {"restorer": {"name": "fake", "sha256": "0"}, "detector": {"name": "fake"}}


def trembling_face(image: RGBImage) -> tuple[FaceObservation, ...]:
    """A face in the middle that trembles with the picture, so that smoothing has work to do."""
    height, width = image.shape[:2]
    noise = np.random.default_rng(int(image.sum()))
    shift = noise.normal(0, 0.01 * width, 2)
    return (observation(landmarks_at(width / 2 + shift[0], height / 2 + shift[1], height / 8)),)


def negative(crop: RGBImage) -> RGBImage:
    """A restoration that nobody can overlook."""
    return 255 - crop


@contextmanager
def fake_networks(
    find: Callable[[RGBImage], tuple[FaceObservation, ...]] = trembling_face,
    change: Callable[[RGBImage], RGBImage] = negative,
    facts: Mapping[str, Any] = FACTS,
    segment_seconds: tuple[float, float] = SEGMENT_SECONDS,
) -> Iterator[None]:
    """Let jobs use stand-ins for the networks, and short segments.

    The gates stand open: none would let a negative pass.
    """

    @contextmanager
    def loaded(
        chosen: ChosenModels, settings: RestoreSettings
    ) -> Iterator[tuple[Networks, Mapping[str, Any], list[str]]]:
        yield Networks(FakeDetector(find), FakeRestorer(change)), facts, []

    with ExitStack() as stack:
        for target, value in (
            ("vidrestore.jobs.restore.choose_models", lambda _: CHOSEN),
            ("vidrestore.jobs.restore.loaded_networks", loaded),
            ("vidrestore.media.write.SHORTEST_SECONDS", segment_seconds[0]),
            ("vidrestore.media.write.LONGEST_SECONDS", segment_seconds[1]),
            ("vidrestore.core.gates.GateKeeper.openness", lambda *_: (1.0, None)),
        ):
            stack.enter_context(patch(target, value))
        yield


def run_faked(source: Path, target: Path, settings: RestoreSettings, **kwargs: Any) -> JobResult:
    """Run one job with stand-ins; see ``run_job``."""
    with fake_networks():
        return run_job(source, target, settings, None, **kwargs)


def main() -> int:
    """Run the command line with stand-ins and with what the test asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--delay", type=float, default=0.0, help="seconds for each face")
    parser.add_argument("--die-at", type=int, help="SIGKILL at the n-th face")
    parser.add_argument("--raise-at", type=int, help="an error in the network at the n-th face")
    parser.add_argument("--hang-at", type=int, help="the network hangs at the n-th face")
    parser.add_argument("--patience", type=float)
    own, words = parser.parse_known_args()
    seen = 0

    def change(crop: RGBImage) -> RGBImage:
        nonlocal seen
        seen += 1
        time.sleep(own.delay)
        if seen == own.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if seen == own.raise_at:
            raise RuntimeError("the network broke")
        if seen == own.hang_at:
            time.sleep(3600)
        return negative(crop)

    with ExitStack() as stack:
        stack.enter_context(fake_networks(change=change))
        if own.patience is not None:
            stack.enter_context(
                patch("vidrestore.cli.options.RestoreSettings", _impatient(own.patience))
            )
        return command_line(words)


def _impatient(seconds: float) -> Callable[..., RestoreSettings]:
    def make(**kwargs: Any) -> RestoreSettings:
        return RestoreSettings(**kwargs, patience_seconds=seconds)

    return make


if __name__ == "__main__":
    sys.exit(main())
