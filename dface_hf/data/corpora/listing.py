"""What a reader of a corpus gives: clips with their frames, long videos, and the rows that were left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["micro", "macro"]


@dataclass(frozen=True)
class Annotation:
    """One row of a sheet, its cells read and checked, before any frame is looked for.

    Attributes:
        row: Row of the sheet, counted from 1 as spreadsheet programs do; None where no sheet was read.
        subject, clip: Canonical names ("sub01", "EP02_01f").
        onset, apex, offset: Frame numbers as annotated; None where the annotation gives none.
        emotion: Canonical word, None when not annotated.
        action_units: FACS notation of the cell, empty when there is none.
        kind: Micro- or macro-expression.
        fps: Frames a second, None for that of the corpus.
        notes: What was repaired or assumed while the row was read.
    """

    row: int | None
    subject: str
    clip: str
    onset: int | None
    apex: int | None
    offset: int | None
    emotion: str | None = None
    action_units: str = ""
    kind: Kind = "micro"
    fps: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Subject and clip, as messages and ids have them."""
        return f"{self.subject}/{self.clip}"


@dataclass(frozen=True)
class CorpusClip:
    """One clip: where its frames lie and what is annotated.

    Attributes:
        clip_id: Unique in the corpus: "subject/clip", with "@onset" where the sheet repeats the pair.
        corpus, subject: Names.
        frames: Picture files in order; clips of one recording share the tuple. Empty for a video file.
        path: Video file, None where there are pictures.
        fps: Frames a second; 0 for what the video file says.
        onset, apex, offset: Indices from 0 into the frames; onset < apex <= offset.
        emotion, action_units, license: As in `CLIP_FEATURES`.
        row: Row of the sheet, from 1; None without a sheet.
        notes: What was repaired or assumed; each goes into the report of `prepare`.
        split: "train", "validation" or "test".
    """

    clip_id: str
    corpus: str
    subject: str
    frames: tuple[str, ...]
    path: str | None
    fps: float
    onset: int
    apex: int
    offset: int
    emotion: str | None
    action_units: str
    license: str
    row: int | None = None
    notes: tuple[str, ...] = ()
    split: str = "train"


@dataclass(frozen=True)
class SkippedRow:
    """A row, or a clip, that cannot be used: its row number (from 1, or None), its name and the reason."""

    row: int | None
    clip: str
    reason: str


@dataclass(frozen=True)
class ExpressionInterval:
    """An expression in a long video; ``onset`` to ``offset`` are indices from 0, the offset included.

    Attributes:
        kind: "micro" or "macro".
        onset, apex, offset: Indices into the frames of the video; the apex is None when not annotated.
        emotion, action_units, row: As in `Annotation`.
    """

    kind: Kind
    onset: int
    apex: int | None
    offset: int
    emotion: str | None = None
    action_units: str = ""
    row: int | None = None


@dataclass(frozen=True)
class LongVideo:
    """A recording for spotting, with every expression annotated in it, by onset.

    Attributes:
        video_id: Unique in the corpus: the path of the folder or file from the corpus's root on.
        corpus, subject: Names.
        frames: Picture files in order; empty for a video file.
        path: Video file, None where there are pictures.
        fps: Frames a second.
        intervals: Empty where nothing is annotated.
        place: The folder of the pictures, or the video file.
    """

    video_id: str
    corpus: str
    subject: str
    frames: tuple[str, ...]
    path: str | None
    fps: float
    intervals: tuple[ExpressionInterval, ...]
    place: str


@dataclass
class CorpusListing:
    """Everything that a corpus holds.

    Attributes:
        corpus: Its name.
        root: Where it was read.
        clips: Micro-expressions, in the order of the sheet.
        skipped: What was left out, and why.
        videos: Recordings for spotting, those without an expression last; empty for corpora of short clips.
        annotated: How many micro-expressions the release lists; 0 for own folders.
        published: How many known releases list; empty where that is not known.
    """

    corpus: str
    root: Path
    clips: list[CorpusClip] = field(default_factory=list)
    skipped: list[SkippedRow] = field(default_factory=list)
    videos: list[LongVideo] = field(default_factory=list)
    annotated: int = 0
    published: tuple[int, ...] = ()

    @property
    def difference(self) -> str:
        """How the release differs in size from those that are known; empty where it does not."""
        if not self.published or self.annotated in self.published:
            return ""
        known = " or ".join(map(str, self.published))
        return (
            f"{self.annotated} micro-expressions are listed, in known releases of {self.corpus} {known}: "
            "is this a part, or another release?"
        )

    @property
    def subjects(self) -> list[str]:
        """Subjects with clips, sorted."""
        return sorted({clip.subject for clip in self.clips})

    @property
    def emotions(self) -> Counter[str | None]:
        """Clips per emotion."""
        return Counter(clip.emotion for clip in self.clips)


class UnusableRow(ValueError):
    """Raised while a row is read or its frames are looked for; the reader lists it as skipped."""
