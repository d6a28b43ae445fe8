"""Anybody's own clips: videos or folders of pictures, with a metadata.csv or in folders named by emotion.

metadata.csv (or metadata.jsonl), as in the videofolder and imagefolder of `datasets`: ``file_name`` (a
video, or a folder of numbered pictures, relative to the file) and, each of them optional, ``subject``,
``emotion`` (or ``label``), ``onset``, ``apex``, ``offset`` (frames counted from 0), ``kind`` (micro; or
macro, for spotting only), ``fps``, ``action_units``, ``corpus``, ``license``, ``split``. A file with
several expressions has a row for each; for spotting, one without any has a row without keyframes. All this
may lie in folders train, validation and test, which are then the splits.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from dface_hf.data.clip import SPLITS
from dface_hf.faces import ClipError, open_frames

from .frame_folders import Recording, place, read_recording
from .listing import Annotation, CorpusClip, CorpusListing, SkippedRow, UnusableRow
from .long_videos import annotated_videos
from .reading import kind_of, unique_ids
from .sheets import SheetRow, read_sheet

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"})
ASSUMED_FPS = 25.0
METADATA = ("metadata.csv", "metadata.jsonl")
COLUMNS = {
    "file_name": ("file_name",),
    "subject": ("subject",),
    "emotion": ("emotion", "label"),
    "onset": ("onset",),
    "apex": ("apex",),
    "offset": ("offset",),
    "kind": ("kind", "type"),
    "fps": ("fps",),
    "action_units": ("action_units", "au"),
    "corpus": ("corpus",),
    "license": ("license",),
    "split": ("split",),
}
LICENSE = "unknown; ask the owner of the folder"


def read_folder(root: Path) -> CorpusListing:
    """The clips of a folder.

    Raises:
        ValueError: No such folder, a metadata.csv without the column file_name, or no clips.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; give a folder of videos, or of folders of pictures")
    rows = [row for folder in _folders(root) for row in _rows(root, folder)]
    if not rows:
        raise ValueError(
            f"{root}: neither a metadata.csv (or .jsonl) with clips nor folders of clips named by emotion"
        )
    listing = CorpusListing("folder", root)
    found = []
    for row in rows:
        try:
            found.append(_clip(root, row))
        except ValueError as error:  # UnusableRow, and ClipError of a video
            listing.skipped.append(SkippedRow(row.number or None, row.text("file_name"), str(error)))
    listing.videos = annotated_videos(root, found)
    listing.clips = [clip for annotation, clip in found if annotation.kind == "micro"]
    ids = unique_ids([(clip.clip_id, clip.onset, clip.row) for clip in listing.clips])
    listing.clips = [
        dataclasses.replace(clip, clip_id=name) for clip, name in zip(listing.clips, ids, strict=True)
    ]
    return listing


def _metadata(folder: Path) -> Path | None:
    return next((folder / name for name in METADATA if (folder / name).is_file()), None)


def _folders(root: Path) -> list[Path]:
    """The root and, unless its metadata.csv says everything, its splits."""
    if _metadata(root):
        return [root]
    return [root, *(root / name for name in SPLITS if (root / name).is_dir())]


def _rows(root: Path, folder: Path) -> list[SheetRow]:
    """The rows of a folder's metadata.csv, or one for each clip in its folders; names from the root on."""
    sheet = _metadata(folder)
    if sheet is None:
        return [
            SheetRow(0, {"file_name": path.relative_to(root).as_posix(), "emotion": path.parent.name})
            for path in sorted(folder.glob("*/*"))
            if (path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES) and not _of_a_split(root, path)
        ]
    rows = read_sheet(sheet, COLUMNS, optional=set(COLUMNS) - {"file_name"})
    above = folder.relative_to(root).as_posix()
    if above == ".":
        return rows
    names = [row.text("file_name") for row in rows]
    return [
        dataclasses.replace(row, cells=row.cells | {"file_name": name and f"{above}/{name}"})
        for row, name in zip(rows, names, strict=True)
    ]


def _of_a_split(root: Path, path: Path) -> bool:
    """Whether a split's own rows have the path, which lies right below it."""
    folder = path.parent
    if folder.parent != root or folder.name not in SPLITS:
        return False
    return path.is_dir() or _metadata(folder) is not None


def _clip(root: Path, row: SheetRow) -> tuple[Annotation, CorpusClip]:
    file = row.required("file_name")
    recording, path, fps, notes = _media(root / file, row)
    emotion = row.emotion()
    units, told = row.action_units()
    keyframes = (row.frame(name) for name in ("onset", "apex", "offset"))
    subject = row.text("subject") or Path(file).with_suffix("").as_posix()
    if not row.text("subject"):
        told = (*told, "no subject given; the clip counts as a subject of its own")
    annotation = Annotation(
        row.number, subject, file, *keyframes, emotion=emotion, action_units=units, kind=kind_of(row)
    )
    placed = place(annotation, recording)
    return annotation, CorpusClip(
        clip_id=file,
        corpus=row.text("corpus") or root.resolve().name,
        subject=subject,
        frames=() if path else recording.frames,
        path=path,
        fps=fps,
        onset=placed.onset,
        apex=placed.apex,
        offset=placed.offset,
        emotion=emotion,
        action_units=units,
        license=row.text("license") or LICENSE,
        row=row.number or None,
        notes=(*notes, *told, *placed.notes),
        split=_split(row, file),
    )


def _split(row: SheetRow, file: str) -> str:
    """As the column split says, or the folder."""
    if not (text := row.text("split").lower()):
        first = Path(file).parts[0]
        return first if first in SPLITS else SPLITS[0]
    if text not in SPLITS:
        raise UnusableRow(f"split={text!r} must be one of {', '.join(SPLITS)}")
    return text


def _media(path: Path, row: SheetRow) -> tuple[Recording, str | None, float, tuple[str, ...]]:
    """(frames counted from 0, video file or None, frames a second, notes)."""
    fps = _rate(row)
    if path.is_dir():
        found = read_recording(path)
        found = dataclasses.replace(found, numbers=tuple(range(len(found.frames))))
        return found, None, fps or ASSUMED_FPS, () if fps else (f"no fps given; {ASSUMED_FPS:g} assumed",)
    source = open_frames(str(path), fps=fps)
    count = source.frame_count or sum(1 for _ in source)
    if count < 2:
        raise ClipError(path, f"{count} frames", "a clip needs at least two")
    return Recording(path, tuple(range(count)), ()), str(path), source.fps, ()


def _rate(row: SheetRow) -> float | None:
    text = row.text("fps")
    try:
        fps = float(text) if text else None
    except ValueError:
        raise UnusableRow(f"fps={text!r} is no number") from None
    if fps is not None and not 0 < fps <= 100_000:
        raise UnusableRow(f"fps={text} is no frame rate")
    return fps
