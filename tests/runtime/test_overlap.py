"""The stage that restores, on a device that writes down all it is asked for; and shared cores."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from tests.models.test_restorers import FakeNetwork, flat_crop, tiny_network, torch_restorer
from tests.runtime.test_streams import FakeDevice
from tests.support.fakes import frame_at, landmarks_at
from vidrestore.contracts import AlignedFace, AlignedFrame, FaceTrack
from vidrestore.core.geometry import similarity_transform
from vidrestore.core.views import upright_view
from vidrestore.core.warping import crop_from_planes
from vidrestore.jobs.networks import choose_models, loaded_detector
from vidrestore.media.read import VideoReader
from vidrestore.models.gpen_folded import FoldedGpen
from vidrestore.models.registry import RESTORERS, landmark_template
from vidrestore.models.restorer_torch import TorchRestorer
from vidrestore.models.restorers import build_restorer, folded_network
from vidrestore.models.weights import read_state
from vidrestore.runtime.executor import buffered
from vidrestore.runtime.streams import TransferLane
from vidrestore.settings import DetectSettings, ModelSettings, Precision, Runtime
from vidrestore.stages.restore import restore_faces

LITE = RESTORERS["vidrestore-lite-256"]
LITE_FILE = Path(__file__).resolve().parents[2] / "weights" / "vidrestore-lite-256.safetensors"


def faces(count: int) -> Iterator[AlignedFrame]:
    """Frames with one face each, no two crops alike."""
    for tick in range(count):
        track = FaceTrack(1, landmarks_at(8, 8, 3), None, 1.0, 1.0)
        face = AlignedFace(track, flat_crop(tick), np.eye(2, 3))
        yield AlignedFrame(frame=frame_at(tick), faces=(face,), is_cut=tick == 0)


def recorded_restorer(device: FakeDevice, batch_size: int) -> TorchRestorer:
    def make_lane(real: torch.device, compute: Any, shape: Any, **options: Any) -> TransferLane:
        return TransferLane(real, compute, shape, module=device, **options)

    return torch_restorer(FakeNetwork(lambda x: -x), batch_size=batch_size, make_lane=make_lane)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_stage_sends_a_batch_before_it_awaits_the_one_before(batch_size: int) -> None:
    device = FakeDevice()  # fails if anybody waits for all of it
    restorer = recorded_restorer(device, batch_size)
    device.log.clear()
    done = list(restore_faces(faces(12), restorer))
    assert [int(item.faces[0].crop[0, 0, 0]) for item in done] == [255 - k for k in range(12)]
    uploads = [i for i, e in enumerate(device.log) if e[:2] == ("record", "copy_in")]
    awaits = [i for i, e in enumerate(device.log) if e[0] == "await"]
    assert len(uploads) == len(awaits) == 12 // batch_size
    assert all(sent < awaited for sent, awaited in zip(uploads[1:], awaits, strict=False))
    assert device.num_events <= 3 * 3, "buffers go round"


# --- numbers in half precision, which a processor emulates ---------------------------------------


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_styles_are_computed_in_fp32_whatever_the_convolutions_use(precision: Precision) -> None:
    restorer = torch_restorer(FoldedGpen(tiny_network()), precision=precision)
    network = restorer._network
    types: set[torch.dtype] = set()
    for module in network.style.modules():
        module.register_forward_pre_hook(lambda _, args: types.add(args[0].dtype))
    restorer.submit([flat_crop(9)]).result()
    assert types == {torch.float32}
    assert {b.dtype for b in network.style.buffers()} == {torch.float32}
    assert {b.dtype for b in network.encoder.buffers()} != {torch.float32}
    restorer.close()


@pytest.mark.slow
def test_fp16_shows_what_fp32_shows(sample_crops: list[np.ndarray]) -> None:
    """As on a card: fp16 maps and weights; that sums are in fp32 is what cards do, too."""
    pictures = []
    for precision in (Precision.FP32, Precision.FP16):
        restorer = lite_as_on_a_card(precision)
        pictures.append(np.stack(restorer.submit(sample_crops).result()).astype(float))
        assert restorer.notes == []
        restorer.close()
    error = np.square(pictures[0] - pictures[1]).mean()
    assert error > 0
    assert 10 * np.log10(255**2 / error) >= 40


@pytest.fixture
def sample_crops() -> list[np.ndarray]:
    """Faces of the sample film, aligned."""
    sample = LITE_FILE.parents[1] / "samples" / "home-video.mp4"
    settings, crops = ModelSettings(), []
    with (
        VideoReader(sample) as reader,
        loaded_detector(choose_models(settings), settings, DetectSettings()) as (detector, _, _),
    ):
        for number, frame in enumerate(reader.frames()):
            if number % 30 == 0:
                (found,) = detector.detect([upright_view(frame, 1000)])
                for face in found[:1]:
                    matrix = similarity_transform(
                        face.landmarks, landmark_template(LITE.template, LITE.size)
                    )
                    assert matrix is not None
                    crops.append(crop_from_planes(frame, matrix, LITE.size))
    assert len(crops) >= 2
    return crops[:3]


def lite_state() -> Any:
    return read_state(LITE_FILE, LITE.weights, allow_unverified=False)


def lite_as_on_a_card(precision: Precision) -> TorchRestorer:
    return TorchRestorer(
        folded_network(LITE, lite_state()),
        template=landmark_template(LITE.template, LITE.size),
        device=torch.device("cpu"),
        precision=precision,
        batch_size=1,
    )


# --- the network's threads and the encoder's -----------------------------------------------------


def _encode(count: int) -> None:
    """Code noise as the program does by default."""
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (288, 352, 3), np.uint8) for _ in range(8)]
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = 352, 288, "yuv420p"
    context.framerate, context.thread_type = 25, "AUTO"
    context.options = {"crf": "18", "preset": "medium"}
    for k in range(count):
        frame = av.VideoFrame.from_ndarray(pictures[k % 8], "rgb24").reformat(format="yuv420p")
        frame.pts = k
        context.encode(frame)
    context.encode(None)


def _seconds(*works: Callable[[], None]) -> float:
    """Do one thing, or two at once, the first on a thread of its own; seconds on the clock."""

    def alone(work: Callable[[], None]) -> Iterator[None]:
        yield None
        work()

    begun = time.perf_counter()
    if len(works) == 1:
        works[0]()
    else:
        first, last = works
        with buffered(alone(first), 2, "first") as items:
            next(items)  # its thread is at work now
            last()
            assert list(items) == []
    return time.perf_counter() - begun


@pytest.mark.slow
def test_two_pools_of_threads_do_not_fight(tmp_path: Path) -> None:
    """Both at once are done no later than one after the other, which spinning threads spoil."""
    restorer, _ = build_restorer(
        LITE,
        lite_state(),
        weights_sha256="0",
        device="cpu",
        runtime=Runtime.OPENVINO,
        precision=Precision.FP32,
        cache_dir=tmp_path,
    )
    random = np.random.default_rng(0)
    crops = [random.integers(0, 256, (256, 256, 3), np.uint8) for _ in range(4)]

    def restore() -> None:
        for _ in range(8):
            restorer.submit(crops).result()

    def encode() -> None:
        _encode(60)

    restore()
    ratios = []
    for _ in range(3):
        apart = _seconds(restore) + _seconds(encode)
        ratios.append(_seconds(restore, encode) / apart)
    assert sorted(ratios)[1] <= 1.15, ratios
    restorer.close()
