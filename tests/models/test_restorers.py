"""The two restorers, and the rule that chooses between them."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidrestore.contracts import FaceRestorer, RGBImage
from vidrestore.errors import DeviceError, WeightsError
from vidrestore.models import processor, restorer_openvino, restorers
from vidrestore.models.gpen import Gpen
from vidrestore.models.gpen_folded import FoldedGpen
from vidrestore.models.registry import RESTORERS, RestorerSpec, landmark_template
from vidrestore.models.restorer_openvino import OpenVinoRestorer
from vidrestore.models.restorer_torch import TorchRestorer
from vidrestore.models.restorers import build_restorer
from vidrestore.runtime.streams import TransferLane
from vidrestore.settings import Precision, Runtime

SIZE = 16
SPEC = dataclasses.replace(
    RESTORERS["vidrestore-lite-256"], name="tiny", size=SIZE, narrow=0.04, style_dim=24, n_mlp=2
)
TEMPLATE = landmark_template(SPEC.template, SIZE)
CPU = torch.device("cpu")


def tiny_network() -> Gpen:
    torch.manual_seed(3)
    network = Gpen(SIZE, SPEC.style_dim, SPEC.n_mlp, SPEC.channel_multiplier, SPEC.narrow)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("noise.weight"):
                parameter.fill_(0.4)
    return network


def random_crops(n: int, seed: int = 0) -> list[RGBImage]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for _ in range(n)]


def flat_crop(level: int) -> RGBImage:
    """A crop of one level but for one sample, so that it is not empty."""
    crop = np.full((SIZE, SIZE, 3), level, np.uint8)
    crop[-1, -1, -1] = 200
    return crop


class FakeNetwork(nn.Module):
    """Looks like ``FoldedGpen``; ``function`` is the network in fp32, ``half`` in less."""

    size = SIZE

    def __init__(
        self, function: Callable[[Tensor], Tensor], half: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.function = function
        self.half_function = half or function

    def with_precision(self, dtype: torch.dtype) -> FakeNetwork:
        return FakeNetwork(self.function if dtype == torch.float32 else self.half_function)

    def forward(self, image: Tensor) -> Tensor:
        return self.function(image)


def torch_restorer(
    network: Any, *, precision: Precision = Precision.FP32, batch_size: int = 4, **options: Any
) -> TorchRestorer:
    return TorchRestorer(
        network,
        template=TEMPLATE,
        device=CPU,
        precision=precision,
        batch_size=batch_size,
        **options,
    )


def openvino_restorer(
    cache_dir: Path, *, make: Callable[[], FoldedGpen] | None = None, **options: Any
) -> OpenVinoRestorer:
    return OpenVinoRestorer(
        make or (lambda: FoldedGpen(tiny_network())),
        size=SIZE,
        template=TEMPLATE,
        cache_dir=cache_dir,
        **{"precision": Precision.FP32, "weights_key": "tiny", "name": "tiny", **options},
    )


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(params=["torch", "openvino"], scope="module")
def restorer(request: pytest.FixtureRequest, cache_dir: Path) -> Iterator[FaceRestorer]:
    made: FaceRestorer
    if request.param == "torch":
        made = torch_restorer(FoldedGpen(tiny_network()))
    else:
        made = openvino_restorer(cache_dir)
    yield made
    made.close()


def assert_equal(got: list[RGBImage], expected: list[RGBImage]) -> None:
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_array_equal(a, b)


# --- what both promise ---------------------------------------------------------------------------


def test_crops_are_what_the_network_makes_of_them(restorer: FaceRestorer) -> None:
    crops = random_crops(3)
    batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).double() / 127.5 - 1
    with torch.inference_mode():
        pictures = tiny_network().double()(batch)
    expected = (pictures * 127.5 + 127.5).clamp(0, 255).permute(0, 2, 3, 1).numpy()
    restored = restorer.submit(crops).result()
    assert [crop.dtype for crop in restored] == [np.dtype(np.uint8)] * 3
    assert np.stack(restored).std() > 10
    # rounded: never off by more than half a level (cut off, it would be up to a whole one)
    assert np.abs(np.stack(restored) - expected).max() < 0.51


def test_a_crop_comes_out_the_same_whatever_shares_its_batch(restorer: FaceRestorer) -> None:
    crops, others = random_crops(4), random_crops(4, seed=1)
    together = restorer.submit(crops).result()
    for i, crop in enumerate(crops):
        assert_equal(restorer.submit([crop]).result(), [together[i]])
        mixed = [*others[:i], crop, *others[i + 1 :]]
        assert_equal([restorer.submit(mixed).result()[i]], [together[i]])


def test_batches_under_way_do_not_disturb_each_other(restorer: FaceRestorer) -> None:
    groups = [random_crops(1 + k % 4, seed=k) for k in range(6)]
    expected = [restorer.submit(group).result() for group in groups]
    pending = [restorer.submit(group) for group in groups]
    for k in (3, 0, 5, 1, 4, 2):
        assert_equal(pending[k].result(), expected[k])
    assert_equal(pending[3].result(), expected[3])


def test_more_crops_than_a_batch_are_taken_too(restorer: FaceRestorer) -> None:
    crops = random_crops(restorer.batch_size + 3)
    assert_equal(
        restorer.submit(crops).result(),
        [restored for crop in crops for restored in restorer.submit([crop]).result()],
    )


def test_crops_are_read_only_and_left_alone(restorer: FaceRestorer) -> None:
    crops = random_crops(2)
    copies = [crop.copy() for crop in crops]
    for crop in crops:
        crop.flags.writeable = False
    restorer.submit(crops).result()
    assert_equal(crops, copies)


def test_a_crop_of_another_size_is_refused(restorer: FaceRestorer) -> None:
    with pytest.raises(ValueError, match=r"crop of \(8, 8, 3\) for a network of 16"):
        restorer.submit([np.zeros((8, 8, 3), np.uint8)])


def test_a_restorer_says_what_it_is(restorer: FaceRestorer) -> None:
    assert restorer.size == SIZE
    assert restorer.template.shape == (5, 2)
    assert restorer.batch_size >= 1
    assert "fp32" in restorer.description


# --- torch ---------------------------------------------------------------------------------------


def test_every_level_survives_the_way_through_an_empty_network() -> None:
    crop = np.resize(np.arange(256, dtype=np.uint8), (SIZE, SIZE, 3))
    assert_equal(torch_restorer(FakeNetwork(lambda x: x)).submit([crop]).result(), [crop])


def test_results_are_rounded_and_clamped() -> None:
    crop = np.resize(np.array([0, 100, 254, 255], np.uint8), (SIZE, SIZE, 3))
    for levels, expected in ((0.6, [1, 101, 255, 255]), (0.4, [0, 100, 254, 255])):
        network = FakeNetwork(lambda x, levels=levels: x + levels / 127.5)
        (restored,) = torch_restorer(network).submit([crop]).result()
        np.testing.assert_array_equal(restored.reshape(-1)[:4], expected)
    (restored,) = torch_restorer(FakeNetwork(lambda x: x - 2.5)).submit([crop]).result()
    assert restored.max() == 0


def broken_for_level(level: int, value: float) -> Callable[[Tensor], Tensor]:
    """Return a network that spoils one sample of each crop whose first sample has ``level``."""

    def network(image: Tensor) -> Tensor:
        image = image.clone()
        hit = (image[:, 0, 0, 0] * 127.5 + 127.5).round() == level
        image[hit, 1, 5, 7] = value
        return image

    return network


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16])
def test_a_crop_without_numbers_is_redone_in_fp32(value: float, precision: Precision) -> None:
    network = FakeNetwork(lambda x: -x, half=broken_for_level(7, value))
    restorer = torch_restorer(network, precision=precision)
    crops = [flat_crop(3), flat_crop(7), flat_crop(9)]
    restored = restorer.submit(crops).result()
    assert_equal(restored, [crops[0], 255 - crops[1], crops[2]])
    assert restorer.num_redone == 1
    restorer.submit([crops[1]]).result()
    assert restorer.num_redone == 2
    assert restorer.num_kept == 0
    restorer.close()


def test_an_empty_crop_is_redone_in_fp32() -> None:
    def half(image: Tensor) -> Tensor:
        return torch.where(image[:, :1, :1, :1] < 0, torch.zeros_like(image), image)

    restorer = torch_restorer(FakeNetwork(lambda x: -x, half), precision=Precision.FP16)
    crops = [flat_crop(20), flat_crop(220)]
    assert_equal(restorer.submit(crops).result(), [255 - crops[0], crops[1]])
    assert restorer.num_redone == 1


def test_a_crop_that_fp32_cannot_do_either_stays_as_it_was() -> None:
    broken = broken_for_level(7, float("nan"))
    for precision, num_redone in ((Precision.FP16, 1), (Precision.FP32, 0)):
        restorer = torch_restorer(FakeNetwork(broken), precision=precision)
        crops = [flat_crop(7), flat_crop(8)]
        assert_equal(restorer.submit(crops).result(), crops)
        assert (restorer.num_redone, restorer.num_kept) == (num_redone, 1)


class SmallDevice:
    """Lanes on a device that has room for so many crops at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.tried: list[int] = []

    def __call__(
        self, device: torch.device, compute: Any, shape: Any, **options: Any
    ) -> TransferLane:
        self.tried.append(shape[0])

        def limited(batch: Tensor) -> tuple[Tensor, ...]:
            if len(batch) > self.room:
                raise torch.OutOfMemoryError("no room")
            result: tuple[Tensor, ...] = compute(batch)
            return result

        return TransferLane(device, limited, shape, **options)


