"""Who is seen: how much of it is left in what stays, and in what changes, over a clip's frames?

    python examples/benchmarks/identity_leak.py                      # SyntheticAU-web, 12 people
    python examples/benchmarks/identity_leak.py --data data/casme2 --tokenizer runs/a/model

Frames from onset to offset are aligned by one similarity and stabilised on the first, as pairs are. Each is
encoded with the first frame as its onset; the Fourier split of AC4AU takes what stays (DC) and what changes
(AC) apart; a linear probe tells the subjects of one half of the clips by those of the other half. Rows: the
mean patch embedding, which shows the face; the action vectors and the tokens, which should show the action
alone; and, with --units, the features of an AC4AU checkpoint.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from dface_hf import DEFAULT_CHECKPOINT, DFaceTokenizerModel
from dface_hf.analysis import markdown_table
from dface_hf.analysis.ac4au_explanations import read_clips, subject_probes
from dface_hf.analysis.identity_leak import identity_leak, token_states
from dface_hf.data.synthetic_au import synthetic_au
from dface_hf.data.unit_clips import UnitClips, read_unit_clips
from dface_hf.faces import stabilise


def clips_of(sources: list[str], count: int, size: int) -> UnitClips:
    """The clips of prepared datasets, or synthetic ones."""
    if sources:
        return read_unit_clips(sources, size)
    with tempfile.TemporaryDirectory() as folder:
        made = synthetic_au("web", clips=count, cache_dir=folder)
        made.to_parquet(Path(folder) / "clips.parquet")
        return read_unit_clips([folder], size)


def stabilised(frames: np.ndarray) -> np.ndarray:
    """Clips (n, T, size, size, 3) with head motion and light taken out of all frames but the first."""
    return np.stack([np.stack([clip[0], *(stabilise(clip[0], x).apex for x in clip[1:])]) for clip in frames])


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", action="append", default=[], help="prepared clips; repeatable")
    parser.add_argument("--clips", type=int, default=240, help="synthetic clips, without --data")
    parser.add_argument("--tokenizer", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--units", help="AC4AU checkpoint")
    args = parser.parse_args()
    clips = clips_of(args.data, args.clips, 128)
    people = [f"{corpus}/{subject}" for corpus, subject, _ in clips.names]
    tokenizer = DFaceTokenizerModel.from_pretrained(args.tokenizer).eval()
    states = token_states(tokenizer, stabilised(clips.frames))
    rows = {f"{Path(args.tokenizer).name}: {name}": identity_leak(x, people) for name, x in states.items()}
    if args.units:
        rows[f"{Path(args.units).name}: features"] = _of_detector(args.units, clips, people)
    print(f"{len(clips)} clips of {len(set(people))} subjects; accuracy of telling them apart\n")
    print(markdown_table(rows))


def _of_detector(checkpoint: str, clips: UnitClips, people: list[str]) -> dict[str, float]:
    from dface_hf.pipelines.loading import load_unit_detector

    detect = load_unit_detector(checkpoint)
    return subject_probes(read_clips(detect.model, detect.image_processor, clips.frames), people)


if __name__ == "__main__":
    main()
