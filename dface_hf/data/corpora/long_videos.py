"""Whole recordings with every expression in them, for spotting; those without an expression, too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .frame_folders import FrameFinder, Recording
from .listing import Annotation, CorpusClip, ExpressionInterval, LongVideo, UnusableRow

Found = tuple[Annotation, CorpusClip]


def annotated_videos(root: Path, found: Iterable[Found]) -> list[LongVideo]:
    """The recordings of annotated expressions, each once, in the order of the sheet.

    Args:
        root: Folder of the release, from which on they are named.
        found: Rows with what became of them; rows of one recording share its frames or its file.
    """
    videos: dict[str, list[Found]] = {}
    for row, clip in found:
        videos.setdefault(clip.path or str(Path(clip.frames[0]).parent), []).append((row, clip))
    return [_video(root, place, some) for place, some in videos.items()]


def silent_videos(
    root: Path,
    finder: FrameFinder,
    folders: Callable[[Annotation], tuple[tuple[str, ...], ...]],
    annotated: list[LongVideo],
) -> Iterator[LongVideo]:
    """The recordings that lie where annotated ones do and that no row names: what is found there is wrong.

    Args:
        root: Folder of the release.
        finder: Of the release.
        folders: The corpus's own, as in `Corpus`.
        annotated: What `annotated_videos` gave; a release without any has no silent ones either.
    """
    known = {video.place for video in annotated}
    anywhere = Annotation(None, "*", "*", None, None, None)
    for base in finder.bases:
        for parts in folders(anywhere):
            # A corpus may add a star of its own: "*" and "**" are the same here.
            places = sorted(base.glob("/".join(part.replace("**", "*") for part in parts)))
            if known.isdisjoint(map(str, places)):
                continue
            for recording in _recordings(finder, (path for path in places if str(path) not in known)):
                parts = recording.folder.relative_to(base).parts
                subject = parts[0] if len(parts) > 1 else parts[0].split("_")[0]
                name, like = recording.folder.relative_to(root).as_posix(), annotated[0]
                place = str(recording.folder)
                yield LongVideo(name, like.corpus, subject, recording.frames, None, like.fps, (), place)
            return


def _recordings(finder: FrameFinder, folders: Iterable[Path]) -> Iterator[Recording]:
    for folder in folders:
        try:
            if folder.is_dir():
                yield finder.recording(folder)
        except UnusableRow:  # no numbered pictures: a folder of something else
            continue


def _video(root: Path, place: str, found: list[Found]) -> LongVideo:
    """One recording with all its expressions, by onset."""
    first = found[0][1]
    intervals = [
        ExpressionInterval(
            row.kind,
            clip.onset,
            clip.apex if row.apex else None,
            clip.offset,
            row.emotion,
            row.action_units,
            row.row,
        )
        for row, clip in found
        if row.onset is not None or row.apex is not None
    ]
    ordered = tuple(sorted(intervals, key=lambda one: one.onset))
    name = Path(os.path.relpath(place, root)).as_posix()  # a metadata.csv may name files elsewhere
    return LongVideo(name, first.corpus, first.subject, first.frames, first.path, first.fps, ordered, place)
