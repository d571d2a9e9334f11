"""The run: builds everything, steps, writes checkpoints, goes on where a run was broken off."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidrestore.errors import OutputError, SettingsError
from vidrestore.train.checkpoint import (
    LATEST,
    MODEL,
    checkpoint_name,
    export_model,
    load_checkpoint,
    remove_run,
    save_checkpoint,
)
from vidrestore.train.config import TrainConfig
from vidrestore.train.data import Faces, Pairing, as_network_input, batches
from vidrestore.train.logs import LossTable, write_grid
from vidrestore.train.networks import Learners, build_learners, set_rates
from vidrestore.train.parallel import Processes, training_processes
from vidrestore.train.step import TrainingStep

logger = logging.getLogger(__name__)

_NUM_SAMPLES = 8
_SAMPLE_SEED = 7


def train(config: TrainConfig, *, resume: bool | None = None) -> Path:
    """Train a network; under ``torchrun`` one of several processes that do so together.

    Args:
        config: What is done.
        resume: True goes on with the run in the run's folder; False begins anew there; None begins
            anew, but not where there is a run already.

    Returns:
        The exported model.

    Raises:
        SettingsError: There is no run to go on with, or one that would be lost; no faces.
        WeightsError: Weights or checkpoint are missing, damaged, or of another network.
        DeviceError: The device cannot be had.
        OutputError: The folder cannot be written.
        VidrestoreError: The losses are not finite any more; the checkpoints stay.
        KeyboardInterrupt: Asked to end by Ctrl-C, SIGTERM or SIGHUP; a checkpoint was written.
    """
    folder = config.run.folder
    _check_folder(folder, resume)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    with training_processes(config.run.device) as processes:
        faces = Faces(
            config.data.folder, config.model.size, config.data.prefixes, config.data.cache_megabytes
        )
        if processes.is_first:
            logger.info("%d faces; %d files skipped", len(faces), faces.num_skipped)
        learners = build_learners(config, processes.device)
        if resume:
            load_checkpoint(folder / LATEST, learners, config)
            logger.info("going on after step %d", learners.step)
        if learners.step >= config.optimiser.steps:
            logger.info("all %d steps are done", config.optimiser.steps)
            return folder / MODEL
        for network in (learners.generator, learners.average, learners.discriminator):
            processes.take_over(network.state_dict().values())
        step = TrainingStep(config, learners, processes)
        if processes.is_first and resume is False:
            remove_run(folder)
        run = _Run(config, learners, processes, faces)
        with stop_requests() as stop:
            for damaged, clean in run.batches():
                run.note(step.run(damaged, clean))
                is_over = learners.step >= config.optimiser.steps
                is_stopped = processes.any_of(stop.is_set)
                run.write(is_last=is_over or is_stopped)
                if is_over:
                    return folder / MODEL
                if is_stopped:
                    break
    error = KeyboardInterrupt()
    error.add_note(f"step {learners.step} is kept in {folder / LATEST}: go on with --resume")
    raise error


class StopRequest:
    """Whether someone asked the run to end."""

    is_set = False


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Let Ctrl-C, SIGTERM and SIGHUP ask for the end while the block runs, instead of ending it.

    A step that is broken off in its middle would leave networks and optimisers that fit no step. A
    second Ctrl-C raises. On threads other than the main one nothing changes.
    """
    request = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        if request.is_set:
            signal.default_int_handler(number, frame)
        request.is_set = True

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)  # nohup has it ignored
    before: dict[signal.Signals, Any] = {}
    try:
        for number in numbers:
            before[number] = signal.signal(number, ask)
    except ValueError:  # not the main thread
        logger.debug("signals are left as they are")
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Run:
    """Batches in, files out."""

    def __init__(
        self, config: TrainConfig, learners: Learners, processes: Processes, faces: Faces
    ) -> None:
        self._config = config
        self._learners = learners
        self._processes = processes
        self._faces = faces
        self._pairing = Pairing(config.run.seed, config.augment, config.degrade)
        self._since = time.monotonic()
        self._logged_at = learners.seconds, learners.num_pictures
        self._rate = 0.0
        if processes.is_first:
            self._samples = self._sample_pairs()
            self._table = LossTable(config.run.folder / "log.csv", learners.step)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Prepare this process's share of the pictures, on its device, from where the run is."""
        for pair in batches(self._faces, self._pairing, self._config.data, self._numbers()):
            self._rate = set_rates(self._learners, self._config.optimiser)
            damaged, clean = (self._placed(pictures) for pictures in pair)
            yield damaged, clean

    def note(self, losses: dict[str, float]) -> None:
        """Take the losses of the step that was done."""
        now = time.monotonic()
        self._learners.seconds += now - self._since
        self._since = now
        if not self._processes.is_first:
            return
        self._table.add(losses)
        if self._learners.step % self._config.run.log_every == 0:
            self._log()

    def write(self, *, is_last: bool) -> None:
        """Write what is due after this step: checkpoints, the model, sample pictures."""
        if not self._processes.is_first:
            return
        step, run = self._learners.step, self._config.run
        if is_last or step % run.sample_every == 0:
            self._draw_samples()
        is_kept = step % run.checkpoint_every == 0
        if is_last or is_kept or step % run.save_every == 0:
            # first: a run whose last checkpoint is there counts as done
            export_model(run.folder / MODEL, self._learners.average, self._config.model.template)
            save_checkpoint(run.folder / LATEST, self._learners, self._config)
        if is_kept:
            save_checkpoint(run.folder / checkpoint_name(step), self._learners, self._config)

    def _numbers(self) -> Iterator[list[int]]:
        """Count the pictures of each batch; the processes take turns."""
        size, share = self._config.optimiser.batch_size, self._processes.rank
        first = self._learners.num_pictures + share * size
        while True:
            yield list(range(first, first + size))
            first += size * self._processes.count

    def _placed(self, pictures: Tensor) -> Tensor:
        return pictures.to(self._processes.device, memory_format=torch.channels_last)

    def _log(self) -> None:
        learners = self._learners
        seconds, pictures = self._logged_at
        speed = (learners.num_pictures - pictures) / max(learners.seconds - seconds, 1e-9)
        self._logged_at = learners.seconds, learners.num_pictures
        means = self._table.means()
        told = ", ".join(f"{name} {value:.4g}" for name, value in means.items())
        logger.info("step %d: %s; %.1f pictures/s", learners.step, told, speed)
        self._table.close_row(
            {
                "step": learners.step,
                "pictures": learners.num_pictures,
                "hours": learners.seconds / 3600,
                "pictures_per_second": speed,
                "learning_rate": self._rate,
            }
        )

    def _sample_pairs(self) -> tuple[Tensor, Tensor]:
        """Damage a few faces as in training, always the same way, not augmented."""
        faces = self._faces
        if self._config.data.validation is not None:
            faces = Faces(
                self._config.data.validation, self._config.model.size, self._config.data.prefixes
            )
        rng = np.random.default_rng(_SAMPLE_SEED)
        places = np.linspace(0, len(faces) - 1, min(_NUM_SAMPLES, len(faces)), dtype=int)
        clean = [faces[int(place)] for place in places]
        damaged = [self._config.degrade.draw(rng).apply([face], rng)[0] for face in clean]
        first, second = (as_network_input(torch.from_numpy(np.stack(p))) for p in (damaged, clean))
        return first, second

    def _draw_samples(self) -> None:
        damaged, clean = self._samples
        with torch.inference_mode():
            restored = self._learners.average(damaged.to(self._processes.device))
        path = self._config.run.folder / "samples" / f"{self._learners.step:08}.png"
        write_grid(path, [damaged, restored.cpu(), clean])


def _check_folder(folder: Path, resume: bool | None) -> None:
    has_run = (folder / LATEST).is_file()
    if resume and not has_run:
        raise SettingsError(f"{folder} holds no run to go on with: leave --resume out")
    if has_run and resume is None:
        raise SettingsError(
            f"{folder} holds a run already: use --resume to go on with it, or --fresh to begin anew"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
