"""The clips that a cross-validation is about: pairs, labels, names, and what was left out and why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from tqdm import tqdm

from dface_hf.actions import ClassScheme, get_class_scheme
from dface_hf.data import (
    Composite,
    LabelledClips,
    PairClips,
    check_composite,
    keyframe_clips,
    labelled_clips,
    open_clips,
    select_composite,
)
from dface_hf.data.clip import NamedClips
from dface_hf.data.megc2019 import SCHEME
from dface_hf.data.prepared_clips import read_frame
from dface_hf.faces.flow import optical_flow
from dface_hf.faces.reselection import reselect_keyframes

NAMES, KEYFRAMES = ("corpus", "subject", "clip_id"), ("onset", "apex", "offset")


@dataclass(frozen=True, eq=False)
class ClipTable(NamedClips):
    """Clips with a class, in the order in which their datasets hold them.

    Attributes:
        clips: Pairs at the annotated keyframes, labels and subjects of n clips.
        scheme: Of the labels.
        names: (corpus, subject, clip) of each.
        annotated: (n, 3) frame numbers of onset, apex and offset.
        training: Pairs to train on; those of `clips` where keyframes were not selected anew.
        keyframes: (n, 3) of the clips to train on; `annotated` where keyframes were not selected anew.
        sources: The datasets.
        left_out: Clips that are not in the table, each with `corpus`, `clip` and `reason`.
        composite: How much of MEGC2019's composite this is; empty where the table is about something else.
    """

    clips: LabelledClips
    scheme: ClassScheme
    names: tuple[tuple[str, str, str], ...]
    annotated: np.ndarray
    training: PairClips
    keyframes: np.ndarray
    sources: tuple[str, ...]
    left_out: tuple[dict[str, str], ...] = ()
    composite: str = ""

    @property
    def reselected(self) -> bool:
        """Whether training pairs are not those of the annotation."""
        return self.training is not self.clips.pairs

    @property
    def moved(self) -> int:
        """How many clips have another onset or apex in `training`."""
        return int((self.keyframes != self.annotated)[:, :2].any(axis=1).sum())

    def rows(self) -> Iterator[dict[str, Any]]:
        """The clips in the schema, read anew; `dface_hf.data.prepared_clips.read_frame` decodes frames."""
        names, found = set(self.names), _rows_with_a_class(self.sources, self.scheme)
        return (row for row in found if tuple(row[column] for column in NAMES) in names)

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


def read_clips(
    sources: Sequence[str | Path], scheme: ClassScheme | str, reselect: bool = False, composite: bool = False
) -> ClipTable:
    """Read prepared datasets.

    Args:
        sources: As `dface_hf.data.open_clips` takes them.
        scheme: Class scheme or its name.
        reselect: Train on the pair of frames near the annotated keyframes that differs most
            (`dface_hf.faces.reselection`).
        composite: Take the clips of MEGC2019's composite only: some have a class and are not in it.

    Raises:
        ValueError: Unknown scheme, no dataset of clips, none with a class, a clip that comes twice, or for
            the composite another scheme than its own.
    """
    scheme = get_class_scheme(scheme)
    if composite and scheme.name != SCHEME:
        raise ValueError(f"the composite has the classes of {SCHEME}, not of {scheme.name}")
    clips = labelled_clips(sources, scheme)
    names: dict[tuple[str, str, str], str] = {}
    left_out = [one for source in sources for one in _skipped_by_prepare(source)]
    annotated = []
    for source in sources:
        for row in open_clips(source).select_columns([*NAMES, "emotion", *KEYFRAMES]):
            if not _has_class(scheme, row["emotion"]):
                reason = f"{row['emotion'] or 'no emotion'} has no class in {scheme.name}"
                left_out.append({"corpus": row["corpus"], "clip": row["clip_id"], "reason": reason})
                continue
            name = tuple(row[column] for column in NAMES)
            if name in names:
                raise ValueError(
                    f"clip {'/'.join(name)} is in {names[name]} and in {source}; give each clip once"
                )
            names[name] = str(source)
            annotated.append([row[column] for column in KEYFRAMES])
    table = ClipTable(
        clips, scheme, tuple(names), np.array(annotated), clips.pairs, np.array(annotated),
        tuple(map(str, sources)), tuple(left_out),
    )  # fmt: skip
    table = _part_of_composite(table) if composite else table
    return _with_other_keyframes(table) if reselect else table


def _part_of_composite(table: ClipTable) -> ClipTable:
    """The clips of MEGC2019's composite; the others are listed with those left out."""
    columns = [*NAMES, "emotion"]
    rows = [row for source in table.sources for row in open_clips(source).select_columns(columns)]
    chosen = select_composite(rows)
    inside = {tuple(rows[i][column] for column in NAMES) for i in chosen.rows}
    kept = np.array([name in inside for name in table.names])
    if not kept.any():
        raise ValueError(f"{', '.join(table.sources)}: no clip of casme2, samm or smic; prepare these three")
    reason = "not in the composite of MEGC2019"
    outside = [
        {"corpus": corpus, "clip": clip, "reason": reason}
        for (corpus, _, clip), one in zip(table.names, kept, strict=True)
        if not one
    ]
    clips, keyframes = table.clips.rows(kept), table.annotated[kept]
    names = tuple(name for name in table.names if name in inside)
    part = replace(table, clips=clips, names=names, left_out=(*table.left_out, *outside))
    part = replace(part, training=clips.pairs, annotated=keyframes, keyframes=keyframes)
    return replace(part, composite=_told(chosen))


def _told(composite: Composite) -> str:
    try:
        check_composite(composite)
    except ValueError as error:
        return f"incomplete: {error}"
    return f"complete: {len(composite)} clips, counts as published"


def _with_other_keyframes(table: ClipTable) -> ClipTable:
    """The table with keyframes selected anew in the clips to train on."""
    chosen: list[tuple[int, int, int]] = []

    def pairs() -> Iterator[dict[str, Any]]:
        for row, (onset, apex, offset) in zip(table.rows(), table.annotated.tolist(), strict=True):
            check_frames(row, "the selection looks around them", "leave out --reselect-keyframes")
            end = offset if offset > apex else None
            found = reselect_keyframes(partial(read_frame, row), onset, apex, end)
            chosen.append((found.onset, found.apex, found.offset or offset))
            frames = [PIL.Image.fromarray(read_frame(row, index)) for index in chosen[-1][:2]]
            yield row | {"frames": frames, "onset": 0, "apex": 1}

    training = keyframe_clips(pairs())
    return replace(table, training=training, keyframes=np.array(chosen))


def check_frames(row: Mapping[str, Any], why: str, otherwise: str) -> None:
    """Make sure that a clip holds more than its keyframes.

    Raises:
        ValueError: It does not; `why` and `otherwise` stand in the message.
    """
    if len(row["frames"]) <= 3:
        raise ValueError(
            f"clip {row['corpus']}/{row['clip_id']} holds keyframes only, and {why}; prepare the corpus with "
            f"--frames all, or {otherwise}"
        )


def _rows_with_a_class(sources: Sequence[str], scheme: ClassScheme) -> Iterator[dict[str, Any]]:
    for source in sources:
        for row in open_clips(source):
            if _has_class(scheme, row["emotion"]):
                yield dict(row)


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