def test_out_of_memory_halves_the_batch_and_goes_on() -> None:
    device = SmallDevice(room=3)
    restorer = torch_restorer(FakeNetwork(lambda x: -x), batch_size=8, make_lane=device)
    crops = random_crops(7)
    assert_equal(restorer.submit(crops).result(), [255 - crop for crop in crops])
    assert device.tried == [8, 4, 2]
    assert restorer.batch_size == 2
    assert restorer.notes == [
        "cpu ran out of memory: went on with 4 crops at once",
        "cpu ran out of memory: went on with 2 crops at once",
    ]
    restorer.submit(crops).result()
    assert device.tried == [8, 4, 2], "what was learnt is kept"


def test_batches_from_before_memory_ran_out_still_arrive() -> None:
    device = SmallDevice(room=4)
    restorer = torch_restorer(FakeNetwork(lambda x: -x), batch_size=4, make_lane=device)
    crops = random_crops(4)
    before = restorer.submit(crops)
    device.room = 2
    after = restorer.submit(crops)
    assert_equal(before.result(), [255 - crop for crop in crops])
    assert_equal(after.result(), [255 - crop for crop in crops])
    assert restorer.batch_size == 2


def test_no_room_for_one_crop_is_an_error_that_says_what_to_do() -> None:
    device = SmallDevice(room=0)
    message = r"no memory left for one crop of 16 pixels: .*--model"
    with pytest.raises(DeviceError, match=message):
        torch_restorer(FakeNetwork(lambda x: x), batch_size=2, make_lane=device)
    assert device.tried == [2, 1]
    device.room = 2
    restorer = torch_restorer(FakeNetwork(lambda x: x), batch_size=2, make_lane=device)
    device.room = 0
    with pytest.raises(DeviceError, match=message):
        restorer.submit(random_crops(1))


