"""A film without faces: ours against a plain transcode with the same encoder settings.

    python benchmarks/bench_passthrough.py [--pairs 5] [--seconds 20] [--json [FILE]]

The film is 720x576. The plain transcode decodes and encodes, with every thread that FFmpeg takes
for itself. Given is the median of the pairs' ratios: ours at 0.9 is nine tenths as fast. Starting
is left out on both sides.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from av.video.stream import VideoStream
from films import Scene, make_film
from measuring import json_option, print_table, restored, write_result

from vidrestore import RestoreSettings
from vidrestore.benchmark.rounds import paired_ratio


def transcode(film: Path, target: Path) -> int:
    """Code a film anew as ours does: x264, crf 18, preset medium; return its frames."""
    num_frames = 0
    with av.open(str(film)) as source, av.open(str(target), "w") as out:
        pictures = source.streams.video[0]
        pictures.thread_type = "AUTO"
        rate = pictures.guessed_rate or Fraction(25)
        stream = out.add_stream("libx264", rate=rate, options={"crf": "18", "preset": "medium"})
        assert isinstance(stream, VideoStream)
        stream.thread_type = "AUTO"  # as ours; PyAV would choose slices
        stream.width, stream.height = pictures.codec_context.width, pictures.codec_context.height
        stream.pix_fmt = "yuv420p"
        for frame in source.decode(pictures):
            frame.pict_type = PictureType.NONE
            out.mux(stream.encode(frame))
            num_frames += 1
        out.mux(stream.encode(None))
    target.unlink()
    return num_frames


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    json_option(parser, "passthrough")
    arguments = parser.parse_args()
    ours, plainly = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = make_film(Scene(num_faces=0, seconds=arguments.seconds), folder / "film.mp4")
        transcode(film, folder / "out.mp4")  # to warm up, as the next line
        restored(film, folder / "out.mp4", RestoreSettings())
        for k in range(arguments.pairs):
            for is_ours in (True, False) if k % 2 else (False, True):
                if is_ours:
                    report = restored(film, folder / "out.mp4", RestoreSettings())
                    ours.append(float(report.timings["wall_seconds"]))
                    if report.frames["faces"]:
                        raise SystemExit("the detector saw a face in the film without faces")
                else:
                    begun = time.perf_counter()
                    num_frames = transcode(film, folder / "out.mp4")
                    plainly.append(time.perf_counter() - begun)
    if report.frames["written"] != num_frames:
        raise SystemExit(f"{report.frames['written']} frames instead of {num_frames}")
    row = {
        "ours_frames_per_second": num_frames / float(np.median(ours)),
        "transcode_frames_per_second": num_frames / float(np.median(plainly)),
        "ours_over_transcode": paired_ratio(plainly, ours),
        "wall_over_slowest_stage": ours[-1]
        / max(stage["busy_seconds"] for stage in report.timings["stages"]),
    }
    print_table([row])
    result = {"pairs": arguments.pairs, "frames": num_frames, "size": "720x576", **row}
    write_result(arguments.json, "a film without faces against a plain transcode", result)


if __name__ == "__main__":
    main()
