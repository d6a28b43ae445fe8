"""How fast is the synthetic stream? Pairs, faces and clip frames a second, on this machine, as measured.

python examples/benchmarks/synthesis_speed.py --threads 2
"""

import argparse
import os
import time
from collections.abc import Callable

import torch

from dface_hf.synthesis import (
    NuisanceConfig,
    PairSampler,
    TimeCourse,
    load_fields,
    procedural_faces,
    render_clip,
)


def rate(work: Callable[[int], int], seconds: float) -> tuple[float, float]:
    """Items a second of wall time and of processor time, over at least ``seconds``."""
    work(0)
    wall, used, items, turn = time.perf_counter(), time.process_time(), 0, 1
    while time.perf_counter() - wall < seconds:
        items += work(turn)
        turn += 1
    return items / (time.perf_counter() - wall), items / (time.process_time() - used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--bank", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="time per measurement")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}, torch {torch.__version__}, {options.threads} threads")
    size, batch = options.size, options.batch

    sampler = PairSampler(size=size, bank=options.bank)
    start = time.perf_counter()
    sampler.sample(1, step=0)
    print(f"bank of {options.bank} faces: {time.perf_counter() - start:.1f} s")
    face = procedural_faces(1, size)[0]
    course, nuisances, fields = TimeCourse(0.15, 0.0, 0.2), NuisanceConfig(), load_fields(size)
    tasks = {
        "pairs": lambda step: len(sampler.sample(batch, step).onset),
        "pairs of same action": lambda step: 2 * len(sampler.sample_same_action(batch // 2, step).onset),
        "faces": lambda step: len(procedural_faces(32, size, seed=step)),
        "clip frames": lambda step: len(
            render_clip(face, {12: 1.0}, course, 100, nuisances, step, fields)[0]
        ),
    }
    for name, work in tasks.items():
        wall, used = rate(work, options.seconds)
        print(f"{name}, {size} px: {wall:,.0f} a second ({used:,.0f} a processor second)")


if __name__ == "__main__":
    main()
