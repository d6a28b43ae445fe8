"""Prepared clips for the detection of action units: frames from onset to offset, the keyframe pair, units."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from tqdm import tqdm

from dface_hf.actions import action_unit_readings, active_units
from dface_hf.faces import stabilise
from dface_hf.models.ac4au.configuration_ac4au import UNITS
from dface_hf.models.ac4au.image_processing_ac4au import sample_frames

from .clip import NamedClips
from .pair_clips import PairClips
from .prepared_clips import open_clips, read_frame


@dataclass(frozen=True, eq=False)
class UnitClips(NamedClips):
    """Clips with coded action units, in the order in which their datasets hold them.

    Attributes:
        frames: (n, num_frames, size, size, 3) uint8 RGB, evenly from the onset to the offset: no apex is
            looked at.
        pairs: Stabilised onset/apex pairs of n clips, for what needs the annotated apex.
        shown: (n, units) uint8, 1 where a clip shows a unit, on whichever side.
        units: FACS number of each column.
        names: (corpus, subject, clip) of each.
        left_out: Number of clips by corpus in which nothing was coded.
        licenses: Of the pictures.
    """

    frames: np.ndarray
    pairs: PairClips
    shown: np.ndarray
    units: tuple[int, ...]
    names: tuple[tuple[str, str, str], ...]
    left_out: dict[str, int]
    licenses: tuple[str, ...]

    def subject_ids(self, chosen: np.ndarray) -> np.ndarray:
        """(n,) int64: the number of each clip's subject among those of the chosen clips, -1 for others."""
        people = np.array([f"{corpus}\0{subject}" for corpus, subject, _ in self.names])
        known = {name: number for number, name in enumerate(np.unique(people[chosen]).tolist())}
        return np.array([known.get(name, -1) for name in people.tolist()])

    def rows(self, chosen: np.ndarray) -> UnitClips:
        """Some of the clips, by index or mask."""
        index = np.arange(len(self))[chosen]
        pairs = PairClips(*(column[index] for column in self.pairs.arrays))
        names = tuple(self.names[i] for i in index)
        return replace(self, frames=self.frames[index], pairs=pairs, shown=self.shown[index], names=names)

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of names, units and pictures."""
        state = hashlib.sha256(json.dumps([self.names, self.shown.tolist()]).encode())
        for pictures in (self.frames, self.pairs.onset, self.pairs.apex):
            state.update(np.ascontiguousarray(pictures))
        return state.hexdigest()[:16]


def read_unit_clips(
    sources: Sequence[str | Path], size: int = 112, num_frames: int = 8, units: Sequence[int] = UNITS
) -> UnitClips:
    """Read prepared datasets with their action units.

    Args:
        sources: As `open_clips` takes them, prepared with all frames; pairs must be of one size.
        size: Side in pixels to which `frames` are resized, as the image processor of AC4AU does.
        num_frames: Frames of a clip.
        units: FACS numbers of the columns. Those in every reading of an undecided cell count, as in CD6ME.

    Raises:
        ValueError: No dataset of clips, none with action units, a clip that comes twice, or one that holds
            its keyframes only; the message names it.
    """
    found: list[tuple[np.ndarray, list[np.ndarray], list[bool]]] = []
    names: dict[tuple[str, str, str], str] = {}
    left_out: Counter[str] = Counter()
    licenses = set()
    for source in sources:
        for row in tqdm(open_clips(source), desc=f"reading {source}", unit="clip", leave=False, delay=2):
            if not any(action_unit_readings(row["action_units"])):
                left_out[row["corpus"]] += 1
                continue
            name = (row["corpus"], row["subject"], row["clip_id"])
            if name in names:
                raise ValueError(
                    f"clip {'/'.join(name)} is in {names[name]} and in {source}; give each clip once"
                )
            names[name] = str(source)
            licenses.add(row["license"])
            shown = active_units(row["action_units"], "certain")
            pair = [read_frame(row, row[key]) for key in ("onset", "apex")]
            found.append((_sampled(row, size, num_frames), pair, [unit in shown for unit in units]))
    if not found:
        told = ", ".join(map(str, sources))
        raise ValueError(f"{told}: none of {left_out.total()} clips has action units; give a coded corpus")
    frames, pairs, shown = zip(*found, strict=True)
    return UnitClips(
        np.stack(frames), _stabilised(pairs, names), np.array(shown, np.uint8), tuple(units), tuple(names),
        dict(left_out), tuple(sorted(licenses)),
    )  # fmt: skip


def _sampled(row: Mapping[str, Any], size: int, count: int) -> np.ndarray:
    """Frames (count, size, size, 3) of a clip from onset to offset."""
    if len(row["frames"] or ()) <= 3 and row["offset"] - row["onset"] <= 2:
        raise ValueError(
            f"clip {row['corpus']}/{row['clip_id']} holds keyframes only, and units are read from all frames "
            "between onset and offset; prepare the corpus with --frames all"
        )
    chosen = sample_frames(len(row["frames"]), count, row["onset"], row["offset"])
    read = {index: _resized(read_frame(row, index), size) for index in set(chosen)}
    return np.stack([read[index] for index in chosen])


def _resized(frame: np.ndarray, size: int) -> np.ndarray:
    if frame.shape[:2] == (size, size):
        return frame
    picture = PIL.Image.fromarray(frame).resize((size, size), PIL.Image.Resampling.BILINEAR)
    return np.asarray(picture)


def _stabilised(pairs: Sequence[list[np.ndarray]], names: Mapping) -> PairClips:
    people = [f"{corpus}/{subject}" for corpus, subject, _ in names]
    if len({frame.shape for pair in pairs for frame in pair}) > 1:
        raise ValueError("the crops have different sizes; prepare all corpora with one --size")
    onset = np.stack([first for first, _ in pairs])
    apex = np.stack([stabilise(*pair).apex for pair in tqdm(pairs, desc="stabilising", leave=False)])
    identity = np.unique(people, return_inverse=True)[1]
    return PairClips(onset, apex, np.zeros((len(onset), 0), np.uint8), identity)


__all__ = ["UnitClips", "read_unit_clips"]
