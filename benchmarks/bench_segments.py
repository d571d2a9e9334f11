"""What it costs that a film grows in segments, and whether memory grows with the film.

    python benchmarks/bench_segments.py [CLIP] [--seconds 60] [--pairs 3] [--minutes 10]
        [--minutes-with-faces 10] [--json FILE]

The clip is repeated to the length asked for, packet by packet. Each pair restores it in segments as
usual and in a single one, in turns; given are medians of the pairs, and of the time that joining
takes. Memory is the peak of a process that restores one minute, and of one that restores more, of
the clip and of a film of the same size without faces.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import numpy as np
from av.video.stream import VideoStream

from vidrestore import restore_video
from vidrestore.media.write import VideoWriter
from vidrestore.report import describe_machine, describe_versions

SAMPLE = Path(__file__).resolve().parents[1] / "samples" / "home-video.mp4"


def repeated(clip: Path, seconds: float, target: Path) -> Path:
    """Copy a clip's packets end to end until it is long enough."""
    with av.open(str(clip)) as film, av.open(str(target), "w") as out:
        streams = {s.index: s for s in (film.streams.video[0], *film.streams.audio[:1])}
        copies = {i: out.add_stream_from_template(s, opaque=True) for i, s in streams.items()}
        video = film.streams.video[0]
        assert video.duration is not None
        assert video.time_base is not None
        length = video.duration * video.time_base
        latest = dict.fromkeys(streams, -1)
        for k in range(-(-Fraction(seconds) // length)):
            film.seek(0)
            for packet in film.demux(*streams.values()):
                if packet.size and packet.dts is not None and packet.pts is not None:
                    shift = round(k * length / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    index = packet.stream.index
                    if packet.dts > latest[index]:  # sound is a little longer than the pictures
                        latest[index] = packet.dts
                        packet.stream = copies[index]
                        out.mux(packet)
    return target


def without_faces(like: Path, seconds: float, target: Path) -> Path:
    """Make a film of moving stripes with the size and rate of another."""
    with av.open(str(like)) as film:
        source = film.streams.video[0]
        width, height = source.codec_context.width, source.codec_context.height
        rate = source.guessed_rate or Fraction(25)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    with av.open(str(target), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for k in range(round(seconds * rate)):
            grey = (128 + 60 * np.sin((x + 2 * y + 3 * k) / 40)).astype(np.uint8)
            picture = av.VideoFrame.from_ndarray(np.stack([grey] * 3, axis=-1), "rgb24")
            picture.pts, picture.time_base = k, 1 / rate
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return target


def run_once(film: Path, target: Path, in_segments: bool) -> tuple[float, float, int]:
    """Restore a film; return seconds in all, those of joining, and the number of segments."""
    joining = [0.0]
    join = VideoWriter._join

    def timed_join(*args: Any) -> None:  # noqa: ANN401
        begun = time.perf_counter()
        join(*args)
        joining[0] = time.perf_counter() - begun

    with ExitStack() as stack:
        stack.enter_context(patch.object(VideoWriter, "_join", timed_join))
        if not in_segments:
            for name in ("SHORTEST_SECONDS", "LONGEST_SECONDS"):
                stack.enter_context(patch(f"vidrestore.media.write.{name}", float("inf")))
        report = restore_video(film, target)
    target.unlink()
    num_segments = int(report.output["streams"][0]["num_segments"])
    return float(report.timings["wall_seconds"]), joining[0], num_segments


def peak_bytes(film: Path, target: Path) -> int:
    """Restore a film in a process of its own and return its peak memory."""
    report = target.with_suffix(".json")
    command = [sys.executable, "-m", "vidrestore", str(film), str(target), "--quiet"]
    subprocess.run([*command, "--report", str(report), "--overwrite"], check=True)
    peak = json.loads(report.read_text())["timings"]["peak_memory_bytes"]
    report.unlink()
    return int(peak)


def memory(clip: Path, folder: Path, minutes: float, with_faces: float) -> dict[str, Any]:
    """Compare the peaks of one minute and of several."""
    result: dict[str, Any] = {}
    kinds = (("without_faces", without_faces, minutes), ("with_faces", repeated, with_faces))
    for name, make, minutes in kinds:
        peaks = []
        for length in (60.0, 60.0 * minutes):
            film = make(clip, length, folder / f"{name}-{length:.0f}.mp4")
            peaks.append(peak_bytes(film, folder / "out.mp4"))
            film.unlink()
        result[name] = {"minutes": minutes, "bytes": peaks, "ratio": peaks[1] / peaks[0]}
    return result


def main() -> None:
    """Run the pairs, then the long films, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10, help="0 leaves memory out")
    parser.add_argument("--minutes-with-faces", type=float, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result: dict[str, Any] = {
        "clip": arguments.clip.name,
        "machine": describe_machine(),
        "versions": describe_versions(),
        "pairs": arguments.pairs,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = repeated(arguments.clip, arguments.seconds, folder / "film.mp4")
        run_once(film, folder / "out.mp4", in_segments=True)  # converts and caches the networks
        pairs = []
        for k in range(arguments.pairs):
            ways = (True, False) if k % 2 == 0 else (False, True)
            pairs.append({way: run_once(film, folder / "out.mp4", way) for way in ways})
        if pairs:
            result["num_segments"] = pairs[0][True][2]
            result["segments_over_one"] = statistics.median(p[True][0] / p[False][0] for p in pairs)
            result["joining_share"] = statistics.median(p[True][1] / p[True][0] for p in pairs)
        if arguments.minutes:
            result["memory"] = memory(
                arguments.clip, folder, arguments.minutes, arguments.minutes_with_faces
            )
    print(json.dumps(result, indent=2))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
