"""Stabilised onset/apex pairs kept as 8-bit crops: what representations of a pair are judged on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from dface_hf.faces import stabilise
from dface_hf.synthesis import PairBatch, PairSampler

BATCH = 50
SAME = 0.1  # grey levels: mean difference of two renderings of one stream on different machines, at most


class EvenPairs(PairSampler):
    """Pairs whose largest motion is the amplitude drawn, whichever units act.

    [`PairSampler`] itself lets some units, such as those of the lids, move less than others.
    """

    def _index_fields(self) -> None:
        super()._index_fields()
        self._relative = torch.ones(len(self.units))


@dataclass(frozen=True, eq=False)
class PairClips:
    """Pairs as the pipelines hand them to the image processor.

    Attributes:
        onset: (n, size, size, 3) uint8 RGB.
        apex: (n, size, size, 3) uint8 RGB, stabilised on the onset.
        units: (n, units) uint8, multi-hot; no columns when unknown.
        identity: (n,) int64, which face, or which person.
    """

    onset: np.ndarray
    apex: np.ndarray
    units: np.ndarray
    identity: np.ndarray

    def __len__(self) -> int:
        return len(self.onset)

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Onset, apex, units and identity."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def pixel_values(self, size: int, batch: int = BATCH) -> Iterator[torch.Tensor]:
        """Batches (b, 2, 3, size, size) float32 in [0, 1], resized as the image processor does."""
        for start in range(0, len(self), batch):
            frames = np.stack([self.onset[start : start + batch], self.apex[start : start + batch]], axis=1)
            yield resized(torch.from_numpy(frames).permute(0, 1, 4, 2, 3), size)

    def save(self, folder: Path) -> None:
        """Write one .npy a column, into a folder of a temporary name that is renamed when complete."""
        partial = folder.with_name(f"{folder.name}.{os.getpid()}")
        for old in (partial, folder):
            shutil.rmtree(old, ignore_errors=True)
        partial.mkdir(parents=True)
        for field, values in zip(fields(self), self.arrays, strict=True):
            np.save(partial / f"{field.name}.npy", values)
        partial.replace(folder)

    @classmethod
    def load(cls, folder: Path) -> PairClips:
        """Read what `save` wrote; the crops stay in the file until they are looked at."""
        paths = [folder / f"{field.name}.npy" for field in fields(cls)]
        return cls(*(np.asarray(np.load(path, mmap_mode="r")) for path in paths))

    @classmethod
    def joined(cls, parts: list[PairClips]) -> PairClips:
        """The clips of several sets, in order."""
        columns = zip(*(part.arrays for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))


def resized(frames: torch.Tensor, size: int) -> torch.Tensor:
    """uint8 frames (..., 3, h, w) as float32 in [0, 1] of side `size`; averaged when they shrink."""
    flat = frames.flatten(0, -4).float()
    if flat.shape[-1] != size:
        flat = F.interpolate(flat, (size, size), mode="bilinear", align_corners=False, antialias=True).round()
    return (flat.clamp(0, 255) / 255).unflatten(0, frames.shape[:-3])


def render_clips(stream: PairSampler, clips: int) -> PairClips:
    """The first pairs of a stream, each apex stabilised on its onset as at inference."""
    return PairClips.joined([stabilised(stream.sample(count, step)) for step, count in _steps(clips)])


def render_same_action(stream: PairSampler, clips: int) -> PairClips:
    """Pairs 2i and 2i + 1 show one action on two faces; `clips` of each."""
    parts = []
    for step, count in _steps(clips):
        batch = stream.sample_same_action(count, step)
        units = batch.units.numpy().astype(np.uint8)
        first = stabilised(batch)
        second = PairClips(*_pair(batch.onset_b, batch.apex_b), units, batch.identity_b.numpy())
        both = zip(first.arrays, second.arrays, strict=True)
        parts.append(PairClips(*(_interleaved(*columns) for columns in both)))
    return PairClips.joined(parts)


def keyframe_clips(rows: Iterable[Mapping[str, Any]]) -> PairClips:
    """Onset and apex of clips in the schema, stabilised; ``identity`` counts the subjects of the corpora.

    Args:
        rows: Rows of `CLIP_FEATURES` with embedded frames, aligned crops of one size.

    Raises:
        ValueError: Clips of several sizes; the message names the first that differs.
    """
    frames, who = [], []
    for row in tqdm(rows, desc="reading clips", unit="clip", leave=False):
        frames.append([np.asarray(row["frames"][row[key]].convert("RGB")) for key in ("onset", "apex")])
        who.append(f"{row['corpus']}/{row['subject']}")
        first, here = (pair[0].shape[:2] for pair in (frames[0], frames[-1]))
        if here != first:
            told = f"has frames of {here[1]}x{here[0]} px, those before it {first[1]}x{first[0]}"
            name = f"{row['corpus']}/{row['clip_id']}"
            raise ValueError(f"clip {name} {told}; prepare all corpora with one --size")
    onset = np.stack([first for first, _ in frames])
    stable = np.stack([stabilise(*pair).apex for pair in frames])
    identity = np.unique(who, return_inverse=True)[1]
    return PairClips(onset, stable, np.zeros((len(onset), 0), np.uint8), identity)


def cached_clips(folder: Path, clips: int, render: Callable[[int], PairClips]) -> PairClips:
    """Rendered clips from a folder, if its first ones are still what is rendered.

    Args:
        folder: Written when it is missing, shorter, or what another recipe made.
        clips: How many to render.
        render: Gives the first so many clips.
    """
    if folder.is_dir():
        kept, fresh = PairClips.load(folder), render(min(BATCH, clips))
        whole = len(kept) * min(BATCH, clips) == len(fresh) * clips
        if whole and _alike(kept, fresh):
            return kept
    render(clips).save(folder)
    return PairClips.load(folder)


def _steps(clips: int) -> Iterator[tuple[int, int]]:
    """(step, pairs of this step) of a stream until there are enough."""
    for step in tqdm(range(-(-clips // BATCH)), desc="rendering", unit="batch", leave=False):
        yield step, min(BATCH, clips - step * BATCH)


def _interleaved(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.stack([first, second], axis=1).reshape(-1, *first.shape[1:])


def stabilised(batch: PairBatch) -> PairClips:
    """A batch as the pipelines would see it: 8-bit, head motion and light taken out of the apex."""
    frames = _pair(batch.onset, batch.apex)
    return PairClips(*frames, batch.units.numpy().astype(np.uint8), batch.identity.numpy())


def _pair(onset: torch.Tensor, apex: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    first, second = (to_bytes(frames) for frames in (onset, apex))
    return first, np.stack([stabilise(*pair).apex for pair in zip(first, second, strict=True)])


def to_bytes(frames: torch.Tensor) -> np.ndarray:
    """Frames (n, 3, h, w) in [0, 1] as (n, h, w, 3) uint8."""
    return np.ascontiguousarray((frames.permute(0, 2, 3, 1) * 255 + 0.5).byte().numpy())


def _alike(kept: PairClips, fresh: PairClips) -> bool:
    count = len(fresh)
    if kept.apex.shape[1:] != fresh.apex.shape[1:] or not np.array_equal(kept.units[:count], fresh.units):
        return False
    return float(np.abs(kept.apex[:count].astype(np.int16) - fresh.apex).mean()) < SAME
