"""How fast and how large is `dface analyze`? Start-up, speed as a multiple of real time, peak memory.

    python examples/benchmarks/analyze_speed.py                      # a synthetic 640x480 video
    python examples/benchmarks/analyze_speed.py --videos FOLDER      # every video of a folder
    python examples/benchmarks/analyze_speed.py --minutes 10         # and the memory of a long one

Each row is one fresh process: import and loading of the checkpoint count as start-up, then the video is
analysed. Real time is 25 frames a second, whatever the file says: speed = frames / 25 / seconds. CPU time is
that of all threads; on a busy machine it tells more than the clock. Peak memory is the resident set of that
process, of which libraries and model alone take what stands before the slash. The synthetic video is
scikit-image's astronaut among blinks, speech, micro- and macro-expressions.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

FPS, SIZE = 25, (640, 480)
SUFFIXES = {".mp4", ".mov", ".mkv", ".avi", ".webm", ".mpg"}


def main() -> None:
    options = parse_arguments()
    if options.measure:
        print(json.dumps(measure(options.measure, options.model)))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = [in_a_fresh_process(path, options.model) for path in videos(options, Path(folder))]
    report = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} CPU cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}",
        "model": options.model,
        "rows": rows,
    }
    print(table(report))
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=Path, help="folder of videos; a synthetic one by default")
    parser.add_argument("--minutes", type=float, help="also measure a synthetic video of this length")
    parser.add_argument("--model", default=None, help="checkpoint (default: the embedded one)")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers here")
    parser.add_argument("--measure", metavar="VIDEO", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.model is None:
        from dface_hf import DEFAULT_CHECKPOINT

        options.model = DEFAULT_CHECKPOINT
    return options


def videos(options: argparse.Namespace, folder: Path) -> Iterator[Path]:
    """What is measured; synthetic videos are written into the folder."""
    if options.videos is None:
        yield write_synthetic(folder / "synthetic-20s.mp4", 20)
    else:
        found = sorted(path for path in options.videos.iterdir() if path.suffix.lower() in SUFFIXES)
        if not found:
            raise SystemExit(f"{options.videos}: no videos ({', '.join(sorted(SUFFIXES))})")
        yield from found
    if options.minutes:
        yield write_synthetic(folder / f"synthetic-{options.minutes:g}min.mp4", 60 * options.minutes)


def write_synthetic(path: Path, seconds: float) -> Path:
    """A portrait that acts for 20 seconds, over and over, forth and back so that nothing jumps."""
    import cv2
    import numpy as np
    import skimage.data

    from dface_hf.faces import fit_similarity, locate, make_detector, write_video
    from dface_hf.synthesis import animate_portrait, load_fields, long_track

    image = skimage.data.astronaut()[:384]
    image = np.ascontiguousarray(cv2.resize(image, SIZE, interpolation=cv2.INTER_CUBIC))
    matrix = fit_similarity(*locate(image, make_detector().detect(image)[0])).matrix
    fields = load_fields(256)
    track = long_track(fields, min(20.0, seconds), FPS, 0)
    frames = list(animate_portrait(image, matrix, track=track, fields=fields)[0])
    loop = frames + frames[-2:0:-1]
    count = round(seconds * FPS)
    write_video(path, (loop[index % len(loop)] for index in range(count)), FPS)
    return path


def in_a_fresh_process(path: Path, model: str) -> dict:
    """Numbers of one video, from a process that has done nothing else."""
    command = [sys.executable, __file__, "--measure", str(path), "--model", model]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"video": path.name, "error": reason}
    return json.loads(done.stdout)


def measure(path: str, model: str) -> dict:
    """Start-up, analysis and peak memory of this process."""
    start, cpu = time.perf_counter(), time.process_time()
    from dface_hf.pipelines.loading import load_recogniser

    recognise = load_recogniser(model)
    startup, startup_cpu = time.perf_counter() - start, time.process_time() - cpu
    before = peak_memory()
    start, cpu = time.perf_counter(), time.process_time()
    result = recognise(path)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    frames = result["frames"]
    return {
        "video": Path(path).name,
        "frames": frames,
        "events": len(result["events"]),
        "startup_s": startup,
        "startup_cpu_s": startup_cpu,
        "seconds": seconds,
        "speed": frames / 25 / seconds,
        "cpu_ms_per_frame": 1000 * cpu / frames,
        "startup_mb": before,
        "peak_mb": peak_memory(),
    }


def peak_memory() -> float:
    """Largest resident set of this process so far, in MB."""
    try:  # ru_maxrss of a new process starts from that of the one which started it
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 1024)


def table(report: dict) -> str:
    """The numbers as a Markdown table."""
    lines = [
        f"{report['date']}, {report['machine']}, {Path(report['model']).name}",
        "",
        "| video | frames | events | start-up (CPU) s | analysis s | x real | CPU ms / frame | peak MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        if "error" in row:
            lines.append(f"| {row['video']} | failed: {row['error']} | | | | | | |")
            continue
        cells = [row["video"], row["frames"], row["events"]]
        cells += [f"{row['startup_s']:.1f} ({row['startup_cpu_s']:.1f})"]
        cells += [f"{row[name]:.1f}" for name in ("seconds", "speed", "cpu_ms_per_frame")]
        cells += [f"{row['startup_mb']:.0f} / {row['peak_mb']:.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