def test_no_room_to_redo_a_crop_is_the_same_error() -> None:
    device = SmallDevice(room=4)
    network = FakeNetwork(lambda x: x, half=lambda x: x * float("nan"))
    restorer = torch_restorer(network, precision=Precision.FP16, make_lane=device)
    pending = restorer.submit(random_crops(1))
    device.room = 0
    with pytest.raises(DeviceError, match="no memory left"):
        pending.result()


def test_all_that_is_done_once_is_done_before_the_first_crop() -> None:
    done: list[str] = []

    class Lane(TransferLane):
        def prepare(self) -> None:
            done.append("prepared")
            super().prepare()

    def make(*args: Any, **options: Any) -> TransferLane:
        done.append("a graph" if options["use_graph"] else "no graph")
        return Lane(*args, **options)

    network = FakeNetwork(lambda x: -x, half=lambda x: x * float("nan"))
    restorer = torch_restorer(network, precision=Precision.FP16, make_lane=make)
    assert done == ["a graph", "prepared"]
    restorer.submit([flat_crop(3)]).result()
    # what is redone is redone while other threads use the device: nothing is recorded then
    assert done == ["a graph", "prepared", "no graph"]


# --- OpenVINO ------------------------------------------------------------------------------------


def test_a_network_is_converted_once_and_gives_the_same_in_every_run(tmp_path: Path) -> None:
    calls: list[int] = []

    def make() -> FoldedGpen:
        calls.append(1)
        return FoldedGpen(tiny_network())

    crops = random_crops(8)
    results = []
    for _ in range(2):
        restorer = openvino_restorer(tmp_path, make=make)
        results.append(restorer.submit(crops).result())
        restorer.close()
    assert len(calls) == 1
    assert_equal(results[0], results[1])
    assert "openvino_telemetry" not in sys.modules, "converting must report to nobody"
    openvino_restorer(tmp_path, make=make, weights_key="other weights").close()
    assert len(calls) == 2


