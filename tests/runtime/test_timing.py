"""Which seconds are counted for which stage, on a clock that only moves when told to."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from vidrestore.runtime.executor import buffered
from vidrestore.runtime.timing import StageClock, StageTimes, peak_memory_bytes

REPOSITORY = Path(__file__).resolve().parents[2]


class FakeTime:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def work(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


@pytest.fixture
def clock(fake: FakeTime) -> StageClock:
    return StageClock(fake)


def decode(fake: FakeTime, num_frames: int, seconds: float) -> Iterator[int]:
    for number in range(num_frames):
        fake.work(seconds)
        yield number


def work_on(items: Iterator[int], fake: FakeTime, seconds: float) -> Iterator[int]:
    for item in items:
        fake.work(seconds)
        yield item


def batch(items: Iterator[int], fake: FakeTime, size: int, seconds: float) -> Iterator[int]:
    """Holds items back, and flushes the rest after its loop."""
    held: list[int] = []
    for item in items:
        held.append(item)
        if len(held) == size:
            fake.work(seconds)
            yield from held
            held = []
    fake.work(seconds)
    yield from held


def test_nested_stages_are_told_apart(clock: StageClock, fake: FakeTime) -> None:
    decoded = clock.source("decode", decode(fake, 4, 2.0))
    detected = clock.measure("detect", lambda items: work_on(items, fake, 5.0), decoded)
    tracked = clock.measure("track", lambda items: work_on(items, fake, 0.25), detected)
    assert list(tracked) == [0, 1, 2, 3]
    assert clock.times() == (
        StageTimes("decode", busy_seconds=8.0, waiting_seconds=0.0, num_items=4),
        StageTimes("detect", busy_seconds=20.0, waiting_seconds=8.0, num_items=4),
        StageTimes("track", busy_seconds=1.0, waiting_seconds=28.0, num_items=4),
    )


def test_the_pullers_own_time_is_nobodys(clock: StageClock, fake: FakeTime) -> None:
    detected = clock.measure(
        "detect", lambda items: work_on(items, fake, 5.0), decode(fake, 3, 2.0)
    )
    for _ in detected:
        fake.work(100.0)
    assert clock.times() == (StageTimes("detect", 15.0, 6.0, 3),)


def test_batches_and_the_flush_after_the_last_item_count(clock: StageClock, fake: FakeTime) -> None:
    decoded = clock.source("decode", decode(fake, 5, 1.0))
    restored = clock.measure("restore", lambda items: batch(items, fake, 2, 10.0), decoded)
    assert list(restored) == [0, 1, 2, 3, 4]
    assert clock.times() == (
        StageTimes("decode", 5.0, 0.0, 5),
        StageTimes("restore", 30.0, 5.0, 5),
    )


def test_figures_can_be_read_on_the_way(clock: StageClock, fake: FakeTime) -> None:
    restored = clock.measure(
        "restore", lambda items: batch(items, fake, 2, 10.0), decode(fake, 5, 1.0)
    )
    assert clock.times() == (StageTimes("restore", 0.0, 0.0, 0),)
    next(restored)
    assert clock.times() == (StageTimes("restore", 10.0, 2.0, 1),)
    next(restored)
    assert clock.times() == (StageTimes("restore", 10.0, 2.0, 2),)


def test_a_look_from_inside_a_stage_shows_no_negative_time(
    clock: StageClock, fake: FakeTime
) -> None:
    seen: list[StageTimes] = []

    def look(items: Iterator[int]) -> Iterator[int]:
        for item in items:
            seen.extend(clock.times())
            yield item

    list(clock.measure("look", look, decode(fake, 1, 3.0)))
    assert seen == [StageTimes("look", 0.0, 3.0, 0)]


def worked_on(items: Iterator[int], fake: FakeTime, seconds: float) -> Iterator[int]:
    for item in items:
        fake.work(seconds)
        yield item


def test_blocks_before_and_after_the_stages(clock: StageClock, fake: FakeTime) -> None:
    with clock.busy("encode"):
        fake.work(0.5)  # opening
    list(clock.measure("write", lambda x: worked_on(x, fake, 7.0), decode(fake, 3, 2.0)))
    with clock.busy("encode"):
        fake.work(1.5)  # flushing
    assert clock.times() == (
        StageTimes("encode", 2.0, 0.0, 0),
        StageTimes("write", 21.0, 6.0, 3),
    )


def test_a_block_adds_to_a_measured_stage(clock: StageClock, fake: FakeTime) -> None:
    list(clock.measure("encode", lambda x: worked_on(x, fake, 7.0), decode(fake, 2, 2.0)))

    def flush() -> None:
        with clock.busy("encode"):
            fake.work(1.0)
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        flush()
    assert clock.times() == (StageTimes("encode", 15.0, 4.0, 2),)


def test_a_name_is_given_once(clock: StageClock) -> None:
    clock.source("decode", iter([1]))
    with pytest.raises(ValueError, match="'decode' is measured already"):
        clock.measure("decode", iter, iter([1]))


def test_time_before_a_failure_counts_and_the_failure_passes(
    clock: StageClock, fake: FakeTime
) -> None:
    def fail(items: Iterator[int]) -> Iterator[int]:
        yield next(items)
        fake.work(4.0)
        raise MemoryError

    detected = clock.measure("detect", fail, decode(fake, 3, 1.0))
    tracked = clock.measure("track", lambda items: work_on(items, fake, 0.5), detected)
    assert next(tracked) == 0
    with pytest.raises(MemoryError):
        next(tracked)
    assert clock.times() == (
        StageTimes("detect", 4.0, 1.0, 1),
        StageTimes("track", 0.5, 5.0, 1),
    )


def test_closing_closes_the_stage_and_then_its_input(clock: StageClock) -> None:
    closed: list[str] = []

    def stage(name: str, items: Iterator[int]) -> Iterator[int]:
        try:
            yield from (item for item in items)
        finally:
            closed.append(name)

    decoded = clock.source("decode", stage("decode", iter(range(9))))
    detected = clock.measure("detect", lambda items: stage("detect", items), decoded)
    blended = clock.measure("blend", lambda items: stage("blend", items), detected)
    written = clock.measure("encode", lambda items: stage("encode", items), blended)
    assert next(written) == 0
    written.close()  # type: ignore[attr-defined]
    assert closed == ["encode", "blend", "detect", "decode"]


def test_the_input_is_closed_even_if_closing_the_stage_fails(clock: StageClock) -> None:
    closed: list[str] = []

    def decode_and_note() -> Iterator[int]:
        try:
            yield from range(9)
        finally:
            closed.append("decode")

    def fail_to_close(items: Iterator[int]) -> Iterator[int]:
        try:
            for item in items:
                yield item + 1
        finally:
            raise OSError("detect")

    decoded = clock.source("decode", decode_and_note())
    detected = clock.measure("detect", fail_to_close, decoded)
    next(detected)
    with pytest.raises(OSError, match="detect"):
        detected.close()  # type: ignore[attr-defined]
    assert closed == ["decode"]


def test_no_item_is_kept_while_the_next_is_fetched(clock: StageClock) -> None:
    class Picture:
        pass

    made: list[weakref.ref[Picture]] = []

    def pictures() -> Iterator[Picture]:
        for _ in range(3):
            picture = Picture()
            made.append(weakref.ref(picture))
            yield picture
            del picture
            assert made[-1]() is None

    def same(items: Iterator[Picture]) -> Iterator[Picture]:
        return filter(None, items)

    gc.disable()
    try:
        decoded = clock.source("decode", pictures())
        for picture in clock.measure("detect", same, decoded):
            del picture
    finally:
        gc.enable()
    assert len(made) == 3


def test_stages_on_different_threads_keep_their_own_time() -> None:
    def sleep_on(items: Iterator[int], seconds: float) -> Iterator[int]:
        for item in items:
            time.sleep(seconds)
            yield item

    clock = StageClock()
    decoded = clock.source("decode", sleep_on(iter(range(8)), 0.001))
    with buffered(decoded, 2, "decode") as ahead:
        restored = clock.measure("restore", lambda items: sleep_on(items, 0.02), ahead)
        assert list(clock.measure("encode", iter, restored)) == list(range(8))
    times = {t.name: t for t in clock.times()}
    assert [t.num_items for t in times.values()] == [8, 8, 8]
    assert 0.008 <= times["decode"].busy_seconds < 0.16
    assert times["restore"].busy_seconds >= 0.16
    # its input works on another thread meanwhile
    assert times["restore"].waiting_seconds < times["restore"].busy_seconds / 2
    assert times["encode"].waiting_seconds >= times["restore"].busy_seconds


def test_measuring_costs_next_to_nothing() -> None:
    def microseconds_an_item() -> float:
        items = StageClock().measure("stage", lambda source: (i for i in source), iter(range(5000)))
        start = time.perf_counter()
        for _ in items:
            pass
        return (time.perf_counter() - start) / 5000 * 1e6

    # about 0.9 on an idle machine
    assert min(microseconds_an_item() for _ in range(5)) < 10


def test_peak_memory_is_that_of_this_program_and_stays() -> None:
    code = (
        "from vidrestore.runtime.timing import peak_memory_bytes\n"
        "before = peak_memory_bytes()\n"
        "big = bytearray(b'1') * 60_000_000\n"
        "del big\n"
        "print(before, peak_memory_bytes())\n"
    )
    ballast = bytearray(b"1") * 200_000_000  # of the starting program: must not show
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    del ballast
    before, after = map(int, out.stdout.split())
    assert 3e6 < before < 200e6
    assert 55e6 < after - before < 70e6


@pytest.mark.parametrize(("platform", "unit"), [("darwin", 1), ("freebsd14", 1024)])
def test_peak_memory_without_a_status_page_is_in_the_platforms_unit(
    monkeypatch: pytest.MonkeyPatch, platform: str, unit: int
) -> None:
    resource = pytest.importorskip("resource")

    def refuse(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda _: SimpleNamespace(ru_maxrss=2_000_000))
    assert peak_memory_bytes() == 2_000_000 * unit


def test_peak_memory_is_unknown_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert peak_memory_bytes() is None


def test_faces_are_counted_where_they_are_asked_for():
    clock = StageClock()
    list(clock.measure("align", iter, iter([0, 2, 1]), lambda faces: faces))
    list(clock.measure("blend", iter, iter([5])))
    assert [(t.num_faces, t.num_with_faces) for t in clock.times()] == [(3, 2), (0, 0)]
