"""From the sheet of a release to its clips: what every corpus has in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from .frame_folders import FrameFinder, place
from .listing import Annotation, CorpusClip, CorpusListing, Kind, SkippedRow, UnusableRow
from .long_videos import annotated_videos, silent_videos
from .sheets import SheetRow

Annotations = Iterator[Annotation | SkippedRow]


@dataclass(frozen=True)
class Corpus:
    """A corpus as its owners release it.

    Attributes:
        name: What `read_corpus` and `dface prepare` call it.
        title: Its name in print.
        fps: Frames a second, unless the sheet says otherwise.
        annotate: Root -> annotations, in the order of the sheet.
        folders: Annotation -> where its frames may lie, each as names of nested folders, the usual first.
        bases: Folder of the subjects' folders, as it is called in the release.
        cropped_bases: The same for the release of cropped faces.
        dropped: Frames that the release may lack within a clip.
        long_videos: Whether recordings hold several expressions, for spotting.
        published: How many micro-expressions known releases list, with those that cannot be used.
    """

    name: str
    title: str
    fps: float
    annotate: Callable[[Path], Annotations]
    folders: Callable[[Annotation], tuple[tuple[str, ...], ...]]
    bases: tuple[str, ...]
    cropped_bases: tuple[str, ...] = ()
    dropped: int = 0
    long_videos: bool = False
    published: tuple[int, ...] = ()

    @property
    def license(self) -> str:
        """Of the pictures, in words: these corpora are lent to researchers who sign."""
        return f"licence agreement of {self.title}; not to be passed on"


def annotations_of(
    rows: Iterable[SheetRow],
    read: Callable[[SheetRow], Annotation],
    name: tuple[str, ...] = ("subject", "clip"),
) -> Annotations:
    """Rows through the corpus's own reading; a row that cannot be used becomes a `SkippedRow`."""
    for row in rows:
        try:
            yield read(row)
        except UnusableRow as error:
            yield SkippedRow(row.number, "/".join(row.text(part) for part in name), str(error))


def micro_annotation(row: SheetRow, subject: str, clip: str, **more: object) -> Annotation:
    """The annotation of a row with cells onset, apex, offset, emotion and action_units.

    Raises:
        UnusableRow: The onset is missing, or a cell cannot be read.
    """
    onset = row.frame("onset")
    if onset is None:
        raise UnusableRow("the cell onset is empty")
    units, notes = row.action_units()
    notes = (*notes, *more.pop("notes", ()))
    known = dict(action_units=units, notes=notes) | more
    if "emotion" not in known:
        known["emotion"] = row.emotion()
    return Annotation(row.number, subject, clip, onset, row.frame("apex"), row.frame("offset"), **known)


def expression_annotation(row: SheetRow, subject: str, clip: str, lenient: bool = False) -> Annotation:
    """As `micro_annotation`, of a sheet with both kinds of expressions, told apart by the cell kind.

    An unknown emotion word is left out, with a note, where it matters little: in a macro-expression, and
    where `lenient` says so.

    Raises:
        UnusableRow: The kind is neither macro nor micro, or as `micro_annotation`.
    """
    kind = kind_of(row)
    if kind == "micro" and not lenient:
        return micro_annotation(row, subject, clip)
    try:
        emotion, notes = row.emotion(), ()
    except UnusableRow as error:
        emotion, notes = None, (str(error),)
    return micro_annotation(row, subject, clip, kind=kind, emotion=emotion, notes=notes)


def kind_of(row: SheetRow) -> Kind:
    """What the cell kind says; an empty one, or none, is micro.

    Raises:
        UnusableRow: It begins with neither macro nor micro.
    """
    text = row.text("kind").lower() or "micro"
    kind = next((kind for kind in get_args(Kind) if text.startswith(kind)), None)
    if kind is None:
        raise UnusableRow(f"type {row.text('kind')!r} is neither macro nor micro")
    return kind


def read_release(corpus: Corpus, root: str | Path, cropped: bool = False) -> CorpusListing:
    """Read the sheet and find the frames of a release.

    Raises:
        ValueError: The root is not this corpus, or its sheet lacks a column.
    """
    root = Path(root)
    bases = (*corpus.cropped_bases, *corpus.bases) if cropped else (*corpus.bases, *corpus.cropped_bases)
    finder = FrameFinder(root, bases)
    listing = CorpusListing(corpus.name, root, published=corpus.published)
    rows = list(corpus.annotate(root))
    read = [row for row in rows if isinstance(row, Annotation)]
    unread = 0 if corpus.long_videos else len(rows) - len(read)  # there they may be macro-expressions
    listing.annotated = sum(row.kind == "micro" for row in read) + unread
    names = unique_ids([(row.name, row.onset, row.row) for row in read])
    ids = {id(row): name for row, name in zip(read, names, strict=True)}
    found: list[tuple[Annotation, CorpusClip]] = []
    for row in rows:
        if isinstance(row, SkippedRow):
            listing.skipped.append(row)
            continue
        try:
            clip = _clip(corpus, row, finder, ids[id(row)])
        except UnusableRow as error:
            listing.skipped.append(SkippedRow(row.row, row.name, str(error)))
            continue
        if row.kind == "micro":
            listing.clips.append(clip)
        found.append((row, clip))
    if corpus.long_videos:
        annotated = annotated_videos(root, found)
        listing.videos = [*annotated, *silent_videos(root, finder, corpus.folders, annotated)]
    return listing


def _clip(corpus: Corpus, row: Annotation, finder: FrameFinder, clip_id: str) -> CorpusClip:
    recording = finder.find(corpus.folders(row))
    placed = place(row, recording, corpus.dropped)
    return CorpusClip(
        clip_id=clip_id,
        corpus=corpus.name,
        subject=row.subject,
        frames=recording.frames,
        path=None,
        fps=row.fps or corpus.fps,
        onset=placed.onset,
        apex=placed.apex,
        offset=placed.offset,
        emotion=row.emotion,
        action_units=row.action_units,
        license=corpus.license,
        row=row.row,
        notes=(*row.notes, *placed.notes),
    )


def unique_ids(clips: Sequence[tuple[str, int | None, int | None]]) -> list[str]:
    """An id for each (name, onset, row): the name, where repeated with the onset, then with the row."""
    names, onsets = Counter(name for name, _, _ in clips), Counter(clip[:2] for clip in clips)

    def unique(name: str, onset: int | None, row: int | None) -> str:
        if names[name] == 1:
            return name
        return f"{name}@{onset}" + (f"#{row}" if onsets[name, onset] > 1 else "")

    return [unique(*clip) for clip in clips]