def test_bf16_differs_from_fp32_by_little(cache_dir: Path) -> None:
    if not processor.has_bf16():
        pytest.skip("bf16: this processor has no instructions for it")
    crops = random_crops(4)
    exact = np.stack(openvino_restorer(cache_dir).submit(crops).result()).astype(int)
    half = openvino_restorer(cache_dir, precision=Precision.BF16)
    assert "bf16" in half.description
    difference = np.abs(np.stack(half.submit(crops).result()) - exact)
    assert 0 < difference.max() <= 8
    assert difference.mean() < 1


def test_a_network_that_openvino_refuses_is_a_device_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restorer_openvino, "_kept_model", lambda *_: None)
    real = restorer_openvino.load_openvino()

    class Core:
        def compile_model(self, *_: object) -> None:
            raise RuntimeError("a page\nof text")

    fake = type("Fake", (), {"__version__": real.__version__, "Core": Core})
    monkeypatch.setattr(restorer_openvino, "load_openvino", lambda: fake)
    with pytest.raises(DeviceError, match="cannot run tiny in fp32 on this CPU: use --runtime to"):
        openvino_restorer(tmp_path)


# --- the processor -------------------------------------------------------------------------------


def test_the_gain_of_bf16_is_measured_once(tmp_path: Path, monkeypatch: Any) -> None:
    gains = [1.75, 0.5, 3.0]
    monkeypatch.setattr(processor, "_measure_gain", lambda: gains.pop(0))
    folder = tmp_path / "new"
    assert [processor.bf16_gain(folder) for _ in range(3)] == [1.75] * 3
    (path,) = folder.iterdir()
    assert json.loads(path.read_text())["gain"] == 1.75
    for damage in ("", "[]", "{}", '{"gain": "much"}'):
        path.write_text(damage)
        gains[:] = [2.0]
        assert processor.bf16_gain(folder) == 2.0
    assert len(list(folder.iterdir())) == 1


