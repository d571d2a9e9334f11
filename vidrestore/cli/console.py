"""What people see: messages, progress, errors."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from vidrestore.cli.options import TalkOptions
from vidrestore.jobs.progress import Progress

_PLAIN_INTERVAL_SECONDS = 10.0


def say(text: str) -> None:
    """Print a line of result to standard output."""
    print(text)


def complain(text: str) -> None:
    """Print an error to standard error."""
    print(f"vidrestore: {text}", file=sys.stderr)


def complain_notes(error: BaseException) -> None:
    """Print what was added to an error on its way: what is kept, and the like."""
    for note in getattr(error, "__notes__", ()):
        complain(note)


@contextmanager
def talking(options: TalkOptions) -> Iterator[None]:
    """Send the program's own log to standard error for the length of the block."""
    logger = logging.getLogger("vidrestore")
    handler = logging.StreamHandler()
    pattern = (
        "%(levelname)s %(threadName)s %(name)s: %(message)s" if options.debug else "%(message)s"
    )
    handler.setFormatter(logging.Formatter(pattern))
    spoken = logging.ERROR if options.quiet else logging.INFO
    previous = logger.level
    logger.setLevel(logging.DEBUG if options.debug else spoken)
    logger.addHandler(handler)
    try:
        with logging_redirect_tqdm(loggers=[logger]):
            for spoken_to in logger.handlers:
                spoken_to.addFilter(_OnlyOnce())
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(previous)


class _OnlyOnce(logging.Filter):
    """Leaves out what was said before: the clips of a preview, each a run, say much the same."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is news; warnings always are."""
        text = record.getMessage()
        is_news = record.levelno != logging.INFO or text not in self._said
        self._said.add(text)
        return is_news


class ProgressBar:
    """Shows frames, frames a second and time left: a bar on a terminal, else a line now and then.

    Args:
        is_quiet: Show nothing.
    """

    def __init__(self, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._bar: tqdm[Any] | None = None
        self._started = self._said = 0.0
        self._num_done = 0

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: Progress) -> None:
        """Take the state of the run; where it begins anew, so does the bar."""
        if self._is_quiet:
            return
        is_new_run = progress.num_frames_done < self._num_done
        self._num_done = progress.num_frames_done
        if is_new_run and self._bar is not None:
            self._bar.close()
            self._bar = None
        if is_new_run or not self._started:
            self._started = self._said = time.monotonic()
        if sys.stderr.isatty():
            bar = self._bar = self._bar or tqdm(
                total=progress.num_frames_expected,
                initial=progress.num_frames_kept,
                unit="frame",
                smoothing=0.05,
            )
            if bar.total is not None and progress.num_frames_done > bar.total:
                bar.total = progress.num_frames_done  # the estimate was short
            bar.update(progress.num_frames_done - bar.n)
        elif time.monotonic() - self._said >= _PLAIN_INTERVAL_SECONDS:
            self._said = time.monotonic()
            print(self._line(progress), file=sys.stderr, flush=True)

    def _line(self, progress: Progress) -> str:
        done, expected = progress.num_frames_done, progress.num_frames_expected
        rate = (done - progress.num_frames_kept) / (time.monotonic() - self._started)
        text = f"{done} frames, {rate:.1f} frames/s"
        if expected and rate > 0:
            left = max(0, expected - done) / rate
            text = f"{done} of {expected} frames, {rate:.1f} frames/s, {as_time(left)} left"
        return text


def as_time(seconds: float) -> str:
    """Write a length of time for people: ``42 s``, ``3 min 05 s`` or ``2 h 10 min``.

    >>> as_time(7810)
    '2 h 10 min'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


class ByteBar:
    """Shows a download: a bar on a terminal, else nothing until it is done."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> ByteBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, num_bytes: int, total: int | None) -> None:
        """Take the bytes that are there and the bytes there will be."""
        if not sys.stderr.isatty():
            return
        bar = self._bar = self._bar or tqdm(total=total, desc=self._name, unit="B", unit_scale=True)
        bar.update(num_bytes - bar.n)
