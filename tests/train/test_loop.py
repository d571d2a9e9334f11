import csv
import logging
import os
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.train.tiny import tiny_config, write_faces
from vidrestore.contracts import RGBImage
from vidrestore.errors import (
    DeviceError,
    OutputError,
    SettingsError,
    VidrestoreError,
    WeightsError,
)
from vidrestore.jobs.crops import restore_crops
from vidrestore.train import loop
from vidrestore.train.checkpoint import LATEST, MODEL, load_checkpoint
from vidrestore.train.discriminator import Discriminator
from vidrestore.train.loop import train
from vidrestore.train.networks import build_learners
from vidrestore.train.parallel import Processes, training_processes
from vidrestore.train.step import TrainingStep


def _state(folder):
    return torch.load(folder / LATEST, weights_only=True)


def _differing(a, b, path=""):
    """Return the places where two nested states differ, bit for bit."""
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else [path]
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        return [d for key in a for d in _differing(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list):
        pairs = enumerate(zip(a, b, strict=True))
        return [d for k, (x, y) in pairs for d in _differing(x, y, f"{path}/{k}")]
    return [] if a == b else [path]


@pytest.fixture
def faces(tmp_path):
    return write_faces(tmp_path / "faces")


def test_a_run_leaves_a_model_that_the_program_loads_a_log_and_pictures(tmp_path, faces):
    config = tiny_config(tmp_path, run={"checkpoint_every": 2, "sample_every": 2})
    model = train(config)
    folder = config.run.folder
    kept = sorted(path.name for path in folder.glob("*.pt"))
    assert kept == [LATEST, "step-00000002.pt", "step-00000004.pt"]
    with (folder / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    assert rows[0]["adversarial"] == ""  # it begins with the second step
    assert float(rows[1]["adversarial"]) > 0
    assert float(rows[2]["r1"]) >= 0
    grid = cv2.imread(str(folder / "samples" / "00000004.png"))
    assert grid.shape == (6 * 32, 3 * 32, 3)
    assert sorted(p.name for p in (folder / "samples").iterdir()) == [
        "00000002.png",
        "00000004.png",
    ]
    crop: RGBImage = np.zeros((32, 32, 3), np.uint8)
    crop[8:24] = 200
    (restored,) = restore_crops([crop], model=str(model))
    assert restored.shape == (32, 32, 3)
    numbers = load_file(model)
    assert {value.dtype for value in numbers.values()} == {torch.float16}
    average = _state(folder)["g_ema"]
    assert all(torch.equal(value, average[name].half()) for name, value in numbers.items())


def test_four_steps_are_two_and_two_more_bit_for_bit(tmp_path, faces):
    constant = {"schedule": "constant"}  # a cosine would know how many steps there will be
    whole = tiny_config(tmp_path, run={"folder": str(tmp_path / "whole")}, optimiser=constant)
    half = tiny_config(tmp_path, optimiser=constant)
    train(whole)
    train(tiny_config(tmp_path, optimiser={**constant, "steps": 2}))
    torch.manual_seed(99)  # what another process would have
    train(half, resume=True)
    differing = _differing(_state(whole.run.folder), _state(half.run.folder))
    assert [d for d in differing if not d.startswith(("/config", "/seconds"))] == []
    exported = [(c.run.folder / MODEL).read_bytes() for c in (whole, half)]
    assert exported[0] == exported[1]


def test_a_run_learns(tmp_path, faces):
    config = tiny_config(
        tmp_path,
        loss={"adversarial": 0.0},
        optimiser={"steps": 50, "generator_rate": 5e-3},
        run={"log_every": 5},
    )
    train(config)
    with (config.run.folder / "log.csv").open() as file:
        losses = [float(row["content"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.7 * losses[0]


def test_the_discriminator_may_judge_a_part_of_each_picture(tmp_path, faces):
    seen = []
    forward = Discriminator.forward

    def watched(self, picture):
        seen.append(picture.detach().clone())
        return forward(self, picture)

    config = tiny_config(
        tmp_path,
        discriminator={"crop": 16},
        loss={"start_step": 0, "r1": 0.0},
        optimiser={"steps": 3},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Discriminator, "forward", watched)
        train(config)
    assert {tuple(picture.shape) for picture in seen} == {(2, 3, 16, 16)}
    real, fake, judged, wanted = seen[:4]
    assert torch.equal(judged, fake)  # the generator answers for the part that was judged
    assert torch.equal(wanted, real)
    with pytest.raises(WeightsError, match=r"\[discriminator\] crop = 16, the config 0"):
        train(tiny_config(tmp_path), resume=True)


def test_each_picture_is_cropped_elsewhere_whoever_has_it(tmp_path, faces):
    config = tiny_config(tmp_path)
    places = (torch.arange(32.0)[:, None] * 32 + torch.arange(32)).expand(4, 3, -1, -1)
    learners = build_learners(config, torch.device("cpu"))

    def corners(processes, count):
        step = TrainingStep(config, learners, processes)
        seen, wanted = step._cropped(places[:count], places[:count].clone(), 16, 0)
        assert seen.shape == (count, 3, 16, 16)
        assert torch.equal(seen, wanted)
        return seen[:, 0, 0, 0].tolist()

    cpu = torch.device("cpu")
    alone = corners(Processes(0, 1, cpu), 4)
    assert len(set(alone)) == 4
    assert [c for rank in (0, 1) for c in corners(Processes(rank, 2, cpu), 2)] == alone


def test_a_run_is_neither_lost_nor_invented(tmp_path, faces):
    config = tiny_config(tmp_path, optimiser={"steps": 1})
    with pytest.raises(SettingsError, match="no run to go on with"):
        train(config, resume=True)
    train(config)
    with pytest.raises(SettingsError, match="--resume to go on with it, or --fresh"):
        train(config)
    train(config, resume=False)
    assert _state(config.run.folder)["step"] == 1


def test_a_run_begun_anew_cannot_be_mistaken_for_the_old_one(tmp_path, faces, monkeypatch):
    config = tiny_config(tmp_path, optimiser={"steps": 2}, run={"checkpoint_every": 1})
    train(config)

    def fail(*_):
        raise VidrestoreError("no")

    monkeypatch.setattr(TrainingStep, "run", fail)
    with pytest.raises(VidrestoreError, match="no"):
        train(config, resume=False)
    assert not list(config.run.folder.glob("*.pt"))
    assert not (config.run.folder / MODEL).exists()


def test_a_run_whose_model_could_not_be_written_is_not_done(tmp_path, faces, monkeypatch):
    config = tiny_config(tmp_path, optimiser={"steps": 2}, run={"save_every": 1})
    export, models = loop.export_model, []

    def full(path, average, template):
        if models:
            raise OutputError("the disk is full")
        models.append(export(path, average, template))

    with monkeypatch.context() as patch:
        patch.setattr(loop, "export_model", full)
        with pytest.raises(OutputError):
            train(config)
    assert _state(config.run.folder)["step"] == 1
    train(config, resume=True)
    assert _state(config.run.folder)["step"] == 2


def test_a_run_goes_on_in_fp16(tmp_path, faces):
    config = tiny_config(tmp_path, optimiser={"steps": 1})
    train(config)
    learners = build_learners(config, torch.device("cpu"))
    learners.scaler = torch.amp.GradScaler("cpu")
    before = learners.scaler.state_dict()
    load_checkpoint(config.run.folder / LATEST, learners, config)
    assert learners.step == 1
    assert learners.scaler.state_dict() == before


def test_a_half_written_row_of_the_log_is_left_out(tmp_path, faces):
    config = tiny_config(tmp_path, optimiser={"steps": 1})
    train(config)
    table = config.run.folder / "log.csv"
    table.write_text(table.read_text() + "1e\n")
    train(tiny_config(tmp_path, optimiser={"steps": 2}), resume=True)
    with table.open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2"]


def test_both_networks_gradients_are_averaged_over_the_processes(tmp_path, faces, monkeypatch):
    averaged = []

    def watched(self, parameters):
        averaged.append({id(p) for p in parameters})

    monkeypatch.setattr(Processes, "average_gradients", watched)
    config = tiny_config(tmp_path, loss={"start_step": 0})
    with training_processes("cpu") as processes:
        learners = build_learners(config, processes.device)
        clean = torch.rand(2, 3, 32, 32) * 2 - 1
        TrainingStep(config, learners, processes).run(clean.flip(3), clean)
    networks = (learners.discriminator, learners.generator)
    assert averaged == [{id(p) for p in network.parameters()} for network in networks]


def test_a_discriminator_s_gradient_that_is_no_number_does_not_reach_it(tmp_path, faces):
    config = tiny_config(tmp_path, loss={"start_step": 0})
    with training_processes("cpu") as processes:
        learners = build_learners(config, processes.device)
        before = {k: v.clone() for k, v in learners.discriminator.state_dict().items()}
        next(learners.discriminator.parameters()).register_hook(lambda g: g * float("nan"))
        clean = torch.rand(2, 3, 32, 32) * 2 - 1
        step = TrainingStep(config, learners, processes)
        with pytest.raises(VidrestoreError, match="the discriminator's gradient is not finite"):
            step.run(clean.flip(3), clean)
    assert _differing(before, learners.discriminator.state_dict()) == []


@pytest.mark.parametrize("name", ["meta", "nonsense"])
def test_an_unknown_device_is_said(name):
    with (
        pytest.raises(DeviceError, match=f"unknown device '{name}': use auto"),
        training_processes(name),
    ):
        pass


def test_a_finished_run_is_left_as_it_is(tmp_path, faces):
    config = tiny_config(tmp_path, optimiser={"steps": 1})
    model = train(config)
    before = model.read_bytes()
    assert train(config, resume=True) == model
    assert _state(config.run.folder)["step"] == 1
    assert model.read_bytes() == before


def test_a_run_goes_on_with_other_losses_but_not_other_networks(tmp_path, faces):
    train(tiny_config(tmp_path, optimiser={"steps": 1}))
    changed = tiny_config(tmp_path, optimiser={"steps": 2, "betas": [0.5, 0.9]},
                          loss={"content": "l1"})  # fmt: skip
    train(changed, resume=True)
    state = _state(changed.run.folder)
    assert state["step"] == 2
    assert state["g_optim"]["param_groups"][0]["betas"] == (0.5, 0.9)
    other = tiny_config(tmp_path, model={"narrow": 0.1})
    with pytest.raises(WeightsError, match=r"\[model\] narrow = 0.05, the config 0.1"):
        train(other, resume=True)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"hello"])
def test_a_damaged_checkpoint_is_one_clear_line(tmp_path, faces, content):
    config = tiny_config(tmp_path)
    config.run.folder.mkdir()
    (config.run.folder / LATEST).write_bytes(content)
    with pytest.raises(WeightsError, match="cannot read the checkpoint"):
        train(config, resume=True)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(
    tmp_path, faces, monkeypatch
):
    config = tiny_config(tmp_path, run={"save_every": 1})
    run = TrainingStep.run

    def poisoned(self, damaged, clean):
        if self._learners.step == 2:
            damaged = damaged * float("nan")
        return run(self, damaged, clean)

    monkeypatch.setattr(TrainingStep, "run", poisoned)
    with pytest.raises(VidrestoreError, match="not finite any more at step 2"):
        train(config)
    state = _state(config.run.folder)
    assert state["step"] == 2
    assert all(value.isfinite().all() for value in state["g"].values())


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def number(request):
    """A signal that is not ignored, whoever runs this."""
    found = signal.signal(request.param, signal.default_int_handler)
    yield request.param
    signal.signal(request.param, found)


def test_a_signal_ends_the_run_after_the_step_with_a_checkpoint(
    tmp_path, faces, monkeypatch, number
):
    config = tiny_config(tmp_path, optimiser={"steps": 50})
    run = TrainingStep.run

    def interrupted(self, damaged, clean):
        if self._learners.step == 2:
            os.kill(os.getpid(), number)
        return run(self, damaged, clean)

    before = signal.getsignal(number)
    monkeypatch.setattr(TrainingStep, "run", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(config)
    assert "step 3 is kept" in caught.value.__notes__[0]
    assert _state(config.run.folder)["step"] == 3
    assert signal.getsignal(number) is before


def test_a_hang_up_that_is_ignored_stays_so():
    found = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    try:
        with loop.stop_requests() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.is_set
    finally:
        signal.signal(signal.SIGHUP, found)


def test_skipped_files_are_counted_in_the_log(tmp_path, faces, caplog):
    (faces / "broken.jpg").write_bytes(b"no")
    with caplog.at_level(logging.INFO, logger=loop.__name__):
        train(tiny_config(tmp_path, optimiser={"steps": 1}))
    assert "6 faces; 1 files skipped" in caplog.text


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_twice_the_batch(tmp_path, faces):
    """Gloo on the CPU; content alone, because the spread over a minibatch knows its batch."""
    text = """
    [model]
    size = 32
    narrow = 0.05
    style_dim = 16
    n_mlp = 2
    [degrade]
    tape = 0.0
    [optimiser]
    steps = 3
    batch_size = {batch}
    warmup_steps = 1
    [run]
    device = "cpu"
    threads = 1
    """
    arguments = ["vidrestore", "train"]
    states = []
    for batch, launcher in (
        (4, ["-m"]),
        (2, ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]),
    ):
        config = tmp_path / f"{batch}.toml"
        config.write_text(text.format(batch=batch))
        folder = tmp_path / f"run{batch}"
        words = [*arguments, str(config), "--data", str(faces), "--out", str(folder)]
        subprocess.run([sys.executable, *launcher, *words], check=True, timeout=300)
        states.append(_state(folder))
    one, two = states
    assert one["num_pictures"] == two["num_pictures"] == 12
    for name, value in one["g"].items():
        torch.testing.assert_close(value, two["g"][name], rtol=1e-3, atol=1e-4)