def test_a_gain_that_cannot_be_kept_is_still_measured(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(processor, "_measure_gain", lambda: 1.5)
    blocked = tmp_path / "a file"
    blocked.write_bytes(b"")
    assert processor.bf16_gain(blocked / "cache") == 1.5


def test_the_measurement_gives_a_plausible_gain() -> None:
    assert 0.05 < processor._measure_gain() < 50


# --- the rule ------------------------------------------------------------------------------------


def build(
    cache_dir: Path,
    *,
    device: str = "auto",
    runtime: Runtime = Runtime.AUTO,
    precision: Precision = Precision.AUTO,
    spec: RestorerSpec = SPEC,
) -> tuple[FaceRestorer, list[str]]:
    return build_restorer(
        spec,
        tiny_network().state_dict(),
        weights_sha256="0" * 64,
        device=device,
        runtime=runtime,
        precision=precision,
        cache_dir=cache_dir,
    )


@pytest.fixture
def num_cards(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def give(n: int) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n)

    give(0)
    return give


@pytest.fixture
def gain(monkeypatch: pytest.MonkeyPatch) -> Callable[[float | None], None]:
    def give(value: float | None) -> None:
        monkeypatch.setattr(restorers, "has_bf16", lambda: value is not None)
        monkeypatch.setattr(restorers, "bf16_gain", lambda _folder: value)

    give(None)
    return give


@pytest.mark.usefixtures("num_cards")
def test_without_a_card_it_is_openvino_and_the_faster_precision(
    cache_dir: Path, gain: Callable[[float | None], None]
) -> None:
    for value, precision, why in (
        (None, "fp32", "this CPU has no bf16"),
        (0.7, "fp32", "bf16 runs at 0.7 times the speed of fp32 on this CPU"),
        (1.9, "bf16", "bf16 runs at 1.9 times the speed of fp32 on this CPU"),
    ):
        gain(value)
        restorer, choices = build(cache_dir)
        assert isinstance(restorer, OpenVinoRestorer)
        assert choices == [f"restorer: {restorer.description} ({why})", restorer.how_shared]
        assert restorer.description.endswith(f"on the CPU, {precision}")
        assert restorer.size == SIZE
        np.testing.assert_array_equal(restorer.template, TEMPLATE)


@pytest.mark.usefixtures("num_cards", "gain")
def test_what_was_asked_for_is_taken(cache_dir: Path) -> None:
    restorer, (choice,) = build(cache_dir, runtime=Runtime.TORCH, precision=Precision.FP32)
    assert isinstance(restorer, TorchRestorer)
    assert restorer.batch_size == 1
    assert choice.endswith("on cpu, fp32 (as asked)")
    by_openvino, _ = build(cache_dir, device="cpu", precision=Precision.FP32)
    crops = random_crops(3)
    by_torch = np.stack(restorer.submit(crops).result()).astype(int)
    assert np.abs(by_torch - np.stack(by_openvino.submit(crops).result())).max() <= 1


class Recorder:
    """Stands in for ``TorchRestorer`` where there is no card."""

    def __init__(self, network: FoldedGpen, **options: Any) -> None:
        self.options = options
        self.description = "recorded"


@pytest.mark.parametrize(("size", "batch_size"), [(256, 8), (512, 2), (1024, 1), (2048, 1)])
def test_with_a_card_it_is_torch_in_fp16(
    monkeypatch: pytest.MonkeyPatch,
    cache_dir: Path,
    num_cards: Callable[[int], None],
    size: int,
    batch_size: int,
) -> None:
    num_cards(1)
    monkeypatch.setattr(restorers, "TorchRestorer", Recorder)
    monkeypatch.setattr(restorers, "folded_network", lambda *_: FoldedGpen(tiny_network()))
    restorer, choices = build(cache_dir, spec=dataclasses.replace(SPEC, size=size))
    assert isinstance(restorer, Recorder)
    assert restorer.options["device"] == torch.device("cuda")
    assert restorer.options["precision"] is Precision.FP16
    assert restorer.options["batch_size"] == batch_size
    assert choices == ["restorer: recorded (fp16 is right on a GPU)"]


def test_openvino_is_taken_on_the_cpu_though_there_is_a_card(
    cache_dir: Path, num_cards: Callable[[int], None]
) -> None:
    num_cards(1)
    restorer, _ = build(cache_dir, runtime=Runtime.OPENVINO, precision=Precision.FP32)
    assert isinstance(restorer, OpenVinoRestorer)


@pytest.mark.usefixtures("gain")
@pytest.mark.parametrize(
    ("cards", "asked", "message"),
    [
        (0, {"device": "cuda"}, "cannot use cuda: no CUDA device found; use --device cpu"),
        (1, {"device": "cuda:1"}, "cannot use cuda:1: only 1 found"),
        (0, {"precision": Precision.FP16}, "fp16 needs a GPU: use --precision"),
        (
            1,
            {"device": "cuda", "runtime": Runtime.OPENVINO},
            "OpenVINO runs on the CPU here, not on cuda: use --runtime torch",
        ),
        (0, {"precision": Precision.BF16}, "this CPU has no bf16: use --precision fp32"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_to_do(
    cache_dir: Path,
    num_cards: Callable[[int], None],
    cards: int,
    asked: dict[str, Any],
    message: str,
) -> None:
    num_cards(cards)
    with pytest.raises(DeviceError, match=message):
        build(cache_dir, **asked)


@pytest.mark.usefixtures("num_cards", "gain")
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has shape"):
        build(tmp_path, spec=dataclasses.replace(SPEC, narrow=0.05))


@pytest.mark.gpu
def test_a_card_gives_nearly_what_the_cpu_gives(cache_dir: Path) -> None:
    crops = random_crops(7)
    exact, _ = build(cache_dir, device="cpu", precision=Precision.FP32)
    on_card, _ = build(cache_dir, device="cuda")
    expected = np.stack(exact.submit(crops).result()).astype(int)
    pending = [on_card.submit(crops) for _ in range(4)]
    for p in pending:
        difference = np.abs(np.stack(p.result()) - expected)
        assert difference.max() <= 4
        assert difference.mean() < 0.3
    on_card.close()
