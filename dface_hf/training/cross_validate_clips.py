"""The clips that a cross-validation is about: pairs, labels, names, and what was left out and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from tqdm import tqdm

from dface_hf.actions import ClassScheme, get_class_scheme
from dface_hf.data import LabelledClips, PairClips, keyframe_clips, labelled_clips, open_clips
from dface_hf.data.prepared_clips import read_frame
from dface_hf.faces.flow import optical_flow

WINDOW = 0.10
"""Part of onset to apex in which a better onset and apex are looked for (GAMDSS, arXiv 2603.04766)."""


@dataclass(frozen=True, eq=False)
class ClipTable:
    """Clips with a class, in the order in which their datasets hold them.

    Attributes:
        clips: Pairs at the annotated keyframes, labels and subjects of n clips.
        scheme: Of the labels.
        names: (corpus, subject, clip) of each.
        training: Pairs to train on; those of `clips` where keyframes were not selected anew.
        moved: How many clips have other keyframes in `training`.
        left_out: Clips that are not in the table, each with `corpus`, `clip` and `reason`.
    """

    clips: LabelledClips
    scheme: ClassScheme
    names: tuple[tuple[str, str, str], ...]
    training: PairClips
    moved: int = 0
    left_out: tuple[dict[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def corpora(self) -> list[str]:
        """Corpus of each clip."""
        return [corpus for corpus, _, _ in self.names]

    @property
    def subjects(self) -> list[str]:
        """Subject of each clip; unique within a corpus only."""
        return [subject for _, subject, _ in self.names]

    @property
    def reselected(self) -> bool:
        """Whether training pairs are not those of the annotation."""
        return self.training is not self.clips.pairs

    @cached_property
    def flows(self) -> tuple[np.ndarray, np.ndarray]:
        """Farneback flow (n, h, w, 2) of the annotated pairs, and of those to train on."""
        flows = _flows(self.clips.pairs)
        return flows, _flows(self.training) if self.reselected else flows

    @cached_property
    def fingerprint(self) -> str:
        """A short hash of names, labels and pictures."""
        state = hashlib.sha256(json.dumps([self.names, self.clips.labels.tolist()]).encode())
        for pairs in (self.clips.pairs, self.training):
            for frames in (pairs.onset, pairs.apex):
                state.update(np.ascontiguousarray(frames))
        return state.hexdigest()[:16]


def read_clips(sources: Sequence[str | Path], scheme: ClassScheme | str, reselect: bool = False) -> ClipTable:
    """Read prepared datasets.

    Args:
        sources: As `dface_hf.data.open_clips` takes them.
        scheme: Class scheme or its name.
        reselect: Train on the pair of frames near the annotated keyframes that differs most (`reselected`).

    Raises:
        ValueError: Unknown scheme, no dataset of clips, none with a class, or a clip that comes twice.
    """
    scheme = get_class_scheme(scheme)
    clips = labelled_clips(sources, scheme)
    names: dict[tuple[str, str, str], str] = {}
    left_out = [one for source in sources for one in _skipped_by_prepare(source)]
    for source in sources:
        for row in open_clips(source).select_columns(["corpus", "subject", "clip_id", "emotion"]):
            if not _has_class(scheme, row["emotion"]):
                reason = f"{row['emotion'] or 'no emotion'} has no class in {scheme.name}"
                left_out.append({"corpus": row["corpus"], "clip": row["clip_id"], "reason": reason})
                continue
            name = row["corpus"], row["subject"], row["clip_id"]
            if name in names:
                raise ValueError(
                    f"clip {'/'.join(name)} is in {names[name]} and in {source}; give each clip once"
                )
            names[name] = str(source)
    training, moved = _reselected_pairs(sources, scheme) if reselect else (clips.pairs, 0)
    return ClipTable(clips, scheme, tuple(names), training, moved, tuple(left_out))


def reselected(row: Mapping[str, Any]) -> tuple[int, int]:
    """Onset and apex whose pictures differ most, looked for near the annotated ones.

    With r a tenth of the frames from onset to apex: the onset up to r frames later, the apex up to r frames
    earlier, by the sum of squared differences. For training clips only (GAMDSS, arXiv 2603.04766, three-frame
    version).

    Args:
        row: A clip in the schema.
    """
    onset, apex = row["onset"], row["apex"]
    reach = int(WINDOW * (apex - onset))
    first = {i: read_frame(row, i).astype(np.float32) for i in range(onset, onset + reach + 1)}
    last = {i: read_frame(row, i).astype(np.float32) for i in range(apex, apex - reach - 1, -1)}
    pairs = ((float(np.square(last[b] - first[a]).sum()), a, b) for a in first for b in last)
    best = max(pairs, key=lambda pair: pair[0])  # the first of equals: as annotated
    return best[1], best[2]


def _reselected_pairs(sources: Sequence[str | Path], scheme: ClassScheme) -> tuple[PairClips, int]:
    moved = []

    def rows() -> Iterator[dict[str, Any]]:
        for source in sources:
            for row in open_clips(source):
                if _has_class(scheme, row["emotion"]):
                    onset, apex = reselected(row)
                    moved.append((onset, apex) != (row["onset"], row["apex"]))
                    frames = [PIL.Image.fromarray(read_frame(row, index)) for index in (onset, apex)]
                    yield dict(row) | {"frames": frames, "onset": 0, "apex": 1}

    return keyframe_clips(rows()), sum(moved)


def _has_class(scheme: ClassScheme, emotion: str | None) -> bool:
    try:
        return emotion is not None and scheme.label_of(emotion) is not None
    except ValueError:  # a word that nobody knows
        return False


def _skipped_by_prepare(source: str | Path) -> Iterator[dict[str, str]]:
    """What the reports of `dface prepare` in a folder say was left out there."""
    for path in sorted(Path(source).glob("report*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        for one in report.get("skipped", ()):
            told = f"row {one['row']}: {one['reason']}" if one.get("row") else one["reason"]
            yield {"corpus": report["corpus"], "clip": one["clip"], "reason": told}


def _flows(pairs: PairClips) -> np.ndarray:
    frames = zip(pairs.onset, pairs.apex, strict=True)
    bar = tqdm(frames, desc="optical flow", unit="clip", total=len(pairs), leave=False)
    return np.stack([optical_flow(*pair) for pair in bar])
