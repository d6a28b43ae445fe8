"""The one clip schema: every corpus, real or synthetic, becomes rows of this form."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from datasets import Features, Image, List, Value

from dface_hf.actions import normalise_emotion, parse_action_units

TRAIN = "train"
SPLITS = (TRAIN, "validation", "test")

CLIP_FEATURES = Features(
    {
        "clip_id": Value("string"),
        "corpus": Value("string"),
        "subject": Value("string"),
        "frames": List(Image()),
        "path": Value("string"),
        "fps": Value("float32"),
        "onset": Value("int32"),
        "apex": Value("int32"),
        "offset": Value("int32"),
        "emotion": Value("string"),
        "action_units": Value("string"),
        "license": Value("string"),
    }
)
"""Columns of a clip.

- clip_id: unique within its corpus; corpus, subject: names.
- frames or path: the pictures themselves, or a video file or folder of numbered pictures; the other one is
  None.
- fps: frames a second of the recording.
- onset, apex, offset: frame indices from 0 into the frames, onset < apex <= offset, the offset frame
  included. A corpus without
  annotated apex (SMIC) has the middle of onset and offset here.
- emotion: a word that `dface_hf.actions.normalise_emotion` knows, or None.
- action_units: FACS notation as in the sheet ("4+R12"); empty when the corpus has none.
- license: of the pictures, an identifier such as "cc0-1.0", or a few words.
"""


def check_clip(row: Mapping[str, Any]) -> None:
    """Check one row of the schema.

    Args:
        row: A mapping with the columns of `CLIP_FEATURES`.

    Raises:
        ValueError: One line that names the clip, the column, the value and what would be right.
    """
    name = f"clip {row.get('corpus')}/{row.get('clip_id')}"
    missing, unknown = set(CLIP_FEATURES) - set(row), set(row) - set(CLIP_FEATURES)
    if missing or unknown:
        what = f"lacks {sorted(missing)}" if missing else f"has unknown columns {sorted(unknown)}"
        raise ValueError(f"{name} {what}; the columns are {', '.join(CLIP_FEATURES)}")
    for column in ("clip_id", "corpus", "subject", "license"):
        if not isinstance(row[column], str) or not row[column]:
            raise ValueError(f"{name}: {column}={row[column]!r} must be a non-empty string")
    _check_pictures(name, row)
    _check_keyframes(name, row)
    _check_labels(name, row)


def _check_pictures(name: str, row: Mapping[str, Any]) -> None:
    frames, path = row["frames"], row["path"]
    if (frames is None) == (path is None):
        raise ValueError(f"{name} must have either frames or a path, and not both")
    if frames is not None and len(frames) < 2:
        raise ValueError(f"{name}: frames holds {len(frames)}; an onset and an apex need at least 2")
    fps = row["fps"]
    if not isinstance(fps, int | float) or not math.isfinite(fps) or fps <= 0:
        raise ValueError(f"{name}: fps={fps!r} must be a positive number")


def _check_keyframes(name: str, row: Mapping[str, Any]) -> None:
    for column in ("onset", "apex", "offset"):
        if not isinstance(row[column], int) or isinstance(row[column], bool):
            raise ValueError(f"{name}: {column}={row[column]!r} must be a whole frame index")
    onset, apex, offset = row["onset"], row["apex"], row["offset"]
    if not 0 <= onset < apex <= offset:
        raise ValueError(
            f"{name}: onset={onset}, apex={apex}, offset={offset} must satisfy 0 <= onset < apex <= offset"
        )
    if row["frames"] is not None and offset >= len(row["frames"]):
        raise ValueError(
            f"{name}: offset={offset} lies beyond its {len(row['frames'])} frames (indices start at 0)"
        )


def _check_labels(name: str, row: Mapping[str, Any]) -> None:
    try:
        if row["emotion"] is not None:
            normalise_emotion(row["emotion"])
        if row["action_units"]:
            parse_action_units(row["action_units"])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


class NamedClips:
    """What is known of a set of clips by their `names`: (corpus, subject, clip) of each."""

    names: tuple[tuple[str, str, str], ...]

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
