"""Runs the command line with batches whose workers use stand-ins for the networks.

``python -m tests.support.batch_runner batch IN OUT ...`` is a program to be killed. What happens
to an item is in its name: ``slow``, ``die`` and ``bug`` begin at the 60th face.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from tests.support.fakes import FakeDetector, FakeRestorer
from tests.support.job_runner import (
    CHOSEN,
    FACTS,
    fake_networks,
    negative,
    trembling_face,
)
from vidrestore.cli.app import main as command_line
from vidrestore.contracts import RGBImage
from vidrestore.jobs.batch_work import BatchTask, Outcome, Tell, restoring_items
from vidrestore.pipeline import Networks
from vidrestore.settings import RestoreSettings

_FATE_BEGINS = 60
_SLOWNESS_SECONDS = 0.03


class Fate:
    """What befalls the item under way."""

    def __init__(self) -> None:
        self.name, self.num_faces = "", 0

    def __call__(self, crop: RGBImage) -> RGBImage:
        """Restore a crop, or break."""
        self.num_faces += 1
        if self.num_faces >= _FATE_BEGINS:
            if "die" in self.name:
                os.kill(os.getpid(), signal.SIGKILL)
            if "bug" in self.name:
                raise RuntimeError("the network broke")
            if "slow" in self.name:
                time.sleep(_SLOWNESS_SECONDS)
        return negative(crop)


@contextmanager
def faked_items() -> Iterator[Callable[[BatchTask, Tell], Outcome]]:
    """Do in a worker what ``restoring_items`` does, with stand-ins."""
    fate = Fate()

    @contextmanager
    def loaded(
        chosen: object, settings: RestoreSettings
    ) -> Iterator[tuple[Networks, Mapping[str, Any], list[str]]]:
        yield Networks(FakeDetector(trembling_face), FakeRestorer(fate)), FACTS, []

    with ExitStack() as stack:
        stack.enter_context(fake_networks(change=fate))
        stack.enter_context(patch("vidrestore.jobs.photo.choose_models", lambda _: CHOSEN))
        stack.enter_context(patch("vidrestore.jobs.photo.loaded_networks", loaded))
        restore = stack.enter_context(restoring_items())

        def work(task: BatchTask, tell: Tell) -> Outcome:
            fate.name, fate.num_faces = task.name, 0
            return restore(task, tell)

        yield work


def main() -> int:
    """Run the command line with such workers."""
    # by the name under which a worker can import it
    from tests.support.batch_runner import faked_items as items

    with patch("vidrestore.jobs.batch.restoring_items", items):
        return command_line()


if __name__ == "__main__":
    sys.exit(main())
