"""Onset/apex pairs of real videos: aligned, stabilised, and no more of one person than of another."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from dface_hf.faces import (
    Frame,
    align,
    fit_similarity,
    locate,
    make_detector,
    open_frames,
    stabilise,
)
from dface_hf.faces.tracking import overlap
from dface_hf.synthesis.seeds import seeded

from .pair_clips import PairClips
from .real_portraits import read_index

GAP = (8, 15)  # frames from onset to apex at 25 to 30 fps: a micro-expression's rise, as D-FACE pretrains on
RECIPE = 2
"""Raised whenever the pairs change, so that no stale cache is read."""


@dataclass(frozen=True)
class RealPairs:
    """Pairs of real videos.

    Attributes:
        clips: The pairs; ``identity`` counts the persons, ``units`` has no columns.
        identities: Name of each person.
        skipped: How many pairs were left out: no face in the same place on both frames, or a head that moved
            too far to be stabilised.
    """

    clips: PairClips
    identities: tuple[str, ...]
    skipped: int


def real_pairs(
    folder: str | Path,
    split: str = "validation",
    tiers: str = "AB",
    per_identity: int = 30,
    size: int = 128,
    seed: int = 0,
    cache: str | Path | None = None,
) -> RealPairs:
    """Pairs 8 to 15 frames apart from the videos of a folder of faces.

    Args:
        folder: Holds ``index.csv`` and the files it names (see `real_portraits`).
        split: Which videos, by the column of that name.
        tiers: Tiers of the index to read; train on "A", footage whose own licence is open, only.
        per_identity: At most so many pairs of a person, spread evenly over that person's videos.
        size: Side of the crops in pixels.
        seed: Draws the gaps.
        cache: Folder to keep the pairs in. They are pictures of people: not a folder that is published.

    Returns:
        [`RealPairs`].

    Raises:
        ValueError: No such video, or none with a face.
    """
    rows = [row for row in read_index(folder) if row["kind"] == "video" and row["split"] == split]
    rows = [row for row in rows if row["tier"] in tiers]
    if not rows:
        raise ValueError(f"{folder}: no video of split {split!r} and tier {tiers} in index.csv")
    names = tuple(sorted({row["identity"] for row in rows}))
    recipe = repr((RECIPE, GAP, split, tiers, per_identity, size, seed, [row["file"] for row in rows]))
    key = hashlib.blake2b(recipe.encode(), digest_size=6).hexdigest()
    path = None if cache is None else Path(cache) / f"pairs-{split}-{key}"
    wanted = sum(per_identity // _films(rows, row) for row in rows)
    if path is not None and path.is_dir():
        clips = PairClips.load(path)
        return RealPairs(clips, names, wanted - len(clips))
    found: list[tuple[np.ndarray, np.ndarray, int]] = []
    for row in tqdm(rows, desc="reading videos", unit="video", leave=False):
        pairs = _pairs_of(Path(folder) / row["file"], per_identity // _films(rows, row), size, seed)
        found += [(*pair, names.index(row["identity"])) for pair in pairs]
    if not found:
        raise ValueError(f"{folder}: no face in the {len(rows)} videos of split {split!r}")
    onset, apex, identity = (np.stack(column) for column in zip(*found, strict=True))
    clips = PairClips(onset, apex, np.zeros((len(onset), 0), np.uint8), identity)
    if path is not None:
        clips.save(path)
    return RealPairs(clips, names, wanted - len(clips))


def _films(rows: list[dict[str, str]], row: dict[str, str]) -> int:
    return sum(other["identity"] == row["identity"] for other in rows)


def _pairs_of(path: Path, count: int, size: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Up to `count` pairs of a video, their onsets evenly spread."""
    frames = open_frames(str(path), max_side=960)
    gaps = torch.randint(GAP[0], GAP[1] + 1, (count,), generator=seeded("gaps", path.name, seed)).tolist()
    last = (frames.frame_count or sum(1 for _ in frames)) - 1 - GAP[1]
    onsets = np.linspace(0, max(last, 0), count).round().astype(int).tolist()
    for onset, apex in _read_pairs(frames, list(zip(onsets, gaps, strict=True))):
        crops = _stable_crops(onset.image, apex.image, size)
        if crops is not None:
            yield crops


def _read_pairs(frames, plan: list[tuple[int, int]]) -> Iterator[tuple[Frame, Frame]]:
    """(onset, apex) frames of (onset, gap) in one pass."""
    recent: deque[Frame] = deque(maxlen=GAP[1] + 1)
    for frame in frames:
        recent.append(frame)
        for onset, gap in plan:
            if onset + gap == frame.index:
                yield recent[-1 - gap], frame


def _stable_crops(onset: np.ndarray, apex: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray] | None:
    detector = make_detector("haar")
    faces = detector.detect(onset)
    # Between two scenes there is a cut: without this test a title card was once the apex of a smile.
    if not faces or not any(overlap(faces[0].box, face.box) for face in detector.detect(apex)):
        return None
    similarity = fit_similarity(*locate(onset, faces[0]))
    first, second = (align(image, similarity, size) for image in (onset, apex))
    stable = stabilise(first, second)
    return (first, stable.apex) if stable.plausible else None
